//! Any interleaving, doubling and replay of the same events ends in the same document.

use openorder_types::{Money, Timestamp, UserId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::{
    CarrierEvent, Compensation, Created, Ending, Failure, Head, Line, Message, OrderSaid, Parcel, PaymentHead,
    PaymentSaid, Refund, ShipmentSaid, Stamp,
};

const ORDER: Uuid = Uuid::from_u128(7);

fn eur(minor: i64) -> Option<Money> {
    Some(Money::new(minor, Money::from_units_nanos("EUR", 0, 0).unwrap().currency()))
}

fn line(version: i64) -> Line {
    Line {
        sku: format!("SKU-{version}"),
        display_name: format!("Chair {version}"),
        quantity: 2,
        unit_price: eur(100),
        line_total: eur(200),
        discount: eur(version),
        product_number: version,
    }
}

/// The event of an order that has this version: which one it is, is drawn.
fn order(version: i64, kind: u8) -> Said {
    let statuses = [5, 10, 15, 20, 25, 80, 90, 95];
    let compensation = (kind == 8).then(|| Compensation {
        step: 1,
        stock: true,
        payment: false,
        coupon: false,
        undo_attempts: version as i32,
        reason: String::new(),
        operator: String::new(),
    });
    Said::Order(Box::new(OrderSaid {
        head: Head { status: statuses[usize::from(kind) % 8], total: eur(version) },
        created: (kind == 0).then(|| Created {
            customer_id: UserId::parse("anna").unwrap(),
            create_time: Timestamp::from_timestamp(version, 0).unwrap(),
            trace_id: format!("{version:032}"),
            issued_coupon_id: String::new(),
        }),
        lines: [0, 2, 4, 6].contains(&kind).then(|| vec![line(version)]),
        discount: if kind == 1 { eur(version) } else { None },
        ending: (6..8).contains(&kind).then(|| Ending {
            reason: format!("REASON_{version}"),
            detail: String::new(),
            cause: 1,
        }),
        compensation,
    }))
}

fn payment(version: i64, kind: u8) -> Said {
    Said::Payment(Box::new(PaymentSaid {
        head: PaymentHead { payment_id: "p".to_owned(), state: i32::from(kind) + 1 },
        amount: (kind < 3).then(|| eur(version)),
        completed: (kind == 1).then(|| "WALLET".to_owned()),
        failed: (kind == 2).then(|| Failure { reason: version as i32, detail: String::new() }),
        refunded: (kind == 3).then(|| Refund { amount: eur(version), reason: 1 }),
    }))
}

fn shipment(version: i64, kind: u8) -> Said {
    let time = Timestamp::from_timestamp(version, 0);
    let event = CarrierEvent {
        kind: 2,
        ordinal: version as i32,
        event_time: time,
        location: "Ulm".to_owned(),
        carrier_event_id: String::new(),
        create_time: time,
    };
    Said::Shipment(Box::new(ShipmentSaid {
        parcel: Parcel {
            shipment_id: "s".to_owned(),
            state: i32::from(kind),
            carrier: "post".to_owned(),
            tracking_number: version.to_string(),
            cancel_reason: String::new(),
            create_time: time,
            ship_time: None,
            deliver_time: None,
        },
        carrier_event: (kind == 1).then(|| (Uuid::from_u128(version as u128), event)),
    }))
}

fn message(version: i64, kind: u8) -> Said {
    let message = Message {
        kind: 1,
        channel: 1,
        status: version as i32,
        attempts: version as i32,
        failure_reason: format!("R{kind}"),
    };
    Said::Message { notification_id: Uuid::from_u128(u128::from(kind)), message }
}

/// Events of all services about one order; each version of an aggregate is one event.
fn histories() -> impl Strategy<Value = Vec<Fact>> {
    let part = |kinds: u8, longest: usize| proptest::collection::vec(0..kinds, 0..longest);
    let times = proptest::collection::vec(0..1_000_i64, 64);
    // More trouble and more messages than a document keeps.
    (part(9, 40), part(4, 5), part(3, 6), proptest::collection::vec((0..90_u8, 1..4_i64), 0..120), times).prop_map(
        |(orders, payments, shipments, messages, times)| {
            let mut facts = Vec::new();
            let mut add = |version: i64, said: Said| {
                let at_ms = times[facts.len() % times.len()];
                facts.push(Fact { order_id: ORDER, stamp: Stamp { version, at_ms }, said });
            };
            for (version, kind) in (1..).zip(orders) {
                add(version, order(version, kind));
            }
            for (version, kind) in (1..).zip(payments) {
                add(version, payment(version, kind));
            }
            for (version, kind) in (1..).zip(shipments) {
                add(version, shipment(version, kind));
            }
            for (kind, version) in messages.into_iter().collect::<std::collections::BTreeSet<_>>() {
                add(version, message(version, kind));
            }
            facts
        },
    )
}

fn view(facts: &[Fact]) -> View {
    let mut view = View::default();
    facts.iter().for_each(|fact| view.hear(fact));
    view
}

proptest! {
    #[test]
    fn any_interleaving_and_doubling_ends_in_the_same_document(
        (facts, shuffled, doubled) in histories().prop_flat_map(|facts| {
            let shuffled = Just(facts.clone()).prop_shuffle();
            let doubled = proptest::collection::vec(any::<prop::sample::Index>(), 0..40);
            (Just(facts), shuffled, doubled)
        })
    ) {
        let mut again = shuffled;
        if !facts.is_empty() {
            again.extend(doubled.iter().map(|index| index.get(&facts).clone()));
        }
        prop_assert_eq!(view(&again), view(&facts));
    }

    /// Two documents that have heard different parts, both of them some: one that is built anew and the old one.
    #[test]
    fn a_merge_is_as_if_one_had_heard_everything(
        (facts, heard) in histories().prop_flat_map(|facts| {
            let heard = proptest::collection::vec(1..4_u8, facts.len());
            (Just(facts), heard)
        })
    ) {
        let of = |bit: u8| {
            let facts = facts.iter().zip(&heard).filter(|(_, heard)| **heard & bit > 0);
            view(&facts.map(|(fact, _)| fact.clone()).collect::<Vec<_>>())
        };
        let (mut one, mut other) = (of(1), of(2));
        one.merge(of(2));
        other.merge(of(1));
        prop_assert_eq!(&one, &view(&facts));
        prop_assert_eq!(one, other);
    }
}

#[test]
fn a_part_may_come_before_the_order() {
    let mut view = View::default();
    view.hear(&Fact { order_id: ORDER, stamp: Stamp { version: 1, at_ms: 5 }, said: payment(1, 1) });
    assert!(!view.order.is_made());
    assert_eq!((view.order_version(), view.skus().len()), (0, 0));
    view.hear(&Fact { order_id: ORDER, stamp: Stamp { version: 1, at_ms: 4 }, said: order(1, 0) });
    assert!(view.order.is_made());
    assert_eq!((view.order_version(), view.skus().into_iter().next()), (1, Some("SKU-1")));
    assert_eq!(view.payment.completed.value().map(String::as_str), Some("WALLET"));
}

#[test]
fn memory_is_bounded() {
    let mut view = View::default();
    for number in 1..=500_u32 {
        let stamp = Stamp { version: i64::from(number), at_ms: 0 };
        view.hear(&Fact { order_id: ORDER, stamp, said: order(i64::from(number), 8) });
        view.hear(&Fact { order_id: ORDER, stamp, said: shipment(i64::from(number), 1) });
        let Said::Message { message, .. } = message(1, 0) else { unreachable!() };
        let said = Said::Message { notification_id: Uuid::from_u128(number.into()), message };
        view.hear(&Fact { order_id: ORDER, stamp: Stamp { version: 1, at_ms: 0 }, said });
    }
    assert_eq!((view.order.compensations.len(), view.shipment.events.len()), (20, 100));
    assert_eq!(view.messages.iter().count(), 64);
    assert_eq!(view.order.compensations.keys().next_back(), Some(&500));
}
