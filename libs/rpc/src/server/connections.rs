//! The open connections of a port: which of them have calls, and which one gives way when there is no more room.
//!
//! A port that is full and waits is closed to everybody, whoever filled it. So the connection that has had no call for
//! the longest time gives way to a new one; a client that is told so comes again when it has something to ask.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use openorder_telemetry::api::{Counter, Gauge, KeyValue};
use openorder_telemetry::meter;
use openorder_types::Rejection;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::settings::ConnectionSettings;
use crate::vouching::PeerRole;

/// While a port stays full, the log says so once in this time.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Why a connection was ended by this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It did not say in time what it speaks.
    Handshake,
    /// It had no call for too long.
    Idle,
    /// It made room for another one.
    GaveWay,
    /// All others were busy.
    Refused,
    /// It did not take its answers in time.
    Unread,
    /// It showed no certificate of a role that is believed.
    UntrustedPeer,
}

impl Ended {
    const ALL: [Self; 6] =
        [Self::Handshake, Self::Idle, Self::GaveWay, Self::Refused, Self::Unread, Self::UntrustedPeer];

    fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Idle => "idle",
            Self::GaveWay => "gave_way",
            Self::Refused => "refused",
            Self::Unread => "unread",
            Self::UntrustedPeer => "untrusted_peer",
        }
    }
}

/// The connections of a port. Clones share them.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Port>);

struct Port {
    state: Mutex<State>,
    connections_max: usize,
    peer_max: usize,
    open: Gauge<u64>,
    ended: Counter<u64>,
    role: [KeyValue; 1],
    reasons: [[KeyValue; 2]; 6],
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Connection>,
    next: u64,
    /// Connections that gave way and are not yet gone.
    leaving: usize,
    reported: Option<Instant>,
}

/// An open connection, as the service on it sees it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Open>);

#[derive(Debug)]
struct Open {
    address: IpAddr,
    peer: IpAddr,
    began: Instant,
    calls: AtomicUsize,
    /// Milliseconds from the beginning until the last call ended.
    idle_since_ms: AtomicU64,
    /// Whether its client may still be sending a request that was answered.
    leaves_unread: AtomicBool,
    gives_way: Notify,
    /// Whether it gives way at once, without a word.
    is_cut: AtomicBool,
    /// Cancelled when no further call is to come over it.
    closing: CancellationToken,
    /// The role at its other end; none where roles are not asked for.
    role: OnceLock<PeerRole>,
}

/// A call in flight; while it lives its connection is not idle.
#[derive(Debug)]
pub struct InUse(Connection);

/// Who shares an address: an IPv4 address, or the network of 64 bits that an IPv6 customer is given.
#[must_use]
pub fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

impl Connection {
    fn new(address: IpAddr) -> Self {
        Self(Arc::new(Open {
            address: address.to_canonical(),
            peer: peer_of(address),
            began: Instant::now(),
            calls: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(0),
            leaves_unread: AtomicBool::new(false),
            gives_way: Notify::new(),
            is_cut: AtomicBool::new(false),
            closing: CancellationToken::new(),
            role: OnceLock::new(),
        }))
    }

    /// Where it comes from.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// Whom the connection belongs to: an IPv4 address, or an IPv6 network of 64 bits.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.0.peer
    }

    /// Notes which role is at its other end, before the first call.
    pub(crate) fn is_of(&self, role: PeerRole) {
        // Only the first one counts, and there is one handshake.
        let _first = self.0.role.set(role);
    }

    /// Lets a call pass with what it says of its caller, if whoever is at the other end is believed in that.
    pub(crate) fn admit(&self, headers: &mut HeaderMap) -> Result<(), Rejection> {
        self.0.role.get().map_or(Ok(()), |role| role.admit(headers))
    }

    /// Notes a call in flight, until the guard is dropped.
    #[must_use]
    pub fn in_use(&self) -> InUse {
        self.0.calls.fetch_add(1, Ordering::AcqRel);
        InUse(self.clone())
    }

    /// Returns when no further call is to come over it.
    pub(crate) fn closing(&self) -> WaitForCancellationFutureOwned {
        self.0.closing.clone().cancelled_owned()
    }

    /// Says to those that carry calls over it that no further one is to come.
    pub(crate) fn close(&self) {
        self.0.closing.cancel();
    }

    /// Notes whether the request that is taken up leaves something of its body unread: over HTTP/1.1 its client may then
    /// still be sending when it is answered.
    pub fn note_unread(&self, leaves_unread: bool) {
        self.0.leaves_unread.store(leaves_unread, Ordering::Release);
    }

    /// Whether the last request left something of its body unread.
    #[must_use]
    pub fn leaves_unread(&self) -> bool {
        self.0.leaves_unread.load(Ordering::Acquire)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.0.calls.load(Ordering::Acquire) > 0
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.0.is_cut.load(Ordering::Acquire)
    }

    /// Since when there is no call in flight; none while there is one.
    fn idle_since(&self) -> Option<Instant> {
        let idle = !self.is_busy();
        idle.then(|| self.0.began + Duration::from_millis(self.0.idle_since_ms.load(Ordering::Acquire)))
    }

    /// Returns when the connection has to make room.
    pub(crate) async fn gives_way(&self) {
        self.0.gives_way.notified().await;
    }

    /// Returns once there was no call for so long.
    pub(crate) async fn idle_for(&self, limit: Duration) {
        loop {
            let until = self.idle_since().unwrap_or_else(Instant::now) + limit;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let open = &*self.0.0;
        let age = u64::try_from(open.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Before the count: whoever sees no call sees since when.
        open.idle_since_ms.store(age, Ordering::Release);
        open.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connections {
    pub(crate) fn new(role: &'static str, settings: &ConnectionSettings) -> Self {
        let role = KeyValue::new("role", role);
        let share = settings.connections_max.saturating_mul(settings.peer_share_percent) / 100;
        Self(Arc::new(Port {
            state: Mutex::default(),
            connections_max: settings.connections_max,
            peer_max: share.clamp(settings.connections_max.min(1), settings.connections_max),
            open: meter()
                .u64_gauge("openorder.rpc.connections")
                .with_unit("{connection}")
                .with_description("Open connections of a port")
                .build(),
            ended: meter()
                .u64_counter("openorder.rpc.connections_ended")
                .with_unit("{connection}")
                .with_description("Connections that the server ended, by reason")
                .build(),
            reasons: Ended::ALL.map(|ended| [role.clone(), KeyValue::new("reason", ended.name())]),
            role: [role],
        }))
    }

    /// Takes a new connection in, and lets another one go where there is no room; `None` when all are busy.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Entered> {
        let port = &*self.0;
        let connection = Connection::new(address);
        let mut state = self.lock();
        let of_peer = state.open.values().filter(|one| one.peer() == connection.peer()).count();
        let peer_is_full = of_peer >= port.peer_max;
        if peer_is_full || state.open.len() >= port.connections_max {
            let among = peer_is_full.then(|| connection.peer());
            let made_room = state.make_room(among, port.connections_max);
            self.count(if made_room { Ended::GaveWay } else { Ended::Refused });
            self.report_full(&mut state, of_peer, made_room);
            if !made_room {
                return None;
            }
        }
        state.next += 1;
        let number = state.next;
        state.open.insert(number, connection.clone());
        port.open.record(state.open.len() as u64, &port.role);
        Some(Entered { connections: self.clone(), number, connection })
    }

    pub(crate) fn count(&self, ended: Ended) {
        self.0.ended.add(1, &self.0.reasons[ended as usize]);
    }

    fn report_full(&self, state: &mut State, of_peer: usize, made_room: bool) {
        if state.reported.is_some_and(|at| at.elapsed() < REPORT_INTERVAL) {
            return;
        }
        state.reported = Some(Instant::now());
        tracing::warn!(
            connections = state.open.len(),
            connections_max = self.0.connections_max,
            of_the_same_peer = of_peer,
            peer_max = self.0.peer_max,
            made_room,
            "the port is full: the longest idle connection gives way to a new one, or the new one is refused",
        );
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets the connection go that has been idle for the longest time; whether there is one.
    fn make_room(&mut self, among: Option<IpAddr>, connections_max: usize) -> bool {
        let candidates = self.open.iter().filter(|(_, one)| among.is_none_or(|peer| one.peer() == peer));
        let idle = candidates.filter_map(|(number, one)| one.idle_since().map(|since| (since, *number)));
        let Some(connection) = idle.min().and_then(|(_, number)| self.open.remove(&number)) else { return false };
        // Those that are let go gently are still there for a moment: that is bounded too.
        let is_cut = self.leaving > connections_max / 8;
        self.leaving += 1;
        connection.0.is_cut.store(is_cut, Ordering::Release);
        connection.0.gives_way.notify_one();
        true
    }
}

/// A connection's place in the list, until it is dropped.
pub(crate) struct Entered {
    connections: Connections,
    number: u64,
    pub(crate) connection: Connection,
}

impl Entered {
    /// Notes why this side ends the connection.
    pub(crate) fn count(&self, ended: Ended) {
        self.connections.count(ended);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        if state.open.remove(&self.number).is_none() {
            state.leaving = state.leaving.saturating_sub(1);
        }
        self.connections.0.open.record(state.open.len() as u64, &self.connections.0.role);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn port(connections_max: usize, peer_share_percent: usize) -> Connections {
        let settings = ConnectionSettings { connections_max, peer_share_percent, ..ConnectionSettings::default() };
        Connections::new("test", &settings)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test without a runtime: no task is stopped")]
    fn the_longest_idle_one_gives_way_and_busy_ones_never() {
        let port = port(3, 100);
        let entered: Vec<_> = (0..3).map(|_| port.enter(address("10.0.0.1")).unwrap()).collect();
        let busy = entered[0].connection.in_use();
        std::thread::sleep(Duration::from_millis(5));
        // It had a call just now.
        drop(entered[1].connection.in_use());
        let fourth = port.enter(address("10.0.0.2")).unwrap();
        let open = |port: &Connections| port.lock().open.keys().copied().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(open(&port), [1, 2, 4].into());
        let all: Vec<_> = [&entered[1], &fourth].into_iter().map(|one| one.connection.in_use()).collect();
        assert!(port.enter(address("10.0.0.3")).is_none(), "all are busy");
        drop((busy, all));
        assert!(port.enter(address("10.0.0.3")).is_some());
        drop(entered);
        assert_eq!(port.lock().leaving, 0);
    }

    #[test]
    fn a_peer_above_its_share_makes_room_itself() {
        let port = port(4, 50);
        let other = port.enter(address("10.0.0.9")).unwrap();
        let held: Vec<_> = (0..5).filter_map(|_| port.enter(address("10.0.0.1"))).collect();
        assert_eq!((held.len(), port.lock().open.len()), (5, 3), "three of five gave way");
        assert!(port.lock().open.contains_key(&other.number), "the longest idle one, and not of that peer");
    }

    #[test]
    fn addresses_of_one_customer_are_one_peer() {
        assert_eq!(peer_of(address("2001:db8:1:2:3::4")), peer_of(address("2001:db8:1:2:ffff::")));
        assert_ne!(peer_of(address("2001:db8:1:2::")), peer_of(address("2001:db8:1:3::")));
        assert_eq!(peer_of(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }
}
