//! What an order carries and never changes: one column, a [`StoredOrder`].

use openorder_proto::internal::order::v1::{StoredLine, StoredOrder};
use openorder_telemetry::TraceContext;
use openorder_types::{Currency, EmailAddress, Fault, Money, Quantity, Sku};
use prost::Message;
use serde::Deserialize;

use crate::{
    domain::{Order, OrderLine, PaymentMode, ReservationMode},
    persistence::Record,
    present,
};

/// The same, read.
pub(super) struct Body {
    pub customer_email: Option<EmailAddress>,
    pub reservation_mode: ReservationMode,
    pub payment_mode: PaymentMode,
    pub lines: Vec<OrderLine>,
    pub total: Option<Money>,
    pub trace: TraceContext,
}

/// As it is stored.
pub(super) fn encode(record: &Record) -> Vec<u8> {
    let Order { customer_email, reservation_mode, payment_mode, lines, total, .. } = &record.order;
    // One currency an order, that of its total where it has one.
    let currency = lines.iter().find_map(|line| line.price.map(|(unit, _)| unit.currency()));
    let lines = lines.iter().map(|line| StoredLine {
        sku: line.sku.as_str().to_owned(),
        display_name: line.display_name.clone(),
        quantity: line.quantity.get(),
        unit_price_minor_units: line.price.map(|(unit, _)| unit.minor_units()),
        line_total_minor_units: line.price.map(|(_, total)| total.minor_units()),
        product_number: line.product_number,
    });
    let stored = StoredOrder {
        customer_email: customer_email.as_ref().map(|email| email.as_str().to_owned()).unwrap_or_default(),
        reservation_mode: present::reservation_mode(*reservation_mode).into(),
        payment_mode: present::payment_mode(*payment_mode).into(),
        currency: currency.map(|currency| currency.as_str().to_owned()).unwrap_or_default(),
        total_minor_units: total.map(|total| total.minor_units()),
        trace_context: if record.trace.is_valid() { record.trace.to_bytes().to_vec() } else { Vec::new() },
        lines: lines.collect(),
    };
    stored.encode_to_vec()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Body, Fault> {
    read(StoredOrder::decode(bytes).map_err(Fault::permanent)?)
}

fn read(stored: StoredOrder) -> Result<Body, Fault> {
    let currency = Some(stored.currency).filter(|code| !code.is_empty());
    let currency = currency.map(|code| Currency::parse(&code)).transpose().map_err(Fault::permanent)?;
    let money = |minor_units: Option<i64>| Some(Money::new(minor_units?, currency?));
    let lines = stored.lines.into_iter().map(|line| {
        Ok(OrderLine {
            sku: Sku::parse(&line.sku).map_err(Fault::permanent)?,
            display_name: line.display_name,
            quantity: Quantity::parse(line.quantity).map_err(Fault::permanent)?,
            price: money(line.unit_price_minor_units).zip(money(line.line_total_minor_units)),
            product_number: line.product_number,
        })
    });
    let email = Some(stored.customer_email).filter(|email| !email.is_empty());
    Ok(Body {
        customer_email: email.map(|email| EmailAddress::parse(&email)).transpose().map_err(Fault::permanent)?,
        reservation_mode: ReservationMode::from_stored(number(stored.reservation_mode)?)?,
        payment_mode: PaymentMode::from_stored(number(stored.payment_mode)?)?,
        lines: lines.collect::<Result<_, Fault>>()?,
        total: money(stored.total_minor_units),
        trace: TraceContext::from_bytes(&stored.trace_context, None).unwrap_or_default(),
    })
}

fn number(value: i32) -> Result<i16, Fault> {
    i16::try_from(value).map_err(Fault::permanent)
}

/// What a row of the form before has in columns of their own; null in others. A column of a query.
macro_rules! former {
    () => {
        "case when body is null then json_build_object( \
             'customer_email', customer_email, 'reservation_mode', reservation_mode, 'payment_mode', payment_mode, \
             'currency', currency, 'total_minor', total_minor, 'trace_context', encode(trace_context, 'hex'), \
             'lines', lines)::text end as former"
    };
}
pub(super) use former;

#[derive(Deserialize)]
struct Former {
    customer_email: String,
    reservation_mode: i16,
    payment_mode: i16,
    currency: Option<String>,
    total_minor: Option<i64>,
    trace_context: Option<String>,
    lines: Vec<FormerLine>,
}

/// Amounts in minor units of the order's currency.
#[derive(Deserialize)]
struct FormerLine {
    sku: String,
    display_name: String,
    quantity: i64,
    unit_price_minor: Option<i64>,
    line_total_minor: Option<i64>,
    currency: Option<String>,
    #[serde(default)]
    product_number: i64,
}

/// Reads what [`former`] selects.
pub(super) fn decode_former(text: &str) -> Result<Body, Fault> {
    let former: Former = serde_json::from_str(text).map_err(Fault::permanent)?;
    // Without a total there is no currency of the order; its lines have theirs, which is one.
    let currency = former.currency.or_else(|| former.lines.iter().find_map(|line| line.currency.clone()));
    let lines = former.lines.into_iter().map(|line| StoredLine {
        sku: line.sku,
        display_name: line.display_name,
        quantity: line.quantity,
        unit_price_minor_units: line.unit_price_minor,
        line_total_minor_units: line.line_total_minor,
        product_number: line.product_number,
    });
    read(StoredOrder {
        customer_email: former.customer_email,
        reservation_mode: former.reservation_mode.into(),
        payment_mode: former.payment_mode.into(),
        currency: currency.unwrap_or_default(),
        total_minor_units: former.total_minor,
        trace_context: former.trace_context.as_deref().and_then(bytes_of_hex).unwrap_or_default(),
        lines: lines.collect(),
    })
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use openorder_types::{Timestamp, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::{CONFIRMING, OrderStatus};

    /// One line of a product that is known, and one of a product that is not.
    fn record(total: Option<i64>, trace: TraceContext) -> Record {
        let euros = |minor_units| Money::new(minor_units, Currency::parse("EUR").unwrap());
        let line = |sku: &str, quantity: i64, price| OrderLine {
            sku: Sku::parse(sku).unwrap(),
            display_name: if price { "Tée \"x\", 中".to_owned() } else { String::new() },
            quantity: Quantity::parse(quantity).unwrap(),
            price: price.then(|| (euros(499), euros(499 * quantity))),
            product_number: if price { 12 } else { 0 },
        };
        let order = Order {
            order_id: Uuid::nil(),
            customer_id: UserId::parse("ada").unwrap(),
            customer_email: EmailAddress::parse("ada@example.org").ok(),
            status: OrderStatus::Pending,
            version: 1,
            lines: vec![line("TEA", 300, true), line("NO", 1, total.is_some())],
            total: total.map(euros),
            reservation_mode: ReservationMode::Immediate,
            payment_mode: PaymentMode::Manual,
            status_reason: String::new(),
            status_detail: String::new(),
            payment_id: String::new(),
            create_time: Timestamp::UNIX_EPOCH,
            update_time: Timestamp::UNIX_EPOCH,
        };
        Record { order, saga: CONFIRMING.from.saga(Timestamp::UNIX_EPOCH), trace }
    }

    fn is_of(body: &Body, record: &Record) -> bool {
        let order = &record.order;
        (&body.customer_email, body.reservation_mode, body.payment_mode, &body.lines, body.total)
            == (&order.customer_email, order.reservation_mode, order.payment_mode, &order.lines, order.total)
            && body.trace.traceparent() == record.trace.traceparent()
    }

    #[test]
    fn a_body_is_read_as_it_was_written() {
        let trace = TraceContext::from_bytes(&[7; 25], None).unwrap();
        for record in [record(Some(150_199), trace.clone()), record(None, trace), record(Some(1), TraceContext::NONE)] {
            assert!(is_of(&decode(&encode(&record)).unwrap(), &record), "{record:?}");
        }
        assert!(decode(&[0xff]).is_err());
        assert!(decode(&[]).is_err(), "an order has its modes");
    }

    #[test]
    fn columns_of_the_form_before_are_read_as_a_body_is() {
        let lines = |unknown: &str| {
            format!(
                r#"[{{"sku":"TEA","display_name":"Tée \"x\", 中","quantity":300,"unit_price_minor":499,
                     "line_total_minor":149700,"currency":"EUR","product_number":12}}, {unknown}]"#
            )
        };
        let row = |total: &str, currency: &str, unknown: &str| {
            format!(
                r#"{{"customer_email":"ada@example.org","reservation_mode":1,"payment_mode":2,"currency":{currency},
                    "total_minor":{total},"trace_context":"{}","lines":{}}}"#,
                "07".repeat(25),
                lines(unknown)
            )
        };
        let trace = TraceContext::from_bytes(&[7; 25], None).unwrap();
        // Rows of before products had numbers say none.
        let unknown = r#"{"sku":"NO","display_name":"","quantity":1,"unit_price_minor":null,"line_total_minor":null,
                          "currency":null}"#;
        let read = decode_former(&row("null", "null", unknown)).unwrap();
        assert!(is_of(&read, &record(None, trace.clone())));
        let known = r#"{"sku":"NO","display_name":"Tée \"x\", 中","quantity":1,"unit_price_minor":499,
                        "line_total_minor":499,"currency":"EUR","product_number":12}"#;
        let read = decode_former(&row("150199", "\"EUR\"", known)).unwrap();
        assert!(is_of(&read, &record(Some(150_199), trace)));
        let without_trace = row("1", "\"EUR\"", known).replace(&format!("\"{}\"", "07".repeat(25)), "null");
        assert!(!decode_former(&without_trace).unwrap().trace.is_valid());
    }
}
