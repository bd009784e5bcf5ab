//! Table `sales`.

use std::{collections::BTreeMap, sync::LazyLock};

use openorder_messaging::Table;
use openorder_types::{Currency, Fault, Timestamp};
use sqlx::{PgConnection, Row};

use super::{currency, minor_units};
use crate::domain::{Granularity, Hour, SalesSums};

type Sales = ((Hour, Currency), SalesSums);

static SALES: LazyLock<Table<Sales>> = LazyLock::new(|| {
    Table::new("sales", "generation")
        .given::<i64>("generation")
        .column("hour", |((hour, _), _): &Sales| hour.start())
        .column("currency", |((_, currency), _)| *currency)
        .given::<i16>("shard")
        .column("orders", |(_, sums)| sums.orders)
        .column("quantity", |(_, sums)| sums.quantity)
        .column("gross_minor", |(_, sums)| sums.gross_minor.to_string())
        .written_as("{}::numeric")
        .column("net_minor", |(_, sums)| sums.net_minor.to_string())
        .written_as("{}::numeric")
        .column("refunded_orders", |(_, sums)| sums.refunded_orders)
        .column("refunded_quantity", |(_, sums)| sums.refunded_quantity)
        .column("refunded_minor", |(_, sums)| sums.refunded_minor.to_string())
        .written_as("{}::numeric")
        .inserted_by(|_, insert| {
            format!(
                "{insert} on conflict (generation, hour, currency, shard) do update \
                 set orders = sales.orders + excluded.orders, quantity = sales.quantity + excluded.quantity, \
                     gross_minor = sales.gross_minor + excluded.gross_minor, \
                     net_minor = sales.net_minor + excluded.net_minor, \
                     refunded_orders = sales.refunded_orders + excluded.refunded_orders, \
                     refunded_quantity = sales.refunded_quantity + excluded.refunded_quantity, \
                     refunded_minor = sales.refunded_minor + excluded.refunded_minor"
            )
        })
});

pub(super) async fn add(
    connection: &mut PgConnection,
    sales: BTreeMap<(Hour, Currency), SalesSums>,
    generation: i64,
    shard: i16,
) -> Result<(), Fault> {
    if sales.is_empty() {
        return Ok(());
    }
    let rows: Vec<Sales> = sales.into_iter().collect();
    let query = SALES.insert_query(&rows.iter().collect::<Vec<_>>())?;
    query.bind(generation).bind(shard).execute(connection).await?;
    Ok(())
}

/// Which sales a summary is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SalesFilter {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) granularity: Granularity,
    pub(crate) currency: Option<Currency>,
}

/// Sums by period and currency, at most `limit` of them, and when that was.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn summary(
    connection: &mut PgConnection,
    filter: &SalesFilter,
    limit: i64,
) -> Result<(Vec<(Timestamp, Currency, SalesSums)>, Timestamp), Fault> {
    let as_of: Timestamp = sqlx::query_scalar("select statement_timestamp()").fetch_one(&mut *connection).await?;
    let rows = sqlx::query(
        "select date_trunc($1, hour, 'UTC') as period, currency, sum(orders)::bigint as orders, \
                sum(quantity)::bigint as quantity, sum(gross_minor)::text as gross_minor, \
                sum(net_minor)::text as net_minor, sum(refunded_orders)::bigint as refunded_orders, \
                sum(refunded_quantity)::bigint as refunded_quantity, sum(refunded_minor)::text as refunded_minor \
         from sales \
         where generation = (select generation from generation where state = 1) and hour >= $2 and hour < $3 \
           and ($4::text is null or currency = $4) \
         group by 1, currency order by 1, currency limit $5",
    )
    .bind(filter.granularity.field())
    .bind(filter.from)
    .bind(filter.until)
    .bind(filter.currency.as_ref().map(Currency::as_str))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let summed = rows.iter().map(|row| {
        let sums = SalesSums {
            orders: row.try_get("orders")?,
            quantity: row.try_get("quantity")?,
            gross_minor: minor_units(row, "gross_minor")?,
            net_minor: minor_units(row, "net_minor")?,
            refunded_orders: row.try_get("refunded_orders")?,
            refunded_quantity: row.try_get("refunded_quantity")?,
            refunded_minor: minor_units(row, "refunded_minor")?,
        };
        Ok((row.try_get("period")?, currency(row)?, sums))
    });
    Ok((summed.collect::<Result<_, Fault>>()?, as_of))
}
