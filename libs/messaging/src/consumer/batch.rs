//! A batch of messages as transactions: inbox, parking, the use case, events, commit.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::SystemTime};

use chrono::Utc;
use futures::FutureExt;
use openorder_telemetry::{RoleTelemetry, Span, SpanKind};
use openorder_types::Fault;
use uuid::Uuid;

use crate::{
    Application, Backbone, ConsumerSettings, DecodeError, Envelope, Received, UnitOfWork,
    consumer::{
        inbox,
        parking::{self, Due, Park, State},
    },
    metrics::Metrics,
};

/// A message with what it means to this service.
pub(crate) struct Item<C> {
    pub(crate) message: Received,
    pub(crate) meaning: Result<C, DecodeError>,
}

/// Handles batches for one application.
pub(crate) struct Handler<A> {
    backbone: Arc<Backbone>,
    application: Arc<A>,
    settings: ConsumerSettings,
    metrics: &'static Metrics,
}

/// What a handled batch came to; counts of messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handled {
    pub(crate) new: usize,
    pub(crate) parked: usize,
}

impl<A: Application> Handler<A> {
    pub(crate) fn new(backbone: Arc<Backbone>, application: Arc<A>, settings: ConsumerSettings) -> Self {
        Self { backbone, application, settings, metrics: Metrics::get() }
    }

    /// Handles all items, in order. A batch that fails is split until the guilty message stands alone; that one is
    /// parked, and its key with it.
    ///
    /// # Errors
    /// Only an outage: then some of the items may be done, and all have to come again (the inbox drops the done ones).
    pub(crate) async fn handle(&self, items: &[Item<A::Command>]) -> Result<Handled, Fault> {
        let mut total = Handled::default();
        let mut parts = vec![items];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.attempts(part).await {
                Ok(handled) => {
                    total.new += handled.new;
                    total.parked += handled.parked;
                }
                Err(outage @ Fault::Outage { .. }) => return Err(outage),
                Err(fault) => match part {
                    [guilty] => {
                        self.park_guilty(guilty, &fault).await?;
                        total.parked += 1;
                    }
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.push(second);
                        parts.push(first);
                    }
                },
            }
        }
        Ok(total)
    }

    /// A few immediate tries for what may succeed at once, such as a deadlock.
    async fn attempts(&self, items: &[Item<A::Command>]) -> Result<Handled, Fault> {
        let mut tried = 0;
        loop {
            let result = AssertUnwindSafe(self.attempt(items)).catch_unwind().await;
            match result.unwrap_or_else(|_| Err(Fault::permanent("a use case panicked"))) {
                Err(Fault::Retryable { detail }) if tried < self.settings.immediate_tries_max => {
                    tried += 1;
                    tracing::debug!(detail, tried, "batch is tried again");
                    tokio::time::sleep(std::time::Duration::from_millis(u64::from(tried) * 5)).await;
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self, items: &[Item<A::Command>]) -> Result<Handled, Fault> {
        let started = SystemTime::now();
        let mut unit = UnitOfWork::begin(self.backbone.pool(), self.backbone.telemetry()).await?;
        let now = unit.now();
        let ids: Vec<Uuid> = items.iter().map(|item| item.message.event_id).collect();
        let mut new = inbox::claim(unit.connection(), &ids, now).await?;
        // `remove` also drops the second of two copies within the batch.
        let fresh: Vec<&Item<A::Command>> = items.iter().filter(|item| new.remove(&item.message.event_id)).collect();
        let (run, parks) = self.sort_out(&mut unit, &fresh).await?;
        let spans: Vec<Span> =
            run.iter().map(|(message, _)| process_span(self.backbone.telemetry(), message, started)).collect();
        let envelopes: Vec<Envelope<A::Command>> = run
            .iter()
            .zip(&spans)
            .map(|((_, command), span)| Envelope { command: (*command).clone(), trace: span.context().clone() })
            .collect();
        let result = self.execute(&mut unit, &envelopes).await;
        let committed = match result {
            Ok(()) => {
                parking::park(unit.connection(), &parks, now).await?;
                unit.commit().await
            }
            Err(fault) => Err(fault),
        };
        self.finish(spans, started, envelopes.len(), committed.as_ref().err());
        self.backbone.appended(&committed?);
        for parked in &parks {
            self.metrics.parked(self.backbone.telemetry().role(), &parked.message.topic, 1);
        }
        Ok(Handled { new: run.len(), parked: parks.len() })
    }

    async fn execute(&self, unit: &mut UnitOfWork, envelopes: &[Envelope<A::Command>]) -> Result<(), Fault> {
        if envelopes.is_empty() {
            return Ok(());
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
    ) -> Result<(Vec<(&'a Received, &'a A::Command)>, Vec<Park<'a>>), Fault> {
        let messages: Vec<&Received> = fresh.iter().map(|item| &item.message).collect();
        let mut stopped: HashSet<parking::Key> = parking::parked_keys(unit.connection(), &messages).await?;
        let (mut run, mut parks) = (Vec::with_capacity(fresh.len()), Vec::new());
        let now = unit.now();
        for item in fresh {
            let message = &item.message;
            if !stopped.is_empty() && stopped.contains(&parking::key(message)) {
                let error = "waits behind a parked message of its key".to_owned();
                parks.push(Park { message, state: State::Parked, attempts: 0, next_attempt_at: now, error });
                continue;
            }
            match &item.meaning {
                Ok(command) => run.push((message, command)),
                Err(error) => {
                    let error = error.to_string();
                    log_parked(message, &error, "message can never be handled; its key is stopped");
                    stopped.insert(parking::key(message));
                    parks.push(Park { message, state: State::Stopped, attempts: 1, next_attempt_at: now, error });
                }
            }
        }
        if !parks.is_empty() {
            self.check_bound(unit).await?;
        }
        Ok((run, parks))
    }

    /// The table of parked messages is bounded: at the bound the partitions wait, loudly.
    async fn check_bound(&self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let (parked, stopped) = parking::counts(unit.connection()).await?;
        if parked + stopped >= self.settings.parked_messages_max {
            return Err(Fault::outage("parking", format!("{} messages are parked, the bound", parked + stopped)));
        }
        Ok(())
    }

    async fn park_guilty(&self, item: &Item<A::Command>, fault: &Fault) -> Result<(), Fault> {
        let message = &item.message;
        let permanent = matches!(fault, Fault::Permanent { .. }) && self.settings.stop_at_permanent;
        let state = if permanent || self.settings.attempts_max <= 1 { State::Stopped } else { State::Parked };
        let error = fault.to_string();
        log_parked(message, &error, "message failed; its key is parked");
        let mut unit = UnitOfWork::begin(self.backbone.pool(), self.backbone.telemetry()).await?;
        let now = unit.now();
        if inbox::claim(unit.connection(), &[message.event_id], now).await?.is_empty() {
            return Ok(());
        }
        self.check_bound(&mut unit).await?;
        let next_attempt_at = parking::next_attempt_at(&self.settings, 1, now);
        let parked = Park { message, state, attempts: 1, next_attempt_at, error };
        parking::park(unit.connection(), &[parked], now).await?;
        unit.commit().await?;
        self.metrics.parked(self.backbone.telemetry().role(), &message.topic, 1);
        Ok(())
    }

    /// Runs one parked message that is due. `false` when none is.
    pub(crate) async fn retry_one(
        &self,
        decode: impl Fn(&Received) -> Result<Option<A::Command>, DecodeError>,
    ) -> Result<bool, Fault> {
        let started = SystemTime::now();
        let mut unit = UnitOfWork::begin(self.backbone.pool(), self.backbone.telemetry()).await?;
        let now = unit.now();
        let Some(due) = parking::next_due(unit.connection(), now).await? else { return Ok(false) };
        let span = process_span(self.backbone.telemetry(), &due.message, started);
        let work = async {
            if let Some(command) = decode(&due.message).map_err(Fault::permanent)? {
                self.execute(&mut unit, &[Envelope { command, trace: span.context().clone() }]).await?;
            }
            parking::unpark(unit.connection(), due.sequence).await?;
            unit.commit().await
        };
        let result = AssertUnwindSafe(work).catch_unwind().await;
        let result = result.unwrap_or_else(|_| Err(Fault::permanent("a use case panicked")));
        self.finish(vec![span], started, 1, result.as_ref().err());
        match result {
            Ok(events) => self.backbone.appended(&events),
            Err(outage @ Fault::Outage { .. }) => return Err(outage),
            Err(fault) => self.note_failure(&due, &fault).await?,
        }
        Ok(true)
    }

    async fn note_failure(&self, due: &Due, fault: &Fault) -> Result<(), Fault> {
        let attempts = due.attempts.saturating_add(1);
        let exhausted = attempts >= self.settings.attempts_max
            || (matches!(fault, Fault::Permanent { .. }) && self.settings.stop_at_permanent);
        let state = if exhausted { State::Stopped } else { State::Parked };
        let text = if exhausted { "attempts are used up; the key is stopped" } else { "message failed again" };
        log_parked(&due.message, &fault.to_string(), text);
        let next = parking::next_attempt_at(&self.settings, attempts, Utc::now());
        parking::note_failure(self.backbone.pool(), due.sequence, attempts, state, next, &fault.to_string()).await
    }

    /// Ends the spans of a batch, each with its own database span of the batch's times.
    fn finish(&self, spans: Vec<Span>, started: SystemTime, size: usize, fault: Option<&Fault>) {
        let ended = SystemTime::now();
        let telemetry = self.backbone.telemetry();
        self.metrics.batch(telemetry.role(), "consumer", size, started, ended);
        for mut span in spans {
            if !span.is_recording() {
                continue;
            }
            let mut commit = telemetry.start_at(SpanKind::Client, || "commit batch".into(), span.context(), started);
            commit.set("db.system.name", "postgresql");
            commit.set("db.namespace", self.backbone.database_name().to_owned());
            commit.set("db.operation.name", "COMMIT");
            commit.set("db.operation.batch.size", i64::try_from(size).unwrap_or(i64::MAX));
            if let Some(fault) = fault {
                commit.fail(fault.kind(), "the batch failed");
                span.fail(fault.kind(), "the batch failed");
            }
            commit.end_at(ended);
            span.end_at(ended);
        }
    }
}

fn process_span(telemetry: &RoleTelemetry, message: &Received, started: SystemTime) -> Span {
    let mut span =
        telemetry.start_at(SpanKind::Consumer, || format!("process {}", message.topic).into(), &message.trace, started);
    if span.is_recording() {
        span.link(&message.trace);
        let key = String::from_utf8_lossy(&message.key).into_owned();
        span.set("messaging.system", "kafka");
        span.set("messaging.operation.name", "process");
        span.set("messaging.operation.type", "process");
        span.set("messaging.destination.name", message.topic.clone());
        span.set("messaging.destination.partition.id", message.partition.to_string());
        span.set("messaging.kafka.offset", message.offset);
        span.set("messaging.kafka.message.key", key.clone());
        span.set("messaging.consumer.group.name", telemetry.role());
        span.set("messaging.message.id", message.event_id.to_string());
        span.set("messaging.message.conversation_id", key);
        span.set("openorder.event.type", message.event_type.clone());
    }
    span
}

fn log_parked(message: &Received, error: &str, text: &str) {
    tracing::error!(
        topic = message.topic,
        partition = message.partition,
        offset = message.offset,
        event_id = %message.event_id,
        event_type = message.event_type,
        trace_id = message.trace.trace_id(),
        error,
        "{text}"
    );
}
