//! Table `product_sales`.

use std::{collections::BTreeMap, sync::LazyLock};

use chrono::NaiveDate;
use openorder_messaging::Table;
use openorder_types::{Currency, Fault, Sku};
use sqlx::{PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::{currency, minor_units};
use crate::domain::{Amounts, ProductDelta, ProductKey, ProductSales, Window};

type Product = (ProductKey, ProductDelta);

static PRODUCT_SALES: LazyLock<Table<Product>> = LazyLock::new(|| {
    Table::new("product_sales", "generation")
        .given::<i64>("generation")
        .text("sku", |(key, _): &Product| key.sku.as_str())
        .column("currency", |(key, _)| key.currency)
        .column("day", |(key, _)| key.day)
        .given::<i16>("shard")
        .column("quantity", |(_, delta)| delta.quantity)
        .column("revenue_minor", |(_, delta)| delta.revenue_minor.to_string())
        .written_as("{}::numeric")
        .text("display_name", |(_, delta)| &delta.display_name)
        .column("named_by", |(_, delta)| delta.named_by)
        .inserted_by(|_, insert| {
            let added = ADDED;
            format!("{insert} on conflict (generation, sku, currency, day, shard) do update set {added}")
        })
});

/// How a row is added to another one.
pub(super) const ADDED: &str = "\
    quantity = product_sales.quantity + excluded.quantity, \
    revenue_minor = product_sales.revenue_minor + excluded.revenue_minor, \
    display_name = case when excluded.named_by >= product_sales.named_by then excluded.display_name \
                        else product_sales.display_name end, \
    named_by = greatest(product_sales.named_by, excluded.named_by)";

pub(super) async fn add(
    connection: &mut PgConnection,
    products: BTreeMap<ProductKey, ProductDelta>,
    generation: i64,
    shard: i16,
) -> Result<(), Fault> {
    if products.is_empty() {
        return Ok(());
    }
    let rows: Vec<Product> = products.into_iter().collect();
    let query = PRODUCT_SALES.insert_query(&rows.iter().collect::<Vec<_>>())?;
    query.bind(generation).bind(shard).execute(connection).await?;
    Ok(())
}

/// What was sold of a product, in each window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowSales {
    pub(crate) window: Window,
    pub(crate) sales: ProductSales,
}

/// What was sold of these products on this day, in this week and ever; nothing of a product that never was.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn product_sales(
    executor: impl PgExecutor<'_>,
    skus: &[&str],
    today: NaiveDate,
) -> Result<Vec<WindowSales>, Fault> {
    let (week, _) = Window::Week.days(today);
    let rows = sqlx::query(
        "select sku, currency, \
                coalesce(sum(quantity) filter (where day = $2), 0)::bigint as day_quantity, \
                coalesce(sum(revenue_minor) filter (where day = $2), 0)::text as day_revenue, \
                coalesce(sum(quantity) filter (where day between $3 and $2), 0)::bigint as week_quantity, \
                coalesce(sum(revenue_minor) filter (where day between $3 and $2), 0)::text as week_revenue, \
                sum(quantity)::bigint as all_quantity, sum(revenue_minor)::text as all_revenue, \
                (array_agg(display_name order by named_by desc))[1] as display_name, \
                (array_agg(named_by order by named_by desc))[1] as named_by \
         from product_sales \
         where generation = (select generation from generation where state = 1) and sku = any ($1) \
         group by sku, currency order by sku",
    )
    .bind(skus)
    .bind(today)
    .bind(week)
    .fetch_all(executor)
    .await?;
    let mut found: BTreeMap<Sku, OfWindows> = BTreeMap::new();
    for row in &rows {
        let sku = Sku::parse(row.try_get("sku")?).map_err(Fault::permanent)?;
        let of_product = found.entry(sku).or_default();
        let (currency, named_by): (Currency, Uuid) = (currency(row)?, row.try_get("named_by")?);
        if named_by >= of_product.named_by {
            (of_product.named_by, of_product.display_name) = (named_by, row.try_get("display_name")?);
        }
        for (window, quantity, revenue) in COLUMNS {
            let amounts = Amounts { quantity: row.try_get(quantity)?, revenue_minor: minor_units(row, revenue)? };
            of_product.by_window.entry(window).or_default().insert(currency, amounts);
        }
    }
    Ok(found.into_iter().flat_map(|(sku, of_product)| of_product.into_sales(sku)).collect())
}

/// Columns of each window.
const COLUMNS: [(Window, &str, &str); 3] = [
    (Window::Day, "day_quantity", "day_revenue"),
    (Window::Week, "week_quantity", "week_revenue"),
    (Window::AllTime, "all_quantity", "all_revenue"),
];

#[derive(Default)]
struct OfWindows {
    display_name: String,
    named_by: Uuid,
    by_window: BTreeMap<Window, BTreeMap<Currency, Amounts>>,
}

impl OfWindows {
    fn into_sales(self, sku: Sku) -> impl Iterator<Item = WindowSales> {
        let display_name = self.display_name;
        self.by_window.into_iter().map(move |(window, by_currency)| {
            let sales = ProductSales { sku: sku.clone(), display_name: display_name.clone(), by_currency };
            WindowSales { window, sales }
        })
    }
}

/// The products of which most was sold in a window, the best first.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn top_products(
    connection: &mut PgConnection,
    window: Window,
    today: NaiveDate,
    currency: Option<Currency>,
    limit: i64,
) -> Result<Vec<ProductSales>, Fault> {
    let (first, last) = window.days(today);
    let skus: Vec<String> = sqlx::query_scalar(
        "select sku from product_sales \
         where generation = (select generation from generation where state = 1) and day between $1 and $2 \
           and ($3::text is null or currency = $3) \
         group by sku having sum(quantity) > 0 order by sum(quantity) desc, sku desc limit $4",
    )
    .bind(first)
    .bind(last)
    .bind(currency.as_ref().map(Currency::as_str))
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let named: Vec<&str> = skus.iter().map(String::as_str).collect();
    let found = product_sales(connection, &named, today).await?;
    let of_window = found.into_iter().filter(|one| one.window == window).map(|one| one.sales);
    let mut products: Vec<ProductSales> = of_window.filter(|product| product.quantity(currency) > 0).collect();
    // What was counted between the two statements may have changed their order.
    products.sort_by(|one, other| {
        other.quantity(currency).cmp(&one.quantity(currency)).then_with(|| other.sku.cmp(&one.sku))
    });
    Ok(products)
}

/// SKUs of which anything was ever sold, behind this one, at most `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn skus_after(executor: impl PgExecutor<'_>, after: &str, limit: i64) -> Result<Vec<String>, Fault> {
    Ok(sqlx::query_scalar(
        "select distinct sku from product_sales \
         where generation = (select generation from generation where state = 1) and sku > $1 order by sku limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(executor)
    .await?)
}
