//! An order with its saga and trace, as it is stored.

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

pub(super) fn stored_lines(lines: &[OrderLine]) -> Result<String, Fault> {
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

fn number<T>(row: &PgRow, column: usize, read: impl Fn(i16) -> Option<T>) -> Result<T, Fault> {
    let number: i16 = row.try_get(column)?;
    read(number).ok_or_else(|| Fault::permanent(format!("number {number} in column {column} of orders is not known")))
}

/// Reads a row by the places of its columns, as `orders.rs` names them: names would be looked up for each row.
pub(super) fn read(row: &PgRow) -> Result<Record, Fault> {
    let order = read_order(row)?;
    let cause: i16 = row.try_get(17)?;
    let reason: String = row.try_get(18)?;
    let undo_attempts: i32 = row.try_get(19)?;
    let saga = Saga {
        step: number(row, 14, Step::from_number)?,
        stock: number(row, 15, Participant::from_number)?,
        payment: number(row, 16, Participant::from_number)?,
        pending: CancellationCause::from_number(cause).map(|cause| (cause, reason)),
        undo_attempts: u32::try_from(undo_attempts).unwrap_or(0),
        releases: row.try_get(20)?,
        refunds: row.try_get(21)?,
        step_time: row.try_get(22)?,
    };
    let trace: Option<&[u8]> = row.try_get(13)?;
    let trace = trace.and_then(|bytes| TraceContext::from_bytes(bytes, None)).unwrap_or_default();
    Ok(Record { order, saga, trace })
}

fn read_order(row: &PgRow) -> Result<Order, Fault> {
    let customer_id: String = row.try_get(1)?;
    let email: String = row.try_get(2)?;
    let lines: String = row.try_get(7)?;
    let currency: Option<String> = row.try_get(8)?;
    let total: Option<i64> = row.try_get(9)?;
    let currency = currency.map(|code| Currency::parse(&code)).transpose().map_err(Fault::permanent)?;
    let customer_email =
        (!email.is_empty()).then(|| EmailAddress::parse(&email)).transpose().map_err(Fault::permanent)?;
    Ok(Order {
        order_id: row.try_get(0)?,
        customer_id: UserId::parse(&customer_id).map_err(Fault::permanent)?,
        customer_email,
        status: number(row, 3, |number| OrderStatus::from_number(i32::from(number)))?,
        version: row.try_get(4)?,
        lines: read_lines(&lines)?,
        total: total.zip(currency).map(|(minor_units, currency)| Money::new(minor_units, currency)),
        reservation_mode: number(row, 5, |number| match number {
            1 => Some(ReservationMode::Immediate),
            2 => Some(ReservationMode::Deferred),
            _ => None,
        })?,
        payment_mode: number(row, 6, |number| match number {
            1 => Some(PaymentMode::Automatic),
            2 => Some(PaymentMode::Manual),
            _ => None,
        })?,
        status_reason: row.try_get(10)?,
        status_detail: row.try_get(11)?,
        payment_id: row.try_get(12)?,
        create_time: row.try_get(23)?,
        update_time: row.try_get(24)?,
    })
}

/// What changes in an order's row after it was made, as columns for UNNEST.
#[derive(Default)]
pub(super) struct ChangingColumns {
    pub(super) order_ids: Vec<uuid::Uuid>,
    pub(super) statuses: Vec<i16>,
    pub(super) versions: Vec<i64>,
    pub(super) status_reasons: Vec<String>,
    pub(super) status_details: Vec<String>,
    pub(super) payment_ids: Vec<String>,
    pub(super) steps: Vec<i16>,
    pub(super) stocks: Vec<i16>,
    pub(super) payments: Vec<i16>,
    pub(super) causes: Vec<i16>,
    pub(super) reasons: Vec<String>,
    pub(super) undo_attempts: Vec<i32>,
    pub(super) releases: Vec<i64>,
    pub(super) refunds: Vec<i64>,
    pub(super) step_times: Vec<openorder_types::Timestamp>,
    pub(super) update_times: Vec<openorder_types::Timestamp>,
}

impl ChangingColumns {
    pub(super) fn of(records: &[&Record]) -> Self {
        let mut columns = Self::default();
        for Record { order, saga, .. } in records {
            columns.order_ids.push(order.order_id);
            columns.statuses.push(order.status as i16);
            columns.versions.push(order.version);
            columns.status_reasons.push(order.status_reason.clone());
            columns.status_details.push(order.status_detail.clone());
            columns.payment_ids.push(order.payment_id.clone());
            columns.steps.push(saga.step as i16);
            columns.stocks.push(saga.stock as i16);
            columns.payments.push(saga.payment as i16);
            let (cause, reason) =
                saga.pending.clone().map_or((0, String::new()), |(cause, reason)| (cause as i16, reason));
            columns.causes.push(cause);
            columns.reasons.push(reason);
            columns.undo_attempts.push(i32::try_from(saga.undo_attempts).unwrap_or(i32::MAX));
            columns.releases.push(saga.releases);
            columns.refunds.push(saga.refunds);
            columns.step_times.push(saga.step_time);
            columns.update_times.push(order.update_time);
        }
        columns
    }
}
