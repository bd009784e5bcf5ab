//! The rows of the four services that belong to an order.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use openorder_proto::internal::order::v1::StoredOrder;
use openorder_proto::inventory::v1::ReservationState;
use openorder_proto::payment::v1::PaymentState;
use openorder_types::Timestamp;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::verify::Check;
use crate::verify::database::{Keyed, Snapshot, column, decoded};
use crate::verify::services::Service;
use crate::verify::stock::StoredLine;

/// `saga::Part`.
const PART_SETTLED: i16 = 8;

/// SKUs and pieces.
type Lines = BTreeMap<String, i64>;

/// All that is known of an order.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) order: Option<OrderRow>,
    pub(super) reservation: Option<Reservation>,
    pub(super) payment: Option<Payment>,
    pub(super) notifications: Option<Notifications>,
}

#[derive(Debug)]
pub(super) struct OrderRow {
    pub(super) status: i32,
    pub(super) step: i16,
    /// Whether an operator stated that stock, or money, was put right by hand.
    pub(super) is_settled_by_hand: (bool, bool),
    /// When the order or its saga last changed.
    pub(super) changed_at: Timestamp,
    pub(super) customer_id: String,
    pub(super) payment_id: String,
    /// Minor units and currency.
    pub(super) total: Option<(i64, String)>,
    pub(super) lines: Lines,
}

#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) state: i32,
    pub(super) lines: Lines,
}

#[derive(Debug)]
pub(super) struct Payment {
    pub(super) state: i32,
    pub(super) payment_id: String,
    pub(super) user_id: String,
    pub(super) amount: Option<(i64, String)>,
}

/// What the customer was told of; a kind once for each channel.
#[derive(Debug)]
pub(super) struct Notifications {
    pub(super) kinds: Vec<i16>,
}

impl Reservation {
    /// Whether pieces are held now.
    pub(super) fn is_held(&self) -> bool {
        self.state == ReservationState::Held as i32
    }

    /// Whether pieces are held or have left.
    pub(super) fn holds(&self) -> bool {
        self.is_held() || self.state == ReservationState::Shipped as i32
    }

    pub(super) fn state_name(&self) -> &'static str {
        ReservationState::try_from(self.state).unwrap_or_default().as_str_name()
    }
}

impl Payment {
    /// Whether money was taken and not given back.
    pub(super) fn is_taken(&self) -> bool {
        self.state == PaymentState::Completed as i32
    }

    pub(super) fn state_name(&self) -> &'static str {
        PaymentState::try_from(self.state).unwrap_or_default().as_str_name()
    }
}

/// A query for a table's rows, all of them or those of some orders.
macro_rules! sql {
    ($columns:literal, $table:literal, $rest:literal) => {
        (
            concat!("select ", $columns, " from ", $table, " ", $rest, " order by order_id"),
            concat!("select ", $columns, " from ", $table, " where order_id = any ($1) ", $rest),
        )
    };
}

const ORDERS: (&str, &str) = sql!(
    "order_id, status, saga_step, saga_stock, saga_payment, greatest(update_time, saga_step_time) as changed_at, customer_id, \
     coalesce(payment_id, '') as payment_id, body, total_minor, currency, lines::text as lines",
    "customer_order",
    ""
);
const RESERVATIONS: (&str, &str) = sql!("order_id, state, lines::text as lines", "reservation", "");
const PAYMENTS: (&str, &str) =
    sql!("order_id, state, payment_id::text as payment_id, user_id, amount_minor_units, currency", "payment", "");
const NOTIFICATIONS: (&str, &str) = sql!("order_id, array_agg(kind) as kinds", "notification", "group by order_id");

fn lines(row: &PgRow) -> sqlx::Result<Lines> {
    let stored: Vec<StoredLine> =
        serde_json::from_str(column(row, "lines")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let mut lines = Lines::new();
    for line in stored {
        *lines.entry(line.sku).or_default() += line.quantity;
    }
    Ok(lines)
}

/// What an order costs, and its lines. A row of the form before has columns for them.
fn carried(row: &PgRow) -> sqlx::Result<(Option<(i64, String)>, Lines)> {
    let Some(body) = column(row, "body")? else {
        let (minor, currency): (Option<i64>, Option<String>) = (column(row, "total_minor")?, column(row, "currency")?);
        return Ok((minor.zip(currency), lines(row)?));
    };
    let body: StoredOrder = decoded(body)?;
    let mut lines = Lines::new();
    for line in body.lines {
        *lines.entry(line.sku).or_default() += line.quantity;
    }
    Ok((body.total_minor_units.map(|minor| (minor, body.currency)), lines))
}

fn order(row: &PgRow) -> sqlx::Result<(Uuid, OrderRow)> {
    let (total, lines) = carried(row)?;
    let order = OrderRow {
        status: i32::from(column::<i16>(row, "status")?),
        step: column(row, "saga_step")?,
        is_settled_by_hand: (
            column::<i16>(row, "saga_stock")? == PART_SETTLED,
            column::<i16>(row, "saga_payment")? == PART_SETTLED,
        ),
        changed_at: column(row, "changed_at")?,
        customer_id: column(row, "customer_id")?,
        payment_id: column(row, "payment_id")?,
        total,
        lines,
    };
    Ok((column(row, "order_id")?, order))
}

fn reservation(row: &PgRow) -> sqlx::Result<(Uuid, Reservation)> {
    let state = i32::from(column::<i16>(row, "state")?);
    Ok((column(row, "order_id")?, Reservation { state, lines: lines(row)? }))
}

fn payment(row: &PgRow) -> sqlx::Result<(Uuid, Payment)> {
    let (minor, currency): (Option<i64>, Option<String>) =
        (column(row, "amount_minor_units")?, column(row, "currency")?);
    let payment = Payment {
        state: i32::from(column::<i16>(row, "state")?),
        payment_id: column(row, "payment_id")?,
        user_id: column(row, "user_id")?,
        amount: minor.zip(currency),
    };
    Ok((column(row, "order_id")?, payment))
}

fn notifications(row: &PgRow) -> sqlx::Result<(Uuid, Notifications)> {
    Ok((column(row, "order_id")?, Notifications { kinds: column(row, "kinds")? }))
}

/// The four databases, each at its moment; the orders' comes first.
pub(super) struct Sources {
    pub(super) order: Snapshot,
    pub(super) inventory: Snapshot,
    pub(super) payment: Snapshot,
    pub(super) notification: Snapshot,
}

impl Sources {
    pub(super) async fn open(check: &Check<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            order: check.databases.snapshot(Service::Order).await?,
            inventory: check.databases.snapshot(Service::Inventory).await?,
            payment: check.databases.snapshot(Service::Payment).await?,
            notification: check.databases.snapshot(Service::Notification).await?,
        })
    }
}

/// Their tables, in the order of the orders' ids.
pub(super) struct Tables {
    pub(super) orders: Keyed<Uuid, OrderRow>,
    pub(super) reservations: Keyed<Uuid, Reservation>,
    pub(super) payments: Keyed<Uuid, Payment>,
    pub(super) notifications: Keyed<Uuid, Notifications>,
}

impl Tables {
    pub(super) async fn read(sources: &mut Sources) -> anyhow::Result<Self> {
        Ok(Self {
            orders: Keyed::read(&mut sources.order, ORDERS.0, order).await?,
            reservations: Keyed::read(&mut sources.inventory, RESERVATIONS.0, reservation).await?,
            payments: Keyed::read(&mut sources.payment, PAYMENTS.0, payment).await?,
            notifications: Keyed::read(&mut sources.notification, NOTIFICATIONS.0, notifications).await?,
        })
    }
}

/// These orders as they stand now, the others' rows read before the orders' own; and the time of that.
pub(super) async fn at(check: &Check<'_>, orders: &[Uuid]) -> anyhow::Result<(Vec<Rows>, Timestamp)> {
    let (mut reservations, _) = some(check, Service::Inventory, RESERVATIONS.1, orders, reservation).await?;
    let (mut payments, _) = some(check, Service::Payment, PAYMENTS.1, orders, payment).await?;
    let (mut by_order, _) = some(check, Service::Notification, NOTIFICATIONS.1, orders, notifications).await?;
    let (mut found, now) = some(check, Service::Order, ORDERS.1, orders, order).await?;
    let rows = orders.iter().map(|id| Rows {
        order: found.remove(id),
        reservation: reservations.remove(id),
        payment: payments.remove(id),
        notifications: by_order.remove(id),
    });
    Ok((rows.collect(), now))
}

async fn some<T>(
    check: &Check<'_>,
    service: Service,
    sql: &'static str,
    orders: &[Uuid],
    read: fn(&PgRow) -> sqlx::Result<(Uuid, T)>,
) -> anyhow::Result<(HashMap<Uuid, T>, Timestamp)> {
    let mut snapshot = check.databases.snapshot(service).await?;
    let rows = sqlx::query(sql).bind(orders).fetch_all(&mut snapshot.connection).await;
    let rows = rows.with_context(|| service.database())?;
    let rows: sqlx::Result<HashMap<Uuid, T>> = rows.iter().map(read).collect();
    Ok((rows.with_context(|| service.database())?, snapshot.now))
}
