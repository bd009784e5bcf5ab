//! Orders by where their sagas are, and table `compensation_failed`.

use std::collections::BTreeMap;

use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, PgExecutor, Row};
use uuid::Uuid;

use crate::{
    persistence::{
        Record,
        record::{read, select_orders},
    },
    saga::Step,
};

/// Conditions of a list of sagas; all must hold.
#[derive(Debug, Default)]
pub struct SagaFilter {
    /// At this step, one of [`Step::UNSETTLED`]; none, at any of them.
    pub step: Option<Step>,
    /// Of a younger order than this one: the last of the page before.
    pub after: Option<Uuid>,
}

/// Sagas that are not at their end, of the oldest orders first, at most `limit`.
///
/// No index follows the step, because it changes with every order. What waits is found by its timer, and what waits
/// for an operator in a table of its own.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list(executor: impl PgExecutor<'_>, filter: &SagaFilter, limit: i64) -> Result<Vec<Record>, Fault> {
    let steps = filter.step.map_or_else(|| Step::UNSETTLED.to_vec(), |step| vec![step]);
    let with_timer = steps.iter().any(|step| *step != Step::CompensationFailed);
    let numbers: Vec<i16> = steps.iter().map(|step| step.number()).collect();
    let query = select_orders!(
        "from customer_order \
         where order_id = any (array (select unnest(order_ids) from saga_timer where $1 \
                                      union select order_id from compensation_failed)) \
           and saga_step = any ($2) and ($3::uuid is null or order_id > $3) \
         order by order_id limit $4"
    );
    let rows = query.bind(with_timer).bind(numbers).bind(filter.after).bind(limit).fetch_all(executor).await?;
    rows.iter().map(read).collect()
}

/// The saga of one order, if it is at this step; with no step, wherever it is.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, order_id: Uuid, step: Option<Step>) -> Result<Vec<Record>, Fault> {
    let found = find_many(executor, &[order_id]).await?;
    Ok(found.into_iter().filter(|record| step.is_none_or(|step| record.saga.step == step)).collect())
}

/// These orders as last committed, in no particular order.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_many(executor: impl PgExecutor<'_>, orders: &[Uuid]) -> Result<Vec<Record>, Fault> {
    let query = select_orders!("from customer_order where order_id = any ($1)");
    let rows = query.bind(orders).fetch_all(executor).await?;
    rows.iter().map(read).collect()
}

/// Notes compensations that failed (`true`) and those that no longer do.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn note_failed(connection: &mut PgConnection, changes: &BTreeMap<Uuid, bool>) -> Result<(), Fault> {
    let of = |failed: bool| -> Vec<Uuid> {
        changes.iter().filter(|(_, now)| **now == failed).map(|(order_id, _)| *order_id).collect()
    };
    let (failed, ended) = (of(true), of(false));
    if !failed.is_empty() {
        sqlx::query("insert into compensation_failed (order_id) select unnest($1::uuid[]) on conflict do nothing")
            .bind(failed)
            .execute(&mut *connection)
            .await?;
    }
    if !ended.is_empty() {
        sqlx::query("delete from compensation_failed where order_id = any ($1)")
            .bind(ended)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// When the oldest order was made whose saga is not at its end.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn oldest_unsettled(executor: impl PgExecutor<'_>) -> Result<Option<Timestamp>, Fault> {
    let sql = "select min(create_time) from customer_order \
               where order_id = any (array (select unnest(order_ids) from saga_timer \
                                            union select order_id from compensation_failed)) \
                 and saga_step = any ($1)";
    Ok(sqlx::query_scalar(sql).bind(Step::UNSETTLED.map(Step::number).as_slice()).fetch_one(executor).await?)
}

/// How many sagas are at each step that they do not end at.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn count_unsettled(executor: impl PgExecutor<'_>) -> Result<Vec<(Step, i64)>, Fault> {
    let rows = sqlx::query(
        "select saga_step, count(*) from customer_order \
         where order_id = any (array (select unnest(order_ids) from saga_timer \
                                      union select order_id from compensation_failed)) \
           and saga_step = any ($1) \
         group by saga_step",
    )
    .bind(Step::UNSETTLED.map(Step::number).as_slice())
    .fetch_all(executor)
    .await?;
    let counted: Vec<(i16, i64)> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?;
    let count = |step: Step| counted.iter().find(|(number, _)| *number == step.number()).map_or(0, |(_, count)| *count);
    Ok(Step::UNSETTLED.into_iter().map(|step| (step, count(step))).collect())
}
