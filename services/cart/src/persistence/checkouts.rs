//! Table `checkout`.

use std::{sync::LazyLock, time::Duration};

use openorder_messaging::Table;
use openorder_types::{Fault, Timestamp, UserId};
use sqlx::{PgConnection, PgPool, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Checkout, Ordered};

static CHECKOUT: LazyLock<Table<Checkout>> = LazyLock::new(|| {
    Table::new("checkout", "checkout_id")
        .column("checkout_id", |checkout: &Checkout| checkout.checkout_id)
        .column("cart_id", |checkout| checkout.cart_id)
        .column("cart_version", |checkout| checkout.cart_version)
        .text("customer_id", |checkout| checkout.customer_id.as_str())
        .given::<Timestamp>("create_time")
});

/// Writes new checkouts.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn add_checkouts(
    connection: &mut PgConnection,
    checkouts: &[&Checkout],
    now: Timestamp,
) -> Result<(), Fault> {
    if checkouts.is_empty() {
        return Ok(());
    }
    CHECKOUT.insert_query(checkouts)?.bind(now).execute(connection).await?;
    Ok(())
}

/// Those of these checkouts whose order is not known yet.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn open_checkouts(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<Checkout>, Fault> {
    let rows = sqlx::query(
        "select checkout_id, cart_id, cart_version, customer_id from checkout \
         where checkout_id = any ($1) and order_id is null",
    )
    .bind(ids.to_vec())
    .fetch_all(pool)
    .await?;
    rows.iter().map(checkout).collect()
}

/// Notes the orders of checkouts whose order is not known yet, each of the customer who orders.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn note_ordered(
    connection: &mut PgConnection,
    ordered: &[&Ordered],
    now: Timestamp,
) -> Result<(), Fault> {
    if ordered.is_empty() {
        return Ok(());
    }
    // In one order for all transactions, so that none deadlock.
    let mut ordered = ordered.to_vec();
    ordered.sort_by_key(|one| one.checkout_id);
    sqlx::query(
        "with told as (select * from unnest($1::uuid[], $2::text[], $3::uuid[]) as t (checkout_id, customer_id, order_id)), \
              locked as (select c.checkout_id, t.order_id from checkout c \
                         join told t on t.checkout_id = c.checkout_id and t.customer_id = c.customer_id \
                         where c.order_id is null order by c.checkout_id for update of c) \
         update checkout set order_id = locked.order_id, order_time = $4 \
         from locked where checkout.checkout_id = locked.checkout_id",
    )
    .bind(ordered.iter().map(|one| one.checkout_id).collect::<Vec<_>>())
    .bind(ordered.iter().map(|one| one.customer_id.to_string()).collect::<Vec<_>>())
    .bind(ordered.iter().map(|one| one.order_id).collect::<Vec<_>>())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// The checkouts of these orders whose lines were not put back, each with its order.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn taken_checkouts(pool: &PgPool, orders: &[Uuid]) -> Result<Vec<(Uuid, Checkout)>, Fault> {
    let rows = sqlx::query(
        "select checkout_id, cart_id, cart_version, customer_id, order_id from checkout \
         where order_id = any ($1) and put_back_time is null",
    )
    .bind(orders.to_vec())
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("order_id")?, checkout(row)?))).collect()
}

/// Notes that the lines of these orders were put back, of those that came of a checkout.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn note_put_back(connection: &mut PgConnection, orders: &[Uuid], now: Timestamp) -> Result<(), Fault> {
    if orders.is_empty() {
        return Ok(());
    }
    // In one order for all transactions, so that none deadlock.
    sqlx::query(
        "with locked as (select checkout_id from checkout where order_id = any ($1) and put_back_time is null \
                         order by checkout_id for update) \
         update checkout set put_back_time = $2 from locked where checkout.checkout_id = locked.checkout_id",
    )
    .bind(orders.to_vec())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes checkouts that are older than `keep`, at most `limit` of them; whether there may be more.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn delete_old_checkouts(pool: &PgPool, keep: Duration, limit: i64) -> Result<bool, Fault> {
    let deleted = sqlx::query(
        "delete from checkout where checkout_id = any (array (\
           select checkout_id from checkout where create_time < now() - make_interval(secs => $1) \
           order by create_time limit $2 for update skip locked))",
    )
    .bind(keep.as_secs_f64())
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(i64::try_from(deleted.rows_affected()).unwrap_or(i64::MAX) >= limit)
}

fn checkout(row: &PgRow) -> Result<Checkout, Fault> {
    let customer_id: &str = row.try_get("customer_id")?;
    Ok(Checkout {
        checkout_id: row.try_get("checkout_id")?,
        cart_id: row.try_get("cart_id")?,
        cart_version: row.try_get("cart_version")?,
        customer_id: UserId::parse(customer_id).map_err(Fault::permanent)?,
    })
}
