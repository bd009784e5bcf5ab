//! Tables `order_view_a` and `order_view_b`: documents as they are listed and found.
//!
//! Two ways lead to a page. *By time*: the newest first, `scan_max` of them, and of these the ones that fit. *By what is
//! rare*: with a SKU, words or a reason, an index gives the orders that fit, as long as they are `scan_max` at most; they are
//! sorted and cut. Whether something is rare shows at a first look at the newest: where that fills the page, it is not. And
//! where more fit than `scan_max`, the way is by time again. Either looks at a bounded number of rows (ADR 62).

use openorder_types::{Fault, Money, Sku, Timestamp, UserId};
use sqlx::{PgConnection, Postgres, QueryBuilder, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    domain::{Half, View, Words},
    persistence::body,
};

/// Where an order stands in a list: the newest are first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub create_time: Timestamp,
    pub order_id: Uuid,
}

/// Conditions of a list; all must hold.
#[derive(Debug, Default)]
pub struct Filter {
    pub customer_id: Option<UserId>,
    /// With a line of it.
    pub sku: Option<Sku>,
    /// Numbers; empty, any.
    pub statuses: Vec<i32>,
    pub status_reason: Option<String>,
    pub create_time_from: Option<Timestamp>,
    /// Not included.
    pub create_time_until: Option<Timestamp>,
    pub total_min: Option<Money>,
    pub total_max: Option<Money>,
    pub words: Words,
    /// Behind this one: the last of the page before.
    pub before: Option<Place>,
}

/// What a list found.
#[derive(Debug)]
pub struct Found {
    /// The newest first; one more than the page may hold, if there is one.
    pub views: Vec<(Place, View)>,
    /// Behind which place the next page looks, when this one ended because so many were looked at.
    pub looked_down_to: Option<Place>,
}

type Query = QueryBuilder<Postgres>;

impl Filter {
    /// Whether a condition is given that few orders fit, and that an index knows.
    fn has_rare(&self) -> bool {
        self.sku.is_some() || self.status_reason.is_some() || !self.words.is_empty()
    }

    /// Whether an order that was looked at may not be part of the list.
    fn passes_over(&self) -> bool {
        self.has_rare() || !self.statuses.is_empty() || self.total_min.is_some() || self.total_max.is_some()
    }

    /// The conditions that the order of a list goes by: customer, time, place.
    fn push_range(&self, query: &mut Query) {
        query.push(" where create_time is not null");
        if let Some(customer) = &self.customer_id {
            query.push(" and customer_id = ").push_bind(customer.to_string());
        }
        if let Some(from) = self.create_time_from {
            query.push(" and create_time >= ").push_bind(from);
        }
        if let Some(until) = self.create_time_until {
            query.push(" and create_time < ").push_bind(until);
        }
        if let Some(before) = self.before {
            query.push(" and (create_time, order_id) < (").push_bind(before.create_time);
            query.push(", ").push_bind(before.order_id).push(")");
        }
    }

    fn push_rare(&self, query: &mut Query) {
        if let Some(sku) = &self.sku {
            query.push(" and skus @> array[").push_bind(sku.to_string()).push("]");
        }
        if let Some(reason) = &self.status_reason {
            // The index has those alone that have a reason.
            query.push(" and status_reason <> '' and status_reason = ").push_bind(reason.clone());
        }
        if !self.words.is_empty() {
            query.push(" and words @@ ").push_bind(self.words.to_tsquery()).push("::tsquery");
        }
    }

    fn push_common(&self, query: &mut Query) {
        if !self.statuses.is_empty() {
            query.push(" and status = any (").push_bind(self.statuses.clone()).push(")");
        }
        if let Some(currency) = self.total_min.or(self.total_max).map(|total| total.currency()) {
            query.push(" and currency = ").push_bind(currency.as_str().to_owned());
        }
        if let Some(min) = self.total_min {
            query.push(" and total_minor >= ").push_bind(min.minor_units());
        }
        if let Some(max) = self.total_max {
            query.push(" and total_minor <= ").push_bind(max.minor_units());
        }
    }
}

const fn table(half: Half) -> &'static str {
    match half {
        Half::A => "order_view_a",
        Half::B => "order_view_b",
    }
}

/// Orders that a first look is at.
const FIRST_LOOK: i64 = 500;

const NEWEST_FIRST: &str = " order by create_time desc, order_id desc limit ";

/// The newest first, at most one more than `limit`. A page may be short, or empty, where `scan_max` orders were looked at
/// and few of them fit.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list(
    connection: &mut PgConnection,
    half: Half,
    filter: &Filter,
    limit: i64,
    scan_max: i64,
) -> Result<Found, Fault> {
    if filter.has_rare() {
        let views = look(connection, half, filter, limit, FIRST_LOOK.min(scan_max)).await?;
        if is_full(&views, limit) {
            return Ok(Found { views, looked_down_to: None });
        }
        if let Some(views) = by_what_is_rare(connection, half, filter, limit, scan_max).await? {
            return Ok(Found { views, looked_down_to: None });
        }
    }
    let views = look(connection, half, filter, limit, scan_max).await?;
    let looked_down_to = match filter.passes_over() && !is_full(&views, limit) {
        true => last_scanned(connection, half, filter, scan_max).await?,
        false => None,
    };
    Ok(Found { views, looked_down_to })
}

/// Whether there is one more than the page may hold.
fn is_full(views: &[(Place, View)], limit: i64) -> bool {
    views.len() as u64 > limit.unsigned_abs()
}

/// None where more than `scan_max` orders fit what is rare.
async fn by_what_is_rare(
    connection: &mut PgConnection,
    half: Half,
    filter: &Filter,
    limit: i64,
    scan_max: i64,
) -> Result<Option<Vec<(Place, View)>>, Fault> {
    // Only ways by which work grows with what fits: no walk through all orders in the hope to meet some early.
    plan_with(connection, "off").await?;
    let mut query =
        Query::new("with fitting as materialized (select create_time, order_id, status, currency, total_minor from ");
    query.push(table(half));
    filter.push_range(&mut query);
    filter.push_rare(&mut query);
    query.push(" limit ").push_bind(scan_max + 1);
    query.push("), page as (select create_time, order_id from fitting where true");
    filter.push_common(&mut query);
    query.push(NEWEST_FIRST).push_bind(limit + 1);
    query.push(") select counted.fitting, page.order_id from (select count(*) as fitting from fitting) as counted left join page on true");
    // With the values at hand: how rare a word is decides on the way.
    let rows = query.build().persistent(false).fetch_all(&mut *connection).await?;
    let fitting: i64 = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    plan_with(connection, "on").await?;
    if fitting > scan_max {
        return Ok(None);
    }
    let ids: Vec<Uuid> =
        rows.iter().filter_map(|row| row.try_get::<Option<Uuid>, _>(1).transpose()).collect::<Result<_, _>>()?;
    let mut query = Query::new("select create_time, order_id, body from ");
    query.push(table(half)).push(" where order_id = any (").push_bind(ids).push(")");
    query.push(" and create_time is not null order by create_time desc, order_id desc");
    let rows = query.build().fetch_all(connection).await?;
    rows.iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// Whether rows may be read one by one, in the order of the table or of an index; for this transaction.
async fn plan_with(connection: &mut PgConnection, one_by_one: &str) -> Result<(), Fault> {
    sqlx::query("select set_config('enable_seqscan', $1, true), set_config('enable_indexscan', $1, true)")
        .bind(one_by_one)
        .execute(connection)
        .await?;
    Ok(())
}

/// Of the newest, so many, those that fit.
async fn look(
    connection: &mut PgConnection,
    half: Half,
    filter: &Filter,
    limit: i64,
    scan_max: i64,
) -> Result<Vec<(Place, View)>, Fault> {
    let mut query = Query::new("select create_time, order_id, body from (select * from ");
    query.push(table(half));
    filter.push_range(&mut query);
    query.push(NEWEST_FIRST).push_bind(if filter.passes_over() { scan_max } else { limit + 1 });
    query.push(") as scanned where true");
    filter.push_rare(&mut query);
    filter.push_common(&mut query);
    query.push(NEWEST_FIRST).push_bind(limit + 1);
    let rows = query.build().persistent(false).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// The last order that was looked at, if so many were that there may be more.
async fn last_scanned(
    connection: &mut PgConnection,
    half: Half,
    filter: &Filter,
    scan_max: i64,
) -> Result<Option<Place>, Fault> {
    let mut query = Query::new("select create_time, order_id from ");
    query.push(table(half));
    filter.push_range(&mut query);
    query.push(" order by create_time desc, order_id desc offset ").push_bind(scan_max - 1).push(" limit 1");
    let row = query.build().persistent(false).fetch_optional(connection).await?;
    row.as_ref().map(place).transpose()
}

fn place(row: &PgRow) -> Result<Place, Fault> {
    Ok(Place { create_time: row.try_get(0)?, order_id: row.try_get(1)? })
}

fn read(row: &PgRow) -> Result<(Place, View), Fault> {
    Ok((place(row)?, body::decode(row.try_get(2)?)?))
}
