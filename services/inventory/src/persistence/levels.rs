//! Table `stock_level`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Fault, Sku, Timestamp};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};

use crate::domain::StockLevel;

static STOCK_LEVEL: LazyLock<Table<StockLevel>> = LazyLock::new(|| {
    Table::new("stock_level", "sku")
        .text("sku", |level: &StockLevel| level.sku.as_str())
        .changing()
        .column("on_hand_quantity", |level| level.on_hand_quantity)
        .column("reserved_quantity", |level| level.reserved_quantity)
        .column("version", |level| level.version)
        .column("event_version", |level| level.event_version)
        .column("product_number", |level| level.product_number)
        .given::<Timestamp>("update_time")
});

/// A level with the time of its last change.
pub type Level = (StockLevel, Timestamp);

/// Locks the levels of these SKUs, in one order for all transactions, so that none deadlock.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, skus: &[&str]) -> Result<Vec<Level>, Fault> {
    let rows = STOCK_LEVEL
        .select("from stock_level where sku = any ($1) order by sku for update")
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
    let rows = STOCK_LEVEL.select("from stock_level where sku = any ($1)").bind(skus).fetch_all(executor).await?;
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
    if !new.is_empty() {
        STOCK_LEVEL.insert_query(new)?.bind(now).execute(&mut *connection).await?;
    }
    if !changed.is_empty() {
        STOCK_LEVEL.update_query(changed)?.bind(now).execute(connection).await?;
    }
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
