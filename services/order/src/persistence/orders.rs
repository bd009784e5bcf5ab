//! Table `orders`.

use chrono::TimeDelta;
use openorder_messaging::first_id_of;
use openorder_types::{Fault, Timestamp, UserId};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    domain::OrderStatus,
    persistence::{
        Record,
        record::{ChangingColumns, read, stored_lines},
    },
};

/// A query for whole rows, in the order of columns that [`read`] goes by.
macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "select order_id, customer_id, customer_email, status, version, reservation_mode, payment_mode, lines::text, ",
            "currency, total_minor, status_reason, status_detail, payment_id, trace_context, saga_step, saga_stock, ",
            "saga_payment, saga_cause, saga_reason, saga_undo_attempts, saga_releases, saga_refunds, saga_step_time, ",
            "create_time, update_time ",
            $rest
        )
    };
}

pub(super) use columns;

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
    let rows = sqlx::query(columns!("from orders where order_id = any ($1) order by order_id for update"))
        .bind(orders)
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

/// One order as last committed.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, order_id: Uuid) -> Result<Option<Record>, Fault> {
    let row = sqlx::query(columns!("from orders where order_id = $1")).bind(order_id).fetch_optional(executor).await?;
    row.as_ref().map(read).transpose()
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
    let statuses: Vec<i16> = filter.statuses.iter().map(|status| *status as i16).collect();
    let (lowest, below) = filter.ids();
    // Ids are in the order of making: with a customer or without, an index gives what is looked at, and no more.
    let query = match &filter.customer_id {
        Some(_) => sqlx::query(columns!(
            "from (select * from orders where order_id >= $1 and order_id < $2 and customer_id = $8 \
                   order by order_id desc limit $3) as scanned \
             where (cardinality($4::smallint[]) = 0 or status = any ($4)) \
               and create_time >= coalesce($5, '-infinity') and create_time < coalesce($6, 'infinity') \
             order by order_id desc limit $7"
        )),
        None => sqlx::query(columns!(
            "from (select * from orders where order_id >= $1 and order_id < $2 \
                   order by order_id desc limit $3) as scanned \
             where (cardinality($4::smallint[]) = 0 or status = any ($4)) \
               and create_time >= coalesce($5, '-infinity') and create_time < coalesce($6, 'infinity') \
               and $8::text is null \
             order by order_id desc limit $7"
        )),
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
            "select order_id from orders where order_id >= $1 and order_id < $2 and customer_id = $4 \
             order by order_id desc offset $3 limit 1",
        )
        .bind(lowest)
        .bind(below)
        .bind(scan_max - 1)
        .bind(customer.as_str()),
        None => sqlx::query_scalar(
            "select order_id from orders where order_id >= $1 and order_id < $2 \
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
    if records.is_empty() {
        return Ok(());
    }
    let columns = ChangingColumns::of(records);
    let customers: Vec<&str> = records.iter().map(|record| record.order.customer_id.as_str()).collect();
    let emails: Vec<&str> =
        records.iter().map(|record| record.order.customer_email.as_ref().map_or("", |email| email.as_str())).collect();
    let reservation_modes: Vec<i16> = records.iter().map(|record| record.order.reservation_mode as i16).collect();
    let payment_modes: Vec<i16> = records.iter().map(|record| record.order.payment_mode as i16).collect();
    let lines: Vec<String> =
        records.iter().map(|record| stored_lines(&record.order.lines)).collect::<Result<_, _>>()?;
    let currencies: Vec<Option<String>> =
        records.iter().map(|record| record.order.total.map(|total| total.currency().as_str().to_owned())).collect();
    let totals: Vec<Option<i64>> =
        records.iter().map(|record| record.order.total.map(|total| total.minor_units())).collect();
    let traces: Vec<Option<[u8; 25]>> =
        records.iter().map(|record| record.trace.is_valid().then(|| record.trace.to_bytes())).collect();
    let create_times: Vec<Timestamp> = records.iter().map(|record| record.order.create_time).collect();
    sqlx::query(
        "insert into orders (order_id, status, version, status_reason, status_detail, payment_id, saga_step, saga_stock, \
                             saga_payment, saga_cause, saga_reason, saga_undo_attempts, saga_releases, saga_refunds, \
                             saga_step_time, update_time, customer_id, customer_email, reservation_mode, payment_mode, \
                             lines, currency, total_minor, trace_context, create_time) \
         select a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u::json, v, w, x, y \
         from (select unnest($1::uuid[]) as a, unnest($2::smallint[]) as b, unnest($3::bigint[]) as c, \
                      unnest($4::text[]) as d, unnest($5::text[]) as e, unnest($6::text[]) as f, \
                      unnest($7::smallint[]) as g, unnest($8::smallint[]) as h, unnest($9::smallint[]) as i, \
                      unnest($10::smallint[]) as j, unnest($11::text[]) as k, unnest($12::int[]) as l, \
                      unnest($13::bigint[]) as m, unnest($14::bigint[]) as n, unnest($15::timestamptz[]) as o, \
                      unnest($16::timestamptz[]) as p, unnest($17::text[]) as q, unnest($18::text[]) as r, \
                      unnest($19::smallint[]) as s, unnest($20::smallint[]) as t, unnest($21::text[]) as u, \
                      unnest($22::text[]) as v, unnest($23::bigint[]) as w, unnest($24::bytea[]) as x, \
                      unnest($25::timestamptz[]) as y) as x",
    )
    .bind(columns.order_ids)
    .bind(columns.statuses)
    .bind(columns.versions)
    .bind(columns.status_reasons)
    .bind(columns.status_details)
    .bind(columns.payment_ids)
    .bind(columns.steps)
    .bind(columns.stocks)
    .bind(columns.payments)
    .bind(columns.causes)
    .bind(columns.reasons)
    .bind(columns.undo_attempts)
    .bind(columns.releases)
    .bind(columns.refunds)
    .bind(columns.step_times)
    .bind(columns.update_times)
    .bind(customers)
    .bind(emails)
    .bind(reservation_modes)
    .bind(payment_modes)
    .bind(lines)
    .bind(currencies)
    .bind(totals)
    .bind(traces)
    .bind(create_times)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what changed of locked orders.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn update(connection: &mut PgConnection, records: &[&Record]) -> Result<(), Fault> {
    if records.is_empty() {
        return Ok(());
    }
    let columns = ChangingColumns::of(records);
    sqlx::query(
        "update orders set status = b, version = c, status_reason = d, status_detail = e, payment_id = f, saga_step = g, \
                saga_stock = h, saga_payment = i, saga_cause = j, saga_reason = k, saga_undo_attempts = l, \
                saga_releases = m, saga_refunds = n, saga_step_time = o, update_time = p \
         from (select unnest($1::uuid[]) as a, unnest($2::smallint[]) as b, unnest($3::bigint[]) as c, \
                      unnest($4::text[]) as d, unnest($5::text[]) as e, unnest($6::text[]) as f, \
                      unnest($7::smallint[]) as g, unnest($8::smallint[]) as h, unnest($9::smallint[]) as i, \
                      unnest($10::smallint[]) as j, unnest($11::text[]) as k, unnest($12::int[]) as l, \
                      unnest($13::bigint[]) as m, unnest($14::bigint[]) as n, unnest($15::timestamptz[]) as o, \
                      unnest($16::timestamptz[]) as p) as x \
         where order_id = a",
    )
    .bind(columns.order_ids)
    .bind(columns.statuses)
    .bind(columns.versions)
    .bind(columns.status_reasons)
    .bind(columns.status_details)
    .bind(columns.payment_ids)
    .bind(columns.steps)
    .bind(columns.stocks)
    .bind(columns.payments)
    .bind(columns.causes)
    .bind(columns.reasons)
    .bind(columns.undo_attempts)
    .bind(columns.releases)
    .bind(columns.refunds)
    .bind(columns.step_times)
    .bind(columns.update_times)
    .execute(connection)
    .await?;
    Ok(())
}
