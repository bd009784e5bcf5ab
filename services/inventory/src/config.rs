//! Settings of the inventory service.

use openorder_config::{Secret, settings};
use openorder_messaging::{CommitterSettings, ConsumerSettings, DatabaseSettings, RelaySettings};
use openorder_rpc::{RpcClientSettings, RpcServerSettings};

settings! {
    /// Inventory service.
    pub struct InventorySettings {
        /// Address that the gRPC server listens on.
        listen_address: String = "127.0.0.1:8103";
        /// Where the product service answers, asked for products whose event has not arrived yet.
        product_url: String = "http://127.0.0.1:8102";
        /// Available pieces at which a stock counts as low.
        low_stock_threshold_quantity: i64 = 10, 1..=2_000_000_000;
        /// URL of its own database, `postgres://user:password@host:port/database`.
        database_url: Secret = "postgres://postgres@127.0.0.1:15432/openorder_inventory";
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
        /// Calls to other services.
        client: RpcClientSettings;
    }
}
