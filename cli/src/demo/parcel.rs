//! What the carrier says of a parcel, until it is delivered.

use openorder_proto::shipping::v1::shipping_service_client::ShippingServiceClient;
use openorder_proto::shipping::v1::{
    AddShipmentEventRequest, ShipmentEventType, UpdateShipmentRequest, add_shipment_event_request::Key,
};

use crate::gateway_client::{GatewayClient, failed};
use crate::output::line;

const CARRIER: &str = "Demo Express";

/// Hands the parcel of an order to a carrier, who brings it; an operator writes that down.
pub(super) async fn deliver(operator: &GatewayClient, order_id: &str) -> anyhow::Result<()> {
    let mut client = ShippingServiceClient::new(operator.clone());
    let request = UpdateShipmentRequest {
        request_id: format!("{order_id}.carrier"),
        order_id: order_id.to_owned(),
        carrier: CARRIER.to_owned(),
        tracking_number: order_id.to_owned(),
        ..UpdateShipmentRequest::default()
    };
    let given = client.update_shipment(request).await;
    given.map_err(|status| failed("the carrier could not be noted", &status))?;
    for event in [ShipmentEventType::PickedUp, ShipmentEventType::Delivered] {
        let request = AddShipmentEventRequest {
            request_id: format!("{order_id}.{}", event as i32),
            key: Some(Key::OrderId(order_id.to_owned())),
            r#type: event.into(),
            ..AddShipmentEventRequest::default()
        };
        let heard = client.add_shipment_event(request).await;
        heard.map_err(|status| failed("what the carrier said could not be recorded", &status))?;
    }
    line(format_args!("   parcel: {CARRIER} has picked it up and delivered it"));
    Ok(())
}
