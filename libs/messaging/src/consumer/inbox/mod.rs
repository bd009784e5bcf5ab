//! The inbox: an event id is claimed in the transaction of its effects, so effects happen once.

use std::collections::HashSet;

use openorder_types::{Fault, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

/// Claims the ids; those that come back are new. Waits for another instance that is claiming one of them.
pub(crate) async fn claim(connection: &mut PgConnection, ids: &[Uuid], now: Timestamp) -> Result<HashSet<Uuid>, Fault> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    // Sorted, so that two instances with overlapping batches never deadlock.
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let new: Vec<Uuid> = sqlx::query_scalar(
        "insert into inbox (event_id, received_at) select unnest($1::uuid[]), $2 \
         on conflict do nothing returning event_id",
    )
    .bind(sorted)
    .bind(now)
    .fetch_all(connection)
    .await?;
    Ok(new.into_iter().collect())
}
