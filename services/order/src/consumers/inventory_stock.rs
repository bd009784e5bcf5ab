//! `inventory.stock.v1`: the answers of the reserve step and of its compensation.

use openorder_messaging::{DecodeError, Received};
use openorder_proto::{event_types, inventory::v1 as inventory, reasons::Word};

use crate::{
    application::Command,
    consumers::{others, signal},
    saga::Signal,
};

pub(super) fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    match message.event_type.as_str() {
        event_types::STOCK_RESERVED => {
            let reserved: inventory::StockReserved = message.decode()?;
            signal(message, &reserved.order_id, Signal::StockReserved)
        }
        event_types::STOCK_REJECTED => {
            let rejected: inventory::StockRejected = message.decode()?;
            let detail = rejected.shortfalls.iter().map(shortfall).collect::<Vec<_>>().join("; ");
            let reason = rejected.reason().word().to_owned();
            signal(message, &rejected.order_id, Signal::StockRejected { reason, detail: clip(detail) })
        }
        event_types::STOCK_RELEASED => {
            let released: inventory::StockReleased = message.decode()?;
            let expired = released.reason() == inventory::StockReleaseReason::Expired;
            signal(message, &released.order_id, Signal::StockReleased { expired })
        }
        _ => others(message),
    }
}

fn shortfall(line: &inventory::StockShortfall) -> String {
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
