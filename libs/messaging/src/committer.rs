//! Group commit for gRPC callers.
//!
//! One task takes all commands that wait, up to a limit, and runs them as one batch in one transaction; while it
//! is on its way to disk the next batch gathers. Each caller gets its own answer, after the commit.

mod isolation;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::FutureExt;
use openorder_telemetry::{SpanKind, TraceContext, work_span};
use openorder_types::{CallError, Fault, Rejection};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Application, Backbone, CommitterSettings, Envelope, Outcomes, Reply, UnitOfWork,
    committer::isolation::Verdict,
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

impl<A: Application> Pending<A> {
    /// Whether its caller still waits.
    fn is_waited_for(&self) -> bool {
        !self.answer.is_closed() && self.deadline.is_none_or(|deadline| deadline > Instant::now())
    }

    fn answer(self, answer: Answer<A::Reply>) {
        // A caller that has gone finds its result by its request id.
        drop(self.answer.send(answer));
    }
}

/// Takes commands and answers after their commit. Clones share one queue.
pub struct Committer<A: Application> {
    backbone: Arc<Backbone>,
    queue: mpsc::Sender<Pending<A>>,
    retry_after: Duration,
    deadline_default: Duration,
}

impl<A: Application> Clone for Committer<A> {
    fn clone(&self) -> Self {
        Self {
            backbone: Arc::clone(&self.backbone),
            queue: self.queue.clone(),
            retry_after: self.retry_after,
            deadline_default: self.deadline_default,
        }
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
            backbone: Arc::clone(&backbone),
            queue,
            retry_after: Duration::from_millis(settings.retry_after_ms),
            deadline_default: Duration::from_millis(settings.deadline_default_ms),
        };
        let worker = Worker { backbone, application, settings, metrics: Metrics::get() };
        (committer, worker.run(commands))
    }

    /// What a command with this key answered before; `None` of one that was not done. For handlers that have to ask
    /// somebody before they [`Self::submit`]: what is done already needs nobody any more.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED` as [`Self::submit`]; `Unavailable` while the database is away.
    pub async fn recall(&self, key: &RequestKey) -> Result<Option<A::Reply>, CallError> {
        let mut connection = self.backbone.pool().acquire().await?;
        let seen = request_results::load(&mut connection, &[key]).await?;
        seen.into_values().next().map(|stored| stored.answer(key)).transpose()
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

    /// Commits a batch. One that fails is taken apart, so that only the guilty commands fail.
    async fn commit(&self, batch: Vec<Pending<A>>) {
        let mut batch = batch;
        batch.retain(Pending::is_waited_for);
        if batch.is_empty() {
            return;
        }
        match self.attempts(&batch).await {
            Ok(answers) => {
                for (pending, answer) in batch.into_iter().zip(answers) {
                    pending.answer(answer);
                }
            }
            Err(Fault::Outage { dependency, detail }) => self.refuse(batch, dependency, &detail),
            Err(fault) => self.take_apart(batch, fault).await,
        }
    }

    /// What is not decided in one more transaction is tried in a transaction of its own.
    async fn take_apart(&self, batch: Vec<Pending<A>>, fault: Fault) {
        let batch = match <[Pending<A>; 1]>::try_from(batch) {
            Ok([guilty]) => return self.fail(guilty, &fault),
            Err(batch) => batch,
        };
        tracing::debug!(%fault, commands = batch.len(), "a batch failed and is taken apart");
        let mut alone = Vec::new();
        match self.isolate(&batch).await {
            Ok(verdicts) => {
                for (pending, verdict) in batch.into_iter().zip(verdicts) {
                    match verdict {
                        Verdict::Answered(answer) => pending.answer(answer),
                        Verdict::Guilty(fault) => self.fail(pending, &fault),
                        Verdict::Again => alone.push(pending),
                    }
                }
            }
            Err(Fault::Outage { dependency, detail }) => return self.refuse(batch, dependency, &detail),
            Err(_) => alone = batch,
        }
        let mut alone = alone.into_iter().filter(Pending::is_waited_for);
        while let Some(pending) = alone.next() {
            match self.attempts(std::slice::from_ref(&pending)).await {
                Ok(mut answers) => pending.answer(answers.pop().unwrap_or(Err(CallError::Internal))),
                Err(Fault::Outage { dependency, detail }) => {
                    let rest = std::iter::once(pending).chain(alone).collect();
                    return self.refuse(rest, dependency, &detail);
                }
                Err(fault) => self.fail(pending, &fault),
            }
        }
    }

    fn refuse(&self, commands: Vec<Pending<A>>, dependency: &'static str, detail: &str) {
        tracing::warn!(dependency, detail, commands = commands.len(), "commands refused: dependency is down");
        let retry_after = Duration::from_millis(self.settings.retry_after_ms);
        for pending in commands {
            pending.answer(Err(CallError::Unavailable { dependency, retry_after }));
        }
    }

    /// The reference that the caller is given is the trace id: the cause is logged under it.
    fn fail(&self, guilty: Pending<A>, fault: &Fault) {
        let work = self.backbone.telemetry().trace(work_span!("fail command"), &guilty.envelope.trace);
        work.in_scope(|| tracing::error!(%fault, error.type = fault.kind(), "command failed"));
        guilty.answer(Err(CallError::Internal));
    }

    /// Tries a batch as a whole, again on retryable faults, a bounded number of times.
    async fn attempts(&self, batch: &[Pending<A>]) -> Result<Vec<Answer<A::Reply>>, Fault> {
        let mut tried = 0;
        loop {
            let started = SystemTime::now();
            let attempt = AssertUnwindSafe(self.attempt(batch)).catch_unwind().await;
            let result = attempt.unwrap_or_else(|_| Err(panicked()));
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
        let prepared = self.prepare(batch).await;
        let mut unit = UnitOfWork::begin_batch(self.backbone.pool(), self.backbone.telemetry()).await?;
        let seen = request_results::load(unit.connection(), &keys_of(batch)).await?;
        let plan = Plan::new(batch, &seen);
        let envelopes = plan.envelopes(batch);
        let outcomes = self.execute(&mut unit, &envelopes, prepared).await?;
        let results = plan.results(batch, outcomes.iter().map(|outcome| outcome.as_ref().ok()));
        let now = unit.now();
        request_results::save(unit.connection(), &results, now).await?;
        openorder_faults::point(openorder_faults::COMMITTER_BEFORE_COMMIT).await?;
        let events = unit.commit().await?;
        openorder_faults::point(openorder_faults::COMMITTER_AFTER_COMMIT).await?;
        self.backbone.appended(events);
        Ok(plan.answers(outcomes))
    }

    /// What the use case needs first, before the transaction.
    async fn prepare(&self, batch: &[Pending<A>]) -> Result<(), Fault> {
        let commands: Vec<&A::Command> = batch.iter().map(|pending| &pending.envelope.command).collect();
        self.application.prepare(&commands).await
    }

    /// Runs the use case, in the transaction. What was `prepared` matters only where something is left to execute: what
    /// was done before is answered whoever is away.
    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        envelopes: &[Envelope<A::Command>],
        prepared: Result<(), Fault>,
    ) -> Result<Outcomes<A::Reply>, Fault> {
        if envelopes.is_empty() {
            return Ok(Vec::new());
        }
        prepared?;
        unit.set_command_traces(envelopes.iter().map(|envelope| envelope.trace.clone()).collect());
        let outcomes = self.application.execute(unit, envelopes).await?;
        if outcomes.len() != envelopes.len() {
            return Err(Fault::permanent("a use case gave another number of outcomes than commands"));
        }
        Ok(outcomes)
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
                    Some(stored) => Source::Known(stored.answer(key)),
                    None => match here.get(&(key.caller.as_str(), key.request_id.as_str())) {
                        Some((number, first)) if first.means_the_same(key) => Source::Fresh(*number),
                        Some(_) => Source::Known(Err(request_results::reused(key).into())),
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

    /// The commands to execute.
    fn envelopes<A: Application<Reply = R>>(&self, batch: &[Pending<A>]) -> Vec<Envelope<A::Command>> {
        let fresh = self.fresh.iter().filter_map(|index| batch.get(*index));
        fresh.map(|pending| pending.envelope.clone()).collect()
    }

    /// What is kept under the request ids of the executed commands, of whose replies there is one each, if it is done.
    fn results<'a, A: Application<Reply = R>>(
        &self,
        batch: &'a [Pending<A>],
        replies: impl Iterator<Item = Option<&'a R>>,
    ) -> Vec<(&'a RequestKey, Vec<u8>)> {
        let executed = self.fresh.iter().zip(replies);
        executed.filter_map(|(index, reply)| Some((batch.get(*index)?.key.as_ref()?, reply?.encode()))).collect()
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

/// The keys of those commands that have one.
fn keys_of<A: Application>(batch: &[Pending<A>]) -> Vec<&RequestKey> {
    batch.iter().filter_map(|pending| pending.key.as_ref()).collect()
}

fn panicked() -> Fault {
    Fault::permanent("a use case panicked").because("PANICKED")
}
