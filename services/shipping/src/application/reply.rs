//! What a caller gets back, and its stored form.

use openorder_messaging::stored_reply;
use openorder_proto::shipping::v1::{AddShipmentEventResponse, Shipment};

stored_reply! {
    pub enum ShippingReply, noted = 3 {
        1 = Shipment(Shipment),
        2 = Recorded(AddShipmentEventResponse),
    }
}
