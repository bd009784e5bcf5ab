//! Settings of the product service.

use openorder_config::{Secret, settings};
use openorder_messaging::{CommitterSettings, DatabaseSettings, RelaySettings};
use openorder_rpc::RpcServerSettings;

settings! {
    /// Product service.
    pub struct ProductSettings {
        /// Address that the gRPC server listens on.
        listen_address: String = "127.0.0.1:8102";
        /// URL of its own database, `postgres://user:password@host:port/database`.
        database_url: Secret = "postgres://postgres@127.0.0.1:15432/openorder_product";
        /// Use of the database.
        database: DatabaseSettings;
        /// Group commit for gRPC callers.
        committer: CommitterSettings;
        /// Publishing of its events.
        relay: RelaySettings;
        /// Limits of the gRPC server.
        server: RpcServerSettings;
    }
}
