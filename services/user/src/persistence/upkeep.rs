//! What is needed no more is deleted, a bounded number of rows at a time.

use openorder_types::{Fault, Timestamp};
use sqlx::PgPool;

/// Deletes entries before `activities_before`, sessions that were over before `sessions_before`, and revocations that
/// mattered until `now`: at most `limit` of each. Whether there may be more.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn delete_old(
    pool: &PgPool,
    now: Timestamp,
    activities_before: Timestamp,
    sessions_before: Timestamp,
    limit: i64,
) -> Result<bool, Fault> {
    let statements = [
        (
            "delete from user_activity where ctid = any (array(select ctid from user_activity where time < $1 limit $2))",
            activities_before,
        ),
        (
            "delete from user_session where session_id = any (array( \
                 select session_id from user_session where refresh_expire_time < $1 or end_time < $1 limit $2))",
            sessions_before,
        ),
        (
            "delete from revocation where position = any (array( \
                 select position from revocation where expire_time < $1 limit $2))",
            now,
        ),
    ];
    let mut is_more = false;
    for (text, before) in statements {
        let deleted = sqlx::query(text).bind(before).bind(limit).execute(pool).await?;
        is_more |= i64::try_from(deleted.rows_affected()).is_ok_and(|rows| rows >= limit);
    }
    Ok(is_more)
}
