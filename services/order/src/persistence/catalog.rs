//! Table `catalog_item`: the catalogue as orders need it.

use openorder_types::{Currency, Fault, Money, Sku, Timestamp};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::CatalogItem;

/// The items of these SKUs, deleted ones included.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn load(executor: impl PgExecutor<'_>, skus: &[&str]) -> Result<Vec<CatalogItem>, Fault> {
    let rows = sqlx::query(
        "select sku, product_number, product_id, product_version, display_name, currency, unit_price_minor, deleted \
         from catalog_item where sku = any ($1)",
    )
    .bind(skus)
    .fetch_all(executor)
    .await?;
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
    if latest.is_empty() {
        return Ok(());
    }
    let skus: Vec<&str> = latest.iter().map(|item| item.sku.as_str()).collect();
    let numbers: Vec<i64> = latest.iter().map(|item| item.product_number).collect();
    let products: Vec<Uuid> = latest.iter().map(|item| item.product_id).collect();
    let versions: Vec<i64> = latest.iter().map(|item| item.product_version).collect();
    let names: Vec<&str> = latest.iter().map(|item| item.display_name.as_str()).collect();
    let currencies: Vec<String> = latest.iter().map(|item| item.unit_price.currency().as_str().to_owned()).collect();
    let prices: Vec<i64> = latest.iter().map(|item| item.unit_price.minor_units()).collect();
    let deleted: Vec<bool> = latest.iter().map(|item| item.deleted).collect();
    sqlx::query(
        "insert into catalog_item (sku, product_id, product_version, display_name, currency, unit_price_minor, deleted, \
                                   product_number) \
         select unnest($1::text[]), unnest($2::uuid[]), unnest($3::bigint[]), unnest($4::text[]), unnest($5::text[]), \
                unnest($6::bigint[]), unnest($7::boolean[]), unnest($8::bigint[]) \
         on conflict (sku) do update set product_id = excluded.product_id, product_version = excluded.product_version, \
             display_name = excluded.display_name, currency = excluded.currency, \
             unit_price_minor = excluded.unit_price_minor, deleted = excluded.deleted, \
             product_number = excluded.product_number \
         where (excluded.product_number, excluded.product_id, excluded.product_version) \
             > (catalog_item.product_number, catalog_item.product_id, catalog_item.product_version)",
    )
    .bind(skus)
    .bind(products)
    .bind(versions)
    .bind(names)
    .bind(currencies)
    .bind(prices)
    .bind(deleted)
    .bind(numbers)
    .execute(connection)
    .await?;
    Ok(())
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
