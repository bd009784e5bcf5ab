//! From requests to commands: every rule of shape, all violations at once.

use chrono::SubsecRound;
use openorder_proto::order::v1::CancellationCause;
use openorder_proto::shipping::v1::{
    AddShipmentEventRequest, CancelShipmentRequest, GetShipmentRequest, ListShipmentsRequest,
    ShipmentEventType as EventTypeMessage, ShipmentState as StateMessage, UpdateShipmentRequest,
    add_shipment_event_request, get_shipment_request,
};
use openorder_rpc::{Violations, page_size, timestamp};
use openorder_types::{FreeText, Rejection, RequestId, TextRule, UserId, ValueError, parse_uuid};
use uuid::Uuid;

use crate::{
    domain::{
        CancelReason, Carrier, CarrierEventId, CarrierEventType, Command, Location, NewCarrierEvent, ShipmentKey,
        ShipmentState, Target, TrackingNumber, Update,
    },
    persistence::Filter,
};

const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 500;

pub(super) fn get(message: &GetShipmentRequest) -> Result<ShipmentKey, Rejection> {
    let mut violations = Violations::new();
    let key = violations.required("key", message.key.as_ref()).and_then(|key| match key {
        get_shipment_request::Key::ShipmentId(text) => by_shipment(text, &mut violations),
        get_shipment_request::Key::OrderId(text) => by_order(text, &mut violations),
    });
    key.ok_or_else(|| violations.into_rejection())
}

/// `cursor` is what the page token holds: the last shipment of the page before.
pub(super) fn list(message: &ListShipmentsRequest, cursor: Option<&[u8]>) -> Result<(Filter, u32), Rejection> {
    let mut violations = Violations::new();
    let mut filter = Filter { before: cursor.and_then(|bytes| Uuid::from_slice(bytes).ok()), ..Filter::default() };
    if !message.customer_id.is_empty() {
        filter.customer_id = violations.take("customer_id", UserId::parse(&message.customer_id));
    }
    if !message.order_id.is_empty() {
        filter.order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    }
    if message.state != StateMessage::Unspecified as i32 {
        filter.state = ShipmentState::from_number(message.state);
        if filter.state.is_none() {
            violations.add("state", "STATE_UNKNOWN", "must be the state of a shipment");
        }
    }
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    match size {
        Some(size) if violations.is_empty() => Ok((filter, size)),
        _ => Err(violations.into_rejection()),
    }
}

pub(super) fn update(message: &UpdateShipmentRequest) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    if message.expected_version < 0 {
        violations.add("expected_version", "VERSION_OUT_OF_RANGE", "must not be negative");
    }
    let target = match StateMessage::try_from(message.state) {
        Ok(StateMessage::Unspecified) => None,
        Ok(StateMessage::Shipped) => Some(Target::Shipped),
        Ok(StateMessage::Delivered) => Some(Target::Delivered),
        Ok(StateMessage::Created | StateMessage::Cancelled) | Err(_) => {
            violations.add("state", "STATE_NOT_ALLOWED", "must be SHIPPED or DELIVERED");
            None
        }
    };
    let carrier = given("carrier", &message.carrier, Carrier::parse, &mut violations);
    let tracking_number = given("tracking_number", &message.tracking_number, TrackingNumber::parse, &mut violations);
    if message.state == 0 && message.carrier.is_empty() && message.tracking_number.is_empty() {
        violations.add("state", "FIELD_MISSING", "state, carrier or tracking_number must be set");
    }
    match (request_id, order_id) {
        (Some(request_id), Some(order_id)) if violations.is_empty() => {
            let expected_version = Some(message.expected_version).filter(|version| *version != 0);
            let update = Update { order_id, expected_version, target, carrier, tracking_number };
            Ok((request_id, Command::Update(update)))
        }
        _ => Err(violations.into_rejection()),
    }
}

pub(super) fn cancel(message: &CancelShipmentRequest, shipment_id: Uuid) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    let customer_id = violations.take("customer_id", UserId::parse(&message.customer_id));
    if message.cause == CancellationCause::Unspecified as i32 {
        violations.add("cause", "FIELD_MISSING", "must be set");
    }
    let detail = violations.take("detail", TextRule::REASON.parse(&message.detail)).map(FreeText::into_string);
    let named = request_id.zip(order_id).zip(customer_id).zip(detail);
    violations.finish_with(named.map(|(((request_id, order_id), customer_id), detail)| {
        let reason = CancelReason::of_cause(message.cause);
        (request_id, Command::Cancel { shipment_id, order_id, customer_id, reason, detail })
    }))
}

pub(super) fn add_event(
    message: &AddShipmentEventRequest,
    shipment_event_id: Uuid,
) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let key = violations.required("key", message.key.as_ref()).and_then(|key| match key {
        add_shipment_event_request::Key::ShipmentId(text) => by_shipment(text, &mut violations),
        add_shipment_event_request::Key::OrderId(text) => by_order(text, &mut violations),
    });
    let event_type = CarrierEventType::from_number(message.r#type);
    if message.r#type == EventTypeMessage::Unspecified as i32 {
        violations.add("type", "FIELD_MISSING", "must be set");
    } else if event_type.is_none() {
        violations.add("type", "EVENT_TYPE_UNKNOWN", "must be the type of a shipment's event");
    }
    let event_time = message.event_time.and_then(|time| timestamp("event_time", Some(time), &mut violations));
    let location = violations.take("location", Location::parse(&message.location));
    let carrier_event_id = given("carrier_event_id", &message.carrier_event_id, CarrierEventId::parse, &mut violations);
    match (request_id, key, event_type, location) {
        (Some(request_id), Some(key), Some(event_type), Some(location)) if violations.is_empty() => {
            // In the microseconds that are kept: what is answered is what is read later.
            let event_time = event_time.map(|time| time.trunc_subsecs(6));
            let event = NewCarrierEvent { shipment_event_id, event_type, event_time, location, carrier_event_id };
            Ok((request_id, Command::AddEvent { key, event }))
        }
        _ => Err(violations.into_rejection()),
    }
}

/// A text that may be left empty.
fn given<T>(
    field: &str,
    text: &str,
    parse: fn(&str) -> Result<T, ValueError>,
    violations: &mut Violations,
) -> Option<T> {
    if text.is_empty() { None } else { violations.take(field, parse(text)) }
}

fn by_shipment(text: &str, violations: &mut Violations) -> Option<ShipmentKey> {
    violations.take("shipment_id", parse_uuid(text, "SHIPMENT_ID_MALFORMED")).map(ShipmentKey::Shipment)
}

fn by_order(text: &str, violations: &mut Violations) -> Option<ShipmentKey> {
    violations.take("order_id", parse_uuid(text, "ORDER_ID_MALFORMED")).map(ShipmentKey::Order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(rejection: &Rejection) -> Vec<(&str, &'static str)> {
        rejection.violations.iter().map(|violation| (violation.field.as_str(), violation.reason)).collect()
    }

    fn id() -> String {
        Uuid::from_u128(7).to_string()
    }

    #[test]
    fn a_shipment_is_asked_for_by_one_key() {
        let by = |key| get(&GetShipmentRequest { key }).map_err(|rejection| rejection.reason);
        let uuid = Uuid::from_u128(7);
        assert_eq!(by(Some(get_shipment_request::Key::ShipmentId(id()))), Ok(ShipmentKey::Shipment(uuid)));
        assert_eq!(by(Some(get_shipment_request::Key::OrderId(id()))), Ok(ShipmentKey::Order(uuid)));
        assert_eq!(by(Some(get_shipment_request::Key::OrderId("7".to_owned()))), Err("ORDER_ID_MALFORMED"));
        assert_eq!(by(Some(get_shipment_request::Key::ShipmentId(String::new()))), Err("SHIPMENT_ID_MALFORMED"));
        assert_eq!(by(None), Err("FIELD_MISSING"));
    }

    #[test]
    fn every_wrong_field_of_an_update_is_named_at_once() {
        let expected =
            [("request_id", "REQUEST_ID_MALFORMED"), ("order_id", "ORDER_ID_MALFORMED"), ("state", "FIELD_MISSING")];
        assert_eq!(seen(&update(&UpdateShipmentRequest::default()).unwrap_err()), expected);
        let wrong = UpdateShipmentRequest {
            request_id: "r".to_owned(),
            order_id: id(),
            expected_version: -1,
            state: StateMessage::Cancelled.into(),
            carrier: "two\nlines".to_owned(),
            tracking_number: "a b".to_owned(),
        };
        let expected = [
            ("expected_version", "VERSION_OUT_OF_RANGE"),
            ("state", "STATE_NOT_ALLOWED"),
            ("carrier", "CARRIER_MALFORMED"),
            ("tracking_number", "TRACKING_NUMBER_MALFORMED"),
        ];
        assert_eq!(seen(&update(&wrong).unwrap_err()), expected);
        let unknown = UpdateShipmentRequest { state: 99, expected_version: 0, ..wrong };
        assert_eq!(seen(&update(&unknown).unwrap_err())[0], ("state", "STATE_NOT_ALLOWED"));
    }

    #[test]
    fn what_an_update_does_not_name_stays() {
        let message = UpdateShipmentRequest {
            request_id: "r".to_owned(),
            order_id: id(),
            tracking_number: "T1".to_owned(),
            ..UpdateShipmentRequest::default()
        };
        let (_, Command::Update(update)) = update(&message).unwrap() else { panic!("another command") };
        assert_eq!((update.expected_version, update.target, update.carrier), (None, None, None));
        assert_eq!(update.tracking_number, TrackingNumber::parse("T1").ok());
    }

    #[test]
    fn every_wrong_field_of_an_event_is_named_at_once() {
        let expected = [("request_id", "REQUEST_ID_MALFORMED"), ("key", "FIELD_MISSING"), ("type", "FIELD_MISSING")];
        assert_eq!(seen(&add_event(&AddShipmentEventRequest::default(), Uuid::nil()).unwrap_err()), expected);
        let wrong = AddShipmentEventRequest {
            request_id: "r".to_owned(),
            key: Some(add_shipment_event_request::Key::OrderId("7".to_owned())),
            r#type: 99,
            event_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
            location: "x".repeat(201),
            carrier_event_id: "a/b".to_owned(),
        };
        let expected = [
            ("order_id", "ORDER_ID_MALFORMED"),
            ("type", "EVENT_TYPE_UNKNOWN"),
            ("event_time", "TIMESTAMP_MALFORMED"),
            ("location", "LOCATION_TOO_LONG"),
            ("carrier_event_id", "CARRIER_EVENT_ID_MALFORMED"),
        ];
        assert_eq!(seen(&add_event(&wrong, Uuid::nil()).unwrap_err()), expected);
    }

    #[test]
    fn an_event_is_of_the_microsecond_that_is_kept() {
        let message = AddShipmentEventRequest {
            request_id: "r".to_owned(),
            key: Some(add_shipment_event_request::Key::ShipmentId(id())),
            r#type: EventTypeMessage::PickedUp.into(),
            event_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 1_234 }),
            ..AddShipmentEventRequest::default()
        };
        let (_, Command::AddEvent { event, .. }) = add_event(&message, Uuid::nil()).unwrap() else {
            panic!("another command")
        };
        assert_eq!(event.event_time.map(|time| time.timestamp_subsec_nanos()), Some(1_000));
        assert_eq!((event.event_type, event.carrier_event_id), (CarrierEventType::PickedUp, None));
    }

    #[test]
    fn every_wrong_condition_of_a_list_is_named_at_once() {
        let message = ListShipmentsRequest {
            customer_id: " ".to_owned(),
            order_id: "7".to_owned(),
            state: 99,
            page_size: -1,
            page_token: String::new(),
        };
        let expected = [
            ("customer_id", "USER_ID_MALFORMED"),
            ("order_id", "ORDER_ID_MALFORMED"),
            ("state", "STATE_UNKNOWN"),
            ("page_size", "PAGE_SIZE_NEGATIVE"),
        ];
        assert_eq!(seen(&list(&message, None).unwrap_err()), expected);
        let (filter, size) = list(&ListShipmentsRequest::default(), None).unwrap();
        assert_eq!((size, filter.customer_id, filter.order_id, filter.state), (50, None, None, None));
        let state = StateMessage::Shipped.into();
        let (filter, size) =
            list(&ListShipmentsRequest { state, page_size: 9_999, ..Default::default() }, None).unwrap();
        assert_eq!((filter.state, size), (Some(ShipmentState::Shipped), 500));
    }
}
