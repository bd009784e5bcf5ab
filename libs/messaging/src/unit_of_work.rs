//! One transaction: state, events, inbox and request results commit together or not at all.

use std::{borrow::Cow, sync::OnceLock};

use chrono::{SubsecRound, Utc};
use openorder_runtime::compiled_here;
use openorder_telemetry::{RoleTelemetry, Span, SpanKind, TraceContext};
use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::{LoggedEvent, NewEvent, database::POSTGRES, event_log, locks::AdvisoryLock};

/// Rows found by key are found in one way, whether one or a thousand: the statements are planned once a connection, and
/// not once a batch. A plan made while a table was empty would else be to read all of it, and stay.
const BEGIN_BATCH: &str = "begin; set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off";

/// Consumers share the inbox's lock, taken before the statement that looks: it sees what was handed over meanwhile.
fn begin_consumed() -> &'static str {
    static SQL: OnceLock<String> = OnceLock::new();
    SQL.get_or_init(|| format!("{BEGIN_BATCH}; select pg_advisory_xact_lock_shared({})", AdvisoryLock::Inbox.number()))
}

/// An event waiting for the commit, with the span that created it.
pub(crate) struct PendingEvent {
    pub(crate) event: NewEvent,
    pub(crate) event_id: Uuid,
    span: Span,
}

impl PendingEvent {
    /// An event that belongs to the trace of `parent`.
    pub(crate) fn new(telemetry: &RoleTelemetry, mut event: NewEvent, parent: &TraceContext) -> Self {
        let event_id = Uuid::now_v7();
        let mut span = telemetry.start(SpanKind::Producer, || format!("create {}", event.event_type).into(), parent);
        if span.is_recording() {
            span.set("messaging.system", "kafka");
            span.set("messaging.operation.name", "create");
            span.set("messaging.operation.type", "create");
            span.set("messaging.destination.name", event.topic);
            span.set("messaging.message.id", event_id.to_string());
            span.set("messaging.message.conversation_id", event.key().to_string());
            span.set("openorder.event.type", event.event_type);
            if !event.reason.is_empty() {
                span.set("openorder.event.reason", std::mem::take(&mut event.reason));
            }
        }
        Self { event, event_id, span }
    }

    pub(crate) fn trace(&self) -> &TraceContext {
        self.span.context()
    }
}

/// The transaction that a batch runs in, and the events that it will append.
pub struct UnitOfWork {
    transaction: Transaction<'static, Postgres>,
    telemetry: RoleTelemetry,
    now: Timestamp,
    command_traces: Vec<TraceContext>,
    events: Vec<PendingEvent>,
}

impl UnitOfWork {
    pub(crate) async fn begin(pool: &PgPool, telemetry: &RoleTelemetry) -> Result<Self, Fault> {
        Self::begin_with(pool, telemetry, "begin").await
    }

    /// Begins the transaction of a batch of commands: all its statements find rows by key.
    pub(crate) async fn begin_batch(pool: &PgPool, telemetry: &RoleTelemetry) -> Result<Self, Fault> {
        Self::begin_with(pool, telemetry, BEGIN_BATCH).await
    }

    /// Begins the transaction of a batch of messages, which may be claimed in the inbox.
    pub(crate) async fn begin_consumed(pool: &PgPool, telemetry: &RoleTelemetry) -> Result<Self, Fault> {
        Self::begin_with(pool, telemetry, begin_consumed()).await
    }

    #[compiled_here]

    async fn begin_with(pool: &PgPool, telemetry: &RoleTelemetry, sql: &'static str) -> Result<Self, Fault> {
        // Whatever keeps a transaction from beginning is nothing that the work has done wrong.
        let transaction = pool.begin_with(sql).await.map_err(|error| Fault::outage(POSTGRES, error))?;
        Ok(Self {
            transaction,
            telemetry: telemetry.clone(),
            now: Utc::now().trunc_subsecs(6),
            command_traces: Vec::new(),
            events: Vec::new(),
        })
    }

    /// Sets the traces of the commands, by [`NewEvent::command_index`].
    pub(crate) fn set_command_traces(&mut self, traces: Vec<TraceContext>) {
        self.command_traces = traces;
    }

    /// The connection of the transaction.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Marks a place that [`Self::roll_back_to`] comes back to; the latest one only.
    #[compiled_here]
    pub(crate) async fn set_savepoint(&mut self) -> Result<Savepoint, Fault> {
        sqlx::raw_sql("savepoint piece").execute(self.connection()).await?;
        Ok(Savepoint { events: self.events.len() })
    }

    /// Forgets what was written and appended since the savepoint.
    #[compiled_here]
    pub(crate) async fn roll_back_to(&mut self, savepoint: Savepoint) -> Result<(), Fault> {
        self.events.truncate(savepoint.events);
        sqlx::raw_sql("rollback to savepoint piece").execute(self.connection()).await?;
        Ok(())
    }

    /// The one time of this batch, in the microseconds that PostgreSQL keeps: what is answered is what is read later.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Appends an event; it is written, under the log's lock, as the last act before the commit. Returns its id.
    pub fn append(&mut self, event: NewEvent) -> Uuid {
        let parent = self.command_traces.get(event.command_index).unwrap_or(&TraceContext::NONE);
        let pending = PendingEvent::new(&self.telemetry, event, parent);
        let event_id = pending.event_id;
        self.events.push(pending);
        event_id
    }

    /// Appends the events and commits. Returns what was appended, for those who wait for it in this process.
    #[compiled_here]
    pub(crate) async fn commit(mut self) -> Result<Appended, Fault> {
        let mut first_position = None;
        if !self.events.is_empty() {
            first_position = event_log::append(&mut self.transaction, &self.events, self.now).await?;
        }
        self.transaction.commit().await?;
        Ok(Appended { first_position, events: self.events, at: self.now })
    }
}

/// A place within a transaction.
pub(crate) struct Savepoint {
    events: usize,
}

/// What a transaction appended to the log.
pub(crate) struct Appended {
    /// Of the first event, if the others follow without a gap.
    first_position: Option<i64>,
    pub(crate) events: Vec<PendingEvent>,
    at: Timestamp,
}

impl Appended {
    #[cfg(test)]
    pub(crate) fn at(first_position: i64, events: Vec<PendingEvent>, at: Timestamp) -> Self {
        Self { first_position: Some(first_position), events, at }
    }

    /// The events as they stand in the log; none if it is not known where.
    pub(crate) fn into_logged(self) -> Vec<LoggedEvent> {
        let (Some(first), at) = (self.first_position, self.at) else { return Vec::new() };
        let logged = self.events.into_iter().zip(first..).map(|(pending, position)| LoggedEvent {
            position,
            event_id: pending.event_id,
            trace: pending.trace().clone(),
            event_type: Cow::Borrowed(pending.event.event_type),
            topic: Cow::Borrowed(pending.event.topic),
            key: pending.event.key.unwrap_or_else(|| pending.event.aggregate_id.clone()),
            aggregate_id: pending.event.aggregate_id,
            aggregate_version: pending.event.aggregate_version,
            payload: pending.event.payload,
            occurred_at: at,
        });
        logged.collect()
    }
}
