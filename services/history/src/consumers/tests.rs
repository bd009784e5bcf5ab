use openorder_messaging::RawHeaders;
use openorder_proto::{EventMessage, order::v1::OrderStatus, shipping::v1 as shipping};
use openorder_telemetry::TraceContext;

use super::*;
use crate::domain::Said;

const ORDER: &str = "0197c2f0-0000-7000-8000-000000000001";

fn received<M: EventMessage>(message: &M) -> Received {
    Received {
        topic: M::TOPIC.into(),
        partition: 0,
        offset: 0,
        key: Vec::new().into(),
        event_id: Uuid::from_u128(0x0197_c2f0_0001_7000_8000_0000_0000_0001),
        event_type: M::EVENT_TYPE.into(),
        position: None,
        payload: message.encode_to_vec().into(),
        trace: TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None).unwrap(),
        headers: RawHeaders::default(),
    }
}

fn created() -> OrderCreated {
    OrderCreated {
        order_id: ORDER.to_owned(),
        customer_id: "anna".to_owned(),
        version: 1,
        status: OrderStatus::Pending.into(),
        customer_email: "anna@example.com".to_owned(),
        create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 }),
        ..OrderCreated::default()
    }
}

#[test]
fn an_event_was_made_when_its_id_says_in_the_trace_of_its_record() {
    let fact = fact_of(&received(&created())).unwrap().unwrap();
    assert_eq!((fact.stamp.version, fact.stamp.at_ms), (1, 0x0197_c2f0_0001));
    let Said::Order(said) = fact.said else { panic!("an order") };
    let created = said.created.unwrap();
    assert_eq!(created.trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(created.create_time.timestamp_micros(), 1_700_000_000_123_456);
    assert_eq!(made_at_ms(Uuid::from_u128(7)), 0, "an id of another making");
}

/// Whatever is in an event of personal data is in no document.
#[test]
fn no_address_is_taken_over() {
    let fact = fact_of(&received(&created())).unwrap().unwrap();
    assert!(!format!("{fact:?}").contains('@'), "{fact:?}");
}

#[test]
fn what_cannot_be_placed_is_malformed_and_what_cannot_be_read_is_left_out() {
    let refused = |event: OrderCreated| fact_of(&received(&event)).unwrap_err().to_string();
    assert!(refused(OrderCreated { order_id: "1".to_owned(), ..created() }).starts_with("malformed"));
    assert!(refused(OrderCreated { version: 0, ..created() }).starts_with("malformed"));
    assert!(refused(OrderCreated { create_time: None, ..created() }).starts_with("malformed"));
    let wrong = MoneyMessage { currency_code: "EUR".to_owned(), units: 1, nanos: -1 };
    let fact = fact_of(&received(&OrderCreated { total: Some(wrong), status: 77, ..created() })).unwrap().unwrap();
    let Said::Order(said) = fact.said else { panic!("an order") };
    assert_eq!((said.head.total, said.head.status), (None, 77), "a status of a newer version is kept");
}

#[test]
fn a_notification_about_no_order_is_in_no_document() {
    let event = NotificationSent { version: 2, ..NotificationSent::default() };
    assert_eq!(fact_of(&received(&event)).unwrap(), None);
    let event = NotificationSent { order_id: ORDER.to_owned(), notification_id: ORDER.to_owned(), ..event };
    assert!(matches!(fact_of(&received(&event)).unwrap().unwrap().said, Said::Message { .. }));
}

#[test]
fn a_parcel_has_no_address_and_keeps_what_its_carrier_said() {
    let shipment = shipping::Shipment {
        order_id: ORDER.to_owned(),
        version: 3,
        tracking_number: "T-1".to_owned(),
        ..shipping::Shipment::default()
    };
    let event = shipping::ShipmentEvent { shipment_event_id: ORDER.to_owned(), ..shipping::ShipmentEvent::default() };
    let progressed = ShipmentProgressed { shipment: Some(shipment), event: Some(event) };
    let Said::Shipment(said) = fact_of(&received(&progressed)).unwrap().unwrap().said else { panic!("a shipment") };
    assert!(said.parcel.tracking_number == "T-1" && said.carrier_event.is_some());
    assert!(fact_of(&received(&ShipmentProgressed::default())).is_err());
}
