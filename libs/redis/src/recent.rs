//! Names of a moment ago.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// A bounded number of names, each kept for a time at least and for twice that at most, unless too many come: then the
/// oldest go sooner.
#[derive(Debug)]
pub(crate) struct Recent {
    young: HashSet<Box<[u8]>>,
    old: HashSet<Box<[u8]>>,
    began: Instant,
    keep: Duration,
    names_max: usize,
}

impl Recent {
    pub(crate) fn new(keep: Duration, names_max: usize, now: Instant) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), began: now, keep, names_max: names_max.max(2) }
    }

    pub(crate) fn insert(&mut self, name: &[u8], now: Instant) {
        self.age(now);
        if self.young.len() >= self.names_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.began = now;
        }
        self.young.insert(name.into());
    }

    pub(crate) fn has(&mut self, name: &[u8], now: Instant) -> bool {
        self.age(now);
        self.young.contains(name) || self.old.contains(name)
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let (was_young, was_old) = (self.young.remove(name), self.old.remove(name));
        was_young || was_old
    }

    fn age(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.began);
        if age < self.keep {
            return;
        }
        let young = std::mem::take(&mut self.young);
        self.old = if age < self.keep * 2 { young } else { HashSet::new() };
        self.began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(10);

    #[test]
    fn a_name_is_kept_for_its_time_at_least_and_for_twice_that_at_most() {
        let began = Instant::now();
        for inserted_after in [0, 3, 9] {
            let at = |seconds| began + Duration::from_secs(seconds);
            let mut recent = Recent::new(KEEP, 100, began);
            recent.insert(b"name", at(inserted_after));
            assert!(recent.has(b"name", at(inserted_after + 10)), "{inserted_after}");
            assert!(!recent.has(b"name", at(inserted_after + 20)), "{inserted_after}");
            assert!(!recent.has(b"other", at(inserted_after)));
        }
        let mut recent = Recent::new(KEEP, 100, began);
        recent.insert(b"name", began);
        assert!(!recent.has(b"name", began + KEEP * 3), "also when nobody has asked meanwhile");
    }

    #[test]
    fn of_too_many_the_oldest_go() {
        let now = Instant::now();
        let mut recent = Recent::new(KEEP, 10, now);
        for number in 0..100_u8 {
            recent.insert(&[number], now);
            assert!(recent.young.len() + recent.old.len() <= 10);
            assert!((number.saturating_sub(4)..=number).all(|last| recent.has(&[last], now)), "the last five stay");
        }
        assert!(!recent.has(&[0], now));
        assert!(recent.remove(&[99]) && !recent.remove(&[99]));
        assert!(!recent.has(&[99], now));
    }
}
