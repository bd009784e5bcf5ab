//! An order with its saga and trace, as it is stored.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_telemetry::TraceContext;
use openorder_types::{Currency, EmailAddress, Fault, Money, Quantity, Sku, UserId};
use serde::{Deserialize, Serialize};
use sqlx::{Row, postgres::PgRow};

use crate::{
    domain::{CancellationCause, Order, OrderLine, OrderStatus, PaymentMode, ReservationMode, State},
    saga::{Participant, Saga, Step},
};

/// An order, where its saga stands, and the trace of the call that made it.
#[derive(Debug, Clone)]
pub struct Record {
    pub order: Order,
    pub saga: Saga,
    /// Late work joins this trace.
    pub trace: TraceContext,
}

impl Record {
    /// What the rules see of it.
    pub fn state(&self) -> State<'_> {
        State { order: &self.order, saga: &self.saga }
    }
}

/// Table `orders`, whose rows have an order and its saga.
pub(super) static ORDERS: LazyLock<Table<Record>> = LazyLock::new(|| {
    Table::new("orders", "order_id")
        .column("order_id", |record: &Record| record.order.order_id)
        .text("customer_id", |record| record.order.customer_id.as_str())
        .text("customer_email", |record| record.order.customer_email.as_ref().map_or("", EmailAddress::as_str))
        .column("reservation_mode", |record| record.order.reservation_mode.number())
        .column("payment_mode", |record| record.order.payment_mode.number())
        .composed("lines", |record| stored_lines(&record.order.lines))
        .written_as("{}::json")
        .read_as("lines::text as lines")
        .column("currency", |record| record.order.total.map(|total| total.currency()))
        .column("total_minor", |record| record.order.total.map(|total| total.minor_units()))
        .column("trace_context", |record| record.trace.is_valid().then(|| record.trace.to_bytes()))
        .column("create_time", |record| record.order.create_time)
        .changing()
        .column("status", |record| record.order.status.number())
        .column("version", |record| record.order.version)
        .text("status_reason", |record| &record.order.status_reason)
        .text("status_detail", |record| &record.order.status_detail)
        .text("payment_id", |record| &record.order.payment_id)
        .column("saga_step", |record| record.saga.step.number())
        .column("saga_stock", |record| record.saga.stock.number())
        .column("saga_payment", |record| record.saga.payment.number())
        .column("saga_cause", |record| record.saga.pending.as_ref().map_or(0, |(cause, _)| cause.number()))
        .text("saga_reason", |record| record.saga.pending.as_ref().map_or("", |(_, reason)| reason.as_str()))
        .column("saga_undo_attempts", |record| i32::try_from(record.saga.undo_attempts).unwrap_or(i32::MAX))
        .column("saga_releases", |record| record.saga.releases)
        .column("saga_refunds", |record| record.saga.refunds)
        .column("saga_step_time", |record| record.saga.step_time)
        .column("update_time", |record| record.order.update_time)
});

/// A line as it is stored; amounts in minor units of the order's currency.
#[derive(Serialize, Deserialize)]
struct StoredLine<'a> {
    sku: &'a str,
    display_name: std::borrow::Cow<'a, str>,
    quantity: i64,
    unit_price_minor: Option<i64>,
    line_total_minor: Option<i64>,
    currency: Option<&'a str>,
    #[serde(default)]
    product_number: i64,
}

fn stored_lines(lines: &[OrderLine]) -> Result<String, Fault> {
    let currencies: Vec<Option<Currency>> =
        lines.iter().map(|line| line.price.map(|(unit, _)| unit.currency())).collect();
    let stored: Vec<StoredLine<'_>> = lines
        .iter()
        .zip(&currencies)
        .map(|(line, currency)| StoredLine {
            sku: line.sku.as_str(),
            display_name: line.display_name.as_str().into(),
            quantity: line.quantity.get(),
            unit_price_minor: line.price.map(|(unit, _)| unit.minor_units()),
            line_total_minor: line.price.map(|(_, total)| total.minor_units()),
            currency: currency.as_ref().map(Currency::as_str),
            product_number: line.product_number,
        })
        .collect();
    serde_json::to_string(&stored).map_err(Fault::permanent)
}

fn read_lines(text: &str) -> Result<Vec<OrderLine>, Fault> {
    let stored: Vec<StoredLine<'_>> = serde_json::from_str(text).map_err(Fault::permanent)?;
    let lines = stored.into_iter().map(|line| {
        let currency = line.currency.map(Currency::parse).transpose().map_err(Fault::permanent)?;
        let price = currency.and_then(|currency| {
            let (unit, total) = line.unit_price_minor.zip(line.line_total_minor)?;
            Some((Money::new(unit, currency), Money::new(total, currency)))
        });
        Ok(OrderLine {
            sku: Sku::parse(line.sku).map_err(Fault::permanent)?,
            display_name: line.display_name.into_owned(),
            quantity: Quantity::parse(line.quantity).map_err(Fault::permanent)?,
            price,
            product_number: line.product_number,
        })
    });
    lines.collect()
}

/// Reads a row of all columns.
pub(super) fn read(row: &PgRow) -> Result<Record, Fault> {
    let order = read_order(row)?;
    let cause: i16 = row.try_get("saga_cause")?;
    let reason: String = row.try_get("saga_reason")?;
    let undo_attempts: i32 = row.try_get("saga_undo_attempts")?;
    let saga = Saga {
        step: Step::from_stored(row.try_get("saga_step")?)?,
        stock: Participant::from_stored(row.try_get("saga_stock")?)?,
        payment: Participant::from_stored(row.try_get("saga_payment")?)?,
        pending: CancellationCause::from_number(cause).map(|cause| (cause, reason)),
        undo_attempts: u32::try_from(undo_attempts).unwrap_or(0),
        releases: row.try_get("saga_releases")?,
        refunds: row.try_get("saga_refunds")?,
        step_time: row.try_get("saga_step_time")?,
    };
    let trace: Option<&[u8]> = row.try_get("trace_context")?;
    let trace = trace.and_then(|bytes| TraceContext::from_bytes(bytes, None)).unwrap_or_default();
    Ok(Record { order, saga, trace })
}

fn read_order(row: &PgRow) -> Result<Order, Fault> {
    let customer_id: String = row.try_get("customer_id")?;
    let email: String = row.try_get("customer_email")?;
    let lines: String = row.try_get("lines")?;
    let currency: Option<String> = row.try_get("currency")?;
    let total: Option<i64> = row.try_get("total_minor")?;
    let currency = currency.map(|code| Currency::parse(&code)).transpose().map_err(Fault::permanent)?;
    let customer_email =
        (!email.is_empty()).then(|| EmailAddress::parse(&email)).transpose().map_err(Fault::permanent)?;
    Ok(Order {
        order_id: row.try_get("order_id")?,
        customer_id: UserId::parse(&customer_id).map_err(Fault::permanent)?,
        customer_email,
        status: OrderStatus::from_stored(row.try_get("status")?)?,
        version: row.try_get("version")?,
        lines: read_lines(&lines)?,
        total: total.zip(currency).map(|(minor_units, currency)| Money::new(minor_units, currency)),
        reservation_mode: ReservationMode::from_stored(row.try_get("reservation_mode")?)?,
        payment_mode: PaymentMode::from_stored(row.try_get("payment_mode")?)?,
        status_reason: row.try_get("status_reason")?,
        status_detail: row.try_get("status_detail")?,
        payment_id: row.try_get("payment_id")?,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
    })
}
