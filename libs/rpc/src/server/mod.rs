//! The server side: what surrounds the handlers of a service.
//!
//! * `listen.rs` takes connections and drains them, `connections.rs` decides which one gives way; `rewound.rs` is one whose
//!   first bytes were read, `lingering.rs` one whose client may still be sending when it was answered;
//! * `service.rs` decides which calls are taken, `limited.rs` how much of their bodies, `media.rs` what is gRPC;
//! * `call.rs` surrounds each one: trace, log scope, deadline, panics;
//! * `batch.rs` takes calls that came together, `outbox.rs` has their answers until they go back together;
//! * `observed.rs` sees how a call ends, and gives foreign statuses their details;
//! * `stream.rs` ends an answer that is not read in time;
//! * `metrics.rs` counts without allocating.

mod batch;
mod call;
mod connections;
mod limited;
mod lingering;
mod listen;
mod media;
mod metrics;
mod observed;
mod outbox;
mod rewound;
mod service;
mod stream;

use std::time::Duration;

use openorder_runtime::{Shutdown, compiled_here};
use openorder_telemetry::RoleTelemetry;
use tokio::net::TcpListener;
use tonic::service::Routes;

pub use call::{Call, CallFuture, Complete};
pub use connections::{Connection, InUse, peer_of};
pub use limited::LimitedBody;
pub use listen::{ListenError, PerConnection, listen, listen_for_roles, serve_connections};
pub use media::{is_grpc_call, refuse_other_protocols};
pub use metrics::{CallMetrics, MethodMetrics};
pub use service::{HEALTH_CHECK, OVERLOADED_RETRY_AFTER, RpcService};
pub use stream::read_by;

use crate::local;
use crate::settings::RpcServerSettings;
use crate::tls::{RoleTls, ServerTls};

/// Serves the routes of a service until shutdown is requested and the calls in flight ended, or their time is up.
/// Meanwhile an [`crate::Upstream`] of this process may call it without a socket.
pub async fn serve(
    role: RoleTelemetry,
    listener: TcpListener,
    settings: &RpcServerSettings,
    routes: Routes,
    shutdown: &Shutdown,
) {
    serve_measured(role, listener, settings, routes, CallMetrics::of_contract(), shutdown).await;
}

/// Like [`serve`]; with TLS, for the other roles alone, which are believed in what they [may vouch for](crate::vouching).
pub async fn serve_roles(
    role: RoleTelemetry,
    listener: TcpListener,
    tls: Option<RoleTls>,
    settings: &RpcServerSettings,
    routes: Routes,
    shutdown: &Shutdown,
) {
    let service = RpcService::new(role.clone(), settings, routes, CallMetrics::of_contract());
    serve_service(role.role(), listener, tls, settings, service, shutdown).await;
}

/// Like [`serve`], for routes with other methods than those of the contract.
#[compiled_here]
pub async fn serve_measured(
    role: RoleTelemetry,
    listener: TcpListener,
    settings: &RpcServerSettings,
    routes: Routes,
    metrics: CallMetrics,
    shutdown: &Shutdown,
) {
    let service = RpcService::new(role.clone(), settings, routes, metrics);
    serve_service(role.role(), listener, None, settings, service, shutdown).await;
}

async fn serve_service(
    name: &'static str,
    listener: TcpListener,
    tls: Option<RoleTls>,
    settings: &RpcServerSettings,
    service: RpcService,
    shutdown: &Shutdown,
) {
    // Without an address, which only a broken socket has not, it is called over the socket.
    let entered = listener.local_addr().ok().map(|address| local::enter(address, service.clone()));
    let local_calls = async {
        shutdown.requested().await;
        drop(entered);
        let drain_timeout = Duration::from_millis(settings.connection.drain_timeout_ms);
        drop(tokio::time::timeout(drain_timeout, service.idle()).await);
    };
    let tls = tls.map(ServerTls::from);
    tokio::join!(serve_connections(name, listener, tls, &settings.connection, service.clone(), shutdown), local_calls);
}
