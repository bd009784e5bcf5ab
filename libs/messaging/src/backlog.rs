//! What is committed and not yet published.

use openorder_runtime::compiled_here;
use openorder_types::{Fault, Timestamp};
use sqlx::Row;

use crate::Backbone;

/// More are not counted: the number only has to say "many".
const COUNTED_MAX: i64 = 1_000_000;

/// Events of a service's log behind its relay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpublished {
    /// How many, at most a million.
    pub events: i64,
    /// When the oldest of them was decided.
    pub oldest: Option<Timestamp>,
}

/// Counts what the relay of this service has still to publish. What another process has published counts from when its
/// relay has written so, once in `relay.cursor_interval_ms`.
///
/// # Errors
/// [`Fault`] of the database.
#[compiled_here]
pub async fn unpublished(backbone: &Backbone) -> Result<Unpublished, Fault> {
    let row = sqlx::query(
        "with cursor as (select greatest(position, $2) as position from relay_cursor) \
         select (select count(*) from (select from event_log where position > (select position from cursor) limit $1) as counted), \
                (select occurred_at from event_log where position > (select position from cursor) order by position limit 1)",
    )
    .bind(COUNTED_MAX)
    .bind(backbone.published())
    .fetch_one(backbone.pool())
    .await?;
    Ok(Unpublished { events: row.try_get(0)?, oldest: row.try_get(1)? })
}

/// When the oldest unpublished event was decided.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn oldest_unpublished(backbone: &Backbone) -> Result<Option<Timestamp>, Fault> {
    let sql = "select occurred_at from event_log where position > (select greatest(position, $1) from relay_cursor) \
               order by position limit 1";
    Ok(sqlx::query_scalar(sql).bind(backbone.published()).fetch_optional(backbone.pool()).await?)
}
