//! From requests to commands: every rule of shape, all violations at once.

use std::collections::BTreeSet;

use openorder_proto::inventory::v1::{
    AdjustStockRequest, ListReservationsRequest, ReleaseStockRequest, ReservationState as ProtoState,
    ReserveStockRequest, StockLine,
};
use openorder_rpc::{Violations, page_size};
use openorder_types::{FreeText, Quantity, Rejection, RequestId, Sku, TextRule, parse_uuid};
use uuid::Uuid;

use crate::{
    domain::{Command, Line, ReservationState},
    persistence::Filter,
};

/// Lines of one reservation at most.
const LINES_MAX: usize = 100;
/// SKUs of one BatchGetStock at most.
const SKUS_MAX: usize = 500;
/// Pieces of one adjustment at most.
const DELTA_MAX: i64 = 1_000_000_000;
const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 500;

pub(super) fn sku(field: &str, text: &str) -> Result<Sku, Rejection> {
    let mut violations = Violations::new();
    let sku = violations.take(field, Sku::parse(text));
    violations.finish_with(sku)
}

pub(super) fn skus(texts: &[String]) -> Result<BTreeSet<String>, Rejection> {
    let mut violations = Violations::new();
    count(&mut violations, "skus", texts.len(), SKUS_MAX);
    let parsed = texts.iter().take(SKUS_MAX).enumerate();
    let skus = parsed
        .filter_map(|(index, text)| violations.take(format!("skus[{index}]"), Sku::parse(text)))
        .collect::<Vec<_>>();
    violations.finish()?;
    Ok(skus.into_iter().map(|sku| sku.to_string()).collect())
}

pub(super) fn adjust(message: &AdjustStockRequest) -> Result<(String, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let sku = violations.take("sku", Sku::parse(&message.sku));
    let delta = i64::from(message.delta);
    if delta == 0 || delta.abs() > DELTA_MAX {
        violations.add("delta", "DELTA_OUT_OF_RANGE", format!("must be −{DELTA_MAX} to {DELTA_MAX} and not 0"));
    }
    let reason = violations.take("reason", TextRule::REASON.parse(&message.reason)).map(FreeText::into_string);
    let parsed = request_id.zip(sku).zip(reason);
    let parsed = parsed.map(|((id, sku), reason)| (id.into_string(), Command::Adjust { sku, delta, reason }));
    violations.finish_with(parsed)
}

pub(super) fn reserve(message: &ReserveStockRequest) -> Result<(String, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    let lines = lines(&mut violations, &message.lines);
    let parsed =
        request_id.zip(order_id).map(|(id, order_id)| (id.into_string(), Command::Reserve { order_id, lines }));
    violations.finish_with(parsed)
}

pub(super) fn release(message: &ReleaseStockRequest) -> Result<(String, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    violations.take("reason", TextRule::REASON.parse(&message.reason));
    let reason = "REQUESTED".to_owned();
    let parsed = request_id
        .zip(order_id)
        .map(|(id, order_id)| (id.into_string(), Command::Release { order_id, reason, answer_again: false }));
    violations.finish_with(parsed)
}

pub(super) fn list(message: &ListReservationsRequest, cursor: Option<&[u8]>) -> Result<(Filter, u32), Rejection> {
    let mut violations = Violations::new();
    let mut filter = Filter { before: cursor.and_then(|bytes| Uuid::from_slice(bytes).ok()), ..Filter::default() };
    if !message.order_id.is_empty() {
        filter.order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    }
    if !message.sku.is_empty() {
        filter.sku = violations.take("sku", Sku::parse(&message.sku));
    }
    match ProtoState::try_from(message.state) {
        Ok(state) => filter.state = ReservationState::from_number(state),
        Err(_) => violations.add("state", "STATE_UNKNOWN", "must be a reservation state"),
    }
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    violations.finish_with(size.map(|size| (filter, size)))
}

/// Of a list without conditions.
pub(super) fn size(size: i32) -> Result<u32, Rejection> {
    let mut violations = Violations::new();
    let size = violations.take("page_size", page_size(size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    violations.finish_with(size)
}

fn lines(violations: &mut Violations, messages: &[StockLine]) -> Vec<Line> {
    count(violations, "lines", messages.len(), LINES_MAX);
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    for (index, message) in messages.iter().take(LINES_MAX).enumerate() {
        let sku = violations.take(format!("lines[{index}].sku"), Sku::parse(&message.sku));
        let quantity = violations.take(format!("lines[{index}].quantity"), Quantity::parse(message.quantity));
        if !seen.insert(message.sku.as_str()) {
            violations.add(format!("lines[{index}].sku"), "SKU_DOUBLED", "must stand in one line only");
        }
        let product_number = message.product_number;
        lines.extend(sku.zip(quantity).map(|(sku, quantity)| Line { sku, quantity, product_number }));
    }
    lines
}

fn count(violations: &mut Violations, field: &str, count: usize, max: usize) {
    if count == 0 {
        violations.add(field, "LIST_EMPTY", "must not be empty");
    } else if count > max {
        violations.add(field, "LIST_TOO_LONG", format!("must have at most {max} entries"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let message = ReserveStockRequest {
            request_id: String::new(),
            order_id: "no uuid".to_owned(),
            lines: vec![
                StockLine { sku: "A".to_owned(), quantity: 0, product_number: 0 },
                StockLine { sku: "A".to_owned(), quantity: 2_000_000, product_number: 0 },
                StockLine { sku: "not a sku".to_owned(), quantity: 1, product_number: 0 },
            ],
        };
        let rejection = reserve(&message).unwrap_err();
        let fields: Vec<&str> = rejection.violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(
            fields,
            ["request_id", "order_id", "lines[0].quantity", "lines[1].quantity", "lines[1].sku", "lines[2].sku"]
        );
    }

    #[test]
    fn a_reason_is_text_to_read() {
        let order_id = Uuid::now_v7().to_string();
        for wrong in ["nul\0", "\u{1b}[2J", "two\nlines", "\u{202E}"] {
            let message =
                AdjustStockRequest { request_id: "r".into(), sku: "A".into(), delta: 1, reason: wrong.to_owned() };
            assert_eq!(adjust(&message).unwrap_err().reason, "REASON_MALFORMED", "{wrong:?}");
            let message =
                ReleaseStockRequest { request_id: "r".into(), order_id: order_id.clone(), reason: wrong.to_owned() };
            assert_eq!(release(&message).unwrap_err().reason, "REASON_MALFORMED", "{wrong:?}");
        }
    }

    #[test]
    fn an_adjustment_of_nothing_is_no_adjustment() {
        let message = AdjustStockRequest { request_id: "r".into(), sku: "A".into(), delta: 0, reason: String::new() };
        assert_eq!(adjust(&message).unwrap_err().reason, "DELTA_OUT_OF_RANGE");
    }
}
