//! What keeps the tables small.

use openorder_types::Fault;
use sqlx::{AssertSqlSafe, PgPool};

use chrono::NaiveDate;

use super::products::ADDED;
use crate::domain::BEFORE_ALL_DAYS;

/// One instance at a time.
const UPKEEP_LOCK: i64 = 0x6f70_656e_0102;
/// The shard of rows that are made here.
const FOLDED: i16 = -1;
/// Tables of sums.
const TABLES: [&str; 3] = ["product_sales", "sales", "order_count"];

/// Deletes rows of sums that count no more, at most `limit` of each table; whether there may be more.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn delete_obsolete(pool: &PgPool, limit: i64) -> Result<bool, Fault> {
    let obsolete = "select generation from generation where state = 3 order by generation limit 1";
    let generation: Option<i64> = sqlx::query_scalar(obsolete).fetch_optional(pool).await?;
    let Some(generation) = generation else { return Ok(false) };
    let mut is_empty = true;
    for table in TABLES {
        let sql = format!(
            "delete from {table} where ctid = any (array (select ctid from {table} where generation = $1 limit $2))"
        );
        let deleted = sqlx::query(AssertSqlSafe(sql)).bind(generation).bind(limit).execute(pool).await?;
        is_empty &= deleted.rows_affected() == 0;
    }
    if is_empty {
        sqlx::query("delete from generation where generation = $1").bind(generation).execute(pool).await?;
    }
    Ok(true)
}

/// Adds rows of days before `first_kept` to those that stand for all such days, at most `limit` of them; whether there may
/// be more. Sums stay what they are.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn fold_days(pool: &PgPool, first_kept: NaiveDate, limit: i64) -> Result<bool, Fault> {
    let mut transaction = pool.begin().await?;
    let alone: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(UPKEEP_LOCK)
        .fetch_one(&mut *transaction)
        .await?;
    if !alone {
        return Ok(false);
    }
    let sql = format!(
        "with old as (\
           delete from product_sales where ctid = any (array (\
             select ctid from product_sales \
             where generation = (select generation from generation where state = 1) and day > $1 and day < $2 \
             limit $3 for update skip locked)) \
           returning *), \
         folded as (\
           insert into product_sales (generation, sku, currency, day, shard, quantity, revenue_minor, display_name, \
                                      named_by) \
           select generation, sku, currency, $1, $4, sum(quantity)::bigint, sum(revenue_minor), \
                  (array_agg(display_name order by named_by desc))[1], (array_agg(named_by order by named_by desc))[1] \
           from old group by generation, sku, currency \
           on conflict (generation, sku, currency, day, shard) do update set {ADDED}) \
         select count(*) from old"
    );
    let folded: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(BEFORE_ALL_DAYS)
        .bind(first_kept)
        .bind(limit)
        .bind(FOLDED)
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(folded == limit)
}
