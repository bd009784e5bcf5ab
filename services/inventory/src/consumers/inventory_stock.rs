//! `inventory.stock.v1`: the order service requests here that stock is given back. All else is this service's own.

use openorder_proto::inventory::v1::StockReleaseRequested;
use openorder_types::{ValueError, parse_uuid};

use crate::{domain::Command, present};

pub(super) fn release_requested(event: StockReleaseRequested) -> Result<Command, ValueError> {
    let order_id = parse_uuid(&event.order_id, "ORDER_ID_MALFORMED")?;
    let (reason, answer_again) = (present::release_reason_name(event.reason()), event.answer_again);
    Ok(Command::Release { order_id, reason, answer_again })
}
