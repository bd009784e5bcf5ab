//! How values look to people.

use openorder_proto::google::r#type::Money as MoneyMessage;
use openorder_proto::order::v1::OrderTimelineEntry;
use openorder_proto::reasons::Word;
use openorder_rpc::money_from_proto;
use openorder_types::Money;
use prost_types::Timestamp;

use crate::output::columns;

/// Before a line that says whether something is as expected.
pub(crate) fn mark(expected: bool) -> &'static str {
    if expected { "✓" } else { "✗" }
}

/// An amount of the contract: `12.34 EUR`.
pub(crate) fn money(message: Option<&MoneyMessage>) -> String {
    let Some(message) = message else { return "nothing".to_owned() };
    match money_from_proto(message) {
        Ok(money) => money.to_string(),
        Err(error) => format!("an amount that cannot be read ({error})"),
    }
}

/// Reads an amount such as `12.34 EUR`, with or without the space.
///
/// # Errors
/// What an amount looks like, or why this one is none: an unknown currency, more digits than it has.
pub(crate) fn parse_money(text: &str) -> Result<MoneyMessage, String> {
    let form = || "must be an amount with its currency, such as 12.34 EUR".to_owned();
    let text = text.trim();
    let (amount, code) = text.len().checked_sub(3).and_then(|at| text.split_at_checked(at)).ok_or_else(form)?;
    let (units, fraction) = amount.trim_end().split_once('.').unwrap_or((amount.trim_end(), "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(units) || !is_number(fraction) || fraction.len() > 9 {
        return Err(form());
    }
    let units = units.parse().map_err(|_| form())?;
    let nanos = format!("{fraction:0<9}").parse().map_err(|_| form())?;
    let money = Money::from_units_nanos(&code.to_ascii_uppercase(), units, nanos).map_err(|error| error.to_string())?;
    let (units, nanos) = money.to_units_nanos();
    Ok(MoneyMessage { currency_code: money.currency().to_string(), units, nanos })
}

/// The events of an order, a line each: time since the first one, type, status, reason and what else there is to say.
pub(crate) fn timeline(events: &[OrderTimelineEntry]) -> Vec<String> {
    let first = events.first().and_then(|event| event.occurred_at.as_ref()).map_or(0, micros);
    let rows = events.iter().map(|event| {
        let offset = event.occurred_at.as_ref().map_or(0, micros) - first;
        let offset = format!("{:+.1} ms", offset as f64 / 1_000.0);
        let why = match event.details.get("detail").filter(|detail| !detail.is_empty()) {
            Some(detail) if !event.reason.is_empty() => format!("{}: {detail}", event.reason),
            _ => event.reason.clone(),
        };
        vec![format!("{offset:>11}"), event.event_type.clone(), event.status().word().to_owned(), why]
    });
    columns(&rows.collect::<Vec<_>>())
}

fn micros(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000) + i64::from(time.nanos / 1_000)
}

#[cfg(test)]
mod tests {
    use openorder_proto::order::v1::OrderStatus;

    use super::*;

    fn event(event_type: &str, status: OrderStatus, nanos: i32, reason: &str) -> OrderTimelineEntry {
        OrderTimelineEntry {
            event_type: event_type.to_owned(),
            status: status.into(),
            occurred_at: Some(Timestamp { seconds: 1_700_000_000, nanos }),
            reason: reason.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_timeline_counts_from_the_first_event() {
        let events = [
            event("order.lifecycle.created", OrderStatus::Pending, 5_000_000, ""),
            event("order.lifecycle.rejected", OrderStatus::Rejected, 28_300_000, "OUT_OF_STOCK"),
        ];
        let expected = [
            "    +0.0 ms  order.lifecycle.created   PENDING",
            "   +23.3 ms  order.lifecycle.rejected  REJECTED  OUT_OF_STOCK",
        ];
        assert_eq!(timeline(&events), expected);
        assert!(timeline(&[]).is_empty());
    }

    #[test]
    fn amounts_are_in_the_units_of_their_currency() {
        let amount = |code: &str, units, nanos| MoneyMessage { currency_code: code.to_owned(), units, nanos };
        assert_eq!(money(Some(&amount("EUR", 12, 340_000_000))), "12.34 EUR");
        assert_eq!(money(Some(&amount("KRW", 12, 0))), "12 KRW");
        assert_eq!(money(None), "nothing");
        assert!(money(Some(&amount("XXX", 1, 0))).contains("cannot be read"));
        for text in ["12.34 EUR", "12.34EUR", " 12.34 eur "] {
            assert_eq!(parse_money(text), Ok(amount("EUR", 12, 340_000_000)), "{text}");
        }
        assert_eq!(parse_money("1200 KRW"), Ok(amount("KRW", 1_200, 0)));
        for bad in [
            "",
            "EUR",
            "12.34",
            "-1 EUR",
            "1. EUR",
            "1,5 EUR",
            "12.345 EUR",
            "1 ÄUR",
            "1 XYZ",
            "9223372036854775808 EUR",
        ] {
            assert!(parse_money(bad).is_err(), "{bad}");
        }
    }
}
