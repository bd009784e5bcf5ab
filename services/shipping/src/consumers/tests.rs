use openorder_messaging::{DecodeError, Received};
use openorder_proto::{
    EventMessage,
    google::r#type::PostalAddress,
    order::v1::{CancellationCause, OrderLine, OrderStatus},
};
use openorder_types::UserId;
use uuid::Uuid;

use super::*;
use crate::domain::{CancelReason, NewShipment, Target};

const ORDER: Uuid = Uuid::from_u128(1);

fn received<M: EventMessage>(message: &M) -> Received {
    Received {
        topic: M::TOPIC.into(),
        partition: 0,
        offset: 0,
        key: Vec::new().into(),
        event_id: Uuid::nil(),
        event_type: M::EVENT_TYPE.into(),
        position: None,
        payload: message.encode_to_vec().into(),
        trace: openorder_telemetry::TraceContext::default(),
        headers: openorder_messaging::RawHeaders::default(),
    }
}

fn decode<M: EventMessage>(message: &M) -> Result<Option<Command>, DecodeError> {
    (subscription().decode)(&received(message))
}

fn is_malformed<M: EventMessage>(message: &M) -> bool {
    matches!(decode(message), Err(DecodeError::Malformed { .. }))
}

fn paid() -> OrderPaid {
    OrderPaid {
        order_id: ORDER.to_string(),
        customer_id: "ada".to_owned(),
        lines: vec![OrderLine {
            sku: "A".to_owned(),
            display_name: "Thing".to_owned(),
            quantity: 2,
            product_number: 7,
            ..OrderLine::default()
        }],
        shipping_address: Some(PostalAddress { region_code: "DE".to_owned(), ..PostalAddress::default() }),
        ..OrderPaid::default()
    }
}

fn shipment_of(event: &OrderPaid) -> NewShipment {
    let Ok(Some(Command::Create(new))) = decode(event) else { panic!("no shipment") };
    *new
}

#[test]
fn a_paid_order_wants_a_shipment_with_its_lines_and_its_address() {
    let new = shipment_of(&paid());
    assert_eq!((new.order_id, new.customer_id.as_str(), new.shipment_id.get_version_num()), (ORDER, "ada", 7));
    let lines: Vec<_> = new.lines.iter().map(|line| (line.sku.as_str(), line.display_name.as_str())).collect();
    assert_eq!((lines, new.lines[0].quantity.get(), new.lines[0].product_number), (vec![("A", "Thing")], 2, 7));
    assert!(new.address.is_some());
    assert_eq!(shipment_of(&OrderPaid { shipping_address: None, ..paid() }).address, None);
    let mut nameless = paid();
    nameless.lines[0].display_name.clear();
    assert_eq!(shipment_of(&nameless).lines[0].display_name.as_str(), "A");
}

#[test]
fn a_paid_order_that_makes_no_sense_is_malformed() {
    let mut nothing = paid();
    nothing.lines[0].quantity = 0;
    for wrong in [
        nothing,
        OrderPaid { order_id: "1".to_owned(), ..paid() },
        OrderPaid { customer_id: String::new(), ..paid() },
        OrderPaid { lines: Vec::new(), ..paid() },
    ] {
        assert!(is_malformed(&wrong), "{wrong:?}");
    }
}

#[test]
fn the_shipment_follows_its_order() {
    let order_id = ORDER.to_string();
    let shipped = OrderShipped { order_id: order_id.clone(), ..OrderShipped::default() };
    assert_eq!(decode(&shipped).unwrap(), Some(Command::Follow { order_id: ORDER, target: Target::Shipped }));
    let delivered = OrderDelivered { order_id, ..OrderDelivered::default() };
    assert_eq!(decode(&delivered).unwrap(), Some(Command::Follow { order_id: ORDER, target: Target::Delivered }));
    assert!(is_malformed(&OrderShipped::default()) && is_malformed(&OrderDelivered::default()));
}

/// Why, and in which words.
fn called_off<M: EventMessage>(message: &M) -> Option<(CancelReason, String)> {
    let command = decode(message).unwrap()?;
    let Command::Cancel { order_id, customer_id, shipment_id, reason, detail } = command else { panic!("{command:?}") };
    assert_eq!((order_id, customer_id, shipment_id.get_version_num()), (ORDER, UserId::parse("ada").unwrap(), 7));
    Some((reason, detail))
}

#[test]
fn an_order_that_was_paid_and_is_cancelled_calls_its_shipment_off() {
    let cancelled = |previous: OrderStatus, cause: i32| OrderCancelled {
        order_id: ORDER.to_string(),
        customer_id: "ada".to_owned(),
        previous_status: previous.into(),
        cause,
        status_detail: "lost in a flood".to_owned(),
        ..OrderCancelled::default()
    };
    let operator = CancellationCause::Operator.into();
    let because = |reason| Some((reason, "lost in a flood".to_owned()));
    for previous in [OrderStatus::Pending, OrderStatus::Confirmed] {
        assert_eq!(called_off(&cancelled(previous, operator)), None);
    }
    for previous in [OrderStatus::Paid, OrderStatus::Preparing, OrderStatus::Unspecified] {
        assert_eq!(called_off(&cancelled(previous, operator)), because(CancelReason::Operator));
    }
    assert_eq!(called_off(&cancelled(OrderStatus::Paid, 99)), because(CancelReason::Other));
}
