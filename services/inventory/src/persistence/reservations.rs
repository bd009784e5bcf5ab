//! Table `reservation`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Fault, Quantity, Sku, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Line, Reservation, ReservationState};

/// What is held by one batch runs out of time together: one timer for all of it.
static MADE: LazyLock<Table<Reservation>> = LazyLock::new(|| {
    changing(with_lines(found_by())).inserted_by(|_, insert| {
        format!(
            "with made as ({insert} returning order_id, expire_at) \
             insert into reservation_timer (due_at, order_ids) \
             select expire_at, array_agg(order_id) from made where expire_at is not null group by expire_at"
        )
    })
});

/// The same, and what only a reservation has for which other lines were asked for: its lines change too.
pub(super) static RESERVATION: LazyLock<Table<Reservation>> =
    LazyLock::new(|| with_lines(changing(found_by())).column("order_version", |one| one.modified_order_version));

fn found_by() -> Table<Reservation> {
    Table::new("reservation", "order_id")
        .column("order_id", |one: &Reservation| one.order_id)
        .column("create_time", |one| one.create_time)
}

fn with_lines(table: Table<Reservation>) -> Table<Reservation> {
    table.composed("lines", |one| stored_lines(&one.lines)).written_as("{}::jsonb")
}

fn changing(table: Table<Reservation>) -> Table<Reservation> {
    table
        .changing()
        .column("state", |one| one.state.number())
        .text("reason", |one| &one.reason)
        .column("version", |one| one.version)
        .column("update_time", |one| one.update_time)
        .column("expire_at", |one| one.expire_time)
}

/// A line as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredLine {
    sku: String,
    quantity: i64,
    /// 0: not known, as in rows of before there were numbers.
    #[serde(default)]
    product_number: i64,
}

/// Conditions of a list; all must hold.
#[derive(Debug, Default)]
pub struct Filter {
    /// Of this order.
    pub order_id: Option<Uuid>,
    /// With a line of this SKU.
    pub sku: Option<Sku>,
    /// In this state.
    pub state: Option<ReservationState>,
    /// Older than this order: the last of the page before.
    pub before: Option<Uuid>,
}

/// Locks the reservations of these orders that exist, in one order for all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, orders: &[Uuid]) -> Result<Vec<Reservation>, Fault> {
    let rows = RESERVATION
        .select(
            "from reservation \
         where order_id = any ($1) order by order_id for update",
        )
        .bind(orders)
        .fetch_all(connection)
        .await?;
    rows.iter().map(reservation).collect()
}

/// The newest first, at most `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter, limit: i64) -> Result<Vec<Reservation>, Fault> {
    let with_line = filter.sku.as_ref().map(|sku| serde_json::json!([{ "sku": sku.as_str() }]));
    let rows = RESERVATION
        .select(
            "from reservation \
         where ($1::uuid is null or order_id = $1) and ($2::jsonb is null or lines @> $2) \
           and ($3::smallint is null or state = $3) and ($4::uuid is null or order_id < $4) \
         order by order_id desc limit $5",
        )
        .bind(filter.order_id)
        .bind(with_line)
        .bind(filter.state.map(ReservationState::number))
        .bind(filter.before)
        .bind(limit)
        .fetch_all(executor)
        .await?;
    rows.iter().map(reservation).collect()
}

/// Writes new reservations, which must not exist, and changed ones.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction made one of the new ones first.
pub async fn save(connection: &mut PgConnection, new: &[&Reservation], changed: &[&Reservation]) -> Result<(), Fault> {
    MADE.insert(&mut *connection, new).await?;
    let (modified, changed): (Vec<&Reservation>, Vec<&Reservation>) =
        changed.iter().partition(|one| one.modified_order_version.is_some());
    MADE.update(&mut *connection, &changed).await?;
    RESERVATION.update(connection, &modified).await
}

/// Holds for good what is held for these orders: they are paid.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn keep(executor: impl PgExecutor<'_>, orders: &[Uuid], now: Timestamp) -> Result<(), Fault> {
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update reservation set expire_at = null, update_time = $2 \
         where order_id = any ($1) and state = 1 and expire_at is not null",
    )
    .bind(orders)
    .bind(now)
    .execute(executor)
    .await?;
    Ok(())
}

/// These reservations as last committed, in no particular order.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, orders: &[Uuid]) -> Result<Vec<Reservation>, Fault> {
    let rows = RESERVATION
        .select(
            "from reservation \
         where order_id = any ($1)",
        )
        .bind(orders)
        .fetch_all(executor)
        .await?;
    rows.iter().map(reservation).collect()
}

fn stored_lines(lines: &[Line]) -> Result<String, Fault> {
    let stored: Vec<StoredLine> = lines
        .iter()
        .map(|line| StoredLine {
            sku: line.sku.to_string(),
            quantity: line.quantity.get(),
            product_number: line.product_number,
        })
        .collect();
    serde_json::to_string(&stored).map_err(Fault::permanent)
}

pub(super) fn reservation(row: &PgRow) -> Result<Reservation, Fault> {
    let stored: sqlx::types::Json<Vec<StoredLine>> = row.try_get("lines")?;
    let lines = stored.0.into_iter().map(|line| {
        let (sku, quantity) = (Sku::parse(&line.sku), Quantity::parse(line.quantity));
        Ok(Line {
            sku: sku.map_err(Fault::permanent)?,
            quantity: quantity.map_err(Fault::permanent)?,
            product_number: line.product_number,
        })
    });
    Ok(Reservation {
        order_id: row.try_get("order_id")?,
        lines: lines.collect::<Result<_, Fault>>()?,
        state: ReservationState::from_stored(row.try_get("state")?)?,
        reason: row.try_get("reason")?,
        modified_order_version: row.try_get("order_version")?,
        version: row.try_get("version")?,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
        expire_time: row.try_get("expire_at")?,
    })
}
