//! `inventory.stock.v1`: the order service asks here for stock to be given back. All else is this service's own.

use openorder_messaging::{DecodeError, Received};
use openorder_proto::{event_types, inventory::v1 as proto};
use openorder_types::parse_uuid;

use crate::{consumers::others, domain::Command, present};

pub(super) fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    match message.event_type.as_str() {
        event_types::STOCK_RELEASE_REQUESTED => {
            let request: proto::StockReleaseRequested = message.decode()?;
            let order_id = parse_uuid(&request.order_id, "ORDER_ID_MALFORMED")
                .map_err(|error| DecodeError::malformed(message, error.message))?;
            let (reason, answer_again) = (present::release_reason_name(request.reason()), request.answer_again);
            Ok(Some(Command::Release { order_id, reason, answer_again }))
        }
        _ => others(message),
    }
}
