//! One HTTP/2 connection: made when it is needed, shared by all calls, made anew when it broke.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::batch::Calls;
use crate::settings::{BatchSettings, RpcClientSettings};
use crate::tls::{Peer, Transport};

/// Flow-control windows in bytes, as large as the server's.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// For this long after a failed attempt the others fail too, without one of their own.
const FAILURE_STANDS_FOR: Duration = Duration::from_millis(50);

/// The upstream cannot be reached; nothing was sent.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreachable(Arc<str>);

impl Unreachable {
    pub(crate) fn new(reason: &str) -> Self {
        Self(reason.into())
    }
}

/// A place for one connection.
pub(crate) struct Connection {
    target: Target,
    current: Arc<RwLock<Current>>,
    /// Held by who connects; carries when the last attempt failed, and how.
    connecting: tokio::sync::Mutex<Option<(Instant, Unreachable)>>,
}

/// How an upstream is spoken to, besides what its settings say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    /// How calls travel together; not at all without.
    pub(crate) batch: Option<BatchSettings>,
    /// Who it has to prove to be, over TLS; in the clear without.
    pub(crate) peer: Option<Peer>,
}

/// Where, and how patiently.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) manner: Manner,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, settings: &RpcClientSettings, manner: Manner) -> Self {
        Self {
            address,
            connect_timeout: Duration::from_millis(settings.connect_timeout_ms),
            keepalive_interval: Duration::from_millis(settings.keepalive_interval_ms),
            keepalive_timeout: Duration::from_millis(settings.keepalive_timeout_ms),
            manner,
        }
    }
}

#[derive(Default)]
struct Current {
    sender: Option<SendRequest<Bytes>>,
    /// The calls that travel together over it.
    calls: Option<Arc<Calls>>,
    /// Tells a connection that ended late from the one that took its place.
    generation: u64,
}

impl Connection {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, current: Arc::default(), connecting: tokio::sync::Mutex::default() }
    }

    /// Whether it is connected, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).sender.is_some()
    }

    /// The calls that travel together over it, if the other end takes them so. Some time after their stream ended by
    /// itself, another one is opened.
    pub(crate) fn calls(&self) -> Option<Arc<Calls>> {
        let settings = self.target.manner.batch.as_ref()?;
        match &self.current.read().unwrap_or_else(PoisonError::into_inner).calls {
            Some(calls) if calls.is_open() => return Some(Arc::clone(calls)),
            Some(calls) if calls.may_be_opened_again() => {}
            _ => return None,
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.calls.as_ref().is_some_and(|calls| calls.may_be_opened_again()) {
            current.calls = current.sender.as_ref().map(|sender| Calls::open(sender.clone(), settings));
        }
        None
    }

    /// A handle that can start a call now.
    pub(crate) async fn ready(&self) -> Result<SendRequest<Bytes>, Unreachable> {
        if let Some(sender) = self.live().await {
            return Ok(sender);
        }
        let mut failure = self.connecting.lock().await;
        // Somebody else may have connected while this call waited for the lock.
        if let Some(sender) = self.live().await {
            return Ok(sender);
        }
        if let Some((at, unreachable)) = &*failure
            && at.elapsed() < FAILURE_STANDS_FOR
        {
            return Err(unreachable.clone());
        }
        match self.connect().await {
            Ok(sender) => {
                *failure = None;
                Ok(sender)
            }
            Err(error) => {
                let unreachable = Unreachable::new(&error.to_string());
                *failure = Some((Instant::now(), unreachable.clone()));
                Err(unreachable)
            }
        }
    }

    /// The present connection, if it still takes calls.
    async fn live(&self) -> Option<SendRequest<Bytes>> {
        let (mut sender, generation) = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            (current.sender.clone()?, current.generation)
        };
        match poll_fn(|context| sender.poll_ready(context)).await {
            Ok(()) => Some(sender),
            Err(_) => {
                forget(&self.current, generation);
                None
            }
        }
    }

    async fn connect(&self) -> io::Result<SendRequest<Bytes>> {
        let target = &self.target;
        let too_slow = || io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
        let connecting = async {
            let stream = TcpStream::connect(target.address).await?;
            stream.set_nodelay(true)?;
            let transport = match &target.manner.peer {
                None => Transport::Plain(stream),
                Some(peer) => Box::pin(peer.connect(stream)).await?,
            };
            h2::client::Builder::new()
                .enable_push(false)
                .initial_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .handshake::<_, Bytes>(transport)
                .await
                .map_err(io::Error::other)
        };
        let (sender, mut driver) = timeout(target.connect_timeout, connecting).await.map_err(|_| too_slow())??;
        let generation = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            current.generation += 1;
            current.calls = target.manner.batch.as_ref().map(|settings| Calls::open(sender.clone(), settings));
            current.sender = Some(sender.clone());
            current.generation
        };
        // Not held: a connection that nobody has any more ends with its last call.
        let (current, target) = (Arc::downgrade(&self.current), target.clone());
        tokio::spawn(async move {
            let pings = driver.ping_pong();
            let ended = tokio::select! {
                ended = driver => ended.err().map(|error| error.to_string()),
                () = unanswered_ping(pings, &target) => Some("a ping was not answered".to_owned()),
            };
            if let Some(current) = current.upgrade() {
                forget(&current, generation);
            }
            tracing::debug!(
                address = %target.address,
                reason = ended.as_deref().unwrap_or("closed"),
                "a connection to an upstream ended",
            );
        });
        Ok(sender)
    }
}

/// Takes no more calls over this connection; those on their way may end.
fn forget(current: &RwLock<Current>, generation: u64) {
    let mut current = current.write().unwrap_or_else(PoisonError::into_inner);
    if current.generation == generation {
        current.sender = None;
        current.calls = None;
    }
}

/// Returns when the peer left a ping unanswered.
async fn unanswered_ping(pings: Option<PingPong>, target: &Target) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        tokio::time::sleep(target.keepalive_interval).await;
        match timeout(target.keepalive_timeout, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection itself tells how it ended.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}
