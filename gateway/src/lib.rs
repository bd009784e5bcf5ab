//! The generic edge of OpenOrder: one port in front of every service, for callers of gRPC and of HTTP and JSON, and no
//! business rule.
//!
//! Reading guide:
//!
//! * `routes.rs`: which method goes where, read from the contract;
//! * `access.rs`: who may call each of them, read from there too;
//! * `shares.rs`: how much of each bound one connection and one peer may have;
//! * `proxies.rs`: where a call came from that a proxy passed on; `proxied.rs`: what each address behind proxies has;
//! * `rates/`: how often one caller may call;
//! * `admission/`: how many calls a service is given at a time, and whose;
//! * `body.rs`: the request's body, read before its call is let in; `message.rs`: the messages in it;
//! * `local.rs`: what the gateway answers itself;
//! * `identity/`: who makes a call, by its token or without one, and whose share it counts against;
//! * `forward.rs`: one call: identified, read, admitted, forwarded; its trace and its deadline; `resend.rs`: when it is sent
//!   to its service again;
//! * `protocol/`: what is spoken besides gRPC: REST, Connect, gRPC-Web; `transcode/`: how messages of these are made into
//!   messages of gRPC and back; `openapi/`: what can be called so; `docs/`: the page that shows it;
//! * `answers/`: what is held of an answer until its caller has read it, and for how long;
//! * `health.rs`: the health of all services as one;
//! * `address.rs`: where the gateway may listen;
//! * [`serve`]: how it is put together.

mod access;
mod address;
mod admission;
mod answers;
mod body;
mod config;
mod docs;
mod forward;
#[cfg(test)]
mod fuzz;
mod health;
mod identity;
mod local;
mod message;
mod openapi;
mod protocol;
mod proxied;
mod proxies;
mod rates;
mod resend;
mod routes;
mod shares;
mod transcode;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET;
use openorder_rpc::UpstreamChannel;
use openorder_rpc::server::{CallMetrics, serve_connections};
use openorder_rpc::tls::{RoleTls, ServerTls};
use openorder_runtime::{Readiness, Shutdown};
use openorder_telemetry::RoleTelemetry;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_health::server::health_reporter;

pub use config::GatewaySettings;
pub use identity::Anonymous;
pub use routes::Backend;

use crate::answers::Answers;
use crate::docs::DocsPage;
use crate::forward::{Gateway, Limits, Shared};
use crate::health::HealthPoll;
use crate::identity::{SignIn, TrustPoll};
use crate::local::LocalMethod;
use crate::openapi::OpenApi;
use crate::protocol::cors::Cors;
use crate::protocol::site::Site;
use crate::proxied::ProxiedCallers;
use crate::routes::{Backends, RouteTable};

/// Whether `gateway.trusted_proxies` can be used.
///
/// # Errors
///
/// The entry that cannot.
pub fn check_trusted_proxies(settings: &GatewaySettings) -> anyhow::Result<()> {
    ProxiedCallers::new(settings).map(drop)
}

/// Runs the gateway in front of these services, which are called in the clear, until shutdown.
///
/// # Errors
///
/// When a setting cannot be used or the port cannot be bound.
pub async fn serve(
    role: RoleTelemetry,
    readiness: &Readiness,
    settings: GatewaySettings,
    backends: Vec<Backend>,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    serve_with(role, readiness, settings, backends, None, shutdown).await
}

/// As [`serve`]; with a certificate of its role the services are called over TLS, and have to prove to be the roles that they
/// are called as.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_with(
    role: RoleTelemetry,
    readiness: &Readiness,
    settings: GatewaySettings,
    backends: Vec<Backend>,
    tls: Option<RoleTls>,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    address::check(&settings).await?;
    // What cannot be shown is found before a port is bound.
    ServerTls::load(&settings.tls).context("gateway.tls")?;
    let listener = openorder_rpc::listen(&settings.listen_address).await?;
    let backends = Backends { list: backends, tls };
    serve_all(role, readiness, listener, &settings, PUBLIC_FILE_DESCRIPTOR_SET, backends, shutdown).await
}

/// Runs a gateway in front of any services of a contract, which are called in the clear, on a port that is bound already.
///
/// # Errors
///
/// When a backend's address or the certificate cannot be used, or the contract does not have its service.
pub fn serve_backends<'a>(
    role: RoleTelemetry,
    readiness: &'a Readiness,
    listener: TcpListener,
    settings: &'a GatewaySettings,
    descriptors: &'static [u8],
    backends: Vec<Backend>,
    shutdown: &'a Shutdown,
) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>> {
    let backends = Backends { list: backends, tls: None };
    serve_all(role, readiness, listener, settings, descriptors, backends, shutdown)
}

fn serve_all<'a>(
    role: RoleTelemetry,
    readiness: &'a Readiness,
    listener: TcpListener,
    settings: &'a GatewaySettings,
    descriptors: &'static [u8],
    backends: Backends,
    shutdown: &'a Shutdown,
) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>> {
    // Boxed, so that it is compiled here and not again in each program and test that runs a gateway.
    Box::pin(async move {
        let tls = ServerTls::load(&settings.tls).context("gateway.tls")?;
        let routes = RouteTable::new(descriptors, backends, &settings.client, &settings.batch, settings.admission())?;
        let (reporter, health) = health_reporter();
        let poll = HealthPoll::new(
            reporter,
            routes.services(),
            readiness,
            Duration::from_millis(settings.health_interval_ms),
            Duration::from_millis(settings.health_timeout_ms),
        );
        poll.begin().await;
        let services = routes.services().iter().map(|(backend, _)| backend.service);
        let local = reflection(descriptors, services)?.add_service(health);
        let (name, connection) = (role.role(), settings.connection());
        let is_on_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        let site = Site::new(&settings.allowed_hosts, is_on_loopback);
        let (shared, trust) = shared(role, routes, settings, site)?;
        let gateway = Gateway::new(shared, local);
        tokio::select! {
            () = serve_connections(name, listener, tls.clone(), &connection, gateway, shutdown) => Ok(()),
            () = poll.run() => Ok(()),
            () = keep_trust(trust) => Ok(()),
            () = keep_up(tls) => Ok(()),
        }
    })
}

/// For ever, also where there is nobody to ask.
async fn keep_trust(trust: Option<TrustPoll>) {
    match trust {
        Some(trust) => trust.run().await,
        None => std::future::pending().await,
    }
}

/// Shows the certificate of now, until it is dropped.
async fn keep_up(tls: Option<ServerTls>) {
    match tls {
        Some(tls) => tls.keep_up().await,
        None => std::future::pending().await,
    }
}

/// Reflection, both versions, of the services behind the gateway.
fn reflection(descriptors: &'static [u8], services: impl Iterator<Item = &'static str>) -> anyhow::Result<Routes> {
    let own =
        ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
    let names: Vec<_> = services.chain(own).collect();
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that grpcurl and others show the details of a refusal in words.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let v1 = builder().build_v1().context("reflection")?;
    let v1alpha = builder().build_v1alpha().context("reflection")?;
    Ok(Routes::new(v1).add_service(v1alpha))
}

fn shared(
    role: RoleTelemetry,
    routes: RouteTable,
    settings: &GatewaySettings,
    site: Site,
) -> anyhow::Result<(Shared, Option<TrustPoll>)> {
    let methods: Vec<String> =
        routes.paths().chain(LocalMethod::PATHS).map(|path| path.trim_start_matches('/').to_owned()).collect();
    let shares = settings.shares();
    let users = routes.users().map(|upstream| UpstreamChannel::new(role.clone(), Arc::clone(upstream)));
    let (sign_in, trust) = SignIn::new(&role, settings, users, &shares)?;
    let shared = Shared {
        role,
        openapi: OpenApi::new(routes.contract(), routes.rest()),
        docs: DocsPage::new(),
        cors: Cors::new(&settings.cors_origins)?,
        site,
        speaks_tls: settings.speaks_tls(),
        routes,
        metrics: Arc::new(CallMetrics::of(methods.iter().map(String::as_str))),
        sign_in,
        limits: Limits {
            read: settings.read_limits(),
            metadata_bytes: settings.metadata_bytes_max,
            default_timeout: Duration::from_millis(settings.default_timeout_ms),
            timeout_max: Duration::from_millis(settings.timeout_max_ms),
            answer_bytes: settings.answer_bytes_max,
            stream_keep_alive: Duration::from_millis(settings.stream_keep_alive_ms),
        },
        incoming_trace: settings.incoming_trace,
        answers: Answers::new(settings, &shares),
        proxied_callers: ProxiedCallers::new(settings)?,
        shares,
    };
    Ok((shared, trust))
}
