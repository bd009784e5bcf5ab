//! `inventory.stock.v1`: the order service requests here that stock is given back or changed. All else is this service's
//! own.

use openorder_proto::inventory::v1::{StockModificationRequested, StockReleaseRequested};
use openorder_types::{Quantity, Sku, ValueError, parse_uuid};

use crate::{
    domain::{Command, Line},
    present,
};

pub(super) fn release_requested(event: StockReleaseRequested) -> Result<Command, ValueError> {
    let order_id = parse_uuid(&event.order_id, "ORDER_ID_MALFORMED")?;
    let (reason, answer_again) = (present::release_reason_name(event.reason()), event.answer_again);
    Ok(Command::Release { order_id, reason, answer_again })
}

pub(super) fn modification_requested(event: StockModificationRequested) -> Result<Command, ValueError> {
    let order_id = parse_uuid(&event.order_id, "ORDER_ID_MALFORMED")?;
    let lines = event.lines.iter().map(|line| {
        let (sku, quantity) = (Sku::parse(&line.sku)?, Quantity::parse(line.quantity)?);
        Ok(Line { sku, quantity, product_number: line.product_number })
    });
    let lines = lines.collect::<Result<_, ValueError>>()?;
    Ok(Command::Modify { order_id, lines, order_version: event.order_version })
}
