//! The addresses that the name of an upstream has, with connections to each, and the choice among them.
//!
//! A name may have several addresses, one an instance, and others a moment later. So it is resolved again and again
//! while it is called, and calls go to the address that has the fewest on their way. An address without a connection
//! is connected beside the calls, which go to the others meanwhile: a dead one costs nobody time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::select_ok;
use h2::client::SendRequest;

use crate::client::batch::Calls;
use crate::client::connection::{Connection, Manner, Target, Unreachable};
use crate::settings::RpcClientSettings;

/// After a failed resolution, or while an address is away, the name is resolved this many times as often.
const SOONER: u32 = 10;

/// How a call goes.
pub(crate) enum Way {
    /// Over a stream of its own.
    Alone(SendRequest<Bytes>),
    /// Over one that it shares.
    Together(Arc<Calls>),
}

/// Gives the addresses that a name has at this moment.
pub type Resolver = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync>;

/// The addresses of an upstream. Clones share them.
#[derive(Clone)]
pub(crate) struct Addresses(Arc<Inner>);

struct Inner {
    /// None for an upstream that is named by its only address.
    resolver: Option<Resolver>,
    settings: RpcClientSettings,
    manner: Manner,
    list: RwLock<Arc<[Arc<Address>]>>,
    /// Held by who resolves.
    resolving: tokio::sync::Mutex<()>,
    born: Instant,
    /// When the name was resolved last, in milliseconds since the birth.
    resolved_ms: AtomicU64,
    next: AtomicUsize,
}

impl Addresses {
    /// Of an upstream that has this one address for ever.
    pub(crate) fn fixed(address: SocketAddr, settings: &RpcClientSettings, manner: Manner) -> Self {
        let only = Arc::new(Address::new(address, settings, manner.clone()));
        Self::new(None, Arc::from([only]), settings, manner)
    }

    /// Of a name; it is resolved when it is first called.
    pub(crate) fn of_name(resolver: Resolver, settings: &RpcClientSettings, manner: Manner) -> Self {
        Self::new(Some(resolver), Arc::from([]), settings, manner)
    }

    fn new(
        resolver: Option<Resolver>,
        list: Arc<[Arc<Address>]>,
        settings: &RpcClientSettings,
        manner: Manner,
    ) -> Self {
        Self(Arc::new(Inner {
            resolver,
            settings: settings.clone(),
            manner,
            list: RwLock::new(list),
            resolving: tokio::sync::Mutex::default(),
            born: Instant::now(),
            resolved_ms: AtomicU64::new(0),
            next: AtomicUsize::new(0),
        }))
    }

    /// What can send a call now, of the address with the fewest calls on their way. If the call is `batchable` it goes
    /// together with others where that is possible.
    pub(crate) async fn ready(&self, batchable: bool) -> Result<(Way, Pending), Unreachable> {
        let mut list = self.0.list();
        if list.is_empty() {
            list = self.0.resolve(None).await?;
        }
        match &*list {
            // The usual case, for which nothing is to be chosen.
            [one] => self.0.resolve_if_due(self, one.is_connected()),
            several => {
                if let Some(ready) = self.connected(several, batchable).await {
                    return Ok(ready);
                }
            }
        }
        match first_of(&list, batchable).await {
            Ok(ready) => Ok(ready),
            Err(unreachable) => {
                // None of them is there: it may have moved.
                let moved = self.0.resolve(Some(&list)).await?;
                if Arc::ptr_eq(&moved, &list) { Err(unreachable) } else { first_of(&moved, batchable).await }
            }
        }
    }

    /// One of those that are connected; the others are connected meanwhile.
    async fn connected(&self, list: &[Arc<Address>], batchable: bool) -> Option<(Way, Pending)> {
        let start = self.0.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..list.len()).filter_map(|index| list.get(start.wrapping_add(index) % list.len()));
        let mut connected: Vec<&Arc<Address>> = Vec::with_capacity(list.len());
        let mut all_there = true;
        for address in in_turn {
            match address.is_connected() {
                true => connected.push(address),
                false => all_there = false,
            }
        }
        self.0.resolve_if_due(self, all_there);
        if !all_there && !connected.is_empty() {
            list.iter().filter(|address| !address.is_connected()).for_each(Address::connect_beside);
        }
        // Stable: among equals, the one whose turn it is.
        connected.sort_by_key(|address| address.pending.load(Ordering::Relaxed));
        for address in connected {
            if let Ok(ready) = address.ready(batchable).await {
                return Some(ready);
            }
        }
        None
    }
}

/// The first address that can be connected.
async fn first_of(list: &[Arc<Address>], batchable: bool) -> Result<(Way, Pending), Unreachable> {
    match list {
        [] => Err(Unreachable::new("its name has no address")),
        [one] => one.ready(batchable).await,
        several => {
            let all = several.iter().map(|address| Box::pin(address.ready(batchable)));
            select_ok(all).await.map(|(ready, _)| ready)
        }
    }
}

impl Inner {
    fn list(&self) -> Arc<[Arc<Address>]> {
        Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Resolves the name beside the calls when that was last done too long ago.
    fn resolve_if_due(&self, addresses: &Addresses, all_there: bool) {
        if self.resolver.is_none() {
            return;
        }
        let interval = self.settings.resolve_interval_ms / if all_there { 1 } else { u64::from(SOONER) };
        let (now, last) = (self.now_ms(), self.resolved_ms.load(Ordering::Relaxed));
        if now.saturating_sub(last) < interval {
            return;
        }
        // Who moves the time on resolves, the others go on.
        if self.resolved_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let addresses = addresses.clone();
            tokio::spawn(async move {
                let list = addresses.0.list();
                if let Err(error) = addresses.0.resolve(Some(&list)).await {
                    tracing::debug!(%error, "the addresses of an upstream stay as they were");
                }
            });
        }
    }

    /// Resolves the name, unless somebody has done so since the list was `seen`. An upstream without a name has the list
    /// that it had.
    async fn resolve(&self, seen: Option<&Arc<[Arc<Address>]>>) -> Result<Arc<[Arc<Address>]>, Unreachable> {
        let Some(resolver) = &self.resolver else { return Ok(self.list()) };
        let _resolving = self.resolving.lock().await;
        let before = self.list();
        match seen {
            Some(seen) if !Arc::ptr_eq(seen, &before) => return Ok(before),
            None if !before.is_empty() => return Ok(before),
            _ => {}
        }
        let bound = Duration::from_millis(self.settings.connect_timeout_ms);
        let resolved = tokio::time::timeout(bound, resolver()).await;
        self.resolved_ms.store(self.now_ms(), Ordering::Relaxed);
        let mut found = match resolved {
            Ok(Ok(found)) if !found.is_empty() => found,
            Ok(Ok(_)) => return Err(Unreachable::new("its name has no address")),
            Ok(Err(error)) => return Err(Unreachable::new(&error.to_string())),
            Err(_) => return Err(Unreachable::new("resolving its name took too long")),
        };
        found.sort_unstable();
        found.dedup();
        if before.iter().map(|one| one.address).eq(found.iter().copied()) {
            return Ok(before);
        }
        let known = |address: &SocketAddr| before.iter().find(|one| one.address == *address).cloned();
        let after: Arc<[Arc<Address>]> = found
            .iter()
            .map(|address| {
                known(address).unwrap_or_else(|| Arc::new(Address::new(*address, &self.settings, self.manner.clone())))
            })
            .collect();
        // Of those that vanished, the connections end with their last calls.
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&after);
        tracing::debug!(addresses = ?found, "an upstream has other addresses");
        Ok(after)
    }
}

/// One address, with its connections.
struct Address {
    address: SocketAddr,
    connections: Box<[Connection]>,
    next: AtomicUsize,
    pending: Arc<AtomicUsize>,
    /// Whether it is being connected beside the calls.
    connecting: AtomicBool,
    /// Attempts in a row that failed.
    failures: AtomicU32,
    backoff_min: Duration,
    backoff_max: Duration,
}

impl Address {
    fn new(address: SocketAddr, settings: &RpcClientSettings, manner: Manner) -> Self {
        let target = Target::new(address, settings, manner);
        Self {
            address,
            connections: (0..settings.connections.max(1)).map(|_| Connection::new(target.clone())).collect(),
            next: AtomicUsize::new(0),
            pending: Arc::default(),
            connecting: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            backoff_min: Duration::from_millis(settings.backoff_min_ms.max(1)),
            backoff_max: Duration::from_millis(settings.backoff_max_ms.max(1)),
        }
    }

    fn is_connected(&self) -> bool {
        self.connections.iter().any(Connection::is_open)
    }

    /// Connects if need be.
    async fn ready(&self, batchable: bool) -> Result<(Way, Pending), Unreachable> {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let connection = &self.connections[place];
        let way = match if batchable { connection.calls() } else { None } {
            Some(calls) => Way::Together(calls),
            None => Way::Alone(connection.ready().await?),
        };
        Ok((way, Pending::new(&self.pending)))
    }

    /// Connects in a task of its own, after a pause that grows with each failure.
    fn connect_beside(self: &Arc<Self>) {
        if self.connecting.swap(true, Ordering::AcqRel) {
            return;
        }
        let address = Arc::clone(self);
        tokio::spawn(async move {
            let failures = address.failures.load(Ordering::Relaxed);
            if failures > 0 {
                let doubled = address.backoff_min.saturating_mul(1 << failures.min(16));
                tokio::time::sleep(doubled.min(address.backoff_max)).await;
            }
            match address.ready(false).await {
                Ok(_) => address.failures.store(0, Ordering::Relaxed),
                Err(error) => {
                    address.failures.store(failures.saturating_add(1), Ordering::Relaxed);
                    tracing::debug!(address = %address.address, %error, "an address of an upstream is away");
                }
            }
            address.connecting.store(false, Ordering::Release);
        });
    }
}

/// A call on its way to an address, until it is dropped.
pub(crate) struct Pending(Arc<AtomicUsize>);

impl Pending {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
