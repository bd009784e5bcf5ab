use openorder_types::{DisplayName, Quantity, Sku, UserId};
use proptest::prelude::*;

use super::*;
use crate::domain::{Address, Carrier, CarrierEventType, Line, Location, TrackingNumber};

const EVENTS_MAX: i32 = 5;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn context(seconds: i64) -> Decision {
    Decision { now: at(seconds), events_max: EVENTS_MAX, event_time_max: at(seconds + 60) }
}

const ORDER: Uuid = Uuid::from_u128(1);

fn paid() -> Command {
    let line = Line {
        sku: Sku::parse("A").unwrap(),
        display_name: DisplayName::parse("Thing").unwrap(),
        quantity: Quantity::parse(2_u32).unwrap(),
        product_number: 7,
    };
    Command::Create(Box::new(NewShipment {
        shipment_id: Uuid::from_u128(100),
        order_id: ORDER,
        customer_id: UserId::parse("ada").unwrap(),
        lines: vec![line],
        address: Some(Address::parse(vec![1]).unwrap()),
    }))
}

fn cancel() -> Command {
    Command::Cancel {
        shipment_id: Uuid::from_u128(200),
        order_id: ORDER,
        customer_id: UserId::parse("ada").unwrap(),
        reason: CancelReason::Customer,
        detail: "changed my mind".to_owned(),
    }
}

fn follow(target: Target) -> Command {
    Command::Follow { order_id: ORDER, target }
}

fn update(target: Option<Target>, tracking: Option<&str>, expected_version: Option<i64>) -> Command {
    Command::Update(Update {
        order_id: ORDER,
        expected_version,
        target,
        carrier: None,
        tracking_number: tracking.map(|text| TrackingNumber::parse(text).unwrap()),
    })
}

fn said(event_type: CarrierEventType, id: Option<&str>, time: Option<i64>) -> Command {
    let event = NewCarrierEvent {
        shipment_event_id: Uuid::from_u128(300),
        event_type,
        event_time: time.map(at),
        location: Location::default(),
        carrier_event_id: id.map(|id| CarrierEventId::parse(id).unwrap()),
    };
    Command::AddEvent { key: ShipmentKey::Order(ORDER), event }
}

/// Decides and applies; gives the reason of a refusal.
fn run(state: &mut State, command: &Command, seconds: i64) -> Result<Vec<Event>, &'static str> {
    let events = decide(state, command, &context(seconds)).map_err(|rejection| rejection.reason)?;
    events.iter().for_each(|event| evolve(state, event));
    Ok(events)
}

/// What is left of these commands, none of which is refused.
fn after(commands: &[Command]) -> State {
    let mut state = State::default();
    for (seconds, command) in (0..).zip(commands) {
        run(&mut state, command, seconds).unwrap();
    }
    state
}

fn shipment(state: &State) -> &Shipment {
    state.shipment(ORDER).unwrap()
}

fn names(events: &[Event]) -> Vec<&'static str> {
    let name = |event: &Event| match event {
        Event::Made(_) => "made",
        Event::Updated { .. } => "updated",
        Event::Progressed { .. } => "progressed",
        Event::Shipped { .. } => "shipped",
        Event::Delivered { .. } => "delivered",
        Event::Cancelled { .. } => "cancelled",
    };
    events.iter().map(name).collect()
}

#[test]
fn an_order_that_is_paid_twice_has_one_shipment() {
    let mut state = after(&[paid()]);
    assert_eq!(run(&mut state, &paid(), 9), Ok(Vec::new()));
    let made = shipment(&state);
    assert_eq!((made.state, made.version, made.lines.len(), made.create_time), (ShipmentState::Created, 1, 1, at(0)));
}

#[test]
fn a_shipment_follows_its_order_and_never_back() {
    let mut state = State::default();
    assert_eq!(run(&mut state, &follow(Target::Shipped), 0), Ok(Vec::new()), "of an order without a shipment");
    run(&mut state, &paid(), 1).unwrap();
    assert_eq!(names(&run(&mut state, &follow(Target::Shipped), 2).unwrap()), ["shipped"]);
    assert_eq!(run(&mut state, &follow(Target::Shipped), 3), Ok(Vec::new()));
    assert_eq!(names(&run(&mut state, &follow(Target::Delivered), 4).unwrap()), ["delivered"]);
    assert_eq!(run(&mut state, &follow(Target::Shipped), 5), Ok(Vec::new()));
    let gone = shipment(&state);
    assert_eq!((gone.state, gone.ship_time, gone.deliver_time), (ShipmentState::Delivered, Some(at(2)), Some(at(4))));
}

#[test]
fn a_parcel_that_has_not_left_is_called_off_once_and_stays() {
    let mut state = after(&[paid()]);
    assert_eq!(names(&run(&mut state, &cancel(), 1).unwrap()), ["cancelled"]);
    assert_eq!(run(&mut state, &cancel(), 2), Ok(Vec::new()), "asked again, or the order's own event");
    for gone in [follow(Target::Shipped), follow(Target::Delivered), paid()] {
        assert_eq!(run(&mut state, &gone, 5), Ok(Vec::new()));
    }
    assert_eq!(run(&mut state, &update(Some(Target::Shipped), None, None), 6), Err("SHIPMENT_CANCELLED"));
    assert_eq!(run(&mut state, &update(None, Some("T1"), None), 6), Err("SHIPMENT_CANCELLED"));
    assert_eq!(run(&mut state, &said(CarrierEventType::PickedUp, None, None), 6), Err("SHIPMENT_CANCELLED"));
    let off = shipment(&state);
    assert_eq!((off.state, off.cancel_reason), (ShipmentState::Cancelled, Some(CancelReason::Customer)));
    assert_eq!((off.cancel_detail.as_str(), off.version), ("changed my mind", 2));
}

#[test]
fn a_parcel_that_has_left_is_not_called_off() {
    let mut state = after(&[paid(), follow(Target::Shipped)]);
    assert_eq!(run(&mut state, &cancel(), 3), Ok(Vec::new()));
    run(&mut state, &follow(Target::Delivered), 5).unwrap();
    assert_eq!(run(&mut state, &cancel(), 6), Ok(Vec::new()));
    assert_eq!(shipment(&state).state, ShipmentState::Delivered);
}

#[test]
fn a_request_that_comes_before_the_payment_leaves_no_shipment_to_be_made() {
    let mut state = State::default();
    assert_eq!(names(&run(&mut state, &cancel(), 0).unwrap()), ["made"]);
    assert_eq!(run(&mut state, &paid(), 1), Ok(Vec::new()));
    let off = shipment(&state);
    assert_eq!((off.state, off.lines.len(), off.address.is_none()), (ShipmentState::Cancelled, 0, true));
    assert_eq!(off.cancel_detail, "changed my mind");
    assert_eq!(run(&mut state, &cancel(), 2), Ok(Vec::new()));
}

#[test]
fn a_caller_names_the_carrier_and_moves_the_shipment_step_by_step() {
    let mut state = State::default();
    assert_eq!(run(&mut state, &update(None, Some("T1"), None), 0), Err("SHIPMENT_NOT_FOUND"));
    run(&mut state, &paid(), 0).unwrap();
    assert_eq!(run(&mut state, &update(Some(Target::Delivered), None, None), 1), Err("SHIPMENT_NOT_SHIPPED"));
    assert_eq!(run(&mut state, &update(None, Some("T1"), Some(2)), 1), Err("SHIPMENT_VERSION_MISMATCH"));
    let both = update(Some(Target::Shipped), Some("T1"), Some(1));
    assert_eq!(names(&run(&mut state, &both, 1).unwrap()), ["updated", "shipped"]);
    assert_eq!(run(&mut state, &update(Some(Target::Shipped), Some("T1"), None), 2), Ok(Vec::new()));
    let named = Command::Update(Update {
        order_id: ORDER,
        expected_version: None,
        target: None,
        carrier: Some(Carrier::parse("DHL").unwrap()),
        tracking_number: None,
    });
    assert_eq!(names(&run(&mut state, &named, 3).unwrap()), ["updated"]);
    let now = shipment(&state);
    assert_eq!(now.tracking_number.as_ref().map(TrackingNumber::as_str), Some("T1"), "as it was");
    assert_eq!(now.carrier.as_ref().map(Carrier::as_str), Some("DHL"));
    assert_eq!(names(&run(&mut state, &update(Some(Target::Delivered), None, None), 4).unwrap()), ["delivered"]);
    assert_eq!(run(&mut state, &update(Some(Target::Shipped), None, None), 5), Ok(Vec::new()), "beyond it");
}

#[test]
fn what_a_carrier_says_moves_the_shipment_also_where_something_was_not_heard() {
    use CarrierEventType::{Delayed, Delivered, Failed, InTransit, LabelPrinted, OutForDelivery, PickedUp};
    for (event_type, expected) in [
        (LabelPrinted, &["progressed"][..]),
        (Delayed, &["progressed"]),
        (Failed, &["progressed"]),
        (PickedUp, &["progressed", "shipped"]),
        (InTransit, &["progressed", "shipped"]),
        (OutForDelivery, &["progressed", "shipped"]),
        (Delivered, &["progressed", "shipped", "delivered"]),
    ] {
        let mut state = after(&[paid()]);
        assert_eq!(names(&run(&mut state, &said(event_type, None, Some(-7)), 9).unwrap()), expected, "{event_type}");
        let time = (expected.len() > 1).then_some(at(-7));
        assert_eq!(shipment(&state).ship_time, time, "{event_type}: as the carrier says");
    }
}

#[test]
fn a_late_event_is_recorded_and_moves_nothing_back() {
    let mut state = after(&[paid(), said(CarrierEventType::Delivered, None, None)]);
    assert_eq!(names(&run(&mut state, &said(CarrierEventType::PickedUp, None, Some(-3)), 3).unwrap()), ["progressed"]);
    let late = shipment(&state);
    assert_eq!((late.state, late.event_count, late.ship_time), (ShipmentState::Delivered, 2, Some(at(1))));
}

#[test]
fn a_carriers_event_is_recorded_once_by_its_id() {
    let mut state = after(&[paid(), said(CarrierEventType::PickedUp, Some("e-1"), Some(0))]);
    for same in [Some(0), None] {
        assert_eq!(run(&mut state, &said(CarrierEventType::PickedUp, Some("e-1"), same), 2), Ok(Vec::new()));
    }
    let other = said(CarrierEventType::PickedUp, Some("e-1"), Some(1));
    assert_eq!(run(&mut state, &other, 2), Err("CARRIER_EVENT_ID_REUSED"));
    let other = said(CarrierEventType::Delivered, Some("e-1"), Some(0));
    assert_eq!(run(&mut state, &other, 2), Err("CARRIER_EVENT_ID_REUSED"));
    assert_eq!(shipment(&state).event_count, 1);
    // Without an id nobody knows that it is the same.
    for count in 2..=3 {
        run(&mut state, &said(CarrierEventType::InTransit, None, Some(0)), 3).unwrap();
        assert_eq!(shipment(&state).event_count, count);
    }
}

#[test]
fn events_are_bounded_in_number_and_in_time_but_the_parcel_arrives() {
    let mut state = after(&[paid()]);
    assert_eq!(run(&mut state, &said(CarrierEventType::Delayed, None, Some(61)), 0), Err("SHIPMENT_EVENT_IN_FUTURE"));
    for _ in 0..EVENTS_MAX {
        run(&mut state, &said(CarrierEventType::Delayed, None, Some(60)), 0).unwrap();
    }
    let more = said(CarrierEventType::Delayed, None, None);
    assert_eq!(run(&mut state, &more, 1), Err("SHIPMENT_EVENT_LIMIT_REACHED"));
    assert_eq!(names(&run(&mut state, &said(CarrierEventType::InTransit, None, None), 1).unwrap()).len(), 2);
    assert_eq!(run(&mut state, &said(CarrierEventType::InTransit, None, None), 2), Err("SHIPMENT_EVENT_LIMIT_REACHED"));
    assert_eq!(names(&run(&mut state, &said(CarrierEventType::Delivered, None, None), 2).unwrap()).len(), 2);
    assert_eq!(shipment(&state).event_count, EVENTS_MAX + 2);
}

fn any_command() -> impl Strategy<Value = Command> {
    let target = prop_oneof![Just(Target::Shipped), Just(Target::Delivered)];
    let event_type = proptest::sample::select(CarrierEventType::ALL);
    prop_oneof![
        Just(paid()),
        target.clone().prop_map(follow),
        Just(cancel()),
        (proptest::option::of(target), proptest::option::of("[AB]"), proptest::option::of(1..4_i64))
            .prop_map(|(target, tracking, version)| update(target, tracking.as_deref(), version)),
        (event_type, proptest::option::of("[ab]"), proptest::option::of(-9..9_i64))
            .prop_map(|(event_type, id, time)| said(event_type, id.as_deref(), time)),
    ]
}

/// The states that a shipment may go to from one, itself aside.
fn next(state: Option<ShipmentState>) -> &'static [ShipmentState] {
    match state {
        None => &[ShipmentState::Created, ShipmentState::Cancelled],
        Some(ShipmentState::Created) => &[ShipmentState::Shipped, ShipmentState::Cancelled],
        Some(ShipmentState::Shipped) => &[ShipmentState::Delivered],
        Some(ShipmentState::Delivered | ShipmentState::Cancelled) => &[],
    }
}

proptest! {
    /// Whatever comes in whatever order, also twice: each event is one version, no state is left that is final, who asks
    /// to cancel finds the parcel called off or gone, always the same, and the fold of all events is what there is.
    #[test]
    fn a_parcel_leaves_or_is_called_off_and_never_both(commands in proptest::collection::vec(any_command(), 0..40)) {
        let (mut state, mut fold) = (State::default(), State::default());
        let mut answers = Vec::new();
        for (seconds, command) in (0..).zip(&commands) {
            let before = state.shipment(ORDER).cloned();
            let Ok(events) = decide(&state, command, &context(seconds)) else { continue };
            for event in &events {
                let from = state.shipment(ORDER).map(|shipment| (shipment.state, shipment.version));
                evolve(&mut state, event);
                evolve(&mut fold, event);
                let now = shipment(&state);
                prop_assert_eq!(now.version, from.map_or(1, |(_, version)| version + 1));
                let previous = from.map(|(state, _)| state);
                prop_assert!(Some(now.state) == previous || next(previous).contains(&now.state));
            }
            if let Command::Cancel { .. } = command {
                let is_new = before.is_none_or(|shipment| shipment.state == ShipmentState::Created);
                prop_assert_eq!(!events.is_empty(), is_new);
                answers.push(shipment(&state).state == ShipmentState::Cancelled);
            }
            // The same again changes nothing but by what a carrier says without an id.
            let again = decide(&state, command, &context(seconds)).unwrap_or_default();
            let has_id = match command {
                Command::AddEvent { event, .. } => event.carrier_event_id.is_some(),
                _ => true,
            };
            prop_assert!(again.is_empty() || !has_id, "{:?} again: {:?}", command, again);
        }
        prop_assert!(answers.iter().all(|answer| *answer == answers[0]), "{:?}", answers);
        prop_assert_eq!(&state, &fold);
        if let Some(shipment) = state.shipment(ORDER) {
            prop_assert_eq!(shipment.state == ShipmentState::Cancelled, shipment.cancel_reason.is_some());
            prop_assert_eq!(shipment.deliver_time.is_some(), shipment.state == ShipmentState::Delivered);
            prop_assert_eq!(
                shipment.ship_time.is_some(),
                matches!(shipment.state, ShipmentState::Shipped | ShipmentState::Delivered)
            );
        }
    }
}
