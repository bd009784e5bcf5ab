//! Table `cart_store`: the carts in Redis.

use openorder_types::Fault;
use sqlx::PgExecutor;
use uuid::Uuid;

/// The id that stands in the names of the carts.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn store_id(executor: impl PgExecutor<'_>) -> Result<Uuid, Fault> {
    Ok(sqlx::query_scalar("select store_id from cart_store").fetch_one(executor).await?)
}

/// Notes what stands in Redis. Whether another mark stood there before: then what Redis had is lost.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn note_mark(executor: impl PgExecutor<'_>, mark: Uuid) -> Result<bool, Fault> {
    let had_another: Option<bool> = sqlx::query_scalar(
        "update cart_store set mark = $1 \
         from (select mark as former from cart_store for update) as before \
         where mark is distinct from $1 \
         returning before.former is not null",
    )
    .bind(mark)
    .fetch_optional(executor)
    .await?;
    Ok(had_another.unwrap_or(false))
}
