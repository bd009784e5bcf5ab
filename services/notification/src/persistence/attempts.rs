//! Table `delivery_attempt`.

use openorder_types::Fault;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::Delivery;

/// Writes attempts, each with its number over all rounds of its notification.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn insert(connection: &mut PgConnection, attempts: &[(i32, &Delivery)]) -> Result<(), Fault> {
    if attempts.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = attempts.iter().map(|(_, delivery)| delivery.notification_id).collect();
    let numbers: Vec<i32> = attempts.iter().map(|(number, _)| *number).collect();
    let rounds: Vec<i32> = attempts.iter().map(|(_, delivery)| delivery.round).collect();
    let started: Vec<_> = attempts.iter().map(|(_, delivery)| delivery.started_at).collect();
    let ended: Vec<_> = attempts.iter().map(|(_, delivery)| delivery.ended_at).collect();
    let outcomes: Vec<i16> = attempts.iter().map(|(_, delivery)| delivery.outcome.number()).collect();
    let (reasons, details): (Vec<&str>, Vec<&str>) =
        attempts.iter().map(|(_, delivery)| delivery.outcome.why()).unzip();
    sqlx::query(
        "insert into delivery_attempt \
         (notification_id, attempt, round, started_at, ended_at, outcome, reason, detail) \
         select unnest($1::uuid[]), unnest($2::integer[]), unnest($3::integer[]), unnest($4::timestamptz[]), \
                unnest($5::timestamptz[]), unnest($6::smallint[]), unnest($7::text[]), unnest($8::text[])",
    )
    .bind(ids)
    .bind(numbers)
    .bind(rounds)
    .bind(started)
    .bind(ended)
    .bind(outcomes)
    .bind(reasons)
    .bind(details)
    .execute(connection)
    .await?;
    Ok(())
}
