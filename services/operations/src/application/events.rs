//! Replays of events: out of one service's log, before one consumer group.

use std::{sync::Arc, time::Duration};

use openorder_proto::internal::operations::v1::{
    CountEventsRequest, GetPipelineStateRequest, ReadEventsRequest, RedeliverEventsRequest,
};
use openorder_proto::operations::v1::{EventFilter, ReplayEventsRequest, ReplayEventsResponse, ReplayPhase};
use openorder_rpc::{CallContext, passed_on, reason_of, rejection};
use openorder_runtime::OnExit;
use openorder_telemetry::work_span;
use openorder_types::Rejection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    Operations, Progress, WAITING_MAX,
    act::{ActRequest, Begun},
    logged, unbounded,
};
use crate::{
    domain::Pace,
    persistence,
    services::{Service, is_away},
};

const METHOD: &str = "ReplayEvents";
const RATE_DEFAULT: i32 = 200;
/// Pause while a service is away or full.
const WAIT: Duration = Duration::from_secs(1);

type Sender = mpsc::Sender<Result<ReplayEventsResponse, Status>>;

/// The set, fixed: the conditions, and the end of the log.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Frozen {
    total: i64,
    until_position: i64,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    position: i64,
    read: i64,
    delivered: i64,
    known: i64,
    total: i64,
}

impl Counts {
    fn answer(&self, phase: ReplayPhase, audit_entry_id: String) -> ReplayEventsResponse {
        ReplayEventsResponse {
            phase: phase.into(),
            total: self.total,
            read: self.read,
            delivered: self.delivered,
            known: self.known,
            audit_entry_id,
        }
    }
}

/// Both ends of a replay.
struct Way {
    source: Service,
    target: Service,
    filter: EventFilter,
    pace: Pace,
    frozen: Frozen,
}

impl Operations {
    pub(crate) async fn replay_events(
        self: &Arc<Self>,
        call: &CallContext,
        message: ReplayEventsRequest,
    ) -> Result<Progress<ReplayEventsResponse>, Status> {
        let (source, target) = (self.services.find(&message.source)?, self.services.find(&message.target_group)?);
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let answers: Progress<ReplayEventsResponse> = Box::pin(ReceiverStream::new(receiver));
        let mut filter = message.filter.clone().unwrap_or_default();
        if message.dry_run {
            filter.topics = self.subscribed(call, &target, &filter).await?;
            let total = self.count_events(call, &source, &filter).await?.total;
            let counted = Counts { total, ..Counts::default() };
            drop(sender.try_send(Ok(counted.answer(ReplayPhase::Done, String::new()))));
            return Ok(answers);
        }
        let place = self.place()?;
        let lock = self.alone(call, &message.request_id).await?;
        let rate = if message.rate_per_second == 0 { RATE_DEFAULT } else { message.rate_per_second };
        let request = ActRequest {
            method: METHOD,
            request_id: &message.request_id,
            reason: &message.reason,
            message: &message,
            arguments: json!({
                "source": message.source, "target_group": message.target_group, "rate_per_second": rate,
                "filter": shown(&filter),
            }),
        };
        let begun = self.begin(call, request).await?;
        if let Some(counts) =
            begun.act.outcome.clone().and_then(|outcome| serde_json::from_value::<Counts>(outcome).ok())
        {
            drop(sender.try_send(Ok(counts.answer(ReplayPhase::Done, begun.entry_id()))));
            return Ok(answers);
        }
        let frozen = match self.freeze(call, &begun, &source, &target, &mut filter).await {
            Ok(frozen) => frozen,
            Err(refusal) => return Err(self.refuse(&begun, refusal).await),
        };
        let pace = Pace::new(rate.unsigned_abs());
        let way = Way { source, target, filter, pace, frozen };
        let work = self.traced(call, &begun, work_span!("replay events"));
        let drive = Arc::clone(self).drive(unbounded(call, &work), begun, way, sender, (place, lock));
        self.role.tasks.spawn("replay-events", OnExit::Ignore, work.run(drive));
        Ok(answers)
    }

    /// One replay of a request id at a time: the lock ends with its connection.
    async fn alone(&self, call: &CallContext, request_id: &str) -> Result<PgConnection, Status> {
        let fault = |error: sqlx::Error| logged(error.into());
        let mut connection = self.pool().acquire().await.map_err(fault)?.detach();
        let digest = Sha256::digest(format!("{METHOD}\0{}\0{request_id}", call.caller.subject));
        let key = digest.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        let held: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(key)
            .fetch_one(&mut connection)
            .await
            .map_err(fault)?;
        if held {
            return Ok(connection);
        }
        let text = "this replay is at work already";
        Err(rejection(Rejection::failed_precondition("REPLAY_RUNNING", text)))
    }

    /// The topics of the set: those that were named, or all that the target reads.
    async fn subscribed(
        &self,
        call: &CallContext,
        target: &Service,
        filter: &EventFilter,
    ) -> Result<Vec<String>, Status> {
        let request = self.services.request(call, GetPipelineStateRequest {});
        let state = target.client.clone().get_pipeline_state(request).await.map_err(|status| passed_on(&status))?;
        let read = state.into_inner().consumed_topics;
        let group = target.role;
        let refuse = |text: String| rejection(Rejection::failed_precondition("NOT_SUBSCRIBED", text));
        if read.is_empty() {
            return Err(refuse(format!("{group} reads no topic")));
        }
        if let Some(foreign) = filter.topics.iter().find(|topic| !read.contains(topic)) {
            return Err(refuse(format!("{group} does not read {foreign}; it reads {}", read.join(", "))));
        }
        Ok(if filter.topics.is_empty() { read } else { filter.topics.clone() })
    }

    async fn freeze(
        &self,
        call: &CallContext,
        begun: &Begun,
        source: &Service,
        target: &Service,
        filter: &mut EventFilter,
    ) -> Result<Frozen, Status> {
        filter.topics = self.subscribed(call, target, filter).await?;
        if let Some(frozen) = begun.act.frozen.clone().and_then(|frozen| serde_json::from_value(frozen).ok()) {
            return Ok(frozen);
        }
        let frozen = self.count_events(call, source, filter).await?;
        if frozen.total == 0 {
            let text = format!("no event of {} fits that {} reads", source.role, target.role);
            return Err(rejection(Rejection::failed_precondition("REPLAY_SET_EMPTY", text)));
        }
        let stored = serde_json::to_value(frozen).unwrap_or_default();
        persistence::set_frozen(self.pool(), &begun.act, &stored).await.map_err(logged)?;
        Ok(frozen)
    }

    async fn count_events(&self, call: &CallContext, source: &Service, filter: &EventFilter) -> Result<Frozen, Status> {
        let mut found = Frozen { total: 0, until_position: 0 };
        let mut after_position = 0;
        loop {
            let message = CountEventsRequest { filter: Some(filter.clone()), after_position };
            let counted = source.client.clone().count_events(self.services.request(call, message)).await;
            let counted = counted.map_err(|status| passed_on(&status))?.into_inner();
            found.total += counted.count;
            found.until_position = found.until_position.max(counted.last_position);
            if counted.next_position == 0 {
                return Ok(found);
            }
            after_position = counted.next_position;
        }
    }

    /// Hands the events over, at their pace, until all are through, the caller leaves, or the process ends.
    async fn drive(
        self: Arc<Self>,
        call: CallContext,
        begun: Begun,
        way: Way,
        sender: Sender,
        _held: (OwnedSemaphorePermit, PgConnection),
    ) {
        let stored = begun.act.progress.clone().and_then(|progress| serde_json::from_value(progress).ok());
        let mut counts: Counts = stored.unwrap_or_default();
        counts.total = way.frozen.total;
        drop(sender.try_send(Ok(counts.answer(ReplayPhase::Frozen, begun.entry_id()))));
        let interval = Duration::from_millis(self.settings.progress_interval_ms);
        let mut reported_at = Instant::now();
        loop {
            let began = Instant::now();
            let before = counts.read;
            let (done, pause) = match self.step(&call, &way, &mut counts).await {
                Ok(done) => (done, way.pace.time_of(u32::try_from(counts.read - before).unwrap_or(0))),
                // Away, or full: it goes on by itself when that is over.
                Err(status) if is_away(&status) => (false, WAIT),
                Err(status) => {
                    drop(sender.try_send(Err(self.break_off(&begun, status).await)));
                    return;
                }
            };
            if let Err(fault) = persistence::set_progress(self.pool(), &begun.act, &json!(counts)).await {
                tracing::debug!(%fault, "progress was not noted; what is handed over twice has one effect");
            }
            if done {
                let ended = self.finish(&begun, &json!(counts)).await;
                let answer = ended.map(|()| counts.answer(ReplayPhase::Done, begun.entry_id()));
                drop(sender.send(answer).await);
                return;
            }
            if reported_at.elapsed() >= interval {
                reported_at = Instant::now();
                drop(sender.try_send(Ok(counts.answer(ReplayPhase::Running, begun.entry_id()))));
            }
            tokio::select! {
                () = tokio::time::sleep_until(began + pause) => {}
                () = sender.closed() => {
                    let left = rejection(Rejection::aborted("CALLER_LEFT", "the caller left; the same request id goes on"));
                    self.break_off(&begun, left).await;
                    return;
                }
                () = self.role.shutdown.requested() => return,
            }
        }
    }

    /// One batch; whether it was the last.
    async fn step(&self, call: &CallContext, way: &Way, counts: &mut Counts) -> Result<bool, Status> {
        let batch_max = self.settings.replay_events_batch_max.unsigned_abs();
        let page_size = i32::try_from(way.pace.batch(batch_max)).unwrap_or(i32::MAX);
        let (filter, after_position) = (Some(way.filter.clone()), counts.position);
        let message = ReadEventsRequest { filter, after_position, page_size };
        let page = way.source.client.clone().read_events(self.services.request(call, message)).await?.into_inner();
        let mut events = page.events;
        events.retain(|event| event.position <= way.frozen.until_position);
        let last = events.last().map(|event| event.position);
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        if !events.is_empty() {
            let message = RedeliverEventsRequest { source: way.source.role.to_owned(), events };
            let request = self.services.request(call, message);
            let handed = way.target.client.clone().redeliver_events(request).await;
            let handed = handed.map_err(|status| {
                if reason_of(&status).as_deref() == Some(FULL) {
                    // There is room again once the group has worked something off.
                    openorder_rpc::Refusal::upstream_unavailable(WAIT)
                } else {
                    status
                }
            })?;
            let handed = handed.into_inner();
            counts.read += count;
            counts.delivered += handed.accepted;
            counts.known += handed.known;
        }
        let next = if page.next_position == 0 { way.frozen.until_position } else { page.next_position };
        counts.position = last.unwrap_or(next).max(counts.position);
        Ok(page.next_position == 0 || next >= way.frozen.until_position || last == Some(way.frozen.until_position))
    }
}

/// The reason of a group that has no room.
const FULL: &str = "PARKED_MESSAGES_MAX";

/// Conditions as the trail shows them.
fn shown(filter: &EventFilter) -> serde_json::Value {
    let time = |time: Option<prost_types::Timestamp>| time.map(|time| time.to_string());
    json!({
        "event_time_from": time(filter.event_time_from),
        "event_time_until": time(filter.event_time_until),
        "aggregate_id": filter.aggregate_id,
        "event_types": filter.event_types,
        "topics": filter.topics,
    })
}
