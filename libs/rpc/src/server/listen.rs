//! Takes connections, and lets them end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use openorder_runtime::Shutdown;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::server::connections::{Connection, Connections, Ended, Entered};
use crate::server::lingering::{LingerLimits, Lingering};
use crate::server::rewound::Rewound;
use crate::server::stream::StreamExecutor;
use crate::settings::ConnectionSettings;
use crate::tls::{RoleTls, ServerTls, Transport};
use crate::vouching::PeerRole;

/// Flow-control windows in bytes. The protocol's own 64 KiB would stall a connection that many calls share.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Pause after the system refused a connection, such as when file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a client of HTTP/2 says first (RFC 9113, section 3.4); a SETTINGS frame follows.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_LENGTH: usize = 9;
/// The fewest bytes that HTTP/1.1 can be given for the head of a request.
const HTTP1_HEAD_BYTES_MIN: usize = 8_192;
/// The byte of a frame's header that says what it is, and what it is in a SETTINGS frame.
const FRAME_KIND: usize = 3;
const SETTINGS_FRAME: u8 = 4;
/// How long a connection without calls may take to say goodbye.
const GOODBYE_BOUND: Duration = Duration::from_secs(1);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct ListenError {
    address: String,
    cause: io::Error,
}

/// Binds the address (`host:port`).
///
/// # Errors
///
/// Names the address, and why not.
pub async fn listen(address: &str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|cause| ListenError { address: address.to_owned(), cause })
}

/// Binds the address (`host:port`) of a service, which believes what it is told of callers: one that other machines can
/// reach only with TLS between the roles.
///
/// # Errors
///
/// Names the address, and why not, or what is to be set.
pub async fn listen_for_roles(address: &str, tls: Option<&RoleTls>) -> Result<TcpListener, ListenError> {
    let failed = |cause| ListenError { address: address.to_owned(), cause };
    let resolved: Vec<SocketAddr> = tokio::net::lookup_host(address).await.map_err(failed)?.collect();
    if tls.is_none() && !resolved.iter().all(|one| one.ip().to_canonical().is_loopback()) {
        let why = "other machines can reach it, and a service believes whoever reaches it in what it says of callers. \
                   Set mtls.certificate_file, mtls.private_key_file and mtls.ca_file (`openorder certs init` makes them), \
                   or listen on 127.0.0.1";
        return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, why)));
    }
    TcpListener::bind(&resolved[..]).await.map_err(failed)
}

/// What a service is on one connection.
pub trait PerConnection {
    /// Whether it answers HTTP/1.1 as well as HTTP/2.
    const TAKES_HTTP1: bool = false;

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

/// Serves connections of a role until shutdown is requested, then lets calls in flight end within the drain timeout:
/// HTTP/2, and HTTP/1.1 where the service takes it; over TLS where there is a certificate, and then not without. A new
/// connection is never left waiting: see [`ConnectionSettings`] for who gives way.
pub async fn serve_connections<S>(
    role: &'static str,
    listener: TcpListener,
    tls: Option<ServerTls>,
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
    let (http, limits) = (Http::new(settings, tls, S::TAKES_HTTP1), Limits::new(settings));
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

/// How each version of HTTP is spoken.
#[derive(Clone)]
struct Http {
    two: http2::Builder<StreamExecutor>,
    /// None where it is not.
    one: Option<http1::Builder>,
    /// None where nothing is protected.
    tls: Option<ServerTls>,
}

impl Http {
    fn new(settings: &ConnectionSettings, tls: Option<ServerTls>, takes_http1: bool) -> Self {
        Self { two: http2(settings), one: takes_http1.then(|| http1(settings)), tls }
    }

    /// What is agreed upon with a client before its first call: keys, which role it is, and which version of HTTP it speaks.
    async fn begin(&self, stream: TcpStream) -> io::Result<(Version, Rewound, Option<PeerRole>)> {
        stream.set_nodelay(true)?;
        let (transport, role) = match &self.tls {
            None => (Transport::Plain(stream), None),
            // Boxed: other connections would have the room for it.
            Some(tls) => Box::pin(tls.accept(stream)).await?,
        };
        let (version, stream) = handshake(transport, self.one.is_some()).await?;
        Ok((version, stream, role))
    }
}

fn http1(settings: &ConnectionSettings) -> http1::Builder {
    let head_bytes = usize::try_from(settings.header_list_bytes_max).unwrap_or(usize::MAX);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // Counted from the end of the answer before: a client that has nothing to ask is let go, too.
        .header_read_timeout(Duration::from_millis(settings.http1_request_timeout_ms))
        .max_buf_size(head_bytes.max(HTTP1_HEAD_BYTES_MIN));
    http
}

fn http2(settings: &ConnectionSettings) -> http2::Builder<StreamExecutor> {
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
    linger: LingerLimits,
}

impl Limits {
    fn new(settings: &ConnectionSettings) -> Self {
        Self {
            handshake: Duration::from_millis(settings.handshake_timeout_ms),
            idle: Duration::from_millis(settings.idle_timeout_ms),
            drain: Duration::from_millis(settings.drain_timeout_ms),
            linger: LingerLimits::new(settings),
        }
    }
}

async fn connection<S>(entered: Entered, stream: TcpStream, http: Http, service: S, limits: Limits, shutdown: Shutdown)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>
        + PerConnection
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let open = &entered.connection;
    let begun = tokio::select! {
        begun = timeout(limits.handshake, http.begin(stream)) => begun,
        () = open.gives_way() => return,
        () = shutdown.requested() => return,
    };
    let (version, stream) = match begun {
        Ok(Ok((version, stream, role))) => {
            if let Some(role) = role {
                open.is_of(role);
            }
            (version, TokioIo::new(stream))
        }
        Ok(Err(error)) => {
            if error.kind() == io::ErrorKind::PermissionDenied {
                entered.count(Ended::UntrustedPeer);
            }
            tracing::debug!(%error, "a connection ended before it began");
            return;
        }
        Err(_) => {
            entered.count(Ended::Handshake);
            return;
        }
    };
    let overdue = service.overdue();
    let serving = async {
        match (version, &http.one) {
            (Version::Http1, Some(http1)) => {
                // Boxed: few connections are of this kind, and all would have the room for it.
                let stream = TokioIo::new(Lingering::new(stream.into_inner(), open.clone(), limits.linger));
                let mut connection = Box::pin(http1.serve_connection(stream, service));
                drive(connection.as_mut(), |one| one.graceful_shutdown(), &entered, limits, &shutdown).await
            }
            _ => {
                let connection = std::pin::pin!(http.two.serve_connection(stream, service));
                drive(connection, |one| one.graceful_shutdown(), &entered, limits, &shutdown).await
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

/// Serves a connection until it ends, or has to; `say_goodbye` lets it take no further call.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    say_goodbye: fn(Pin<&mut C>),
    entered: &Entered,
    limits: Limits,
    shutdown: &Shutdown,
) -> hyper::Result<()> {
    let open = &entered.connection;
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.requested() => {
            say_goodbye(connection.as_mut());
            open.close();
            connection.await
        }
        () = open.gives_way() => {
            say_goodbye(connection.as_mut());
            open.close();
            goodbye(open, connection, limits).await
        }
        () = open.idle_for(limits.idle) => {
            entered.count(Ended::Idle);
            say_goodbye(connection.as_mut());
            open.close();
            goodbye(open, connection, limits).await
        }
    }
}

/// Lets a connection end that was asked to; a call that came in that very moment may end, too.
async fn goodbye<C: Future<Output = hyper::Result<()>>>(
    open: &Connection,
    mut connection: Pin<&mut C>,
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

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Reads how a client begins, which says what it speaks, whatever it agreed upon in TLS; the stream that is returned begins
/// with it again. Without it nothing is spent on a connection.
async fn handshake(mut transport: Transport, takes_http1: bool) -> io::Result<(Version, Rewound)> {
    let mut head = [0; PREFACE.len() + FRAME_HEADER_LENGTH];
    let (mut version, mut length) = (Version::Http2, 0);
    while length < head.len() {
        let read = transport.read(&mut head[length..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += read;
        let preface = length.min(PREFACE.len());
        if head[..preface] != PREFACE[..preface] {
            if !takes_http1 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/2"));
            }
            version = Version::Http1;
            break;
        }
    }
    if version == Version::Http2 && head[PREFACE.len() + FRAME_KIND] != SETTINGS_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its first frame is not SETTINGS"));
    }
    Ok((version, Rewound::new(Bytes::copy_from_slice(&head[..length]), transport)))
}
