//! Settings of the operations service.

use openorder_config::{Secret, settings};
use openorder_messaging::DatabaseSettings;
use openorder_rpc::{RpcClientSettings, RpcServerSettings};
use openorder_service::HostSettings;

settings! {
    /// Operations service.
    pub struct OperationsSettings {
        /// Address that the gRPC server listens on.
        listen_address: String = "127.0.0.1:8106";
        /// Where traces can be seen, the beginning of the links to them; empty for no links.
        jaeger_url: String = "http://127.0.0.1:16686";
        /// How long one service may take to answer before it counts as unreachable, in milliseconds.
        service_timeout_ms: u64 = 4_000, 100..=60_000;
        /// Dead letters of one group that one replay freezes at most, the oldest first.
        replay_letters_max: i32 = 100_000, 1..=100_000;
        /// Dead letters that one discard takes at most; a larger set is refused.
        discard_letters_max: usize = 10_000, 1..=100_000;
        /// Events that are read and handed over at once by a replay of events.
        replay_events_batch_max: i32 = 200, 1..=1_000;
        /// Replays that are watched or driven at a time; more are refused.
        replays_max: usize = 32, 1..=1_000;
        /// How often the progress of a replay is looked at and told, in milliseconds.
        progress_interval_ms: u64 = 500, 10..=60_000;
        /// After how long without a sign of life an act counts as unfinished, in milliseconds.
        unfinished_after_ms: u64 = 15_000, 1_000..=600_000;
        /// Age of an unpublished event from which publishing counts as stalled, in milliseconds.
        unpublished_age_max_ms: u64 = 30_000, 1_000..=86_400_000;
        /// Age of an unread message from which a consumer group counts as behind, in milliseconds.
        lag_age_max_ms: u64 = 60_000, 1_000..=86_400_000;
        /// URL of its own database, `postgres://user:password@host:port/database`.
        database_url: Secret = "postgres://postgres@127.0.0.1:15432/openorder_operations";
        /// Use of the database.
        database: DatabaseSettings;
        /// Limits of the gRPC server.
        server: RpcServerSettings;
        /// Calls to the services.
        client: RpcClientSettings;
    }
}

impl HostSettings for OperationsSettings {
    const URL: &'static str = "http://127.0.0.1:8106";
    const CALLS_OTHERS: bool = true;

    fn listen_address(&self) -> &str {
        &self.listen_address
    }

    fn database_url(&self) -> &Secret {
        &self.database_url
    }

    fn database(&self) -> &DatabaseSettings {
        &self.database
    }

    fn server(&self) -> &RpcServerSettings {
        &self.server
    }
}
