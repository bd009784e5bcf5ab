//! Table `customer_order`: orders as they are locked, listed and written.

use chrono::TimeDelta;
use openorder_messaging::first_id_of;
use openorder_types::{Fault, Timestamp, UserId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::OrderStatus,
    persistence::{
        Record,
        record::{EXCEPTIONAL, MODIFIED, ORDERS, read, select_orders},
    },
};

/// Conditions of a list; all must hold.
#[derive(Debug, Default)]
pub struct Filter {
    /// Of this customer.
    pub customer_id: Option<UserId>,
    /// In one of these; empty, in any.
    pub statuses: Vec<OrderStatus>,
    /// Made at this time or later.
    pub create_time_from: Option<Timestamp>,
    /// Made before this time.
    pub create_time_until: Option<Timestamp>,
    /// Older than this order: the last of the page before.
    pub before: Option<Uuid>,
}

/// By how much the time of an order's id and its time of making may differ: it waits for its batch, and clocks are set.
const ID_SLACK: TimeDelta = TimeDelta::minutes(10);

impl Filter {
    /// The ids that orders of these conditions can have: from the first one on, and below the second one.
    fn ids(&self) -> (Uuid, Uuid) {
        let edge = |time: Timestamp, slack| time.checked_add_signed(slack).map_or(Uuid::nil(), first_id_of);
        let lowest = self.create_time_from.map_or(Uuid::nil(), |from| edge(from, -ID_SLACK));
        let below = self.create_time_until.map_or(Uuid::max(), |until| edge(until, ID_SLACK));
        (lowest, self.before.map_or(below, |before| before.min(below)))
    }

    /// Whether an order that was looked at may not be part of the list.
    fn passes_over(&self) -> bool {
        !self.statuses.is_empty() || self.create_time_from.is_some() || self.create_time_until.is_some()
    }
}

/// Locks these orders, in one order for all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, orders: &[Uuid]) -> Result<Vec<Record>, Fault> {
    let query = select_orders!("from customer_order where order_id = any ($1) order by order_id for update");
    let rows = query.bind(orders).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// What a list found.
#[derive(Debug)]
pub struct Found {
    /// The newest first; one more than the page may hold, if there is one.
    pub records: Vec<Record>,
    /// Below which id the next page looks, when this one ended because so many were looked at.
    pub looked_down_to: Option<Uuid>,
}

/// The newest first, at most one more than `limit`; so many orders are looked at as `scan_max` says, and a page may be short, or
/// empty, where they do not fit the filter.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list(connection: &mut PgConnection, filter: &Filter, limit: i64, scan_max: i64) -> Result<Found, Fault> {
    let statuses: Vec<i16> = filter.statuses.iter().map(|status| status.number()).collect();
    let (lowest, below) = filter.ids();
    // Ids are in the order of making: with a customer or without, an index gives what is looked at, and no more.
    let query = match &filter.customer_id {
        Some(_) => select_orders!(
            "from (select * from customer_order where order_id >= $1 and order_id < $2 and customer_id = $8 \
                   order by order_id desc limit $3) as scanned \
             where (cardinality($4::smallint[]) = 0 or status = any ($4)) \
               and create_time >= coalesce($5, '-infinity') and create_time < coalesce($6, 'infinity') \
             order by order_id desc limit $7",
        ),
        None => select_orders!(
            "from (select * from customer_order where order_id >= $1 and order_id < $2 \
                   order by order_id desc limit $3) as scanned \
             where (cardinality($4::smallint[]) = 0 or status = any ($4)) \
               and create_time >= coalesce($5, '-infinity') and create_time < coalesce($6, 'infinity') \
               and $8::text is null \
             order by order_id desc limit $7",
        ),
    };
    let rows = query
        .bind(lowest)
        .bind(below)
        .bind(scan_max)
        .bind(statuses)
        .bind(filter.create_time_from)
        .bind(filter.create_time_until)
        .bind(limit + 1)
        .bind(filter.customer_id.as_ref().map(UserId::as_str))
        .fetch_all(&mut *connection)
        .await?;
    let records: Vec<Record> = rows.iter().map(read).collect::<Result<_, _>>()?;
    let is_full = records.len() as u64 > limit.unsigned_abs();
    let looked_down_to = if is_full { None } else { last_scanned(connection, filter, scan_max).await? };
    Ok(Found { records, looked_down_to })
}

/// The last order that was looked at, if so many were that there may be more.
async fn last_scanned(connection: &mut PgConnection, filter: &Filter, scan_max: i64) -> Result<Option<Uuid>, Fault> {
    if !filter.passes_over() {
        return Ok(None);
    }
    let (lowest, below) = filter.ids();
    let query = match &filter.customer_id {
        Some(customer) => sqlx::query_scalar(
            "select order_id from customer_order where order_id >= $1 and order_id < $2 and customer_id = $4 \
             order by order_id desc offset $3 limit 1",
        )
        .bind(lowest)
        .bind(below)
        .bind(scan_max - 1)
        .bind(customer.as_str()),
        None => sqlx::query_scalar(
            "select order_id from customer_order where order_id >= $1 and order_id < $2 \
             order by order_id desc offset $3 limit 1",
        )
        .bind(lowest)
        .bind(below)
        .bind(scan_max - 1),
    };
    Ok(query.fetch_optional(connection).await?)
}

/// Writes new orders.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn insert(connection: &mut PgConnection, records: &[&Record]) -> Result<(), Fault> {
    let (exceptional, ordinary) = by_exception(records);
    ORDERS.insert(connection, &ordinary).await?;
    EXCEPTIONAL.insert(connection, &exceptional).await
}

/// Writes what changes of locked orders.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn update(connection: &mut PgConnection, records: &[&Record]) -> Result<(), Fault> {
    let (exceptional, ordinary) = by_exception(records);
    let (modified, exceptional): (Vec<_>, Vec<_>) = exceptional.into_iter().partition(|record| record.is_modified());
    ORDERS.update(&mut *connection, &ordinary).await?;
    EXCEPTIONAL.update(&mut *connection, &exceptional).await?;
    MODIFIED.update(connection, &modified).await
}

/// Those that use a coupon or on which something went wrong, and the others.
fn by_exception<'a>(records: &[&'a Record]) -> (Vec<&'a Record>, Vec<&'a Record>) {
    records.iter().partition(|record| record.is_exceptional())
}
