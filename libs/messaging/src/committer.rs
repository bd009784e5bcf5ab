//! Group commit for gRPC callers.
//!
//! One task takes all commands that wait, up to a limit, and runs them as one batch in one transaction; while it is on
//! its way to disk the next batch gathers, and is executed too. Each caller gets its own answer, after the commit.

mod isolation;
mod pace;
mod plan;

use std::{
    ops::Range,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use openorder_telemetry::{SpanKind, TraceContext, work_span};
use openorder_types::{CallError, Fault};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    Application, Backbone, CommitterSettings, Envelope, Outcomes, RequestKey, SharedReads, UnitOfWork,
    committer::{
        isolation::Verdict,
        pace::{Arrivals, Pace},
        plan::Plan,
    },
    metrics::Metrics,
    request_results::{self, Key, Stored},
};

type Answer<R> = Result<R, CallError>;

/// A command on its way to a batch.
struct Pending<A: Application> {
    submitted: Submitted<A::Command>,
    waiting: Waiting<A::Reply>,
}

/// A command as its caller submitted it: lent to a use case as often as it is tried.
struct Submitted<C> {
    command: C,
    trace: TraceContext,
}

impl<C> Submitted<C> {
    fn lent(&self) -> Envelope<'_, C> {
        Envelope { command: &self.command, trace: &self.trace }
    }
}

/// Who waits for the answer to a command.
struct Waiting<R> {
    key: Option<Key>,
    deadline: Option<Instant>,
    answer: oneshot::Sender<Answer<R>>,
}

impl<R> Waiting<R> {
    /// Whether the caller is still there.
    fn is_there(&self) -> bool {
        !self.answer.is_closed() && self.deadline.is_none_or(|deadline| deadline > Instant::now())
    }

    fn answer(self, answer: Answer<R>) {
        // A caller that has gone finds its result by its request id.
        drop(self.answer.send(answer));
    }
}

/// Commands of one transaction, and who waits for each: lists of one length.
struct Batch<'a, A: Application> {
    submitted: &'a [Submitted<A::Command>],
    waiting: &'a [Waiting<A::Reply>],
}

impl<A: Application> Clone for Batch<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Application> Copy for Batch<'_, A> {}

impl<'a, A: Application> Batch<'a, A> {
    fn len(self) -> usize {
        self.waiting.len()
    }

    fn piece(self, range: Range<usize>) -> Self {
        Self {
            submitted: self.submitted.get(range.clone()).unwrap_or_default(),
            waiting: self.waiting.get(range).unwrap_or_default(),
        }
    }

    /// The keys of those commands that have one, as they are looked up.
    fn keys(self) -> Vec<&'a Key> {
        request_results::in_order(self.waiting.iter().filter_map(|waiting| waiting.key.as_ref()))
    }
}

/// Takes commands and answers after their commit. Clones share one queue.
pub struct Committer<A: Application> {
    backbone: Arc<Backbone>,
    queue: mpsc::Sender<Pending<A>>,
    arrivals: Arc<Arrivals>,
    results: SharedReads<Uuid, Stored>,
    retry_after: Duration,
    deadline_default: Duration,
}

impl<A: Application> Clone for Committer<A> {
    fn clone(&self) -> Self {
        Self {
            backbone: Arc::clone(&self.backbone),
            queue: self.queue.clone(),
            arrivals: Arc::clone(&self.arrivals),
            results: self.results.clone(),
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
        let arrivals = Arc::new(Arrivals::default());
        let results = backbone.shared_reads(|pool, ids: Vec<Uuid>| async move {
            Ok(request_results::find(&pool, ids).await?.into_iter().collect())
        });
        let committer = Self {
            backbone: Arc::clone(&backbone),
            queue,
            arrivals: Arc::clone(&arrivals),
            results,
            retry_after: Duration::from_millis(settings.retry_after_ms),
            deadline_default: Duration::from_millis(settings.deadline_default_ms),
        };
        let metrics = Metrics::get();
        let worker = Worker { backbone, application, settings, arrivals, metrics, repeats: AtomicBool::new(false) };
        (committer, worker.run(commands))
    }

    /// What a command with this key answered before; `None` of one that was not done. For handlers that have to ask
    /// somebody before they [`Self::submit`], or were told that it may be done: what is done already needs nobody, and no
    /// batch, any more. What is asked for at the same time shares a query.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED` as [`Self::submit`]; `Unavailable` while the database is away.
    pub async fn recall(&self, key: &RequestKey) -> Result<Option<A::Reply>, CallError> {
        let key = Key::new(key.clone());
        let mut stored = self.results.get(key.id()).await?;
        if stored.is_none() && self.backbone.reads_former_results() {
            let mut connection = self.backbone.pool().acquire().await?;
            stored = request_results::load(&mut connection, &[&key], true).await?.into_values().next();
        }
        stored.map(|stored| stored.answer(&key)).transpose()
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
        let waiting = Waiting { key: key.map(Key::new), deadline: Some(deadline), answer };
        let pending = Pending { submitted: Submitted { command, trace }, waiting };
        if let Err(refused) = self.queue.try_send(pending) {
            return Err(match refused {
                mpsc::error::TrySendError::Full(_) => CallError::Overloaded { retry_after: self.retry_after },
                mpsc::error::TrySendError::Closed(_) => stopping(self.retry_after),
            });
        }
        self.arrivals.came(|| self.queue.max_capacity() - self.queue.capacity());
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
    arrivals: Arc<Arrivals>,
    metrics: &'static Metrics,
    /// Whether commands come again: then they are looked up first.
    repeats: AtomicBool,
}

impl<A: Application> Worker<A> {
    /// Runs until every [`Committer`] is gone and the queue is empty, or until shutdown, when what waits is done first.
    async fn run(self, mut commands: mpsc::Receiver<Pending<A>>) {
        let shutdown = self.backbone.shutdown().clone();
        let mut under_way = FuturesUnordered::new();
        let mut batch = Vec::with_capacity(self.settings.batch_max);
        let mut pace = Pace::new(&self.settings);
        let mut committing = 0;
        loop {
            while under_way.len() >= self.settings.batches_at_once {
                committing -= under_way.next().await.unwrap_or(0);
            }
            let received = tokio::select! {
                received = commands.recv_many(&mut batch, self.settings.batch_max) => received,
                Some(committed) = under_way.next() => {
                    committing -= committed;
                    continue;
                }
                () = shutdown.requested(), if !commands.is_closed() => {
                    commands.close();
                    continue;
                }
            };
            if received == 0 {
                break;
            }
            let since = Instant::now();
            while let Some(wait) = pace.wait(batch.len() + commands.len(), committing, since, Instant::now()) {
                let awaited = wait.commands - batch.len();
                tokio::select! {
                    Some(committed) = under_way.next() => committing -= committed,
                    () = self.arrivals.reach(awaited, || commands.len()) => {}
                    () = tokio::time::sleep(wait.at_most) => {}
                }
                self.arrivals.stop_waiting();
            }
            while batch.len() < self.settings.batch_max
                && let Ok(pending) = commands.try_recv()
            {
                batch.push(pending);
            }
            pace.begins(batch.len(), committing, Instant::now());
            committing += batch.len();
            under_way.push(self.commit(std::mem::take(&mut batch)));
        }
        while under_way.next().await.is_some() {}
    }

    /// Commits a batch and says of how many commands. One that fails is taken apart, so that only the guilty commands fail.
    async fn commit(&self, batch: Vec<Pending<A>>) -> usize {
        let count = batch.len();
        let there = batch.into_iter().filter(|pending| pending.waiting.is_there());
        let (submitted, waiting): (Vec<_>, Vec<_>) = there.map(|one| (one.submitted, one.waiting)).unzip();
        if waiting.is_empty() {
            return count;
        }
        match self.attempts(Batch { submitted: &submitted, waiting: &waiting }).await {
            Ok(answers) => {
                for (waiting, answer) in waiting.into_iter().zip(answers) {
                    waiting.answer(answer);
                }
            }
            Err(Fault::Outage { dependency, detail }) => self.refuse(waiting, dependency, &detail),
            Err(fault) => self.take_apart(submitted, waiting, fault).await,
        }
        count
    }

    /// What is not decided in one more transaction is tried in a transaction of its own.
    async fn take_apart(&self, submitted: Vec<Submitted<A::Command>>, waiting: Vec<Waiting<A::Reply>>, fault: Fault) {
        let verdicts = match waiting.len() {
            1 => vec![Verdict::Guilty(fault)],
            commands => {
                tracing::debug!(%fault, commands, "a batch failed and is taken apart");
                match self.isolate(Batch { submitted: &submitted, waiting: &waiting }).await {
                    Ok(verdicts) => verdicts,
                    Err(Fault::Outage { dependency, detail }) => return self.refuse(waiting, dependency, &detail),
                    Err(_) => waiting.iter().map(|_| Verdict::Again).collect(),
                }
            }
        };
        let mut alone = Vec::new();
        for ((submitted, waiting), verdict) in submitted.iter().zip(waiting).zip(verdicts) {
            match verdict {
                Verdict::Answered(answer) => waiting.answer(answer),
                Verdict::Guilty(fault) => self.fail(&submitted.trace, waiting, &fault),
                Verdict::Again => alone.push((submitted, waiting)),
            }
        }
        let mut alone = alone.into_iter().filter(|(_, waiting)| waiting.is_there());
        while let Some((submitted, waiting)) = alone.next() {
            let batch = Batch { submitted: std::slice::from_ref(submitted), waiting: std::slice::from_ref(&waiting) };
            match self.attempts(batch).await {
                Ok(mut answers) => waiting.answer(answers.pop().unwrap_or(Err(CallError::Internal))),
                Err(Fault::Outage { dependency, detail }) => {
                    let rest = std::iter::once(waiting).chain(alone.map(|(_, waiting)| waiting)).collect();
                    return self.refuse(rest, dependency, &detail);
                }
                Err(fault) => self.fail(&submitted.trace, waiting, &fault),
            }
        }
    }

    fn refuse(&self, callers: Vec<Waiting<A::Reply>>, dependency: &'static str, detail: &str) {
        tracing::warn!(dependency, detail, commands = callers.len(), "commands refused: dependency is down");
        let retry_after = Duration::from_millis(self.settings.retry_after_ms);
        for waiting in callers {
            waiting.answer(Err(CallError::Unavailable { dependency, retry_after }));
        }
    }

    /// The reference that the caller is given is the trace id: the cause is logged under it.
    fn fail(&self, trace: &TraceContext, guilty: Waiting<A::Reply>, fault: &Fault) {
        let work = self.backbone.telemetry().trace(work_span!("fail command"), trace);
        work.in_scope(|| tracing::error!(%fault, error.type = fault.kind(), "command failed"));
        guilty.answer(Err(CallError::Internal));
    }

    /// Tries a batch as a whole, again on retryable faults, a bounded number of times.
    async fn attempts(&self, batch: Batch<'_, A>) -> Result<Vec<Answer<A::Reply>>, Fault> {
        let mut tried = 0;
        let mut looks_up = self.repeats.load(Ordering::Relaxed);
        loop {
            let started = SystemTime::now();
            let attempt = AssertUnwindSafe(self.attempt(batch, looks_up)).catch_unwind().await;
            let result = attempt.unwrap_or_else(|_| Err(panicked()));
            self.record(batch, started, result.as_ref().err());
            match result {
                // Perhaps because of a command that was done before.
                Err(Fault::Retryable { .. }) if !looks_up => looks_up = true,
                Err(Fault::Retryable { detail, .. }) if tried < self.settings.tries_max => {
                    tried += 1;
                    tracing::debug!(detail, tried, "batch is tried again");
                    tokio::time::sleep(Duration::from_millis(u64::from(tried) * 5)).await;
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self, batch: Batch<'_, A>, looks_up: bool) -> Result<Vec<Answer<A::Reply>>, Fault> {
        let prepared = self.prepare(batch).await;
        let mut unit = UnitOfWork::begin_batch(self.backbone.pool(), self.backbone.telemetry()).await?;
        let plan = self.plan(&mut unit, batch, looks_up).await?;
        let envelopes = plan.envelopes(batch);
        let outcomes = self.execute(&mut unit, &envelopes, prepared).await?;
        let executed = plan.executed(batch, outcomes.iter().map(|outcome| outcome.as_ref().ok()));
        let now = unit.now();
        request_results::settle(unit.connection(), executed, now).await?;
        openorder_faults::point(openorder_faults::COMMITTER_BEFORE_COMMIT).await?;
        let events = unit.commit().await?;
        openorder_faults::point(openorder_faults::COMMITTER_AFTER_COMMIT).await?;
        self.backbone.appended(events);
        Ok(plan.answers(outcomes))
    }

    /// Looks up what was done before, and keeps the foreseen replies of what was not.
    async fn plan(&self, unit: &mut UnitOfWork, batch: Batch<'_, A>, looks_up: bool) -> Result<Plan<A::Reply>, Fault> {
        let (now, reads_former) = (unit.now(), self.backbone.reads_former_results());
        let mut keys = batch.keys();
        let sought = keys.iter().copied().filter(|key| looks_up || reads_former || !key.is_foreseen());
        let seen = request_results::load(unit.connection(), &sought.collect::<Vec<_>>(), reads_former).await?;
        if looks_up {
            self.repeats.store(!seen.is_empty(), Ordering::Relaxed);
        }
        keys.retain(|key| key.is_foreseen() && !seen.contains_key(&key.id()));
        request_results::keep_foreseen(unit.connection(), &keys, now).await?;
        Ok(Plan::new(batch, &seen))
    }

    /// What the use case needs first, before the transaction.
    async fn prepare(&self, batch: Batch<'_, A>) -> Result<(), Fault> {
        let commands: Vec<&A::Command> = batch.submitted.iter().map(|submitted| &submitted.command).collect();
        self.application.prepare(&commands).await
    }

    /// Runs the use case, in the transaction. What was `prepared` matters only where something is left to execute: what
    /// was done before is answered whoever is away.
    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        envelopes: &[Envelope<'_, A::Command>],
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

    fn record(&self, batch: Batch<'_, A>, started: SystemTime, fault: Option<&Fault>) {
        let ended = SystemTime::now();
        let telemetry = self.backbone.telemetry();
        self.metrics.batch(telemetry.role(), "committer", batch.len(), started, ended);
        for trace in batch.submitted.iter().map(|submitted| &submitted.trace).filter(|trace| trace.is_sampled()) {
            let mut span = telemetry.start_at(SpanKind::Client, || "commit batch".into(), trace, started);
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

fn panicked() -> Fault {
    Fault::permanent("a use case panicked").because("PANICKED")
}
