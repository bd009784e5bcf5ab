//! Table `reservation`.

use openorder_types::{Fault, Quantity, Sku, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Line, Reservation, ReservationState};

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
    let rows = sqlx::query(
        "select order_id, state, lines, reason, version, create_time, update_time, expire_at from reservation \
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
    let rows = sqlx::query(
        "select order_id, state, lines, reason, version, create_time, update_time, expire_at from reservation \
         where ($1::uuid is null or order_id = $1) and ($2::jsonb is null or lines @> $2) \
           and ($3::smallint is null or state = $3) and ($4::uuid is null or order_id < $4) \
         order by order_id desc limit $5",
    )
    .bind(filter.order_id)
    .bind(with_line)
    .bind(filter.state.map(|state| state as i16))
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
    insert(connection, new).await?;
    update(connection, changed).await
}

async fn insert(connection: &mut PgConnection, new: &[&Reservation]) -> Result<(), Fault> {
    if new.is_empty() {
        return Ok(());
    }
    let orders: Vec<Uuid> = new.iter().map(|one| one.order_id).collect();
    let states: Vec<i16> = new.iter().map(|one| one.state as i16).collect();
    let lines: Vec<String> = new.iter().map(|one| stored_lines(&one.lines)).collect::<Result<_, _>>()?;
    let reasons: Vec<&str> = new.iter().map(|one| one.reason.as_str()).collect();
    let versions: Vec<i64> = new.iter().map(|one| one.version).collect();
    let created: Vec<_> = new.iter().map(|one| one.create_time).collect();
    let updated: Vec<_> = new.iter().map(|one| one.update_time).collect();
    let expire: Vec<_> = new.iter().map(|one| one.expire_time).collect();
    // What is held by one batch runs out of time together: one timer for all of it.
    sqlx::query(
        "with made as (\
             insert into reservation (order_id, state, lines, reason, version, create_time, update_time, expire_at) \
             select unnest($1::uuid[]), unnest($2::smallint[]), unnest($3::text[])::jsonb, unnest($4::text[]), \
                    unnest($5::bigint[]), unnest($6::timestamptz[]), unnest($7::timestamptz[]), unnest($8::timestamptz[]) \
             returning order_id, expire_at) \
         insert into reservation_timer (due_at, order_ids) \
         select expire_at, array_agg(order_id) from made where expire_at is not null group by expire_at",
    )
    .bind(orders)
    .bind(states)
    .bind(lines)
    .bind(reasons)
    .bind(versions)
    .bind(created)
    .bind(updated)
    .bind(expire)
    .execute(connection)
    .await?;
    Ok(())
}

async fn update(connection: &mut PgConnection, changed: &[&Reservation]) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let orders: Vec<Uuid> = changed.iter().map(|one| one.order_id).collect();
    let states: Vec<i16> = changed.iter().map(|one| one.state as i16).collect();
    let reasons: Vec<&str> = changed.iter().map(|one| one.reason.as_str()).collect();
    let versions: Vec<i64> = changed.iter().map(|one| one.version).collect();
    let updated: Vec<_> = changed.iter().map(|one| one.update_time).collect();
    let expire: Vec<_> = changed.iter().map(|one| one.expire_time).collect();
    sqlx::query(
        "update reservation set state = n.state, reason = n.reason, version = n.version, update_time = n.update_time, \
                expire_at = n.expire_at \
         from (select unnest($1::uuid[]) as order_id, unnest($2::smallint[]) as state, unnest($3::text[]) as reason, \
                      unnest($4::bigint[]) as version, unnest($5::timestamptz[]) as update_time, \
                      unnest($6::timestamptz[]) as expire_at) as n \
         where reservation.order_id = n.order_id",
    )
    .bind(orders)
    .bind(states)
    .bind(reasons)
    .bind(versions)
    .bind(updated)
    .bind(expire)
    .execute(connection)
    .await?;
    Ok(())
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
    let rows = sqlx::query(
        "select order_id, state, lines, reason, version, create_time, update_time, expire_at from reservation \
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
    let state: i16 = row.try_get("state")?;
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
        state: ReservationState::from_number(state).ok_or_else(|| Fault::permanent("unknown reservation state"))?,
        reason: row.try_get("reason")?,
        version: row.try_get("version")?,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
        expire_time: row.try_get("expire_at")?,
    })
}
