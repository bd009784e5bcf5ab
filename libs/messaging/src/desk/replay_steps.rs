//! The service's own task that releases the items of running replays, no faster than their rate.

use std::{sync::Arc, time::Duration};

use openorder_runtime::{compiled_here, every};
use openorder_telemetry::{TraceContext, work_span};
use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::{Backbone, ConsumerSettings, UnitOfWork};

/// Running replays that one round looks at.
const JOBS_MAX: i64 = 100;

/// Releases until shutdown. Every instance does so: a job is one instance's at a time, by its row's lock.
#[compiled_here]
pub(crate) async fn run(backbone: Arc<Backbone>, settings: ConsumerSettings) {
    let shutdown = backbone.shutdown().clone();
    let interval = Duration::from_millis(settings.replay_interval_ms);
    let mut failed = false;
    let mut rounds = every(interval, &shutdown).after_a_pause();
    while rounds.next().await {
        let result = step(&backbone, interval, !failed).await;
        if let Err(fault) = &result
            && !failed
        {
            tracing::warn!(%fault, "replays stand still until it is over");
        }
        failed = result.is_err();
    }
}

/// One round over the running jobs, each in a transaction of its own. A failure marks its span if it is the `first`.
async fn step(backbone: &Backbone, interval: Duration, first: bool) -> Result<(), Fault> {
    let running: Vec<Uuid> =
        sqlx::query_scalar("select job_id from replay_job where state = 1 order by created_at limit $1")
            .bind(JOBS_MAX)
            .fetch_all(backbone.pool())
            .await?;
    for job_id in running {
        let work = backbone.telemetry().trace(work_span!("step replay", %job_id), &TraceContext::NONE);
        let stepped = work.run(step_one(backbone, job_id, interval)).await;
        if let (Err(fault), true) = (&stepped, first) {
            work.fail(fault.kind(), "the replay stands still until it is over");
        }
        stepped?;
    }
    Ok(())
}

async fn step_one(backbone: &Backbone, job_id: Uuid, interval: Duration) -> Result<(), Fault> {
    let mut unit = UnitOfWork::begin(backbone.pool(), backbone.telemetry()).await?;
    let now = unit.now();
    if step_job(unit.connection(), job_id, interval, now).await? {
        tracing::info!(%job_id, "replay is through");
    }
    unit.commit().await?;
    Ok(())
}

/// Releases what the rate allows by now; `true` when that was the end of the job.
async fn step_job(
    connection: &mut PgConnection,
    job_id: Uuid,
    interval: Duration,
    now: Timestamp,
) -> Result<bool, Fault> {
    let row = sqlx::query(
        "select rate_per_second, stepped_at from replay_job where job_id = $1 and state = 1 for update skip locked",
    )
    .bind(job_id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(false) };
    let rate: i32 = row.try_get("rate_per_second")?;
    let stepped_at: Timestamp = row.try_get("stepped_at")?;
    let allowance = Allowance::new(rate, stepped_at, now, interval);
    if allowance.items > 0 {
        let released = release(connection, job_id, allowance.items, now).await?;
        sqlx::query("update replay_job set stepped_at = $2 where job_id = $1")
            .bind(job_id)
            .bind(allowance.used_up_to(released))
            .execute(&mut *connection)
            .await?;
    }
    let ended = sqlx::query(
        "update replay_job set state = 2, finished_at = $2 \
         where job_id = $1 and not exists (select from replay_item i where i.job_id = $1 and i.outcome in (1, 2))",
    )
    .bind(job_id)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(ended.rows_affected() == 1)
}

/// Puts the next items back to the retries, with no attempts and due now. Gives how many.
async fn release(connection: &mut PgConnection, job_id: Uuid, items: i64, now: Timestamp) -> Result<i64, Fault> {
    let next: Vec<i64> = sqlx::query_scalar(
        "select sequence from replay_item where job_id = $1 and outcome = 1 order by sequence limit $2",
    )
    .bind(job_id)
    .bind(items)
    .fetch_all(&mut *connection)
    .await?;
    // The messages first, like everybody who locks both.
    sqlx::query(
        "update parked_message set state = 1, attempts = 0, next_attempt_at = $3 \
         where sequence = any($1) and state = 2 and replay_job_id = $2",
    )
    .bind(&next)
    .bind(job_id)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "update replay_item set outcome = 2, released_at = $3 where job_id = $1 and sequence = any($2) and outcome = 1",
    )
    .bind(job_id)
    .bind(&next)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(i64::try_from(next.len()).unwrap_or(i64::MAX))
}

/// What a rate allows: what has gathered since the last release, at most two intervals' worth and one item.
struct Allowance {
    items: i64,
    rate: f64,
    from: Timestamp,
}

impl Allowance {
    fn new(rate: i32, stepped_at: Timestamp, now: Timestamp, interval: Duration) -> Self {
        let rate = f64::from(rate.max(1));
        let gathered_max = interval * 2 + Duration::from_secs_f64(1.0 / rate);
        let from = stepped_at.max(now - gathered_max);
        let seconds = (now - from).to_std().unwrap_or_default().as_secs_f64();
        // Bounded by rate and interval; what is less than one item stays for the next time.
        let items = (seconds * rate + 1e-6).floor() as i64;
        Self { items, rate, from }
    }

    /// Up to when the rate is used up by so many items.
    fn used_up_to(&self, released: i64) -> Timestamp {
        self.from + Duration::from_secs_f64(released as f64 / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many items are released in so many seconds of steps.
    fn released_in(seconds: u32, rate: i32, interval_ms: u64) -> i64 {
        let interval = Duration::from_millis(interval_ms);
        let begun = chrono::Utc::now();
        let (mut stepped_at, mut now, mut released) = (begun, begun, 0);
        while now < begun + Duration::from_secs(seconds.into()) {
            now += interval;
            let allowance = Allowance::new(rate, stepped_at, now, interval);
            if allowance.items > 0 {
                released += allowance.items;
                stepped_at = allowance.used_up_to(allowance.items);
            }
        }
        released
    }

    #[test]
    fn over_time_exactly_the_rate_is_released_however_slow_or_fast_it_is() {
        for (rate, interval_ms) in [(1, 200), (3, 200), (50, 200), (1_000, 200), (7, 10_000)] {
            let released = released_in(60, rate, interval_ms);
            assert!((i64::from(rate) * 60 - released).abs() <= 1, "{rate}: {released}");
        }
    }

    #[test]
    fn a_job_that_stood_still_does_not_catch_up_at_once() {
        let (now, interval) = (chrono::Utc::now(), Duration::from_millis(200));
        let allowance = Allowance::new(100, now - Duration::from_secs(3_600), now, interval);
        assert_eq!(allowance.items, 41);
    }
}
