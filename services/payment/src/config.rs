//! Settings of the payment service.

use openorder_config::{Secret, settings};
use openorder_messaging::{CommitterSettings, ConsumerSettings, DatabaseSettings, RelaySettings};
use openorder_rpc::RpcServerSettings;

settings! {
    /// Payment service.
    pub struct PaymentSettings {
        /// Address that the gRPC server listens on.
        listen_address: String = "127.0.0.1:8104";
        /// URL of its own database, `postgres://user:password@host:port/database`.
        database_url: Secret = "postgres://postgres@127.0.0.1:15432/openorder_payment";
        /// Use of the database.
        database: DatabaseSettings;
        /// Group commit for gRPC callers.
        committer: CommitterSettings;
        /// Batches from Kafka.
        consumer: ConsumerSettings;
        /// Publishing of its events.
        relay: RelaySettings;
        /// Limits of the gRPC server.
        server: RpcServerSettings;
    }
}
