//! Table `catalog_item`: the catalogue as orders need it.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Currency, Fault, Money, Sku, Timestamp};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};

use crate::domain::CatalogItem;

/// An older version of a product never replaces a newer one, and an older product never one that got its SKU later.
static CATALOG_ITEM: LazyLock<Table<CatalogItem>> = LazyLock::new(|| {
    Table::new("catalog_item", "sku")
        .text("sku", |item: &CatalogItem| item.sku.as_str())
        .changing()
        .column("product_id", |item| item.product_id)
        .column("product_version", |item| item.product_version)
        .text("display_name", |item| item.display_name.as_str())
        .column("currency", |item| item.unit_price.currency())
        .column("unit_price_minor", |item| item.unit_price.minor_units())
        .column("deleted", |item| item.deleted)
        .column("product_number", |item| item.product_number)
        .inserted_by(|table, insert| {
            format!(
                "{insert} on conflict (sku) do update set {} \
                 where (excluded.product_number, excluded.product_id, excluded.product_version) \
                     > (catalog_item.product_number, catalog_item.product_id, catalog_item.product_version)",
                table.assignments("excluded")
            )
        })
});

/// The items of these SKUs, deleted ones included.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn load(executor: impl PgExecutor<'_>, skus: &[&str]) -> Result<Vec<CatalogItem>, Fault> {
    let rows = CATALOG_ITEM.select("from catalog_item where sku = any ($1)").bind(skus).fetch_all(executor).await?;
    rows.iter().map(item).collect()
}

/// Which of these SKUs can be ordered.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn orderable_skus(executor: impl PgExecutor<'_>, skus: &[&str]) -> Result<Vec<String>, Fault> {
    Ok(sqlx::query_scalar("select sku from catalog_item where sku = any ($1) and not deleted")
        .bind(skus)
        .fetch_all(executor)
        .await?)
}

/// Takes over what the catalogue says. An older version of a product never replaces a newer one, and an older
/// product never one that got its SKU later: the product service's number says which is which. Items without a number
/// come from events that are older than any with one.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn upsert(connection: &mut PgConnection, items: &[&CatalogItem]) -> Result<(), Fault> {
    // One statement may touch a row once: the last of a SKU stands for all, for they came in order.
    let mut latest: Vec<&CatalogItem> = Vec::with_capacity(items.len());
    for item in items {
        match latest.iter_mut().find(|other| other.sku == item.sku) {
            Some(other) if item.age() >= other.age() => *other = item,
            Some(_) => {}
            None => latest.push(item),
        }
    }
    latest.sort_unstable_by(|a, b| a.sku.cmp(&b.sku));
    CATALOG_ITEM.insert(connection, &latest).await
}

/// Up to when the copy is known to hold every change that was published.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn fresh_until(executor: impl PgExecutor<'_>) -> Result<Timestamp, Fault> {
    Ok(sqlx::query_scalar("select fresh_until from catalogue_state").fetch_one(executor).await?)
}

/// Notes that the copy holds every change that was published until `time`; what another instance noted stands if it is
/// later. Returns what holds now.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn note_fresh(executor: impl PgExecutor<'_>, time: Timestamp) -> Result<Timestamp, Fault> {
    Ok(sqlx::query_scalar("update catalogue_state set fresh_until = greatest(fresh_until, $1) returning fresh_until")
        .bind(time)
        .fetch_one(executor)
        .await?)
}

fn item(row: &PgRow) -> Result<CatalogItem, Fault> {
    let sku: String = row.try_get("sku")?;
    let currency: String = row.try_get("currency")?;
    let currency = Currency::parse(&currency).map_err(Fault::permanent)?;
    Ok(CatalogItem {
        sku: Sku::parse(&sku).map_err(Fault::permanent)?,
        product_id: row.try_get("product_id")?,
        product_version: row.try_get("product_version")?,
        product_number: row.try_get("product_number")?,
        display_name: row.try_get("display_name")?,
        unit_price: Money::new(row.try_get("unit_price_minor")?, currency),
        deleted: row.try_get("deleted")?,
    })
}
