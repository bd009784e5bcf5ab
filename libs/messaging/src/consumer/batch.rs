//! A batch of messages as transactions: inbox, parking, the use case, events, commit.

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::FutureExt;
use openorder_faults as faults;
use openorder_telemetry::Span;
use openorder_types::{Fault, Timestamp};
use uuid::Uuid;

use crate::{
    Application, Backbone, ConsumerSettings, DecodeError, Envelope, Received, UnitOfWork,
    consumer::{
        Injects,
        failure::{Failure, Verdict},
        inbox,
        parking::{self, Park},
        spans,
        stored::{self, Key, RecordTime},
    },
    database::POSTGRES,
    metrics::Metrics,
};

/// Name of the dependency while the table of parked messages is full.
pub(crate) const PARKING: &str = "parking";

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
    pub(super) metrics: &'static Metrics,
}

/// New messages of a batch: those to run, and those to park.
type Sorted<'a, C> = (Vec<(&'a Received, &'a C)>, Vec<(&'a Item<C>, Option<Failure>)>);

impl<A: Application> Handler<A> {
    pub(crate) fn new(
        backbone: Arc<Backbone>,
        application: Arc<A>,
        settings: ConsumerSettings,
        injects: Injects<A::Command>,
    ) -> Self {
        Self { backbone, application, settings, injects, metrics: Metrics::get() }
    }

    /// Handles all items, in order. A batch that fails is split until the guilty message stands alone; that one is
    /// parked or dead, and its key waits with it.
    ///
    /// # Errors
    /// Only an outage: then some of the items may be done, and all have to come again (the inbox drops the done ones).
    pub(crate) async fn handle(&self, items: &[Item<A::Command>]) -> Result<(), Fault> {
        let mut parts = vec![items];
        let mut guilty_count = 0;
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
            let Err(fault) = self.attempts(part, tries).await else { continue };
            let failure = Failure::of(fault)?;
            match part {
                [guilty] => {
                    guilty_count += 1;
                    self.park_guilty(guilty, &failure).await?;
                }
                _ => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(second);
                    parts.push(first);
                }
            }
        }
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
        let mut unit = UnitOfWork::begin_batch(self.backbone.pool(), self.backbone.telemetry()).await?;
        let now = unit.now();
        let mut new = claim(&mut unit, items).await?;
        // `remove` also drops the second of two copies within the batch.
        let fresh: Vec<&Item<A::Command>> = items.iter().filter(|item| new.remove(&item.message.event_id)).collect();
        let (run, parks) = self.sort_out(&mut unit, &fresh).await?;
        let spans: Vec<Span> =
            run.iter().map(|(message, _)| spans::process(self.backbone.telemetry(), message, started)).collect();
        let envelopes: Vec<Envelope<A::Command>> = run
            .iter()
            .zip(&spans)
            .map(|((_, command), span)| Envelope { command: (*command).clone(), trace: span.context().clone() })
            .collect();
        let committed = match self.execute(&mut unit, &envelopes).await {
            Ok(()) => self.park_and_commit(unit, &parks, now).await,
            Err(fault) => Err(fault),
        };
        spans::finish(&self.backbone, spans, started, envelopes.len(), committed.as_ref().err());
        committed
    }

    async fn park_and_commit(
        &self,
        mut unit: UnitOfWork,
        parks: &[(&Item<A::Command>, Option<Failure>)],
        now: Timestamp,
    ) -> Result<(), Fault> {
        let rows: Vec<Park<'_>> = parks.iter().map(|(item, failure)| self.first(item, failure.as_ref(), now)).collect();
        if !rows.is_empty() {
            self.check_bound(&mut unit).await?;
            parking::park(unit.connection(), &rows, now).await?;
        }
        faults::point(faults::CONSUMER_BEFORE_COMMIT).await?;
        let events = unit.commit().await?;
        faults::point(faults::CONSUMER_AFTER_COMMIT).await?;
        self.backbone.appended(events);
        self.tell_parked(&rows);
        Ok(())
    }

    /// A message at its first failure, or behind another one of its key.
    fn first<'a>(&self, item: &'a Item<A::Command>, failure: Option<&'a Failure>, now: Timestamp) -> Park<'a> {
        let failed = failure.map(|failure| (failure, failure.verdict(1, &self.settings, now)));
        Park { message: &item.message, recorded: item.recorded, failed }
    }

    /// Runs the use case, in the transaction.
    pub(super) async fn execute(&self, unit: &mut UnitOfWork, envelopes: &[Envelope<A::Command>]) -> Result<(), Fault> {
        if envelopes.is_empty() {
            return Ok(());
        }
        if faults::enabled() && envelopes.iter().any(|envelope| (self.injects)(&envelope.command)) {
            return Err(Fault::retryable("the message asks for a fault").because(faults::REASON));
        }
        unit.set_causes(envelopes.iter().map(|envelope| envelope.trace.clone()).collect());
        self.application.prepare(envelopes).await?;
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
                Err(error) => {
                    stopped.insert(stored::key(message));
                    parks.push((*item, Some(Failure::undecodable(error))));
                }
            }
        }
        Ok((run, parks))
    }

    /// The table of parked messages is bounded: at the bound the partitions wait, loudly.
    async fn check_bound(&self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let (parked, dead) = parking::counts(unit.connection()).await?;
        if parked + dead >= self.settings.parked_messages_max {
            let detail = format!("{parked} messages are parked and {dead} dead, the bound (parked_messages_max)");
            return Err(Fault::outage(PARKING, detail));
        }
        Ok(())
    }

    async fn park_guilty(&self, item: &Item<A::Command>, failure: &Failure) -> Result<(), Fault> {
        let mut unit = UnitOfWork::begin(self.backbone.pool(), self.backbone.telemetry()).await?;
        let now = unit.now();
        if claim(&mut unit, std::slice::from_ref(item)).await?.is_empty() {
            return Ok(());
        }
        self.check_bound(&mut unit).await?;
        let row = self.first(item, Some(failure), now);
        parking::park(unit.connection(), std::slice::from_ref(&row), now).await?;
        unit.commit().await?;
        self.tell_parked(&[row]);
        Ok(())
    }

    fn tell_parked(&self, rows: &[Park<'_>]) {
        let role = self.backbone.telemetry().role();
        for row in rows {
            let topic = row.message.topic.as_str();
            self.metrics.parked(role, topic, 1);
            let Some((failure, verdict)) = row.failed else { continue };
            self.tell_failure(row.message, failure, 1, verdict);
        }
    }

    /// Tells in log and metrics what a failed attempt came to.
    pub(super) fn tell_failure(&self, message: &Received, failure: &Failure, attempts: i32, verdict: Verdict) {
        let role = self.backbone.telemetry().role();
        self.metrics.attempt_failed(role, &message.topic, failure);
        let text = match verdict {
            Verdict::Park(_) => "message failed and is tried again; its key waits",
            Verdict::Dead => {
                self.metrics.dead_lettered(role, &message.topic, failure);
                "message is dead; its key waits for an operator"
            }
        };
        spans::log_failure(message, failure, attempts, text);
    }
}

/// Claims a batch in the inbox. Another instance may be claiming the same: whatever that comes to, the messages have
/// done nothing wrong.
async fn claim<C>(unit: &mut UnitOfWork, items: &[Item<C>]) -> Result<HashSet<Uuid>, Fault> {
    let now = unit.now();
    let ids: Vec<Uuid> = items.iter().map(|item| item.message.event_id).collect();
    inbox::claim(unit.connection(), &ids, now).await.map_err(|fault| match fault {
        Fault::Retryable { detail, .. } => Fault::outage(POSTGRES, detail),
        other => other,
    })
}

/// A use case that panics fails like one that says so.
pub(super) async fn guarded<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    result.unwrap_or_else(|_| Err(Fault::permanent("a use case panicked").because("PANICKED")))
}
