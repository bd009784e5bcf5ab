//! Replays: a frozen set of dead letters goes back to the retries.

use openorder_types::{CallError, Fault, FieldViolation, Rejection, Timestamp};
use sqlx::{PgConnection, PgExecutor, QueryBuilder, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    Desk, Filter, ItemOutcome, Page, ReplayCount, ReplayItem, ReplayJob, ReplayRequest, ReplayState, check_reason,
    dead_letters::push_page, filter::Time, limit,
};

/// Dead letters that a replay may release per second.
const RATE_MAX: u32 = 10_000;
/// Dead letters that one replay may hold.
const ITEMS_MAX: u32 = 100_000;
/// Length of a request id.
const REQUEST_ID_MAX_CHARS: usize = 128;

/// A job with the counts of its items.
const JOB: &str = "select j.*, c.* from replay_job j cross join lateral (\
                     select count(*) filter (where outcome = 1) as waiting, count(*) filter (where outcome = 2) as released, \
                            count(*) filter (where outcome = 3) as succeeded, count(*) filter (where outcome = 4) as failed, \
                            count(*) filter (where outcome in (5, 6)) as left_out \
                     from replay_item i where i.job_id = j.job_id) c where ";

impl Desk {
    /// What a replay would touch; changes nothing.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn count_replay(&self, filter: &Filter) -> Result<ReplayCount, Fault> {
        let mut query = QueryBuilder::new(
            "with meant as (select p.sequence, p.topic, p.key_hash, p.replay_job_id from parked_message p where p.state = 2",
        );
        filter.push_to(&mut query, Time::Dead);
        query.push(
            "), free as (select * from meant where replay_job_id is null) \
             select (select count(*) from free) as items, \
                    (select count(distinct (topic, key_hash)) from free) as keys, \
                    (select count(*) from parked_message l \
                     where l.state = 1 and exists (select from free f where f.topic = l.topic and f.key_hash = l.key_hash \
                                                     and f.sequence < l.sequence)) as waiting_behind, \
                    (select count(*) from meant where replay_job_id is not null) as in_other_replays",
        );
        let row = query.build().fetch_one(self.pool()).await?;
        Ok(ReplayCount {
            items: row.try_get("items")?,
            keys: row.try_get("keys")?,
            waiting_behind: row.try_get("waiting_behind")?,
            in_other_replays: row.try_get("in_other_replays")?,
        })
    }

    /// Freezes the set and begins. The service itself releases the items then, no faster than the rate, whichever
    /// instance lives: nobody has to step a job. The same `request_id` of the same caller gives the same job.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for bounds; `ALREADY_EXISTS` `REQUEST_ID_REUSED` for the same id with another filter, rate
    /// or bound; `NOT_FOUND` `NOTHING_TO_REPLAY`; an outage of the database.
    pub async fn start_replay(&self, request: &ReplayRequest) -> Result<ReplayJob, CallError> {
        check(request)?;
        if let Some(job) = self.job_of(self.pool(), request).await? {
            return same(job, request).map_err(CallError::from);
        }
        let mut unit = self.begin().await?;
        let now = unit.now();
        let job_id = Uuid::now_v7();
        if !insert_job(unit.connection(), job_id, request, now).await? {
            // Another call with this id is just before this one.
            drop(unit);
            let job = self.job_of(self.pool(), request).await?;
            return same(job.ok_or(CallError::Internal)?, request).map_err(CallError::from);
        }
        let frozen = freeze(unit.connection(), job_id, request).await?;
        if frozen == 0 {
            return Err(Rejection::not_found(
                "NOTHING_TO_REPLAY",
                "no dead letter is meant that is in no other replay",
            )
            .into());
        }
        sqlx::query("update replay_job set items = $2 where job_id = $1")
            .bind(job_id)
            .bind(i32::try_from(frozen).unwrap_or(i32::MAX))
            .execute(unit.connection())
            .await?;
        unit.commit().await?;
        tracing::info!(%job_id, items = frozen, by = request.requested_by, "replay begins");
        self.replay(job_id).await?.ok_or(CallError::Internal)
    }

    /// A job with its counts; `None` when there is none of that id.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn replay(&self, job_id: Uuid) -> Result<Option<ReplayJob>, Fault> {
        let mut query = QueryBuilder::new(JOB);
        query.push("j.job_id = ").push_bind(job_id);
        let row = query.build().fetch_optional(self.pool()).await?;
        row.as_ref().map(job).transpose()
    }

    async fn job_of(&self, executor: impl PgExecutor<'_>, request: &ReplayRequest) -> Result<Option<ReplayJob>, Fault> {
        let mut query = QueryBuilder::new(JOB);
        query.push("j.request_id = ").push_bind(&request.request_id);
        query.push(" and j.requested_by = ").push_bind(&request.requested_by);
        let row = query.build().fetch_optional(executor).await?;
        row.as_ref().map(job).transpose()
    }

    /// Jobs, newest first, at most `page_size`; `before` is the job id to go on before.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn replays(&self, before: Option<Uuid>, page_size: u32) -> Result<Vec<ReplayJob>, Fault> {
        let mut query = QueryBuilder::new(JOB);
        // UUID v7: the order of the ids is the order of the jobs.
        query.push("j.job_id < ").push_bind(before.unwrap_or(Uuid::max()));
        query.push(" order by j.job_id desc limit ").push_bind(limit(page_size));
        let rows = query.build().fetch_all(self.pool()).await?;
        rows.iter().map(job).collect()
    }

    /// Items of a job by sequence, at most `page_size` after the sequence `after`.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn replay_items(
        &self,
        job_id: Uuid,
        after: Option<i64>,
        page_size: u32,
    ) -> Result<Page<ReplayItem>, Fault> {
        let limit = limit(page_size);
        let mut query = QueryBuilder::new("select p.* from replay_item p where p.job_id = ");
        query.push_bind(job_id);
        push_page(&mut query, after, limit);
        let rows = query.build().fetch_all(self.pool()).await?;
        let items = rows.iter().map(item).collect::<Result<_, _>>()?;
        Ok(Page::of(items, limit, |item: &ReplayItem| item.sequence))
    }

    /// Stops a job: what is not released stays dead. A job that has ended stays as it is.
    ///
    /// # Errors
    /// `NOT_FOUND` `REPLAY_UNKNOWN`; an outage of the database.
    pub async fn cancel_replay(&self, job_id: Uuid) -> Result<ReplayJob, CallError> {
        let mut unit = self.begin().await?;
        let now = unit.now();
        let cancelled =
            sqlx::query("update replay_job set state = 3, finished_at = $2 where job_id = $1 and state = 1")
                .bind(job_id)
                .bind(now)
                .execute(unit.connection())
                .await?;
        if cancelled.rows_affected() == 1 {
            // The messages first, like everybody who locks both.
            sqlx::query("update parked_message set replay_job_id = null where replay_job_id = $1 and state = 2")
                .bind(job_id)
                .execute(unit.connection())
                .await?;
            sqlx::query("update replay_item set outcome = 5, finished_at = $2 where job_id = $1 and outcome = 1")
                .bind(job_id)
                .bind(now)
                .execute(unit.connection())
                .await?;
            unit.commit().await?;
            tracing::info!(%job_id, "replay cancelled");
        }
        let job = self.replay(job_id).await?;
        job.ok_or_else(|| Rejection::not_found("REPLAY_UNKNOWN", "there is no replay of this id").into())
    }
}

fn check(request: &ReplayRequest) -> Result<(), Rejection> {
    let mut violations = Vec::new();
    let mut bounded = |field: &str, value: u32, most: u32| {
        if !(1..=most).contains(&value) {
            violations.push(FieldViolation::new(field, "OUT_OF_RANGE", format!("must be 1 to {most}")));
        }
    };
    bounded("rate_per_second", request.rate_per_second, RATE_MAX);
    bounded("items_max", request.items_max, ITEMS_MAX);
    if request.request_id.is_empty() || request.request_id.chars().count() > REQUEST_ID_MAX_CHARS {
        let description = format!("must be 1 to {REQUEST_ID_MAX_CHARS} characters long");
        violations.push(FieldViolation::new("request_id", "REQUEST_ID_INVALID", description));
    }
    if request.filter.sequences.len() > Desk::PAGE_MAX as usize {
        let description = format!("must be at most {}", Desk::PAGE_MAX);
        violations.push(FieldViolation::new("filter.sequences", "TOO_MANY", description));
    }
    if violations.is_empty() { check_reason(&request.reason) } else { Err(Rejection::invalid(violations)) }
}

/// The job of an earlier call, if it asked for the same.
fn same(job: ReplayJob, request: &ReplayRequest) -> Result<ReplayJob, Rejection> {
    if job.filter == request.filter && job.rate_per_second == request.rate_per_second && job.reason == request.reason {
        return Ok(job);
    }
    let message = "this request_id was used before for another replay; use a new one for a new replay";
    Err(Rejection::already_exists("REQUEST_ID_REUSED", message).with("request_id", &request.request_id))
}

/// `false` when there is a job of this request.
async fn insert_job(
    connection: &mut PgConnection,
    job_id: Uuid,
    request: &ReplayRequest,
    now: Timestamp,
) -> Result<bool, Fault> {
    let filter = serde_json::to_value(&request.filter).map_err(Fault::permanent)?;
    let inserted = sqlx::query(
        "insert into replay_job (job_id, requested_by, request_id, reason, filter, rate_per_second, state, items, \
                                 created_at, stepped_at) \
         values ($1, $2, $3, $4, $5, $6, 1, 0, $7, $7) on conflict (request_id, requested_by) do nothing",
    )
    .bind(job_id)
    .bind(&request.requested_by)
    .bind(&request.request_id)
    .bind(&request.reason)
    .bind(filter)
    .bind(i32::try_from(request.rate_per_second).unwrap_or(i32::MAX))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Takes the dead letters that are meant into the job. Gives how many there are.
async fn freeze(connection: &mut PgConnection, job_id: Uuid, request: &ReplayRequest) -> Result<u64, Fault> {
    let mut query = QueryBuilder::new("with frozen as (update parked_message f set replay_job_id = ");
    query.push_bind(job_id);
    // Locked, so that two replays that begin at once share nothing.
    query.push(
        " where f.sequence in (select p.sequence from parked_message p where p.state = 2 and p.replay_job_id is null",
    );
    request.filter.push_to(&mut query, Time::Dead);
    query.push(" order by p.sequence limit ").push_bind(i64::from(request.items_max));
    query.push(
        " for update) and f.replay_job_id is null returning f.sequence, f.event_id, f.topic, f.key, f.event_type) \
         insert into replay_item (job_id, sequence, event_id, topic, key, event_type, outcome) select ",
    );
    query.push_bind(job_id).push(", sequence, event_id, topic, key, event_type, 1 from frozen");
    Ok(query.build().execute(connection).await?.rows_affected())
}

fn job(row: &PgRow) -> Result<ReplayJob, Fault> {
    let filter: Filter = serde_json::from_value(row.try_get("filter")?).map_err(Fault::permanent)?;
    let count = |name: &str| row.try_get::<i64, _>(name).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let state = match row.try_get::<i16, _>("state")? {
        1 => ReplayState::Running,
        2 => ReplayState::Completed,
        _ => ReplayState::Cancelled,
    };
    Ok(ReplayJob {
        job_id: row.try_get("job_id")?,
        request_id: row.try_get("request_id")?,
        requested_by: row.try_get("requested_by")?,
        reason: row.try_get("reason")?,
        filter,
        rate_per_second: u32::try_from(row.try_get::<i32, _>("rate_per_second")?).unwrap_or_default(),
        state,
        items: u32::try_from(row.try_get::<i32, _>("items")?).unwrap_or_default(),
        waiting: count("waiting")?,
        released: count("released")?,
        succeeded: count("succeeded")?,
        failed: count("failed")?,
        left_out: count("left_out")?,
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

fn item(row: &PgRow) -> Result<ReplayItem, Fault> {
    let outcome = match row.try_get::<i16, _>("outcome")? {
        1 => ItemOutcome::Waiting,
        2 => ItemOutcome::Released,
        3 => ItemOutcome::Succeeded,
        4 => ItemOutcome::FailedAgain,
        5 => ItemOutcome::Cancelled,
        _ => ItemOutcome::Discarded,
    };
    Ok(ReplayItem {
        sequence: row.try_get("sequence")?,
        event_id: row.try_get("event_id")?,
        topic: row.try_get("topic")?,
        key: row.try_get("key")?,
        event_type: row.try_get("event_type")?,
        outcome,
        released_at: row.try_get("released_at")?,
        finished_at: row.try_get("finished_at")?,
        error_reason: row.try_get("error_reason")?,
        error_text: row.try_get("error_text")?,
    })
}
