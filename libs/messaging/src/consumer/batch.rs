//! A batch of messages as transactions: inbox, parking, the use case, events, commit.

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures::FutureExt;
use openorder_faults as faults;
use openorder_telemetry::Span;
use openorder_types::{Fault, Timestamp};

use crate::{
    Application, Backbone, ConsumerSettings, DecodeError, Envelope, Received, UnitOfWork, UnknownTypes,
    consumer::{
        Injects,
        bound::{Counted, Divided, Parked},
        failure::{self, Failure, Verdict},
        inbox::Claim,
        parking::{self, Park},
        spans,
        stored::{self, Key, RecordTime},
    },
    database::{POSTGRES, is_timeout},
    dead_letters::WithoutRow,
    metrics::Metrics,
};

/// Name of the dependency while the table of parked messages is full.
pub(crate) const PARKING: &str = "parking";

/// Name of the dependency while a message of an unknown type stops the partitions.
const KNOWN_TYPES: &str = "known-event-types";

/// Failing messages of one batch that get their immediate tries: where more fail, trying again at once helps none of
/// them, and keeps the others waiting.
const TRIED_AT_ONCE_MAX: usize = 10;

/// A message with what it means to this service.
pub(crate) struct Item<C> {
    pub(crate) message: Received,
    pub(crate) recorded: RecordTime,
    pub(crate) meaning: Result<C, DecodeError>,
}

/// Handles batches for one application.
pub(crate) struct Handler<A: Application> {
    pub(super) backbone: Arc<Backbone>,
    application: Arc<A>,
    pub(super) settings: ConsumerSettings,
    injects: Injects<A::Command>,
    /// How full the table of what failed is.
    pub(super) counted: Counted,
    /// Where dead messages go that find no room there.
    pub(super) without_row: WithoutRow,
    /// Batches in a row that ran into the database's time limits.
    timeouts: AtomicU32,
    pub(super) metrics: &'static Metrics,
}

/// New messages of a batch: those to run, and those to park.
type Sorted<'a, C> = (Vec<(&'a Received, &'a C)>, Vec<Parked<'a, C>>);

impl<A: Application> Handler<A> {
    pub(crate) fn new(
        backbone: Arc<Backbone>,
        application: Arc<A>,
        settings: ConsumerSettings,
        injects: Injects<A::Command>,
    ) -> Self {
        let without_row = WithoutRow::new(Arc::clone(&backbone), settings.clone());
        Self {
            backbone,
            application,
            settings,
            injects,
            counted: Counted::default(),
            without_row,
            timeouts: AtomicU32::new(0),
            metrics: Metrics::get(),
        }
    }

    /// Handles all items, in order. A batch that fails is split until the guilty message stands alone; that one is
    /// parked or dead, and its key waits with it.
    ///
    /// # Errors
    /// Only an outage: then some of the items may be done, and all have to come again (the inbox drops the done ones).
    pub(crate) async fn handle(&self, items: &[Item<A::Command>]) -> Result<(), Fault> {
        let mut parts = vec![items];
        let mut guilty_count = 0;
        let mut search = Search::new(self.timeouts.load(Ordering::Relaxed) >= self.settings.timeouts_before_search);
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let tries = match part.len() {
                1 if guilty_count < TRIED_AT_ONCE_MAX => self.settings.immediate_tries_max,
                // Once more as a whole, against a deadlock. Then it is searched for the guilty one, and to try each
                // part again would only keep the others waiting.
                whole if whole == items.len() => self.settings.immediate_tries_max.min(1),
                _ => 0,
            };
            let failure = match self.attempts(part, tries).await {
                Ok(()) => {
                    search.succeeded();
                    continue;
                }
                Err(fault) if is_timeout(&fault) && search.goes_on(part.len()) => Failure::timed_out(&fault),
                Err(fault) => {
                    if is_timeout(&fault) {
                        self.timeouts.fetch_add(1, Ordering::Relaxed);
                    }
                    Failure::of(fault)?
                }
            };
            match part {
                [guilty] => {
                    guilty_count += 1;
                    self.park_guilty(guilty, failure).await?;
                }
                _ => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(second);
                    parts.push(first);
                }
            }
        }
        self.timeouts.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// A few immediate tries for what may succeed at once, such as a deadlock.
    async fn attempts(&self, items: &[Item<A::Command>], tries: u32) -> Result<(), Fault> {
        let mut tried = 0;
        loop {
            match guarded(self.attempt(items)).await {
                Err(Fault::Retryable { detail, .. }) if tried < tries => {
                    tried += 1;
                    tracing::debug!(detail, tried, "batch is tried again");
                    tokio::time::sleep(Duration::from_millis(u64::from(tried) * 5)).await;
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self, items: &[Item<A::Command>]) -> Result<(), Fault> {
        let started = SystemTime::now();
        let commands: Vec<&A::Command> = items.iter().filter_map(|item| item.meaning.as_ref().ok()).collect();
        let prepared = self.prepare(&commands).await;
        let mut unit = UnitOfWork::begin_consumed(self.backbone.pool(), self.backbone.telemetry()).await?;
        let now = unit.now();
        let is_new = self.claim(&mut unit, items).await?;
        let fresh: Vec<&Item<A::Command>> =
            items.iter().zip(is_new).filter_map(|(item, is_new)| is_new.then_some(item)).collect();
        let (run, parks) = self.sort_out(&mut unit, &fresh).await?;
        let spans: Vec<Span> =
            run.iter().map(|(message, _)| spans::process(self.backbone.telemetry(), message, started)).collect();
        let envelopes: Vec<Envelope<'_, A::Command>> = run
            .iter()
            .zip(&spans)
            .map(|((_, command), span)| Envelope { command: *command, trace: span.context() })
            .collect();
        let committed = match self.execute(&mut unit, &envelopes, prepared).await {
            Ok(()) => self.park_and_commit(unit, parks, now).await,
            Err(fault) => Err(fault),
        };
        let count = envelopes.len();
        spans::finish(&self.backbone, spans, started, count, committed.as_ref().err());
        committed
    }

    /// Claims a batch in the inbox; says of each message whether it is new. Another instance may be claiming the same:
    /// whatever that comes to, the messages have done nothing wrong.
    async fn claim(&self, unit: &mut UnitOfWork, items: &[Item<A::Command>]) -> Result<Vec<bool>, Fault> {
        let now = unit.now();
        let claims: Vec<Claim<'_>> = items.iter().map(|item| Claim::of(&item.message)).collect();
        self.backbone.inbox().claim(unit.connection(), &claims, now).await.map_err(|fault| match fault {
            Fault::Retryable { detail, .. } => Fault::outage(POSTGRES, detail),
            other => other,
        })
    }

    async fn park_and_commit(
        &self,
        mut unit: UnitOfWork,
        parks: Vec<Parked<'_, A::Command>>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let divided = if parks.is_empty() { None } else { Some(self.park(&mut unit, parks, now).await?) };
        faults::point(faults::CONSUMER_BEFORE_COMMIT).await?;
        let events = unit.commit().await?;
        faults::point(faults::CONSUMER_AFTER_COMMIT).await?;
        self.backbone.appended(events);
        if let Some(divided) = divided {
            self.report_parked(&divided, now);
        }
        Ok(())
    }

    /// Writes what finds room to the table, and publishes the dead that do not: both before the messages count as taken.
    async fn park<'a>(
        &self,
        unit: &mut UnitOfWork,
        parks: Vec<Parked<'a, A::Command>>,
        now: Timestamp,
    ) -> Result<Divided<'a, A::Command>, Fault> {
        let divided = self.divide(unit, parks, now).await?;
        if !divided.on_topic.is_empty() {
            self.without_row.publish(self.rows(&divided.on_topic, now), now).await?;
        }
        parking::park(unit.connection(), &self.rows(&divided.in_table, now), now).await?;
        Ok(divided)
    }

    fn rows<'a>(&self, parks: &'a [Parked<'_, A::Command>], now: Timestamp) -> Vec<Park<'a>> {
        parks.iter().map(|(item, failure)| self.first(item, failure.as_ref(), now)).collect()
    }

    /// A message at its first failure, or behind another one of its key.
    fn first<'a>(&self, item: &'a Item<A::Command>, failure: Option<&'a Failure>, now: Timestamp) -> Park<'a> {
        let failed = failure.map(|failure| (failure, failure.verdict(1, &self.settings, now)));
        Park { message: &item.message, recorded: item.recorded, failed }
    }

    /// What the use case needs first, before the transaction.
    pub(super) async fn prepare(&self, commands: &[&A::Command]) -> Result<(), Fault> {
        match commands {
            [] => Ok(()),
            commands => self.application.prepare(commands).await,
        }
    }

    /// Runs the use case, in the transaction. What was `prepared` matters only where something is left to execute.
    pub(super) async fn execute(
        &self,
        unit: &mut UnitOfWork,
        envelopes: &[Envelope<'_, A::Command>],
        prepared: Result<(), Fault>,
    ) -> Result<(), Fault> {
        if envelopes.is_empty() {
            return Ok(());
        }
        prepared?;
        if faults::enabled() && envelopes.iter().any(|envelope| (self.injects)(envelope.command)) {
            return Err(Fault::retryable("the message asks for a fault").because(faults::REASON));
        }
        unit.set_command_traces(envelopes.iter().map(|envelope| envelope.trace.clone()).collect());
        let outcomes = self.application.execute(unit, envelopes).await?;
        if outcomes.len() != envelopes.len() {
            return Err(Fault::permanent("a use case gave another number of outcomes than commands"));
        }
        for rejection in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            // A legitimate "no" to a fact: late, doubled or overtaken. It is handled.
            tracing::debug!(reason = rejection.reason, "event had no effect");
        }
        Ok(())
    }

    /// Splits new messages into those to run and those to park: undecodable ones, and all behind a parked one of their key.
    async fn sort_out<'a>(
        &self,
        unit: &mut UnitOfWork,
        fresh: &[&'a Item<A::Command>],
    ) -> Result<Sorted<'a, A::Command>, Fault> {
        let messages: Vec<&Received> = fresh.iter().map(|item| &item.message).collect();
        let mut stopped: HashSet<Key> = parking::parked_keys(unit.connection(), &messages).await?;
        let (mut run, mut parks) = (Vec::with_capacity(fresh.len()), Vec::new());
        for item in fresh {
            let message = &item.message;
            if !stopped.is_empty() && stopped.contains(&stored::key(message)) {
                parks.push((*item, None));
                continue;
            }
            match &item.meaning {
                Ok(command) => run.push((message, command)),
                Err(DecodeError::UnknownType(event_type)) if self.settings.unknown_types == UnknownTypes::Fail => {
                    let detail = format!("this version does not know the type {:?}", failure::cut(event_type));
                    return Err(Fault::outage(KNOWN_TYPES, detail));
                }
                Err(error) => {
                    stopped.insert(stored::key(message));
                    parks.push((*item, Some(Failure::undecodable(error))));
                }
            }
        }
        Ok((run, parks))
    }

    async fn park_guilty(&self, item: &Item<A::Command>, failure: Failure) -> Result<(), Fault> {
        let mut unit = UnitOfWork::begin_consumed(self.backbone.pool(), self.backbone.telemetry()).await?;
        let now = unit.now();
        if self.claim(&mut unit, std::slice::from_ref(item)).await? != [true] {
            return Ok(());
        }
        let divided = self.park(&mut unit, vec![(item, Some(failure))], now).await?;
        unit.commit().await?;
        self.report_parked(&divided, now);
        Ok(())
    }

    fn report_parked(&self, divided: &Divided<'_, A::Command>, now: Timestamp) {
        self.note_divided(divided);
        let role = self.backbone.telemetry().role();
        for row in self.rows(&divided.in_table, now) {
            self.metrics.parked(role, &row.message.topic, 1);
            let Some((failure, verdict)) = row.failed else { continue };
            self.log_failure(row.message, failure, 1, verdict);
        }
        for row in self.rows(&divided.on_topic, now) {
            let Some((failure, _)) = row.failed else { continue };
            self.report_without_row(row.message, failure, 1);
        }
    }

    /// Tells in log and metrics that a message is dead and had no room in the table.
    pub(super) fn report_without_row(&self, message: &Received, failure: &Failure, attempts: i32) {
        let role = self.backbone.telemetry().role();
        self.metrics.attempt_failed(role, &message.topic, failure);
        self.metrics.dead_lettered(role, &message.topic, failure);
        self.metrics.dead_lettered_without_row(role, &message.topic);
        let text = "message is dead, and the table of dead letters is full: it stands on its dead letter topic alone";
        spans::record_failure(self.backbone.telemetry(), message, failure, attempts, text);
    }

    /// Tells in log and metrics what a failed attempt came to.
    pub(super) fn log_failure(&self, message: &Received, failure: &Failure, attempts: i32, verdict: Verdict) {
        let role = self.backbone.telemetry().role();
        self.metrics.attempt_failed(role, &message.topic, failure);
        let text = match verdict {
            Verdict::Park(_) => "message failed and is tried again; its key waits",
            Verdict::Postpone(_) => "the database runs into its time limit at this message alone; its key waits",
            Verdict::Dead => {
                self.metrics.dead_lettered(role, &message.topic, failure);
                "message is dead; its key waits for an operator"
            }
        };
        spans::record_failure(self.backbone.telemetry(), message, failure, attempts, text);
    }
}

/// The search for a message at which alone the database runs into its time limit. One that is found is parked, and that
/// is no attempt of it. When the next part runs into the limit as well, it is the database: everything waits again.
pub(super) struct Search {
    is_on: bool,
    has_found: bool,
}

impl Search {
    pub(super) fn new(is_on: bool) -> Self {
        Self { is_on, has_found: false }
    }

    /// A part ran into the limit: whether it is searched on (a single one is found then).
    pub(super) fn goes_on(&mut self, part_len: usize) -> bool {
        let goes_on = self.is_on && !self.has_found;
        self.has_found |= goes_on && part_len == 1;
        goes_on
    }

    /// A part went through: the database is not what fails.
    pub(super) fn succeeded(&mut self) {
        self.has_found = false;
    }
}

/// A use case that panics fails like one that says so.
pub(super) async fn guarded<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    result.unwrap_or_else(|_| Err(Fault::permanent("a use case panicked").because("PANICKED")))
}
