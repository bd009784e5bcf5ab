//! Table `hint_store`: the hints in Redis.

use openorder_types::Fault;
use sqlx::PgExecutor;
use uuid::Uuid;

/// The id that stands in the names of the hints.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn store_id(executor: impl PgExecutor<'_>) -> Result<Uuid, Fault> {
    Ok(sqlx::query_scalar("select store_id from hint_store").fetch_one(executor).await?)
}
