//! Table `stock_level`.

use openorder_types::{Fault, Sku, Timestamp};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};

use crate::domain::StockLevel;

/// A level with the time of its last change.
pub type Level = (StockLevel, Timestamp);

/// Locks the levels of these SKUs, in one order for all transactions, so that none deadlock.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, skus: &[&str]) -> Result<Vec<Level>, Fault> {
    let rows = sqlx::query(
        "select sku, on_hand_quantity, reserved_quantity, version, event_version, product_number, update_time from stock_level \
         where sku = any ($1) order by sku for update",
    )
    .bind(skus)
    .fetch_all(connection)
    .await?;
    rows.iter().map(level).collect()
}

/// The levels of these SKUs as last committed.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, skus: &[&str]) -> Result<Vec<Level>, Fault> {
    let rows = sqlx::query(
        "select sku, on_hand_quantity, reserved_quantity, version, event_version, product_number, update_time from stock_level \
         where sku = any ($1)",
    )
    .bind(skus)
    .fetch_all(executor)
    .await?;
    rows.iter().map(level).collect()
}

/// Which of these SKUs have a level, each with the number of the product whose stock it is.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn existing_skus(executor: impl PgExecutor<'_>, skus: &[&str]) -> Result<Vec<(String, i64)>, Fault> {
    Ok(sqlx::query_as("select sku, product_number from stock_level where sku = any ($1)")
        .bind(skus)
        .fetch_all(executor)
        .await?)
}

/// Writes new levels, which must not exist, and changed ones, which must be locked.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction made one of the new ones first.
pub async fn save(
    connection: &mut PgConnection,
    new: &[&StockLevel],
    changed: &[&StockLevel],
    now: Timestamp,
) -> Result<(), Fault> {
    write(
        &mut *connection,
        "insert into stock_level (sku, on_hand_quantity, reserved_quantity, version, event_version, update_time, \
                                  product_number) \
         select unnest($1::text[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]), \
                unnest($5::bigint[]), $6, unnest($7::bigint[])",
        new,
        now,
    )
    .await?;
    write(
        connection,
        "update stock_level set on_hand_quantity = n.on_hand, reserved_quantity = n.reserved, version = n.version, \
                event_version = n.event_version, update_time = $6, product_number = n.product_number \
         from (select unnest($1::text[]) as sku, unnest($2::bigint[]) as on_hand, unnest($3::bigint[]) as reserved, \
                      unnest($4::bigint[]) as version, unnest($5::bigint[]) as event_version, \
                      unnest($7::bigint[]) as product_number) as n \
         where stock_level.sku = n.sku",
        changed,
        now,
    )
    .await
}

async fn write(
    connection: &mut PgConnection,
    sql: &'static str,
    levels: &[&StockLevel],
    now: Timestamp,
) -> Result<(), Fault> {
    if levels.is_empty() {
        return Ok(());
    }
    let skus: Vec<&str> = levels.iter().map(|level| level.sku.as_str()).collect();
    let on_hand: Vec<i64> = levels.iter().map(|level| level.on_hand_quantity).collect();
    let reserved: Vec<i64> = levels.iter().map(|level| level.reserved_quantity).collect();
    let versions: Vec<i64> = levels.iter().map(|level| level.version).collect();
    let event_versions: Vec<i64> = levels.iter().map(|level| level.event_version).collect();
    let products: Vec<i64> = levels.iter().map(|level| level.product_number).collect();
    let query = sqlx::query(sql).bind(skus).bind(on_hand).bind(reserved).bind(versions).bind(event_versions).bind(now);
    query.bind(products).execute(connection).await?;
    Ok(())
}

fn level(row: &PgRow) -> Result<Level, Fault> {
    let sku: String = row.try_get("sku")?;
    let level = StockLevel {
        sku: Sku::parse(&sku).map_err(Fault::permanent)?,
        on_hand_quantity: row.try_get("on_hand_quantity")?,
        reserved_quantity: row.try_get("reserved_quantity")?,
        version: row.try_get("version")?,
        event_version: row.try_get("event_version")?,
        product_number: row.try_get("product_number")?,
    };
    Ok((level, row.try_get("update_time")?))
}
