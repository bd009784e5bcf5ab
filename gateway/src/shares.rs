//! What all callers use together, and how much of it one connection and one peer may take.
//!
//! A bound on the whole alone lets one caller take all of it. So each connection and each peer (an address, or for
//! IPv6 its network) has a share in percent, and the last tenth of each bound is kept for those that use little: up to
//! a tenth of an even part. A caller above its share is refused; it never makes others wait. A caller that signed in has
//! the share of a peer, whatever connections it comes by.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What is shared out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource {
    /// Requests whose bodies are still arriving.
    Arriving,
    /// Bytes of requests that were read and not yet answered.
    RequestBytes,
    /// Unary calls in flight.
    Calls,
    /// Open streams.
    Streams,
    /// Bytes of answers that their callers have not taken yet.
    AnswerBytes,
}

const RESOURCES: usize = 5;

/// How much of one resource there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    all: usize,
    peer: usize,
    connection: usize,
}

/// The share of a peer and of a connection in percent of the whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percent {
    pub(crate) peer: usize,
    pub(crate) connection: usize,
}

impl Limit {
    /// A limit of `all`; a share is never less than what lets `at_least` in, so that one of anything always fits.
    pub(crate) fn new(all: usize, at_least: usize, percent: Percent) -> Self {
        // Less its last tenth it is what was asked for.
        let least = at_least.saturating_add(at_least / 9);
        let all = all.max(least);
        let share = |percent: usize| all.saturating_mul(percent).div_ceil(100).clamp(least, all);
        let peer = share(percent.peer);
        Self { all, peer, connection: share(percent.connection).min(peer) }
    }
}

/// What is used of each resource, and by how many of those below. Read and written under the lock of the whole alone.
#[derive(Default)]
struct Counts {
    used: [AtomicUsize; RESOURCES],
    active: [AtomicUsize; RESOURCES],
}

impl Counts {
    fn used(&self, resource: Resource) -> usize {
        self.used[resource as usize].load(Ordering::Relaxed)
    }

    /// Adds to what is used; whether nothing was used before.
    fn add(&self, resource: Resource, amount: usize) -> bool {
        self.used[resource as usize].fetch_add(amount, Ordering::Relaxed) == 0
    }

    /// Takes from what is used; whether nothing is used any more.
    fn sub(&self, resource: Resource, amount: usize) -> bool {
        self.used[resource as usize].fetch_sub(amount, Ordering::Relaxed) == amount
    }

    /// What is little of `whole`: a tenth of an even part for each of those below that use some of it, and for one more
    /// that is about to.
    fn little(&self, resource: Resource, whole: usize, is_new: bool) -> usize {
        let active = self.active[resource as usize].load(Ordering::Relaxed) + usize::from(is_new);
        (whole / active.max(1) / 10).max(1)
    }

    fn came(&self, resource: Resource) {
        self.active[resource as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn went(&self, resource: Resource) {
        self.active[resource as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Everything that is shared out. Clones share it.
#[derive(Clone)]
pub(crate) struct Shares(Arc<Whole>);

struct Whole {
    limits: [Limit; RESOURCES],
    counts: Counts,
    peers: Mutex<HashMap<IpAddr, Weak<Peer>>>,
    /// Peers and connections so far: their numbers tell them apart.
    numbers: AtomicU64,
}

struct Peer {
    number: u64,
    /// None of a caller that signed in: it is a peer of its own.
    address: Option<IpAddr>,
    counts: Counts,
}

/// One who shares: a connection of callers that did not sign in, or a caller that did.
pub(crate) struct Member {
    shares: Shares,
    peer: Arc<Peer>,
    number: u64,
    counts: Counts,
}

impl Shares {
    pub(crate) fn new(limit: impl Fn(Resource) -> Limit) -> Self {
        use Resource::{AnswerBytes, Arriving, Calls, RequestBytes, Streams};
        Self(Arc::new(Whole {
            limits: [Arriving, RequestBytes, Calls, Streams, AnswerBytes].map(limit),
            counts: Counts::default(),
            peers: Mutex::default(),
            numbers: AtomicU64::new(0),
        }))
    }

    /// What is used of a resource.
    pub(crate) fn used(&self, resource: Resource) -> usize {
        self.0.counts.used(resource)
    }

    /// A further connection of the peer at this address.
    pub(crate) fn member(&self, address: IpAddr) -> Arc<Member> {
        let mut peers = self.lock();
        let peer = peers.get(&address).and_then(Weak::upgrade).unwrap_or_else(|| {
            let peer = Arc::new(Peer { number: self.number(), address: Some(address), counts: Counts::default() });
            peers.insert(address, Arc::downgrade(&peer));
            peer
        });
        Arc::new(Member { shares: self.clone(), peer, number: self.number(), counts: Counts::default() })
    }

    /// A further caller that signed in. It has what a peer has, whatever connections it comes by.
    pub(crate) fn caller(&self) -> Arc<Member> {
        let peer = Arc::new(Peer { number: self.number(), address: None, counts: Counts::default() });
        Arc::new(Member { shares: self.clone(), peer, number: self.number(), counts: Counts::default() })
    }

    fn number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Weak<Peer>>> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut peers = self.shares.lock();
        // Nobody else can get hold of the peer meanwhile: the list is locked.
        if Arc::strong_count(&self.peer) == 1
            && let Some(address) = &self.peer.address
        {
            peers.remove(address);
        }
    }
}

impl Member {
    /// Tells this member from all others.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The address of its peer; none of a caller that signed in.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.peer.address
    }

    /// Tells its peer from all others.
    pub(crate) fn peer(&self) -> u64 {
        self.peer.number
    }

    /// Takes some of a resource, until the part that is returned is dropped; `None` above the share.
    pub(crate) fn take(self: &Arc<Self>, resource: Resource, amount: usize) -> Option<Part> {
        self.add(resource, amount).then(|| Part { member: Arc::clone(self), resource, amount })
    }

    fn add(&self, resource: Resource, amount: usize) -> bool {
        if amount == 0 {
            return true;
        }
        let _locked = self.shares.lock();
        let (whole, peer) = (&*self.shares.0, &*self.peer);
        let limit = whole.limits[resource as usize];
        let (all, of_peer, mine) =
            (whole.counts.used(resource), peer.counts.used(resource), self.counts.used(resource));
        let fits = |used: usize, bound| used.checked_add(amount).is_some_and(|sum| sum <= bound);
        // A caller that signed in is all of its peer, and keeps nothing back for others of it.
        let is_alone = peer.address.is_none();
        let share = if is_alone { limit.peer } else { limit.connection };
        let connection_is_small = is_alone || fits(mine, peer.counts.little(resource, limit.peer, mine == 0));
        let peer_is_small = fits(of_peer, whole.counts.little(resource, limit.all, of_peer == 0));
        if !fits(mine, share)
            || !fits(of_peer, bound(limit.peer, connection_is_small))
            || !fits(all, bound(limit.all, peer_is_small))
        {
            return false;
        }
        whole.counts.add(resource, amount);
        if peer.counts.add(resource, amount) {
            whole.counts.came(resource);
        }
        if self.counts.add(resource, amount) {
            peer.counts.came(resource);
        }
        true
    }

    fn give_back(&self, resource: Resource, amount: usize) {
        let _locked = self.shares.lock();
        let whole = &*self.shares.0;
        whole.counts.sub(resource, amount);
        if self.peer.counts.sub(resource, amount) {
            whole.counts.went(resource);
        }
        if self.counts.sub(resource, amount) {
            self.peer.counts.went(resource);
        }
    }
}

/// The last tenth is for the small.
fn bound(limit: usize, is_small: bool) -> usize {
    if is_small { limit } else { limit - limit / 10 }
}

/// Some of a resource; given back when it is dropped.
pub(crate) struct Part {
    member: Arc<Member>,
    resource: Resource,
    amount: usize,
}

impl Part {
    /// Takes more; whether it was within the share.
    pub(crate) fn grow(&mut self, amount: usize) -> bool {
        let grown = self.member.add(self.resource, amount);
        if grown {
            self.amount += amount;
        }
        grown
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.member.give_back(self.resource, self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const ALL: usize = 100;

    fn shares(peer: usize, connection: usize) -> Shares {
        Shares::new(|_| Limit::new(ALL, 1, Percent { peer, connection }))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    fn fill(member: &Arc<Member>) -> Vec<Part> {
        std::iter::from_fn(|| member.take(Resource::Streams, 1)).collect()
    }

    #[test]
    fn one_connection_takes_its_share_and_one_peer_its_own() {
        let shares = shares(80, 50);
        let (first, second, third) = (shares.member(address(1)), shares.member(address(1)), shares.member(address(1)));
        let held = fill(&first);
        assert_eq!(held.len(), 50);
        let more = fill(&second);
        assert_eq!(held.len() + more.len(), 80 - 8, "the last tenth is kept");
        assert_eq!(fill(&third).len(), 2, "for a third connection, which uses little");
        let other = shares.member(address(2));
        assert_eq!(fill(&other).len(), 18, "another peer has the rest, less the last tenth of all");
        drop((held, more));
        assert_eq!(fill(&second).len(), 50);
    }

    #[test]
    fn who_holds_nothing_finds_room_beside_the_greedy() {
        let shares = shares(90, 100);
        let held = fill(&shares.member(address(1)));
        assert_eq!(held.len(), 81);
        for other in [address(1), address(2)] {
            assert!(shares.member(other).take(Resource::Streams, 1).is_some());
        }
    }

    #[test]
    fn one_of_anything_fits_and_too_much_never_does() {
        let shares = Shares::new(|_| Limit::new(1, 1_000, Percent { peer: 1, connection: 1 }));
        let member = shares.member(address(1));
        let mut part = member.take(Resource::RequestBytes, 1_000).unwrap();
        assert!(!part.grow(1));
        drop(part);
        let mut part = member.take(Resource::RequestBytes, 0).unwrap();
        assert!(!part.grow(usize::MAX) && part.grow(999) && part.grow(1) && !part.grow(1));
    }

    #[test]
    fn a_peer_is_forgotten_with_its_last_connection() {
        let shares = shares(100, 100);
        let (one, other) = (shares.member(address(1)), shares.member(address(1)));
        assert_eq!(one.peer(), other.peer());
        drop(one);
        assert_eq!(shares.lock().len(), 1);
        drop(other);
        assert!(shares.lock().is_empty());
    }

    proptest! {
        #[test]
        fn what_is_taken_comes_back(steps in proptest::collection::vec((0_u8..6, 1_usize..40, any::<bool>()), 1..500)) {
            let shares = shares(70, 40);
            let members: Vec<_> = (0..6).map(|one| shares.member(address(one / 2))).collect();
            let mut held: Vec<Part> = Vec::new();
            for (member, amount, takes) in steps {
                if takes {
                    held.extend(members[usize::from(member)].take(Resource::Calls, amount));
                } else {
                    held.pop();
                }
                let all = shares.0.counts.used(Resource::Calls);
                prop_assert!(all <= ALL);
                prop_assert_eq!(all, held.iter().map(|part| part.amount).sum::<usize>());
                prop_assert!(members.iter().all(|member| member.counts.used(Resource::Calls) <= 40));
                prop_assert!(members.iter().all(|member| member.peer.counts.used(Resource::Calls) <= 70));
            }
            held.clear();
            let active = &shares.0.counts.active[Resource::Calls as usize];
            prop_assert_eq!(active.load(Ordering::Relaxed), 0);
            let active = members.iter().map(|member| &member.peer.counts.active[Resource::Calls as usize]);
            prop_assert!(active.map(|one| one.load(Ordering::Relaxed)).all(|one| one == 0));
        }
    }
}
