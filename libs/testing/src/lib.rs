//! A world for an integration test: databases, topics and groups of its own on the shared servers.
//!
//! The servers' addresses come from `OPENORDER_KAFKA_BROKERS`, `OPENORDER_POSTGRES_URL` and
//! `OPENORDER_REDIS_URL`; without them, the local stack's own are taken (`dev/stack up`).
//!
//! ```no_run
//! # async fn example() {
//! let world = openorder_testing::World::new();
//! let url = world.database_url("inventory");   // made when the service opens it
//! let role = world.role("inventory");
//! # drop((url, role));
//! # }
//! ```
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot have its world fails"
)]

mod addresses;
mod bound;
mod cut;
mod front;
mod http;
pub mod mail_server;
mod raw;
mod service;
mod topics;

use std::{
    env,
    os::unix::fs::MetadataExt,
    path::Path,
    str::FromStr,
    sync::Once,
    time::{Duration, Instant},
};

use openorder_config::Secret;
use openorder_messaging::{DatabaseSettings, KafkaSettings, RoleContext};
use openorder_runtime::{Readiness, Shutdown, Tasks};
use openorder_telemetry::RoleTelemetry;
use rand::Rng;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, postgres::PgConnectOptions};
use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

pub use addresses::{free_address, free_ports};
pub use cut::Cut;
pub use front::BrokerFront;
pub use http::get_json;
pub use raw::{RawRecord, noise, send_raw};
pub use rdkafka::Message;
pub use service::start_service;
pub use topics::{
    OpenTransaction, Tail, TestProducer, abort_transaction, alter_topic, create_topic, delete_all_records,
    delete_records, group_lag, header, header_names, recreate_topic, reset_group,
};

/// Everything of one test on the shared servers. Its databases are dropped by [`World::close`].
pub struct World {
    name: String,
    readiness: Readiness,
    shutdown: Shutdown,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A world with a name that no other test has.
    pub fn new() -> Self {
        Self::named(&format!("t{:08x}", rand::rng().random::<u32>()))
    }

    /// The world of this name, which another process of the same test has made.
    pub fn named(name: &str) -> Self {
        static FIRST: Once = Once::new();
        FIRST.call_once(|| {
            bound::end_what_hangs();
            let filter = variable("RUST_LOG", "error");
            // Another subscriber may be set already by the code under test.
            let filter = filter.parse::<Targets>().expect("RUST_LOG is a level, or levels of modules");
            let lines = tracing_subscriber::fmt::layer().with_test_writer().with_filter(filter);
            let spans = openorder_telemetry::testing::layer();
            drop(tracing_subscriber::registry().with(spans).with(lines).try_init());
        });
        Self { name: name.to_owned(), readiness: Readiness::new(), shutdown: Shutdown::new() }
    }

    /// Its name, for another process of the same test.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Prefix of the topics and groups of this world.
    pub fn topic_prefix(&self) -> String {
        format!("{}.", self.name)
    }

    /// Kafka with topics of this world's own.
    pub fn kafka(&self) -> KafkaSettings {
        KafkaSettings {
            brokers: brokers(),
            topic_prefix: self.topic_prefix(),
            partitions: 3,
            session_timeout_ms: 6_000,
            ..KafkaSettings::default()
        }
    }

    /// Use of a database in tests: few connections, quick probes.
    pub fn database(&self) -> DatabaseSettings {
        DatabaseSettings { probe_interval_ms: 200, connections_max: 8, ..DatabaseSettings::default() }
    }

    /// URL of a database of this world's own, made when it is opened.
    pub fn database_url(&self, service: &str) -> Secret {
        Secret::new(database_url_of(&format!("{}_{service}", self.name)))
    }

    /// What a role is given to run with; telemetry goes nowhere.
    pub fn role(&self, name: &'static str) -> RoleContext {
        let telemetry = RoleTelemetry::disabled(name);
        RoleContext {
            tasks: Tasks::new(self.shutdown.clone(), telemetry.clone()),
            telemetry,
            readiness: self.readiness.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    /// A role that can be stopped alone: a second instance, or one that is killed.
    pub fn separate_role(&self, name: &'static str) -> RoleContext {
        let telemetry = RoleTelemetry::disabled(name);
        let shutdown = Shutdown::new();
        RoleContext {
            tasks: Tasks::new(shutdown.clone(), telemetry.clone()),
            telemetry,
            readiness: self.readiness.clone(),
            shutdown,
        }
    }

    /// Readiness of all roles of this world.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Takes a service's database away (`false`: no connection is accepted, the present ones are cut) or gives it back.
    pub async fn database_accepts(&self, service: &str, accepts: bool) {
        let name = format!("{}_{service}", self.name);
        let options = PgConnectOptions::from_str(&database_url_of("postgres")).expect("the URL of PostgreSQL");
        let mut admin = options.connect().await.expect("PostgreSQL");
        let sql = format!("alter database \"{name}\" with allow_connections {accepts}");
        admin.execute(AssertSqlSafe(sql)).await.expect("the database is altered");
        if !accepts {
            sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
                .bind(name)
                .execute(&mut admin)
                .await
                .expect("connections are cut");
        }
        admin.close().await.expect("a connection of ours");
    }

    /// How many deadlocks PostgreSQL has ended in a database of this world.
    pub async fn deadlocks(&self, service: &str) -> i64 {
        // Sessions tell what they counted once a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let options = PgConnectOptions::from_str(&database_url_of("postgres")).expect("the URL of PostgreSQL");
        let mut admin = options.connect().await.expect("PostgreSQL");
        let count = sqlx::query_scalar("select deadlocks from pg_stat_database where datname = $1")
            .bind(format!("{}_{service}", self.name))
            .fetch_one(&mut admin)
            .await;
        admin.close().await.expect("a connection of ours");
        count.expect("the database is there")
    }

    /// Ends the roles of this world and drops its databases and topics.
    pub async fn close(self) {
        self.shutdown.trigger();
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop_databases(&self.name).await;
        topics::delete(&brokers(), &self.topic_prefix()).await;
    }
}

/// Brokers of the shared Kafka.
pub fn brokers() -> String {
    variable("OPENORDER_KAFKA_BROKERS", "127.0.0.1:19092")
}

/// URL of the shared PostgreSQL.
pub fn postgres_url() -> String {
    let user = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
    let password = stack_password(Path::new(&format!("/var/tmp/openorder-{user}")));
    variable("OPENORDER_POSTGRES_URL", &format!("postgres://postgres{password}@127.0.0.1:15432"))
}

/// `:password` of PostgreSQL's superuser in a stack with this data folder, as it stands in a URL; nothing where a stack of
/// an earlier version asks for none.
pub fn stack_password(folder: &Path) -> String {
    match std::fs::read_to_string(folder.join("postgres/password")) {
        Ok(password) => format!(":{}", password.trim()),
        Err(_) => String::new(),
    }
}

/// URL of a database of the shared PostgreSQL, whatever database its own URL names.
pub fn database_url_of(name: &str) -> String {
    let base = postgres_url();
    let base = base.trim_end_matches('/');
    let server = match base.split_once("://").map(|(_, rest)| rest.contains('/')) {
        Some(true) => base.rsplit_once('/').map_or(base, |(server, _)| server),
        _ => base,
    };
    format!("{server}/{name}")
}

/// URL of the shared Redis.
pub fn redis_url() -> String {
    variable("OPENORDER_REDIS_URL", "redis://127.0.0.1:16379")
}

/// A variable that says where the shared servers are.
#[expect(clippy::disallowed_methods, reason = "tests have no settings of a process")]
pub fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Looks until `probe` gives something, at most `bound` long.
///
/// # Panics
/// When it never does, naming `what`.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    bound: Duration,
    mut probe: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(started.elapsed() < bound, "{what}: not within {bound:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn drop_databases(prefix: &str) {
    let Ok(options) = PgConnectOptions::from_str(&postgres_url()) else { return };
    let Ok(mut connection) = options.database("postgres").connect().await else { return };
    let names: Vec<String> = sqlx::query_scalar("select datname::text from pg_database where datname like $1")
        .bind(format!("{prefix}\\_%"))
        .fetch_all(&mut connection)
        .await
        .unwrap_or_default();
    for name in names {
        let sql = format!("drop database if exists \"{name}\" with (force)");
        if let Err(error) = connection.execute(AssertSqlSafe(sql)).await {
            eprintln!("test database {name} was left behind: {error}");
        }
    }
    // The connection was only for this.
    drop(connection.close().await);
}
