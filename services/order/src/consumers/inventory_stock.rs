//! `inventory.stock.v1`: the answers of the reserve step, of its compensation and of modifications.

use openorder_proto::{
    inventory::v1::{
        StockModificationRejected, StockModified, StockRejected, StockReleaseReason, StockReleased, StockReserved,
        StockShortfall,
    },
    reasons::Word,
};
use openorder_types::ValueError;

use crate::{application::Command, consumers::signal, saga::Signal};

pub(super) fn reserved(event: StockReserved) -> Result<Command, ValueError> {
    signal(&event.order_id, Signal::StockReserved)
}

pub(super) fn rejected(event: StockRejected) -> Result<Command, ValueError> {
    let reason = event.reason().word().to_owned();
    signal(&event.order_id, Signal::StockRejected { reason, detail: detail(&event.shortfalls) })
}

pub(super) fn modified(event: StockModified) -> Result<Command, ValueError> {
    signal(&event.order_id, Signal::StockModified { order_version: event.order_version })
}

pub(super) fn modification_rejected(event: StockModificationRejected) -> Result<Command, ValueError> {
    let (order_version, reason) = (event.order_version, event.reason().word().to_owned());
    let detail = detail(&event.shortfalls);
    signal(&event.order_id, Signal::StockModificationRejected { order_version, reason, detail })
}

pub(super) fn released(event: StockReleased) -> Result<Command, ValueError> {
    let expired = event.reason() == StockReleaseReason::Expired;
    signal(&event.order_id, Signal::StockReleased { expired })
}

fn detail(shortfalls: &[StockShortfall]) -> String {
    clip(shortfalls.iter().map(shortfall).collect::<Vec<_>>().join("; "))
}

fn shortfall(line: &StockShortfall) -> String {
    format!("{}: {} asked for, {} available", line.sku, line.requested_quantity, line.available_quantity)
}

/// The contract's bound of `status_detail`.
fn clip(mut text: String) -> String {
    const LENGTH_MAX: usize = 500;
    if let Some((end, _)) = text.char_indices().nth(LENGTH_MAX) {
        text.truncate(end);
    }
    text
}
