//! Table `product`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Currency, Fault, Money, Sku};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Description, DisplayName, InitialStock, Price, Product};

/// A page of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The last product of the page before.
    pub after: Option<Uuid>,
    /// Deleted products too.
    pub show_deleted: bool,
    /// Rows at most.
    pub limit: i64,
}

static PRODUCT: LazyLock<Table<Product>> = LazyLock::new(|| {
    Table::new("product", "product_id")
        .column("product_id", |product: &Product| product.product_id)
        .column("product_number", |product| product.product_number)
        .text("sku", |product| product.sku.as_str())
        .column("initial_stock_quantity", |product| product.initial_stock.get())
        .column("create_time", |product| product.create_time)
        .changing()
        .text("display_name", |product| product.display_name.as_str())
        .text("description", |product| product.description.as_str())
        .column("price_minor_units", |product| product.price.amount().minor_units())
        .column("price_currency", |product| product.price.amount().currency())
        .column("version", |product| product.version)
        .column("update_time", |product| product.update_time)
        .column("delete_time", |product| product.delete_time)
});

/// Advisory lock of the transactions that make products.
const MAKING_LOCK: i64 = 0x6f70_656e_0101;

/// Draws numbers for so many new products. From now to the end of this transaction no other one makes a product: numbers
/// are drawn in the order of making, also by several instances. Has to come before any row is locked.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn draw_numbers(connection: &mut PgConnection, count: usize) -> Result<Vec<i64>, Fault> {
    if count == 0 {
        return Ok(Vec::new());
    }
    sqlx::query("select pg_advisory_xact_lock($1)").bind(MAKING_LOCK).execute(&mut *connection).await?;
    Ok(sqlx::query_scalar("select nextval('product_number') from generate_series(1, $1)")
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?)
}

/// Locks the products with these ids, and those with these SKUs that are not deleted, in one order for all
/// transactions, so that none deadlock.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, ids: &[Uuid], skus: &[&str]) -> Result<Vec<Product>, Fault> {
    let rows = PRODUCT
        .select(
            "from product where product_id = any ($1) or (sku = any ($2) and delete_time is null) \
         order by product_id for update",
        )
        .bind(ids)
        .bind(skus)
        .fetch_all(connection)
        .await?;
    rows.iter().map(product).collect()
}

/// The products with these ids, deleted or not, and those with these SKUs that are not deleted.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, ids: &[Uuid], skus: &[&str]) -> Result<Vec<Product>, Fault> {
    let rows = PRODUCT
        .select("from product where product_id = any ($1) or (sku = any ($2) and delete_time is null)")
        .bind(ids)
        .bind(skus)
        .fetch_all(executor)
        .await?;
    rows.iter().map(product).collect()
}

/// The products with these SKUs that are not deleted.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_by_skus(executor: impl PgExecutor<'_>, skus: &[&str]) -> Result<Vec<Product>, Fault> {
    let rows = PRODUCT
        .select("from product where sku = any ($1) and delete_time is null")
        .bind(skus)
        .fetch_all(executor)
        .await?;
    rows.iter().map(product).collect()
}

/// A page, the oldest first.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list(executor: impl PgExecutor<'_>, page: Page) -> Result<Vec<Product>, Fault> {
    let rows = PRODUCT
        .select(
            "from product where ($1::uuid is null or product_id > $1) and ($2 or delete_time is null) \
         order by product_id limit $3",
        )
        .bind(page.after)
        .bind(page.show_deleted)
        .bind(page.limit)
        .fetch_all(executor)
        .await?;
    rows.iter().map(product).collect()
}

/// Writes changed products, which must be locked, and new ones, which must not exist.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction took the SKU of a new one first.
pub async fn save(connection: &mut PgConnection, new: &[&Product], changed: &[&Product]) -> Result<(), Fault> {
    // Changes first: a product deleted by this batch sets its SKU free for a new one.
    PRODUCT.update(&mut *connection, changed).await?;
    PRODUCT.insert(connection, new).await
}

fn product(row: &PgRow) -> Result<Product, Fault> {
    let sku: &str = row.try_get("sku")?;
    let display_name: &str = row.try_get("display_name")?;
    let description: &str = row.try_get("description")?;
    let currency: &str = row.try_get("price_currency")?;
    let currency = Currency::parse(currency).map_err(Fault::permanent)?;
    let price = Money::new(row.try_get("price_minor_units")?, currency);
    let initial_stock: i64 = row.try_get("initial_stock_quantity")?;
    Ok(Product {
        product_id: row.try_get("product_id")?,
        sku: Sku::parse(sku).map_err(Fault::permanent)?,
        display_name: DisplayName::parse(display_name).map_err(Fault::permanent)?,
        description: Description::parse(description).map_err(Fault::permanent)?,
        price: Price::parse(price).map_err(Fault::permanent)?,
        initial_stock: InitialStock::parse(initial_stock).map_err(Fault::permanent)?,
        version: row.try_get("version")?,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
        delete_time: row.try_get("delete_time")?,
        product_number: row.try_get("product_number")?,
    })
}

#[cfg(test)]
mod tests {
    use openorder_testing::World;
    use openorder_types::Timestamp;

    use super::*;
    use crate::domain::NewProduct;

    fn product(id: u128, minor_units: i64) -> Product {
        let new = NewProduct {
            product_id: Uuid::from_u128(id),
            sku: Sku::parse("KB-1").unwrap(),
            display_name: DisplayName::parse("Tastatur „Größe“").unwrap(),
            description: Description::parse("a\nb").unwrap(),
            price: Price::parse(Money::new(minor_units, Currency::parse("KWD").unwrap())).unwrap(),
            initial_stock: InitialStock::parse(1_000_000_000).unwrap(),
        };
        Product::create(
            new,
            i64::try_from(id).unwrap(),
            Timestamp::from_timestamp_micros(1_800_000_000_123_456).unwrap(),
        )
    }

    /// One batch may delete a product and make another with its SKU; what is read is what was written.
    #[tokio::test]
    async fn a_batch_may_free_a_sku_and_take_it_again() {
        let world = World::new();
        let url = world.database_url("product");
        let pool = openorder_messaging::open(&url, &world.database(), "test", &crate::MIGRATIONS).await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        let mut old = product(1, 1_000_000_000_000);
        save(&mut connection, &[&old], &[]).await.unwrap();
        assert_eq!(find(&pool, &[old.product_id], &[]).await.unwrap(), std::slice::from_ref(&old));
        let taken = save(&mut connection, &[&product(2, 1)], &[]).await.unwrap_err();
        assert_eq!(taken.kind(), "retryable", "the next try sees who took the SKU: {taken}");

        (old.delete_time, old.version) = (Some(old.create_time), old.version + 1);
        let new = product(3, 1);
        save(&mut connection, &[&new], &[&old]).await.unwrap();
        assert_eq!(find_by_skus(&pool, &["KB-1"]).await.unwrap(), std::slice::from_ref(&new));
        let mut both = lock(&mut connection, &[old.product_id], &["KB-1"]).await.unwrap();
        both.sort_by_key(|product| product.product_id);
        assert_eq!(both, [old, new]);
        drop(connection);
        pool.close().await;
        world.close().await;
    }
}
