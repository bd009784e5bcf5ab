//! Group commit for gRPC callers.
//!
//! One task takes all commands that wait, up to a limit, and runs them as one batch in one transaction; while it
//! is on its way to disk the next batch gathers. Each caller gets its own answer, after the commit.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::FutureExt;
use openorder_telemetry::{SpanKind, TraceContext};
use openorder_types::{CallError, Fault, Rejection};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Application, Backbone, CommitterSettings, Envelope, Reply, UnitOfWork,
    metrics::Metrics,
    request_results::{self, RequestKey},
};

type Answer<R> = Result<R, CallError>;

struct Pending<A: Application> {
    key: Option<RequestKey>,
    envelope: Envelope<A::Command>,
    deadline: Option<Instant>,
    answer: oneshot::Sender<Answer<A::Reply>>,
}

/// Takes commands and answers after their commit. Clones share one queue.
pub struct Committer<A: Application> {
    queue: mpsc::Sender<Pending<A>>,
    retry_after: Duration,
    deadline_default: Duration,
}

impl<A: Application> Clone for Committer<A> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), retry_after: self.retry_after, deadline_default: self.deadline_default }
    }
}

impl<A: Application> Committer<A> {
    /// Builds the committer and the loop that its role has to run.
    pub(crate) fn new(
        backbone: Arc<Backbone>,
        application: Arc<A>,
        settings: CommitterSettings,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, commands) = mpsc::channel(settings.queue_max);
        let committer = Self {
            queue,
            retry_after: Duration::from_millis(settings.retry_after_ms),
            deadline_default: Duration::from_millis(settings.deadline_default_ms),
        };
        let worker = Worker { backbone, application, settings, metrics: Metrics::get() };
        (committer, worker.run(commands))
    }

    /// Submits a command and waits for its commit.
    ///
    /// With a `key`, a command seen before answers what it answered then; the same request id with other content
    /// is rejected with reason `REQUEST_ID_REUSED`. A rejected command did nothing and is not remembered.
    ///
    /// # Errors
    /// [`CallError::Rejected`] by the domain; `Overloaded` when the queue is full; `Unavailable` while the database
    /// is away, also when the outcome is not known: the same request id may be tried again safely;
    /// `DeadlineExceeded` when the deadline passed first.
    pub async fn submit(
        &self,
        key: Option<RequestKey>,
        command: A::Command,
        trace: TraceContext,
        deadline: Option<Instant>,
    ) -> Answer<A::Reply> {
        let deadline = deadline.unwrap_or_else(|| Instant::now() + self.deadline_default);
        let (answer, answered) = oneshot::channel();
        let pending = Pending { key, envelope: Envelope { command, trace }, deadline: Some(deadline), answer };
        if let Err(refused) = self.queue.try_send(pending) {
            return Err(match refused {
                mpsc::error::TrySendError::Full(_) => CallError::Overloaded { retry_after: self.retry_after },
                mpsc::error::TrySendError::Closed(_) => stopping(self.retry_after),
            });
        }
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(stopping(self.retry_after)),
            Err(_) => Err(CallError::DeadlineExceeded),
        }
    }
}

fn stopping(retry_after: Duration) -> CallError {
    CallError::Unavailable { dependency: "committer", retry_after }
}

struct Worker<A> {
    backbone: Arc<Backbone>,
    application: Arc<A>,
    settings: CommitterSettings,
    metrics: &'static Metrics,
}

impl<A: Application> Worker<A> {
    /// Runs until every [`Committer`] is gone and the queue is empty, or until shutdown, when what waits is done first.
    async fn run(self, mut commands: mpsc::Receiver<Pending<A>>) {
        let shutdown = self.backbone.shutdown().clone();
        let mut batch = Vec::with_capacity(self.settings.batch_max);
        let mut previous = 0;
        loop {
            let received = tokio::select! {
                received = commands.recv_many(&mut batch, self.settings.batch_max) => received,
                () = shutdown.requested(), if !commands.is_closed() => {
                    commands.close();
                    continue;
                }
            };
            if received == 0 {
                return;
            }
            self.linger(&mut commands, &mut batch, previous).await;
            previous = batch.len();
            self.commit(std::mem::take(&mut batch)).await;
        }
    }

    /// With several callers about, a short wait makes batches larger and cheaper; a lone caller does not wait.
    async fn linger(&self, commands: &mut mpsc::Receiver<Pending<A>>, batch: &mut Vec<Pending<A>>, previous: usize) {
        let busy = previous.max(batch.len()) >= self.settings.linger_batch_min;
        if !busy || batch.len() >= self.settings.batch_max || self.settings.linger_ms == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(self.settings.linger_ms)).await;
        while batch.len() < self.settings.batch_max {
            match commands.try_recv() {
                Ok(pending) => batch.push(pending),
                Err(_) => break,
            }
        }
    }

    /// Commits a batch, splitting it until a guilty command stands alone.
    async fn commit(&self, batch: Vec<Pending<A>>) {
        let now = Instant::now();
        let mut batch = batch;
        batch.retain(|pending| !pending.answer.is_closed() && pending.deadline.is_none_or(|deadline| deadline > now));
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.attempts(&part).await {
                Ok(answers) => {
                    for (pending, answer) in part.into_iter().zip(answers) {
                        // A caller that has gone finds its result by its request id.
                        drop(pending.answer.send(answer));
                    }
                }
                Err(Fault::Outage { dependency, detail }) => {
                    tracing::warn!(dependency, detail, commands = part.len(), "commands refused: dependency is down");
                    let retry_after = Duration::from_millis(self.settings.retry_after_ms);
                    for pending in part {
                        drop(pending.answer.send(Err(CallError::Unavailable { dependency, retry_after })));
                    }
                }
                Err(fault) if part.len() == 1 => {
                    tracing::error!(%fault, "command failed");
                    for pending in part {
                        drop(pending.answer.send(Err(CallError::Internal)));
                    }
                }
                Err(_) => {
                    let mut first = part;
                    let second = first.split_off(first.len() / 2);
                    // The first half is done first: commands keep their order.
                    parts.push(second);
                    parts.push(first);
                }
            }
        }
    }

    /// Tries a batch as a whole, again on retryable faults, a bounded number of times.
    async fn attempts(&self, batch: &[Pending<A>]) -> Result<Vec<Answer<A::Reply>>, Fault> {
        let mut tried = 0;
        loop {
            let started = SystemTime::now();
            let attempt = AssertUnwindSafe(self.attempt(batch)).catch_unwind().await;
            let result = attempt.unwrap_or_else(|_| Err(Fault::permanent("a use case panicked").because("PANICKED")));
            self.record(batch, started, result.as_ref().err());
            match result {
                Err(Fault::Retryable { detail, .. }) if tried < self.settings.tries_max => {
                    tried += 1;
                    tracing::debug!(detail, tried, "batch is tried again");
                    tokio::time::sleep(Duration::from_millis(u64::from(tried) * 5)).await;
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self, batch: &[Pending<A>]) -> Result<Vec<Answer<A::Reply>>, Fault> {
        let mut unit = UnitOfWork::begin_batch(self.backbone.pool(), self.backbone.telemetry()).await?;
        let keys: Vec<&RequestKey> = batch.iter().filter_map(|pending| pending.key.as_ref()).collect();
        let seen = request_results::load(unit.connection(), &keys).await?;
        let plan = Plan::new(batch, &seen);
        let envelopes: Vec<Envelope<A::Command>> =
            plan.fresh.iter().filter_map(|index| batch.get(*index)).map(|pending| pending.envelope.clone()).collect();
        unit.set_causes(envelopes.iter().map(|envelope| envelope.trace.clone()).collect());
        let outcomes = if envelopes.is_empty() {
            Vec::new()
        } else {
            self.application.prepare(&envelopes).await?;
            self.application.execute(&mut unit, &envelopes).await?
        };
        if outcomes.len() != envelopes.len() {
            return Err(Fault::permanent("a use case gave another number of outcomes than commands"));
        }
        let results: Vec<(&RequestKey, Vec<u8>)> = plan
            .fresh
            .iter()
            .zip(&outcomes)
            .filter_map(|(index, outcome)| Some((batch.get(*index)?.key.as_ref()?, outcome.as_ref().ok()?.encode())))
            .collect();
        let now = unit.now();
        request_results::save(unit.connection(), &results, now).await?;
        openorder_faults::point(openorder_faults::COMMITTER_BEFORE_COMMIT).await?;
        let events = unit.commit().await?;
        openorder_faults::point(openorder_faults::COMMITTER_AFTER_COMMIT).await?;
        self.backbone.appended(events);
        Ok(plan.answers(outcomes))
    }

    fn record(&self, batch: &[Pending<A>], started: SystemTime, fault: Option<&Fault>) {
        let ended = SystemTime::now();
        let telemetry = self.backbone.telemetry();
        self.metrics.batch(telemetry.role(), "committer", batch.len(), started, ended);
        for pending in batch.iter().filter(|pending| pending.envelope.trace.is_sampled()) {
            let mut span =
                telemetry.start_at(SpanKind::Client, || "commit batch".into(), &pending.envelope.trace, started);
            span.set("db.system.name", "postgresql");
            span.set("db.namespace", self.backbone.database_name().to_owned());
            span.set("db.operation.name", "COMMIT");
            span.set("db.operation.batch.size", i64::try_from(batch.len()).unwrap_or(i64::MAX));
            if let Some(fault) = fault {
                span.fail(fault.kind(), "the batch failed");
            }
            span.end_at(ended);
        }
    }
}

/// Which commands of a batch are new, and what answers the others.
struct Plan<R> {
    /// Index in the batch of each command to execute.
    fresh: Vec<usize>,
    /// One a command of the batch.
    sources: Vec<Source<R>>,
}

enum Source<R> {
    /// Outcome of the fresh command with this number.
    Fresh(usize),
    /// Known before.
    Known(Answer<R>),
}

impl<R: Reply> Plan<R> {
    fn new<A: Application<Reply = R>>(
        batch: &[Pending<A>],
        seen: &HashMap<(String, String), request_results::Stored>,
    ) -> Self {
        let mut plan = Self { fresh: Vec::with_capacity(batch.len()), sources: Vec::with_capacity(batch.len()) };
        let mut here: HashMap<(&str, &str), (usize, &RequestKey)> = HashMap::new();
        for (index, pending) in batch.iter().enumerate() {
            let source = match &pending.key {
                None => plan.add(index),
                Some(key) => match seen.get(&(key.caller.clone(), key.request_id.clone())) {
                    Some(stored) if stored.is_of(key) => {
                        Source::Known(R::decode(&stored.reply).ok_or(CallError::Internal))
                    }
                    Some(_) => Source::Known(Err(CallError::Rejected(reused(key)))),
                    None => match here.get(&(key.caller.as_str(), key.request_id.as_str())) {
                        Some((number, first)) if *first == key => Source::Fresh(*number),
                        Some(_) => Source::Known(Err(CallError::Rejected(reused(key)))),
                        None => {
                            here.insert((&key.caller, &key.request_id), (plan.fresh.len(), key));
                            plan.add(index)
                        }
                    },
                },
            };
            plan.sources.push(source);
        }
        plan
    }

    fn add(&mut self, index: usize) -> Source<R> {
        self.fresh.push(index);
        Source::Fresh(self.fresh.len() - 1)
    }

    fn answers(self, outcomes: Vec<Result<R, Rejection>>) -> Vec<Answer<R>> {
        self.sources
            .into_iter()
            .map(|source| match source {
                Source::Known(answer) => answer,
                Source::Fresh(number) => match outcomes.get(number) {
                    Some(outcome) => outcome.clone().map_err(CallError::Rejected),
                    None => Err(CallError::Internal),
                },
            })
            .collect()
    }
}

fn reused(key: &RequestKey) -> Rejection {
    Rejection::already_exists(
        "REQUEST_ID_REUSED",
        "this request_id was used before with other content; use a new one for a new command",
    )
    .with("request_id", key.request_id.clone())
}
