//! What an order carries and never changes: one column, a [`StoredOrder`].

use std::time::Duration;

use openorder_proto::internal::order::v1::{StoredCoupon, StoredLine, StoredModification, StoredOrder};
use openorder_telemetry::TraceContext;
use openorder_types::{Currency, EmailAddress, Fault, Money, Quantity, Sku, Timestamp};
use prost::Message;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    domain::{Modification, ModificationState, Order, OrderLine, PaymentMode, ReservationMode, ShippingAddress},
    persistence::Record,
    present,
    saga::{Awaited, Modifying, Saga},
};

/// The same, read.
pub(super) struct Body {
    pub customer_email: Option<EmailAddress>,
    pub reservation_mode: ReservationMode,
    pub payment_mode: PaymentMode,
    pub payment_window: Option<Duration>,
    pub lines: Vec<OrderLine>,
    pub total: Option<Money>,
    pub trace: TraceContext,
    pub issued_coupon_id: Option<Uuid>,
    pub shipping_address: Option<Box<ShippingAddress>>,
}

/// As it is stored.
pub(super) fn encode(record: &Record) -> Vec<u8> {
    let Order { customer_email, reservation_mode, payment_mode, payment_window, lines, issued_coupon_id, .. } =
        &record.order;
    let total = record.order.total_before_discount();
    // One currency an order, that of its total where it has one.
    let currency = lines.iter().find_map(|line| line.price.map(|(unit, _)| unit.currency()));
    let stored = StoredOrder {
        customer_email: customer_email.as_ref().map(|email| email.as_str().to_owned()).unwrap_or_default(),
        reservation_mode: present::reservation_mode(*reservation_mode).into(),
        payment_mode: present::payment_mode(*payment_mode).into(),
        currency: currency.map(|currency| currency.as_str().to_owned()).unwrap_or_default(),
        total_minor_units: total.map(|total| total.minor_units()),
        trace_context: if record.trace.is_valid() { record.trace.to_bytes().to_vec() } else { Vec::new() },
        lines: lines.iter().map(stored_line).collect(),
        issued_coupon_id: issued_coupon_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        shipping_address: present::shipping_address(&record.order),
        payment_window_ms: payment_window.map_or(0, |window| i64::try_from(window.as_millis()).unwrap_or(i64::MAX)),
    };
    stored.encode_to_vec()
}

fn stored_line(line: &OrderLine) -> StoredLine {
    StoredLine {
        sku: line.sku.as_str().to_owned(),
        display_name: line.display_name.clone(),
        quantity: line.quantity.get(),
        unit_price_minor_units: line.price.map(|(unit, _)| unit.minor_units()),
        line_total_minor_units: line.price.map(|(_, total)| total.minor_units()),
        product_number: line.product_number,
    }
}

/// What is known of the last modification, as it is stored; null without one.
pub(super) fn encode_modification(record: &Record) -> Option<Vec<u8>> {
    let modification = record.order.modification.as_deref()?;
    let modifying = record.saga.modifying;
    let stored = StoredModification {
        state: present::modification_state(modification.state).into(),
        order_version: modification.order_version,
        lines: modification.lines.iter().map(stored_line).collect(),
        currency: modification.total.map(|total| total.currency().as_str().to_owned()).unwrap_or_default(),
        total_minor_units: modification.total.map_or(0, |total| total.minor_units()),
        reason: modification.reason.clone(),
        detail: modification.detail.clone(),
        awaited: modifying.map_or(0, |modifying| modifying.awaited.number().into()),
        since_us: modifying.map_or(0, |modifying| modifying.since.timestamp_micros()),
    };
    Some(stored.encode_to_vec())
}

/// Takes over what is stored of the last modification.
pub(super) fn take_over_modification(bytes: &[u8], order: &mut Order, saga: &mut Saga) -> Result<(), Fault> {
    let stored = StoredModification::decode(bytes).map_err(Fault::permanent)?;
    let currency = currency(&stored.currency)?;
    let lines = stored.lines.into_iter().map(|line| read_line(line, currency));
    order.modification = Some(Box::new(Modification {
        state: ModificationState::from_stored(number(stored.state)?)?,
        order_version: stored.order_version,
        lines: lines.collect::<Result<_, Fault>>()?,
        total: currency.map(|currency| Money::new(stored.total_minor_units, currency)),
        reason: stored.reason,
        detail: stored.detail,
    }));
    if stored.awaited != 0 {
        let since = Timestamp::from_timestamp_micros(stored.since_us);
        saga.modifying = Some(Modifying {
            awaited: Awaited::from_stored(number(stored.awaited)?)?,
            order_version: stored.order_version,
            since: since.ok_or_else(|| Fault::permanent("a time that is none"))?,
        });
    }
    Ok(())
}

/// What is known of the coupon, as it is stored; null without one.
pub(super) fn encode_coupon(record: &Record) -> Option<Vec<u8>> {
    record.order.issued_coupon_id?;
    let stored = StoredCoupon {
        requests: record.saga.coupon_requests,
        line_discounts_minor_units: record.saga.line_discounts.iter().map(Money::minor_units).collect(),
        applied: record.order.lines.iter().any(|line| line.discount.is_some()),
    };
    Some(stored.encode_to_vec())
}

/// Takes over what is stored of the coupon: the order is as its body says so far.
pub(super) fn take_over_coupon(bytes: &[u8], order: &mut Order, saga: &mut Saga) -> Result<(), Fault> {
    let stored = StoredCoupon::decode(bytes).map_err(Fault::permanent)?;
    saga.coupon_requests = stored.requests;
    if let Some(currency) = order.total.map(|total| total.currency()) {
        let discounts = stored.line_discounts_minor_units.into_iter();
        saga.line_discounts = discounts.map(|minor_units| Money::new(minor_units, currency)).collect();
    }
    if stored.applied {
        order.apply_discounts(&saga.line_discounts);
    }
    Ok(())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Body, Fault> {
    read(StoredOrder::decode(bytes).map_err(Fault::permanent)?)
}

fn read(stored: StoredOrder) -> Result<Body, Fault> {
    let currency = currency(&stored.currency)?;
    let lines = stored.lines.into_iter().map(|line| read_line(line, currency));
    let coupon = Some(stored.issued_coupon_id).filter(|bytes| !bytes.is_empty());
    let window = u64::try_from(stored.payment_window_ms).ok().filter(|ms| *ms > 0);
    let email = Some(stored.customer_email).filter(|email| !email.is_empty());
    Ok(Body {
        customer_email: email.map(|email| EmailAddress::parse(&email)).transpose().map_err(Fault::permanent)?,
        reservation_mode: ReservationMode::from_stored(number(stored.reservation_mode)?)?,
        payment_mode: PaymentMode::from_stored(number(stored.payment_mode)?)?,
        payment_window: window.map(Duration::from_millis),
        lines: lines.collect::<Result<_, Fault>>()?,
        total: money(stored.total_minor_units, currency),
        trace: TraceContext::from_bytes(&stored.trace_context, None).unwrap_or_default(),
        issued_coupon_id: coupon.map(|bytes| Uuid::from_slice(&bytes)).transpose().map_err(Fault::permanent)?,
        shipping_address: stored.shipping_address.map(present::address_of).map(Box::new),
    })
}

/// Of all amounts of an order; none where it has none.
fn currency(code: &str) -> Result<Option<Currency>, Fault> {
    let code = Some(code).filter(|code| !code.is_empty());
    code.map(Currency::parse).transpose().map_err(Fault::permanent)
}

fn money(minor_units: Option<i64>, currency: Option<Currency>) -> Option<Money> {
    Some(Money::new(minor_units?, currency?))
}

fn read_line(line: StoredLine, currency: Option<Currency>) -> Result<OrderLine, Fault> {
    Ok(OrderLine {
        sku: Sku::parse(&line.sku).map_err(Fault::permanent)?,
        display_name: line.display_name,
        quantity: Quantity::parse(line.quantity).map_err(Fault::permanent)?,
        price: money(line.unit_price_minor_units, currency).zip(money(line.line_total_minor_units, currency)),
        product_number: line.product_number,
        discount: None,
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
        issued_coupon_id: Vec::new(),
        shipping_address: None,
        payment_window_ms: 0,
    })
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use openorder_types::UserId;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{CONFIRMING, OrderEvent, OrderStatus};

    /// One line of a product that is known, and one of a product that is not.
    fn record(total: Option<i64>, trace: TraceContext) -> Record {
        let euros = |minor_units| Money::new(minor_units, Currency::parse("EUR").unwrap());
        let line = |sku: &str, quantity: i64, price| OrderLine {
            sku: Sku::parse(sku).unwrap(),
            display_name: if price { "Tée \"x\", 中".to_owned() } else { String::new() },
            quantity: Quantity::parse(quantity).unwrap(),
            price: price.then(|| (euros(499), euros(499 * quantity))),
            product_number: if price { 12 } else { 0 },
            discount: None,
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
            payment_window: None,
            status_reason: String::new(),
            status_detail: String::new(),
            payment_id: String::new(),
            issued_coupon_id: None,
            modification: None,
            shipping_address: None,
            create_time: Timestamp::UNIX_EPOCH,
            update_time: Timestamp::UNIX_EPOCH,
        };
        Record { order, saga: CONFIRMING.from.saga(Timestamp::UNIX_EPOCH), trace }
    }

    fn is_of(body: &Body, record: &Record) -> bool {
        let order = &record.order;
        (&body.customer_email, body.reservation_mode, body.payment_mode, &body.lines, body.total)
            == (&order.customer_email, order.reservation_mode, order.payment_mode, &order.lines, order.total)
            && body.payment_window == order.payment_window
            && body.trace.traceparent() == record.trace.traceparent()
    }

    #[test]
    fn a_body_is_read_as_it_was_written() {
        let trace = TraceContext::from_bytes(&[7; 25], None).unwrap();
        let mut waiting = record(Some(1), trace.clone());
        waiting.order.payment_window = Some(Duration::from_secs(900));
        let others = [record(Some(150_199), trace.clone()), record(None, trace), record(Some(1), TraceContext::NONE)];
        for record in [waiting].into_iter().chain(others) {
            assert!(is_of(&decode(&encode(&record)).unwrap(), &record), "{record:?}");
        }
        assert!(decode(&[0xff]).is_err());
        assert!(decode(&[]).is_err(), "an order has its modes");
    }

    #[test]
    fn a_coupon_is_read_as_it_was_written_before_and_after_its_discount_is_taken_off() {
        let mut record = record(Some(150_199), TraceContext::NONE);
        record.order.issued_coupon_id = Some(Uuid::from_u128(7));
        record.order.shipping_address =
            Some(Box::new(ShippingAddress { region_code: "DE".to_owned(), ..ShippingAddress::default() }));
        let euros = |minor_units| Money::new(minor_units, Currency::parse("EUR").unwrap());
        for applied in [false, true] {
            record.saga.coupon_requests += 1;
            record.saga.line_discounts = vec![euros(700), euros(0)];
            if applied {
                record.order.apply_discounts(&record.saga.line_discounts);
            }
            let body = decode(&encode(&record)).unwrap();
            assert_eq!(body.total, Some(euros(150_199)), "before the discount");
            let mut order = Order { lines: body.lines, total: body.total, ..record.order.clone() };
            order.issued_coupon_id = body.issued_coupon_id;
            order.shipping_address = body.shipping_address;
            let mut saga = Saga::begin(Timestamp::UNIX_EPOCH);
            take_over_coupon(&encode_coupon(&record).unwrap(), &mut order, &mut saga).unwrap();
            assert_eq!(order, record.order);
            assert_eq!(
                (saga.coupon_requests, &saga.line_discounts),
                (record.saga.coupon_requests, &record.saga.line_discounts)
            );
        }
        record.order.issued_coupon_id = None;
        assert_eq!(encode_coupon(&record), None);
    }

    #[test]
    fn a_modification_is_read_as_it_was_written_while_it_is_under_way_and_afterwards() {
        let mut record = record(Some(150_199), TraceContext::NONE);
        assert_eq!(encode_modification(&record), None);
        let wanted = record.order.lines.clone();
        let since = Timestamp::from_timestamp_micros(1_800_000_000_123_456).unwrap();
        let event = OrderEvent::ModificationRequested { lines: wanted, total: record.order.total.unwrap() };
        record.order.evolve(&event, since);
        for awaited in [Awaited::Reservation, Awaited::Payment, Awaited::Change] {
            record.saga.modifying = Some(Modifying { awaited, order_version: 2, since });
            assert_modification(&record);
        }
        record.saga.modifying = None;
        let (mut accepted, mut rejected) = (record.clone(), record);
        accepted.order.evolve(&OrderEvent::Modified, since);
        let (reason, detail) = ("OUT_OF_STOCK".to_owned(), "TEA: 300 asked for, 3 available".to_owned());
        rejected.order.evolve(&OrderEvent::ModificationRejected { reason, detail }, since);
        assert_modification(&accepted);
        assert_modification(&rejected);
    }

    fn assert_modification(record: &Record) {
        let mut order = Order { modification: None, ..record.order.clone() };
        let mut saga = Saga { modifying: None, ..record.saga.clone() };
        take_over_modification(&encode_modification(record).unwrap(), &mut order, &mut saga).unwrap();
        assert_eq!((order, saga), (record.order.clone(), record.saga.clone()));
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
