//! All the SQL of the service: one statement a table for a whole batch.

mod counting;
mod orders;
mod products;
mod ranking;
mod rebuilds;
mod sales;
mod upkeep;

use std::str::FromStr;

use openorder_types::{Currency, Fault};
use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::domain::Deltas;

pub(crate) use counting::{begin_counting, begin_switch};
pub(crate) use orders::count_orders;
pub(crate) use products::{WindowSales, product_sales, skus_after, top_products};
pub(crate) use ranking::{Turn, add_changes, bound_changes, changes, forget_changes, ranking_id, take_turn};
pub(crate) use rebuilds::{
    Progress, begin_rebuild, cancel_rebuild, find_rebuild, finish_ranking, give_up, last_rebuild, lock_counting,
    note_progress, note_ranked, note_waiting, rebuild_under_way, running_count, switch_over,
};
pub(crate) use sales::{SalesFilter, summary};
pub(crate) use upkeep::{delete_obsolete, fold_days};

/// Adds what a batch changes to a set of sums, in rows of one shard that nobody else writes meanwhile.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn add_deltas(
    connection: &mut PgConnection,
    deltas: Deltas,
    generation: i64,
    shard: i16,
) -> Result<(), Fault> {
    orders::add(&mut *connection, deltas.orders, generation, shard).await?;
    sales::add(&mut *connection, deltas.sales, generation, shard).await?;
    products::add(connection, deltas.products, generation, shard).await
}

/// A sum of minor units, which PostgreSQL keeps as `numeric` and gives as text.
fn minor_units(row: &PgRow, column: &str) -> Result<i128, Fault> {
    i128::from_str(row.try_get(column)?).map_err(Fault::permanent)
}

fn currency(row: &PgRow) -> Result<Currency, Fault> {
    Currency::parse(row.try_get("currency")?).map_err(Fault::permanent)
}
