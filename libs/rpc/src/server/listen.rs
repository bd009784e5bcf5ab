//! Takes connections, and lets them end.

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use openorder_runtime::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Join};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::server::connections::{Connection, Connections, Ended, Entered};
use crate::server::stream::StreamExecutor;
use crate::settings::ConnectionSettings;

/// Flow-control windows in bytes. The protocol's own 64 KiB would stall a connection that many calls share.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Pause after the system refused a connection, such as when file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a client of HTTP/2 says first (RFC 9113, section 3.4); a SETTINGS frame follows.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_LENGTH: usize = 9;
/// The byte of a frame's header that says what it is, and what it is in a SETTINGS frame.
const FRAME_KIND: usize = 3;
const SETTINGS_FRAME: u8 = 4;
/// How long a connection without calls may take to say goodbye.
const GOODBYE_BOUND: Duration = Duration::from_secs(1);

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
    /// The service for the calls of a connection. It notes each of them with [`Connection::in_use`]: a connection without
    /// calls is ended after a time, or when another one needs its place.
    #[must_use]
    fn for_connection(&self, connection: &Connection) -> Self;

    /// Returns when the connection has to be cut because its answers are not read; never by itself.
    #[must_use]
    fn overdue(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

/// Serves HTTP/2 connections of a role until shutdown is requested, then lets calls in flight end within the drain
/// timeout. A new connection is never left waiting: see [`ConnectionSettings`] for who gives way.
pub async fn serve_connections<S>(
    role: &'static str,
    listener: TcpListener,
    settings: &ConnectionSettings,
    service: S,
    shutdown: &Shutdown,
) where
    S: hyper::service::Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>
        + PerConnection
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let (http, limits) = (http(settings), Limits::new(settings));
    let open = Connections::new(role, settings);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(entered) = open.enter(peer.ip()) {
                    let service = service.for_connection(&entered.connection);
                    connections.spawn(connection(entered, stream, http.clone(), service, limits, shutdown.clone()));
                }
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

fn http(settings: &ConnectionSettings) -> http2::Builder<StreamExecutor> {
    let mut http = http2::Builder::new(StreamExecutor);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams_per_connection_max)
        // The library's own bound, 20, would cut off a gateway whose many callers give up at one moment.
        .max_pending_accept_reset_streams(settings.cancelled_early_max)
        .max_header_list_size(settings.header_list_bytes_max)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_millis(settings.keepalive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(settings.keepalive_timeout_ms))
        // gRPC has no use for it, and it would be written for each call.
        .auto_date_header(false);
    http
}

/// How long a connection may take for what.
#[derive(Clone, Copy)]
struct Limits {
    handshake: Duration,
    idle: Duration,
    drain: Duration,
}

impl Limits {
    fn new(settings: &ConnectionSettings) -> Self {
        Self {
            handshake: Duration::from_millis(settings.handshake_timeout_ms),
            idle: Duration::from_millis(settings.idle_timeout_ms),
            drain: Duration::from_millis(settings.drain_timeout_ms),
        }
    }
}

async fn connection<S>(
    entered: Entered,
    stream: TcpStream,
    http: http2::Builder<StreamExecutor>,
    service: S,
    limits: Limits,
    shutdown: Shutdown,
) where
    S: hyper::service::Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>
        + PerConnection
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let open = &entered.connection;
    let begun = tokio::select! {
        begun = timeout(limits.handshake, handshake(stream)) => begun,
        () = open.gives_way() => return,
        () = shutdown.requested() => return,
    };
    let stream = match begun {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection ended before it began");
            return;
        }
        Err(_) => {
            entered.count(Ended::Handshake);
            return;
        }
    };
    let overdue = service.overdue();
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let serving = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.requested() => {
                connection.as_mut().graceful_shutdown();
                open.close();
                connection.await
            }
            () = open.gives_way() => {
                connection.as_mut().graceful_shutdown();
                open.close();
                goodbye(open, connection, limits).await
            }
            () = open.idle_for(limits.idle) => {
                entered.count(Ended::Idle);
                connection.as_mut().graceful_shutdown();
                open.close();
                goodbye(open, connection, limits).await
            }
        }
    };
    let ended = tokio::select! {
        ended = serving => ended,
        () = overdue => return entered.count(Ended::Unread),
    };
    if let Err(error) = ended {
        // A client that goes away without a word is everyday business.
        tracing::debug!(%error, "a connection broke");
    }
}

/// Lets a connection end that was asked to; a call that came in that very moment may end, too.
async fn goodbye<C: Future<Output = hyper::Result<()>>>(
    open: &Connection,
    mut connection: std::pin::Pin<&mut C>,
    limits: Limits,
) -> hyper::Result<()> {
    if open.is_cut() {
        return Ok(());
    }
    match timeout(GOODBYE_BOUND, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) if open.is_busy() => timeout(limits.drain, connection).await.unwrap_or(Ok(())),
        Err(_) => Ok(()),
    }
}

/// Reads how a client of HTTP/2 begins; the stream that is returned begins with it again. Without it nothing is spent
/// on a connection.
async fn handshake(stream: TcpStream) -> io::Result<Join<impl AsyncRead + Unpin, impl AsyncWrite + Unpin>> {
    stream.set_nodelay(true)?;
    let (mut reader, writer) = stream.into_split();
    let mut head = [0; PREFACE.len() + FRAME_HEADER_LENGTH];
    let mut length = 0;
    while length < head.len() {
        let read = reader.read(&mut head[length..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += read;
        let preface = length.min(PREFACE.len());
        if head[..preface] != PREFACE[..preface] {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/2"));
        }
    }
    if head[PREFACE.len() + FRAME_KIND] != SETTINGS_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its first frame is not SETTINGS"));
    }
    Ok(tokio::io::join(Cursor::new(head).chain(reader), writer))
}
