//! The server side: what surrounds the handlers of a service.
//!
//! * `listen.rs` takes connections and drains them;
//! * `service.rs` decides which calls are taken, `limited.rs` how much of their bodies;
//! * `call.rs` surrounds each one: trace, log scope, deadline, panics;
//! * `observed.rs` sees how a call ends, and gives foreign statuses their details;
//! * `metrics.rs` counts without allocating.

mod call;
mod limited;
mod listen;
mod metrics;
mod observed;
mod service;

use openorder_runtime::Shutdown;
use openorder_telemetry::RoleTelemetry;
use tokio::net::TcpListener;
use tonic::service::Routes;

pub use call::{Call, CallFuture};
pub use listen::{ListenError, PerConnection, listen, serve_connections};
pub use metrics::{CallMetrics, MethodMetrics};
pub use service::{OVERLOADED_RETRY_AFTER, RpcService, is_grpc, unsupported_media_type};

use crate::settings::RpcServerSettings;

/// Serves the routes of a service until shutdown is requested and the calls in flight ended, or their time is up.
pub async fn serve(
    role: RoleTelemetry,
    listener: TcpListener,
    settings: &RpcServerSettings,
    routes: Routes,
    shutdown: &Shutdown,
) {
    let service = RpcService::new(role, settings, routes);
    serve_connections(listener, &settings.connection, service, shutdown).await;
}
