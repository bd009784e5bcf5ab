//! An order with its saga and trace, as it is stored: table `customer_order`.
//!
//! Three kinds of columns: what rows are found, locked and judged by, which each step writes; what an order carries,
//! written once, in [`body`]; and what only an order has that uses a coupon or on which something went wrong, null in all
//! others.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_telemetry::TraceContext;
use openorder_types::{Fault, UserId};
use sqlx::{Row, postgres::PgRow};

use crate::{
    domain::{CancellationCause, Order, OrderStatus, State},
    persistence::body::{self, Body},
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

    /// Whether it uses a coupon, its lines were to be changed, or something has gone wrong with it. That never ends:
    /// requests are counted, and reasons stay.
    pub(super) fn is_exceptional(&self) -> bool {
        let Saga { pending, undo_attempts, releases, refunds, .. } = &self.saga;
        let is_counted = *undo_attempts > 0 || *releases > 0 || *refunds > 0;
        let is_told = !self.order.status_reason.is_empty() || !self.order.status_detail.is_empty();
        let is_special = self.order.issued_coupon_id.is_some() || self.is_modified();
        pending.is_some() || is_counted || is_told || is_special
    }

    /// Whether other lines were asked for.
    pub(super) fn is_modified(&self) -> bool {
        self.order.modification.is_some()
    }
}

/// The columns of each order.
pub(super) static ORDERS: LazyLock<Table<Record>> = LazyLock::new(|| changing(carried()));

/// The same, and those of orders that use a coupon or on which something went wrong.
pub(super) static EXCEPTIONAL: LazyLock<Table<Record>> = LazyLock::new(|| exceptional(changing(carried())));

/// The same, of orders whose lines were to be changed: what they carry changes too.
pub(super) static MODIFIED: LazyLock<Table<Record>> = LazyLock::new(|| {
    let found_by = Table::new("customer_order", "order_id").column("order_id", |record: &Record| record.order.order_id);
    exceptional(changing(found_by).column("body", body::encode))
});

fn exceptional(table: Table<Record>) -> Table<Record> {
    table
        .text("status_reason", |record| &record.order.status_reason)
        .text("status_detail", |record| &record.order.status_detail)
        .column("saga_cause", |record| record.saga.pending.as_ref().map_or(0, |(cause, _)| cause.number()))
        .text("saga_reason", |record| record.saga.pending.as_ref().map_or("", |(_, reason)| reason.as_str()))
        .column("saga_undo_attempts", |record| i32::try_from(record.saga.undo_attempts).unwrap_or(i32::MAX))
        .column("saga_releases", |record| record.saga.releases)
        .column("saga_refunds", |record| record.saga.refunds)
        .column("saga_coupon", |record| asked(record.saga.coupon))
        .column("coupon", body::encode_coupon)
        .column("modification", body::encode_modification)
}

/// What an order is found by and carries.
fn carried() -> Table<Record> {
    Table::new("customer_order", "order_id")
        .column("order_id", |record: &Record| record.order.order_id)
        .text("customer_id", |record| record.order.customer_id.as_str())
        .column("body", body::encode)
        .column("create_time", |record| record.order.create_time)
}

/// What each step writes.
fn changing(table: Table<Record>) -> Table<Record> {
    table
        .changing()
        .column("status", |record| record.order.status.number())
        .column("version", |record| record.order.version)
        .column("payment_id", |record| {
            let id = &record.order.payment_id;
            (!id.is_empty()).then(|| id.clone())
        })
        .column("saga_step", |record| record.saga.step.number())
        .column("saga_stock", |record| record.saga.stock.number())
        .column("saga_payment", |record| record.saga.payment.number())
        .column("saga_shipment", |record| asked(record.saga.shipment))
        .column("saga_step_time", |record| record.saga.step_time)
        .column("update_time", |record| record.order.update_time)
}

/// As it is stored; null for what was never asked.
pub(super) fn asked(part: Participant) -> Option<i16> {
    (part != Participant::Idle).then(|| part.number())
}

fn part(row: &PgRow, column: &str) -> Result<Participant, Fault> {
    let number: Option<i16> = row.try_get(column)?;
    number.map_or(Ok(Participant::Idle), Participant::from_stored)
}

/// A query for whole orders of either form: `rest` begins with `from`.
macro_rules! select_orders {
    ($rest:literal $(,)?) => {
        $crate::persistence::record::EXCEPTIONAL.select(concat!(", ", $crate::persistence::body::former!(), " ", $rest))
    };
}
pub(super) use select_orders;

/// Reads a row of [`select_orders`].
pub(super) fn read(row: &PgRow) -> Result<Record, Fault> {
    let cause: Option<i16> = row.try_get("saga_cause")?;
    let reason: Option<String> = row.try_get("saga_reason")?;
    let undo_attempts: Option<i32> = row.try_get("saga_undo_attempts")?;
    let pending = cause.and_then(CancellationCause::from_number);
    let mut saga = Saga {
        step: Step::from_stored(row.try_get("saga_step")?)?,
        stock: Participant::from_stored(row.try_get("saga_stock")?)?,
        payment: Participant::from_stored(row.try_get("saga_payment")?)?,
        coupon: part(row, "saga_coupon")?,
        shipment: part(row, "saga_shipment")?,
        line_discounts: Vec::new(),
        coupon_requests: 0,
        modifying: None,
        pending: pending.map(|cause| (cause, reason.unwrap_or_default())),
        undo_attempts: undo_attempts.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(0),
        releases: row.try_get::<Option<i64>, _>("saga_releases")?.unwrap_or(0),
        refunds: row.try_get::<Option<i64>, _>("saga_refunds")?.unwrap_or(0),
        step_time: row.try_get("saga_step_time")?,
    };
    let body = read_body(row)?;
    let text = |column: &str| Ok::<_, Fault>(row.try_get::<Option<String>, _>(column)?.unwrap_or_default());
    let customer_id: &str = row.try_get("customer_id")?;
    let mut order = Order {
        order_id: row.try_get("order_id")?,
        customer_id: UserId::parse(customer_id).map_err(Fault::permanent)?,
        customer_email: body.customer_email,
        status: OrderStatus::from_stored(row.try_get("status")?)?,
        version: row.try_get("version")?,
        lines: body.lines,
        total: body.total,
        reservation_mode: body.reservation_mode,
        payment_mode: body.payment_mode,
        payment_window: body.payment_window,
        status_reason: text("status_reason")?,
        status_detail: text("status_detail")?,
        payment_id: text("payment_id")?,
        issued_coupon_id: body.issued_coupon_id,
        modification: None,
        shipping_address: body.shipping_address,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
    };
    if let Some(coupon) = row.try_get("coupon")? {
        body::take_over_coupon(coupon, &mut order, &mut saga)?;
    }
    if let Some(modification) = row.try_get("modification")? {
        body::take_over_modification(modification, &mut order, &mut saga)?;
    }
    Ok(Record { order, saga, trace: body.trace })
}

/// The body of a row of either form.
fn read_body(row: &PgRow) -> Result<Body, Fault> {
    match row.try_get("body")? {
        Some(bytes) => body::decode(bytes),
        None => body::decode_former(row.try_get("former")?),
    }
}
