//! A little service over the real engine: it writes numbers into a ledger and tells of each.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "shared by several tests")]

use std::{
    sync::{
        Arc, LazyLock, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use openorder_messaging::{
    Application, Backbone, Committer, CommitterSettings, ConsumerSettings, DatabaseSettings, DecodeError, Envelope,
    Interest, KafkaSettings, NewEvent, Outcomes, Received, RelaySettings, Reply, RequestKey, RoleContext, Subscription,
    UnitOfWork, desk::Desk,
};
use openorder_telemetry::TraceContext;
use openorder_testing::{TestProducer, World};
use openorder_types::{CallError, Fault, Rejection};
use sqlx::{PgPool, Row, migrate::Migrator};
use uuid::Uuid;

pub static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!("tests/migrations");
pub const TOPIC: &str = "ledger.entry.v1";
pub const ADDED: &str = "ledger.entry.added";

/// Writes `number` under `key`. Negative numbers are refused; some keys misbehave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    pub key: String,
    pub number: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added(pub i64);

impl Reply for Added {
    fn encode(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self(i64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

/// The service. Keys misbehave by their name: `broken…` fail until `mended`, `hopeless…` can never succeed, `far…` need
/// something that is away until `reachable`, `unprepared…` fail before their transaction until `mended`, `flaky…` fail now and then, `slow…` take `slow_ms`, `endless…` run into the
/// database's time limit until `mended`.
#[derive(Default)]
pub struct Ledger {
    pub mended: AtomicBool,
    pub reachable: AtomicBool,
    pub slow_ms: AtomicU64,
    /// Sizes of the batches that it was handed.
    pub batches: Mutex<Vec<usize>>,
    /// The database in which no transaction may be open while a batch is prepared.
    pub watched: OnceLock<PgPool>,
    /// Keys that were prepared while no transaction was open.
    pub prepared: Mutex<Vec<String>>,
}

impl Ledger {
    /// How often it was called, and with how many commands in all, since the last time it was asked.
    pub fn worked(&self) -> (usize, usize) {
        let batches = std::mem::take(&mut *self.batches.lock().unwrap());
        (batches.len(), batches.iter().sum())
    }

    /// Waits until nobody in the database has a transaction open that does nothing. Others' end soon; one that waits
    /// for this would not, until the database ends it.
    async fn wait_for_no_transaction(pool: &PgPool) -> Result<(), Fault> {
        let open = "select count(*) from pg_stat_activity \
                    where datname = current_database() and state like 'idle in transaction%'";
        for _ in 0..400 {
            if sqlx::query_scalar::<_, i64>(open).fetch_one(pool).await? == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(Fault::permanent("a transaction is open").because("TRANSACTION_OPEN"))
    }

    async fn misbehave(&self, key: &str) -> Result<(), Fault> {
        assert!(!key.starts_with("panic"), "this key panics");
        if key.starts_with("broken") && !self.mended.load(Ordering::SeqCst) {
            return Err(Fault::retryable("this key is broken").because("BROKEN_KEY"));
        }
        if key.starts_with("hopeless") && !self.mended.load(Ordering::SeqCst) {
            return Err(Fault::permanent("this key is hopeless").because("HOPELESS_KEY"));
        }
        if key.starts_with("far") && !self.reachable.load(Ordering::SeqCst) {
            return Err(Fault::outage("far-service", "connection refused"));
        }
        if key.starts_with("flaky") && rand::random_bool(0.2) {
            return Err(Fault::retryable("this key is flaky"));
        }
        if key.starts_with("slow") {
            tokio::time::sleep(Duration::from_millis(self.slow_ms.load(Ordering::SeqCst))).await;
        }
        Ok(())
    }
}

impl Application for Ledger {
    type Command = Add;
    type Reply = Added;

    async fn prepare(&self, commands: &[&Add]) -> Result<(), Fault> {
        let Some(pool) = self.watched.get() else { return Ok(()) };
        Self::wait_for_no_transaction(pool).await?;
        if !self.mended.load(Ordering::SeqCst) && commands.iter().any(|add| add.key.starts_with("unprepared")) {
            return Err(Fault::permanent("this key cannot be prepared").because("UNPREPARED"));
        }
        self.prepared.lock().unwrap().extend(commands.iter().map(|add| add.key.clone()));
        Ok(())
    }

    async fn execute(&self, unit: &mut UnitOfWork, batch: &[Envelope<'_, Add>]) -> Result<Outcomes<Added>, Fault> {
        self.batches.lock().unwrap().push(batch.len());
        let mut outcomes = Vec::with_capacity(batch.len());
        for (command_index, envelope) in batch.iter().enumerate() {
            let Add { key, number } = envelope.command;
            if *number < 0 {
                outcomes.push(Err(Rejection::failed_precondition("NEGATIVE", "not below zero")));
                continue;
            }
            self.misbehave(key).await?;
            if key.starts_with("endless") && !self.mended.load(Ordering::SeqCst) {
                sqlx::query("select pg_sleep(600)").execute(&mut *unit.connection()).await?;
            }
            let version: i64 = sqlx::query_scalar(
                "with new as (insert into ledger (key, number) values ($1, $2)) \
                 select count(*) + 1 from ledger where key = $1",
            )
            .bind(key)
            .bind(number)
            .fetch_one(&mut *unit.connection())
            .await?;
            unit.append(NewEvent {
                event_type: ADDED,
                topic: TOPIC,
                key: None,
                aggregate_type: "ledger",
                aggregate_id: key.as_str().into(),
                aggregate_version: version,
                payload: number.to_be_bytes().to_vec().into(),
                reason: String::new(),
                command_index,
            });
            outcomes.push(Ok(Added(*number)));
        }
        Ok(outcomes)
    }
}

pub fn decode(message: &Received) -> Result<Option<Add>, DecodeError> {
    let bytes = message.payload[..].try_into().map_err(|_| DecodeError::malformed(message, "not 8 bytes"))?;
    let key = String::from_utf8(message.key.to_vec()).map_err(|error| DecodeError::malformed(message, error))?;
    Ok(Some(Add { key, number: i64::from_be_bytes(bytes) }))
}

/// A running instance of the little service.
pub struct Instance {
    pub role: RoleContext,
    pub backbone: Arc<Backbone>,
    pub ledger: Arc<Ledger>,
}

pub async fn start(world: &World, role: RoleContext, database: &str) -> Instance {
    start_with(world, role, database, world.kafka()).await
}

pub async fn start_with(world: &World, role: RoleContext, database: &str, kafka: KafkaSettings) -> Instance {
    start_on(world, role, database, kafka, world.database()).await
}

pub async fn start_on(
    world: &World,
    role: RoleContext,
    database: &str,
    kafka: KafkaSettings,
    settings: DatabaseSettings,
) -> Instance {
    let url = world.database_url(database);
    let backbone = Backbone::start(&role, &url, &settings, &kafka, &MIGRATIONS).await.unwrap();
    Instance { role, backbone, ledger: Arc::default() }
}

impl Instance {
    pub fn committer(&self) -> Committer<Ledger> {
        self.committer_with(&CommitterSettings::default())
    }

    pub fn committer_with(&self, settings: &CommitterSettings) -> Committer<Ledger> {
        self.backbone.committer(Arc::clone(&self.ledger), settings)
    }

    pub fn relay(&self) {
        self.backbone.relay(&RelaySettings::default(), &[TOPIC]);
    }

    pub fn consumer(&self) {
        self.consumer_with(quick());
    }

    pub fn consumer_with(&self, settings: ConsumerSettings) {
        let subscription =
            Subscription { topics: vec![TOPIC], decode, interest: |_, _| Interest::Unknown, injects: |_| false };
        self.backbone.consumer(Arc::clone(&self.ledger), subscription, &settings);
    }

    pub fn desk(&self) -> Desk {
        Desk::new(&self.backbone)
    }

    /// Keys, states, attempts and reasons of all parked messages, in order.
    pub async fn parked(&self) -> Vec<(String, i16, i32, String)> {
        sqlx::query_as(
            "select convert_from(key, 'utf8'), state, attempts, error_reason from parked_message order by sequence",
        )
        .fetch_all(self.pool())
        .await
        .unwrap()
    }

    pub fn pool(&self) -> &PgPool {
        self.backbone.pool()
    }

    pub async fn numbers(&self, key: &str) -> Vec<i64> {
        sqlx::query("select number from ledger where key = $1 order by position")
            .bind(key)
            .fetch_all(self.pool())
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    }

    pub async fn count(&self, table: &'static str) -> i64 {
        let sql = match table {
            "ledger" => "select count(*) from ledger",
            "event_log" => "select count(*) from event_log",
            "parked_message" => "select count(*) from parked_message",
            "inbox" => {
                "select (select count(*) from inbox) \
                      + (select coalesce(sum(bit_count(taken)), 0)::bigint from inbox_position)"
            }
            "command_result" => "select count(*) from command_result",
            other => panic!("no table {other}"),
        };
        sqlx::query_scalar(sql).fetch_one(self.pool()).await.unwrap()
    }

    pub async fn stop(self) {
        let left = self.role.tasks.drain(Duration::from_secs(10)).await;
        assert!(left.is_empty(), "did not end: {left:?}");
    }
}

/// A request whose reply is known before it is executed.
pub fn foreseen(caller: &str, request_id: &str, content: u8, reply: &Added) -> RequestKey {
    RequestKey { reply: Some(reply.encode()), ..request(caller, request_id, content) }
}

/// Settings that do not keep a test waiting.
pub fn quick() -> ConsumerSettings {
    ConsumerSettings {
        retry_delay_base_ms: 20,
        retry_delay_max_ms: 100,
        retry_poll_interval_ms: 20,
        dead_letter_poll_interval_ms: 20,
        replay_interval_ms: 20,
        attempts_max: 1_000,
        ..ConsumerSettings::default()
    }
}

/// Sends a number as an event of another service; gives the event's id.
pub async fn send(producer: &TestProducer, key: &str, number: i64) -> Uuid {
    let event_id = Uuid::now_v7();
    send_as(producer, key, number, event_id).await;
    event_id
}

pub async fn send_as(producer: &TestProducer, key: &str, number: i64, event_id: Uuid) {
    let id = event_id.to_string();
    let headers = [("ce_id", id.as_str()), ("ce_type", ADDED), ("ce_source", "/openorder/elsewhere")];
    producer.send(TOPIC, key, &headers, &number.to_be_bytes()).await;
}

pub async fn add(committer: &Committer<Ledger>, key: &str, number: i64) -> Result<Added, CallError> {
    let command = Add { key: key.to_owned(), number };
    committer.submit(None, command, TraceContext::default(), None).await
}

pub fn request(caller: &str, request_id: &str, content: u8) -> RequestKey {
    RequestKey {
        caller: caller.to_owned(),
        request_id: request_id.to_owned(),
        method: "Add",
        fingerprint: [content; 32],
        fingerprint_as_sent: None,
        reply: None,
    }
}
