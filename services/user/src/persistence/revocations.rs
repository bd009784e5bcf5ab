//! Tables `revocation` and `revocation_position`.

use openorder_types::{Fault, Timestamp, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};

use crate::domain::{Revocation, RevocationTarget};

/// Adds revocations. Their positions follow on the last one, under a lock that is held until the commit: whoever has read
/// up to one has read all before it.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn add_revocations(connection: &mut PgConnection, revocations: &[Revocation]) -> Result<(), Fault> {
    if revocations.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(revocations.len()).map_err(Fault::permanent)?;
    let last: i64 = sqlx::query_scalar("update revocation_position set position = position + $1 returning position")
        .bind(count)
        .fetch_one(&mut *connection)
        .await?;
    let (mut sessions, mut users) = (Vec::new(), Vec::new());
    for revocation in revocations {
        let (session, user) = match &revocation.target {
            RevocationTarget::Session(session_id) => (Some(session_id.clone()), None),
            RevocationTarget::User(user_id) => (None, Some(user_id.to_string())),
        };
        sessions.push(session);
        users.push(user);
    }
    sqlx::query(
        "insert into revocation (position, session_id, user_id, revoke_time, expire_time) \
         select unnest($1::bigint[]), unnest($2::text[]), unnest($3::text[]), unnest($4::timestamptz[]), \
                unnest($5::timestamptz[])",
    )
    .bind((last - count + 1..=last).collect::<Vec<i64>>())
    .bind(sessions)
    .bind(users)
    .bind(revocations.iter().map(|revocation| revocation.revoke_time).collect::<Vec<_>>())
    .bind(revocations.iter().map(|revocation| revocation.expire_time).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// The revocations after a position that still matter, the oldest first, at most `limit`, each with its position; and the
/// last position that is given.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_revocations(
    executor: impl PgExecutor<'_>,
    since: i64,
    now: Timestamp,
    limit: i64,
) -> Result<(Vec<(i64, Revocation)>, i64), Fault> {
    // One statement, so that both are of one instant. A position beyond the last one is of another database.
    let rows = sqlx::query(
        "with last as (select position from revocation_position) \
         select last.position as last, found.* from last left join lateral ( \
             select position, session_id, user_id, revoke_time, expire_time from revocation \
             where position > case when $1 > last.position then 0 else $1 end and expire_time > $2 \
             order by position limit $3) as found on true \
         order by found.position",
    )
    .bind(since)
    .bind(now)
    .bind(limit)
    .fetch_all(executor)
    .await?;
    let last: Option<i64> = rows.first().map(|row| row.try_get("last")).transpose()?;
    let found = rows.iter().map(revocation).collect::<Result<Vec<_>, Fault>>()?;
    Ok((found.into_iter().flatten().collect(), last.unwrap_or_default()))
}

/// None of the row that stands for none.
fn revocation(row: &PgRow) -> Result<Option<(i64, Revocation)>, Fault> {
    let Some(position): Option<i64> = row.try_get("position")? else { return Ok(None) };
    let (session, user): (Option<String>, Option<&str>) = (row.try_get("session_id")?, row.try_get("user_id")?);
    let target = match (session, user) {
        (Some(session_id), _) => RevocationTarget::Session(session_id),
        (None, Some(user_id)) => RevocationTarget::User(UserId::parse(user_id).map_err(Fault::permanent)?),
        (None, None) => return Err(Fault::permanent("a revocation is of nobody")),
    };
    let revocation =
        Revocation { target, revoke_time: row.try_get("revoke_time")?, expire_time: row.try_get("expire_time")? };
    Ok(Some((position, revocation)))
}
