//! What every service stands on: its database, its event log, and the runners around its application.

use std::{
    future::Future,
    hash::Hash,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use openorder_config::Secret;
use openorder_runtime::{Dependency, OnExit, Readiness, Shutdown, Stopped, Tasks, compiled_here, wait_for};
use openorder_telemetry::{RoleTelemetry, TraceContext, work_span};
use openorder_types::{AggregateId, Fault, Timestamp};
use sqlx::{PgPool, Postgres, Transaction, migrate::Migrator};
use tokio::sync::{Notify, broadcast};

use crate::{
    Application, Committer, CommitterSettings, ConsumerSettings, DatabaseSettings, KafkaSettings, RelaySettings,
    SharedReads, Subscription,
    consumer::{self, Consumer, freshness::Freshness, inbox::Inbox},
    database,
    dead_letters::DeadLetters,
    desk,
    handoff::Handoff,
    kafka, maintenance,
    relay::Relay,
    retention::Retention,
    startup,
    unit_of_work::Appended,
};

/// How many batches of changes a slow watcher may lag behind before it has to look for itself.
const CHANGES_MAX: usize = 1024;

/// What a batch changed: (topic, aggregate id) of each event that it appended.
pub type Changes = Arc<[(&'static str, AggregateId)]>;

/// What a role is given to run with.
#[derive(Clone)]
pub struct RoleContext {
    /// Name, tracer and log scope of the role.
    pub telemetry: RoleTelemetry,
    /// Where the role tells the state of its dependencies.
    pub readiness: Readiness,
    /// Told when the process has to end.
    pub shutdown: Shutdown,
    /// Where the role's background tasks run.
    pub tasks: Tasks,
}

impl RoleContext {
    /// A dependency without which this role cannot answer calls, waiting until told otherwise.
    pub fn dependency(&self, name: &'static str) -> Dependency {
        self.readiness.dependency(self.telemetry.role(), name)
    }

    /// A dependency without which only work in the background waits.
    pub fn background(&self, name: &'static str) -> Dependency {
        self.readiness.background(self.telemetry.role(), name)
    }
}

/// Since when a service needs its events.
type NeededSince = Box<dyn Fn(PgPool) -> BoxFuture<'static, Result<Option<Timestamp>, Fault>> + Send + Sync>;

/// One service's database, log and runners.
pub struct Backbone {
    role: RoleContext,
    pool: PgPool,
    database_name: String,
    database: DatabaseSettings,
    kafka: KafkaSettings,
    wake_relay: Notify,
    handoff: Handoff,
    published: AtomicI64,
    needed_since: OnceLock<NeededSince>,
    freshness: OnceLock<(Arc<Freshness>, Duration)>,
    changes: broadcast::Sender<Changes>,
    consumed: OnceLock<Consumed>,
    inbox: Inbox,
    publishes: AtomicBool,
    reads_former_results: AtomicBool,
}

/// What the desk has to know of the consumer.
pub(crate) struct Consumed {
    pub(crate) topics: Vec<&'static str>,
    pub(crate) settings: ConsumerSettings,
    /// Down while dead messages find no room in their table.
    pub(crate) room_for_dead: Dependency,
}

impl Backbone {
    /// Waits for the database, brings its schema up to date, and keeps its readiness told from then on.
    ///
    /// # Errors
    /// [`Stopped`] when the process has to end before the database answered.
    #[compiled_here]
    pub async fn start(
        role: &RoleContext,
        database_url: &Secret,
        database: &DatabaseSettings,
        kafka: &KafkaSettings,
        migrations: &Migrator,
    ) -> Result<Arc<Self>, Stopped> {
        let dependency = role.dependency(database::POSTGRES);
        let name = format!("openorder-{}", role.telemetry.role());
        // Boxed: start-up need not make every caller's future as large as its migrations.
        let open = || Box::pin(database::open(database_url, database, &name, migrations));
        let work =
            role.telemetry.trace(work_span!("open database", db.system.name = "postgresql"), &TraceContext::NONE);
        // What this instance will own, it tells while it waits: a restart during an outage must not look like no lag.
        let pool = tokio::select! {
            pool = Box::pin(work.run(wait_for(&dependency, &role.shutdown, open))) => pool?,
            never = startup::record(role.telemetry.role(), kafka) => match never {},
        };
        drop(work);
        let database_name = pool.connect_options().get_database().unwrap_or_default().to_owned();
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let backbone = Arc::new(Self {
            role: role.clone(),
            pool,
            database_name,
            database: database.clone(),
            kafka: kafka.clone(),
            wake_relay: Notify::new(),
            handoff: Handoff::default(),
            published: AtomicI64::new(0),
            needed_since: OnceLock::new(),
            freshness: OnceLock::new(),
            changes,
            consumed: OnceLock::new(),
            inbox: Inbox::new(role.telemetry.role()),
            publishes: AtomicBool::new(false),
            reads_former_results: AtomicBool::new(true),
        });
        let upkeep = maintenance::run(Arc::clone(&backbone), database.clone(), dependency);
        role.tasks.spawn("maintenance", OnExit::StopProcess, upkeep);
        Ok(backbone)
    }

    /// Starts the committer of `application`.
    pub fn committer<A: Application>(
        self: &Arc<Self>,
        application: Arc<A>,
        settings: &CommitterSettings,
    ) -> Committer<A> {
        let (committer, worker) = Committer::new(Arc::clone(self), application, settings.clone());
        self.role.tasks.spawn("committer", OnExit::StopProcess, worker);
        committer
    }

    /// Starts the consumer that feeds `application` from the topics of `subscription`, the retries of what it parked,
    /// the publishing of what is dead, and the replays of that.
    pub fn consumer<A: Application>(
        self: &Arc<Self>,
        application: Arc<A>,
        subscription: Subscription<A::Command>,
        settings: &ConsumerSettings,
    ) {
        let room_for_dead = self.role.background(consumer::DEAD_LETTERS);
        room_for_dead.ready();
        let consumed = Consumed { topics: subscription.topics.clone(), settings: settings.clone(), room_for_dead };
        // A service has one consumer.
        drop(self.consumed.set(consumed));
        let dependency = self.role.background(consumer::DEPENDENCY);
        let position = self.role.background(consumer::POSITION);
        let retries_dependency = self.role.background(consumer::RETRIES);
        let letters = DeadLetters::new(Arc::clone(self), settings.clone(), &subscription.topics);
        let consumer = Arc::new(Consumer::new(
            Arc::clone(self),
            application,
            subscription,
            settings.clone(),
            dependency,
            position,
        ));
        let retries = Arc::clone(&consumer);
        let tasks = &self.role.tasks;
        tasks.spawn("consumer", OnExit::StopProcess, async move { consumer.run().await });
        tasks.spawn("parked-retries", OnExit::StopProcess, async move {
            retries.retry_parked(retries_dependency).await;
        });
        tasks.spawn("dead-letters", OnExit::StopProcess, letters.run());
        tasks.spawn("replays", OnExit::StopProcess, desk::run_replays(Arc::clone(self), settings.clone()));
    }

    /// Has the log keep all events since a time that the service names each time that it is pruned: such as since the
    /// oldest of its aggregates began that are not at rest. To be said before [`Self::relay`].
    pub fn keep_events_since<F, N>(&self, needed_since: F)
    where
        F: Fn(PgPool) -> N + Send + Sync + 'static,
        N: Future<Output = Result<Option<Timestamp>, Fault>> + Send + 'static,
    {
        // A service says it once.
        drop(self.needed_since.set(Box::new(move |pool| needed_since(pool).boxed())));
    }

    /// Has the consumer look at the ends of its partitions this often, so that it is known up to when it has taken over what
    /// Kafka had. To be said before [`Self::consumer`].
    pub fn follow_freshness(&self, interval: Duration) -> Arc<Freshness> {
        let (freshness, _) = self.freshness.get_or_init(|| (Arc::default(), interval));
        Arc::clone(freshness)
    }

    /// What was said by [`Self::follow_freshness`].
    pub(crate) fn followed_freshness(&self) -> Option<&(Arc<Freshness>, Duration)> {
        self.freshness.get()
    }

    /// Starts the relay, and the retention of the log; `topics` are the ones that this service publishes to.
    pub fn relay(self: &Arc<Self>, settings: &RelaySettings, topics: &[&'static str]) {
        let dependency = self.role.background(kafka::KAFKA);
        self.publishes.store(true, Ordering::Relaxed);
        let relay = Relay::new(Arc::clone(self), settings.clone(), topics.to_vec(), dependency);
        self.role.tasks.spawn("relay", OnExit::StopProcess, relay.run());
        if self.database.event_log_retention_days > 0 {
            let retention = Retention::new(Arc::clone(self), self.database.clone(), settings.republish_events);
            self.role.tasks.spawn("event-log-retention", OnExit::StopProcess, retention.run());
        }
    }

    /// The service's own database, for queries.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Reads single rows of one kind by their key, for callers: what is asked for at the same time shares a query. The query
    /// is given the keys, each once, and gives each row that it found with its key; it has to look at the database itself.
    pub fn shared_reads<K, V, F, Q>(&self, query: F) -> SharedReads<K, V>
    where
        K: Clone + Eq + Hash + Send + 'static,
        V: Clone + Send + 'static,
        F: Fn(PgPool, Vec<K>) -> Q + Send + Sync + 'static,
        Q: Future<Output = Result<Vec<(K, V)>, Fault>> + Send + 'static,
    {
        let pool = self.pool.clone();
        SharedReads::new(&self.database, move |keys| query(pool.clone(), keys).boxed())
    }

    /// A transaction for lists: it changes nothing, and each of its statements gives way after
    /// `database.read_statement_timeout_ms`.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    #[compiled_here]
    pub async fn read(&self) -> Result<Transaction<'static, Postgres>, Fault> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "select set_config('transaction_read_only', 'on', true), set_config('statement_timeout', $1, true)",
        )
        .bind(self.database.read_statement_timeout_ms.to_string())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction)
    }

    /// Name, tracer and log scope of the role.
    pub fn telemetry(&self) -> &RoleTelemetry {
        &self.role.telemetry
    }

    /// Told when the process has to end.
    pub fn shutdown(&self) -> &Shutdown {
        &self.role.shutdown
    }

    /// Changes as they are committed by this process. Another instance's changes are not among them: a watcher
    /// also has to look from time to time.
    pub fn changes(&self) -> broadcast::Receiver<Changes> {
        self.changes.subscribe()
    }

    /// Topics and settings of the service's consumer; `None` for a service that consumes nothing.
    pub(crate) fn consumed(&self) -> Option<&Consumed> {
        self.consumed.get()
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Whether this service publishes events.
    pub(crate) fn publishes(&self) -> bool {
        self.publishes.load(Ordering::Relaxed)
    }

    /// Whether the version before may have kept results that are found nowhere else.
    pub(crate) fn reads_former_results(&self) -> bool {
        self.reads_former_results.load(Ordering::Relaxed)
    }

    /// There are no such results any more.
    pub(crate) fn has_no_former_results(&self) {
        self.reads_former_results.store(false, Ordering::Relaxed);
    }

    pub(crate) fn database_name(&self) -> &str {
        &self.database_name
    }

    pub(crate) fn role(&self) -> &RoleContext {
        &self.role
    }

    pub(crate) fn kafka(&self) -> &KafkaSettings {
        &self.kafka
    }

    pub(crate) fn wake_relay(&self) -> &Notify {
        &self.wake_relay
    }

    /// Where the relay of this process is handed what was committed here.
    pub(crate) fn handoff(&self) -> &Handoff {
        &self.handoff
    }

    /// Since when the service needs its events, beyond their retention.
    #[compiled_here]
    pub(crate) async fn needed_since(&self) -> Result<Option<Timestamp>, Fault> {
        match self.needed_since.get() {
            Some(needed_since) => needed_since(self.pool.clone()).await,
            None => Ok(None),
        }
    }

    /// The relay of this process has published all events up to this position.
    pub(crate) fn published_up_to(&self, position: i64) {
        self.published.fetch_max(position, Ordering::Relaxed);
    }

    /// The position up to which a relay of this process has published; 0 where none has. The database is told later.
    pub(crate) fn published(&self) -> i64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Tells the watchers and the relay what a transaction appended.
    pub(crate) fn appended(&self, appended: Appended) {
        let events = &appended.events;
        if events.is_empty() {
            return;
        }
        if self.changes.receiver_count() > 0 {
            let changed =
                events.iter().map(|pending| (pending.event.topic, pending.event.aggregate_id.clone())).collect();
            // No receiver is left: nobody watches.
            drop(self.changes.send(changed));
        }
        if self.handoff.is_open() {
            self.handoff.put(appended.into_logged());
        }
        self.wake_relay.notify_one();
    }
}
