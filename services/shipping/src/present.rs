//! From the domain to protobuf, and what is kept of a shipment as protobuf back.

use openorder_proto::{google::r#type::PostalAddress, shipping::v1 as proto};
use openorder_rpc::timestamp_to_proto;
use openorder_types::{Caller, DisplayName, Quantity, Sku, ValueError};
use prost::Message;

use crate::domain::{Address, CancelReason, Carrier, CarrierEvent, CarrierEventId, Line, Shipment, TrackingNumber};

pub(crate) fn shipment(shipment: &Shipment) -> proto::Shipment {
    proto::Shipment {
        shipment_id: shipment.shipment_id.to_string(),
        order_id: shipment.order_id.to_string(),
        customer_id: shipment.customer_id.to_string(),
        state: i32::from(shipment.state.number()),
        carrier: shipment.carrier.as_ref().map_or("", Carrier::as_str).to_owned(),
        tracking_number: shipment.tracking_number.as_ref().map_or("", TrackingNumber::as_str).to_owned(),
        cancel_reason: shipment.cancel_reason.map_or("", CancelReason::as_str).to_owned(),
        cancel_detail: shipment.cancel_detail.clone(),
        version: shipment.version,
        create_time: Some(timestamp_to_proto(&shipment.create_time)),
        update_time: Some(timestamp_to_proto(&shipment.update_time)),
        ship_time: shipment.ship_time.as_ref().map(timestamp_to_proto),
        deliver_time: shipment.deliver_time.as_ref().map(timestamp_to_proto),
        ..body(shipment)
    }
}

/// The shipment as this caller sees it: one that only looks on sees no address.
pub(crate) fn shipment_for(caller: &Caller, one: &Shipment) -> proto::Shipment {
    let shown = shipment(one);
    if caller.may_act_for(&one.customer_id) { shown } else { proto::Shipment { address: None, ..shown } }
}

/// What is known of a shipment from the beginning and never changes: its lines and its address alone.
pub(crate) fn body(shipment: &Shipment) -> proto::Shipment {
    let line = |line: &Line| proto::ShipmentLine {
        sku: line.sku.to_string(),
        display_name: line.display_name.to_string(),
        quantity: i32::try_from(line.quantity.get()).unwrap_or(i32::MAX),
        product_number: line.product_number,
    };
    proto::Shipment {
        lines: shipment.lines.iter().map(line).collect(),
        // Encoded here, so it can be decoded.
        address: shipment.address.as_ref().and_then(|address| PostalAddress::decode(address.encoded()).ok()),
        ..proto::Shipment::default()
    }
}

/// The lines and the address of a body.
///
/// # Errors
/// What is wrong first.
pub(crate) fn parse_body(body: &proto::Shipment) -> Result<(Vec<Line>, Option<Address>), ValueError> {
    let line = |line: &proto::ShipmentLine| {
        let (sku, quantity) = (Sku::parse(&line.sku)?, Quantity::parse(line.quantity)?);
        let display_name = DisplayName::parse(&line.display_name)?;
        Ok(Line { sku, display_name, quantity, product_number: line.product_number })
    };
    let lines = body.lines.iter().map(line).collect::<Result<_, ValueError>>()?;
    Ok((lines, address(body.address.as_ref())?))
}

/// An address as it is kept.
///
/// # Errors
/// `ADDRESS_TOO_LONG`.
pub(crate) fn address(message: Option<&PostalAddress>) -> Result<Option<Address>, ValueError> {
    message.map(|message| Address::parse(message.encode_to_vec())).transpose()
}

pub(crate) fn carrier_event(event: &CarrierEvent) -> proto::ShipmentEvent {
    proto::ShipmentEvent {
        shipment_event_id: event.shipment_event_id.to_string(),
        r#type: i32::from(event.event_type.number()),
        event_time: Some(timestamp_to_proto(&event.event_time)),
        location: event.location.as_str().to_owned(),
        carrier_event_id: event.carrier_event_id.as_ref().map_or("", CarrierEventId::as_str).to_owned(),
        create_time: Some(timestamp_to_proto(&event.create_time)),
        ordinal: event.ordinal,
    }
}

#[cfg(test)]
mod tests {
    use openorder_proto::order::v1::CancellationCause;
    use openorder_types::{Timestamp, UserId, assert_numbered_as_in_the_contract};
    use uuid::Uuid;

    use super::*;
    use crate::domain::{CarrierEventType, NewShipment, ShipmentState};

    #[test]
    fn stored_numbers_are_those_of_the_contract() {
        assert_numbered_as_in_the_contract! {
            ShipmentState = proto::ShipmentState, "SHIPMENT_STATE";
            CarrierEventType = proto::ShipmentEventType, "SHIPMENT_EVENT_TYPE";
            CancelReason = CancellationCause, "CANCELLATION_CAUSE";
        }
    }

    #[test]
    fn lines_and_address_are_read_as_they_were_written() {
        let sent = PostalAddress {
            region_code: "DE".to_owned(),
            address_lines: vec!["Elm Street 13".to_owned()],
            recipients: vec!["Ada".to_owned()],
            ..PostalAddress::default()
        };
        let new = NewShipment {
            shipment_id: Uuid::from_u128(1),
            order_id: Uuid::from_u128(2),
            customer_id: UserId::parse("ada").unwrap(),
            lines: vec![Line {
                sku: Sku::parse("A").unwrap(),
                display_name: DisplayName::parse("Thing").unwrap(),
                quantity: Quantity::parse(1_000_000_u32).unwrap(),
                product_number: 7,
            }],
            address: address(Some(&sent)).unwrap(),
        };
        let made = Shipment::create(new.clone(), Timestamp::UNIX_EPOCH);
        assert_eq!(shipment(&made).address, Some(sent));
        let stored = proto::Shipment::decode(&*body(&made).encode_to_vec()).unwrap();
        assert_eq!(parse_body(&stored).unwrap(), (new.lines, new.address));
        assert!(!format!("{made:?}").contains("Elm"), "a shipment shows nothing of its address");
    }
}
