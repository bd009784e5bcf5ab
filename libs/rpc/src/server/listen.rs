//! Takes connections, and lets them end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use openorder_runtime::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::settings::ConnectionSettings;

/// Flow-control windows in bytes. The protocol's own 64 KiB would stall a connection that many calls share.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Pause after the system refused a connection, such as when file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    address: String,
    source: io::Error,
}

/// Binds the address (`host:port`).
///
/// # Errors
///
/// Names the address, and why not.
pub async fn listen(address: &str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address: address.to_owned(), source })
}

/// What a service is on one connection.
pub trait PerConnection {
    /// The service for the calls of a connection that `peer` opened.
    #[must_use]
    fn for_connection(&self, peer: SocketAddr) -> Self;
}

/// Serves HTTP/2 connections until shutdown is requested, then lets calls in flight end within the drain timeout.
pub async fn serve_connections<S>(listener: TcpListener, settings: &ConnectionSettings, service: S, shutdown: &Shutdown)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>
        + PerConnection
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let http = http(settings);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < settings.connections_max => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, http.clone(), service.for_connection(peer), shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Closed before the drain: new clients hear at once that nobody listens.
    drop(listener);
    let drain = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_millis(settings.drain_timeout_ms), drain).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut: their calls did not end in time");
    }
}

fn http(settings: &ConnectionSettings) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams_per_connection_max)
        // The library's own bound, 20, would cut off a gateway whose many callers give up at one moment.
        .max_pending_accept_reset_streams(settings.cancelled_early_max)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_millis(settings.keepalive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(settings.keepalive_timeout_ms))
        // gRPC has no use for it, and it would be written for each call.
        .auto_date_header(false);
    http
}

async fn connection<S>(stream: TcpStream, http: http2::Builder<TokioExecutor>, service: S, shutdown: Shutdown)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that goes away without a word is everyday business.
        tracing::debug!(%error, "a connection broke");
    }
}
