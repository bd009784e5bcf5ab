//! Calls that wait for a place: a queue for each caller, served in turn.

use std::collections::{HashMap, VecDeque};

use super::CallerKey;

/// All calls that wait, each with what tells it that it has a place.
pub(super) struct Queues<W> {
    /// Peers with calls that wait, the next one first.
    turns: VecDeque<u64>,
    peers: HashMap<u64, PeerQueues<W>>,
    tickets: u64,
}

struct PeerQueues<W> {
    /// Callers with calls that wait, the next one first.
    turns: VecDeque<u64>,
    /// The calls of each, the oldest one first. None is empty.
    callers: HashMap<u64, VecDeque<(u64, W)>>,
}

impl<W> Queues<W> {
    pub(super) fn new() -> Self {
        Self { turns: VecDeque::new(), peers: HashMap::new(), tickets: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether calls of this caller wait.
    pub(super) fn has(&self, key: CallerKey) -> bool {
        self.peers.get(&key.peer).is_some_and(|peer| peer.callers.contains_key(&key.caller))
    }

    /// How many calls of this caller wait.
    pub(super) fn count(&self, key: CallerKey) -> usize {
        let calls = self.peers.get(&key.peer).and_then(|peer| peer.callers.get(&key.caller));
        calls.map_or(0, VecDeque::len)
    }

    /// Adds a call; its ticket.
    pub(super) fn push(&mut self, key: CallerKey, waiter: W) -> u64 {
        self.tickets += 1;
        let peer = self.peers.entry(key.peer).or_insert_with(|| {
            self.turns.push_back(key.peer);
            PeerQueues { turns: VecDeque::new(), callers: HashMap::new() }
        });
        let calls = peer.callers.entry(key.caller).or_insert_with(|| {
            peer.turns.push_back(key.caller);
            VecDeque::new()
        });
        calls.push_back((self.tickets, waiter));
        self.tickets
    }

    /// Takes the oldest call of this caller.
    pub(super) fn pop(&mut self, key: CallerKey) -> Option<W> {
        let calls = self.peers.get_mut(&key.peer)?.callers.get_mut(&key.caller)?;
        let (_, waiter) = calls.pop_front()?;
        self.forget_empty(key);
        Some(waiter)
    }

    /// Takes the oldest call of the caller whose turn it is.
    pub(super) fn next(&mut self) -> Option<(CallerKey, W)> {
        let peer = self.turns.pop_front()?;
        self.turns.push_back(peer);
        let turns = &mut self.peers.get_mut(&peer)?.turns;
        let caller = turns.pop_front()?;
        turns.push_back(caller);
        let key = CallerKey { peer, caller };
        self.pop(key).map(|waiter| (key, waiter))
    }

    /// Takes a call out that gives up; whether it still waited.
    pub(super) fn remove(&mut self, key: CallerKey, ticket: u64) -> bool {
        let peer = self.peers.get_mut(&key.peer);
        let Some(calls) = peer.and_then(|peer| peer.callers.get_mut(&key.caller)) else { return false };
        let Ok(index) = calls.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else { return false };
        calls.remove(index);
        self.forget_empty(key);
        true
    }

    fn forget_empty(&mut self, key: CallerKey) {
        let Some(peer) = self.peers.get_mut(&key.peer) else { return };
        if peer.callers.get(&key.caller).is_some_and(VecDeque::is_empty) {
            peer.callers.remove(&key.caller);
            peer.turns.retain(|caller| *caller != key.caller);
        }
        if peer.callers.is_empty() {
            self.peers.remove(&key.peer);
            self.turns.retain(|peer| *peer != key.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(peer: u64, caller: u64) -> CallerKey {
        CallerKey { peer, caller }
    }

    #[test]
    fn peers_take_turns_and_so_do_the_callers_of_each() {
        let mut queues = Queues::new();
        for call in 0..3 {
            queues.push(key(1, 1), ("greedy", call));
        }
        queues.push(key(1, 2), ("its neighbour", 0));
        queues.push(key(2, 3), ("a stranger", 0));
        let order: Vec<_> = std::iter::from_fn(|| queues.next()).map(|(_, call)| call).collect();
        assert_eq!(order, [("greedy", 0), ("a stranger", 0), ("its neighbour", 0), ("greedy", 1), ("greedy", 2)],);
        assert!(queues.is_empty());
    }

    #[test]
    fn who_gives_up_is_gone_and_nobody_else() {
        let mut queues = Queues::new();
        let tickets: Vec<_> = (0..3).map(|call| queues.push(key(1, 1), call)).collect();
        assert!(queues.remove(key(1, 1), tickets[1]));
        assert!(!queues.remove(key(1, 1), tickets[1]) && !queues.remove(key(2, 1), tickets[0]));
        assert_eq!((queues.pop(key(1, 1)), queues.pop(key(1, 1)), queues.pop(key(1, 1))), (Some(0), Some(2), None));
        assert!(queues.is_empty() && !queues.has(key(1, 1)));
    }
}
