//! Table `order_count`.

use std::{collections::BTreeMap, sync::LazyLock};

use openorder_messaging::Table;
use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, Row};

use crate::domain::{Hour, OrderStatus, Reason};

type Count = ((Hour, OrderStatus, Reason), i64);

static ORDER_COUNT: LazyLock<Table<Count>> = LazyLock::new(|| {
    Table::new("order_count", "generation")
        .given::<i64>("generation")
        .column("hour", |((hour, ..), _): &Count| hour.start())
        .column("status", |((_, status, _), _)| status.number())
        .text("reason", |((.., reason), _)| reason.as_str())
        .given::<i16>("shard")
        .column("orders", |(_, orders)| *orders)
        .inserted_by(|_, insert| {
            format!(
                "{insert} on conflict (generation, hour, status, reason, shard) do update \
                 set orders = order_count.orders + excluded.orders"
            )
        })
});

pub(super) async fn add(
    connection: &mut PgConnection,
    counts: BTreeMap<(Hour, OrderStatus, Reason), i64>,
    generation: i64,
    shard: i16,
) -> Result<(), Fault> {
    if counts.is_empty() {
        return Ok(());
    }
    let rows: Vec<Count> = counts.into_iter().collect();
    let query = ORDER_COUNT.insert_query(&rows.iter().collect::<Vec<_>>())?;
    query.bind(generation).bind(shard).execute(connection).await?;
    Ok(())
}

/// How many of the orders that were made in a time have which status for which reason; and when that was.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn count_orders(
    connection: &mut PgConnection,
    from: Timestamp,
    until: Timestamp,
) -> Result<(Vec<(OrderStatus, String, i64)>, Timestamp), Fault> {
    let as_of: Timestamp = sqlx::query_scalar("select statement_timestamp()").fetch_one(&mut *connection).await?;
    let rows = sqlx::query(
        "select status, reason, sum(orders)::bigint as orders from order_count \
         where generation = (select generation from generation where state = 1) and hour >= $1 and hour < $2 \
         group by status, reason having sum(orders) <> 0 order by status, reason",
    )
    .bind(from)
    .bind(until)
    .fetch_all(connection)
    .await?;
    let counts = rows.iter().map(|row| {
        let status = OrderStatus::from_stored(row.try_get("status")?)?;
        Ok((status, row.try_get("reason")?, row.try_get("orders")?))
    });
    Ok((counts.collect::<Result<_, Fault>>()?, as_of))
}
