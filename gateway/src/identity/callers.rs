//! The share of each caller that signed in, whatever connections it comes by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{CallCount, UnderWay};
use crate::shares::{Member, Shares};

/// What one caller has of everything.
pub(crate) struct CallerShare {
    member: Arc<Member>,
    calls: CallCount,
}

impl CallerShare {
    /// What a call of the caller counts against.
    pub(crate) fn begin(&self) -> (Arc<Member>, UnderWay) {
        (Arc::clone(&self.member), self.calls.begin())
    }
}

/// All callers that signed in, as long as somebody knows them.
pub(crate) struct Callers {
    shares: Shares,
    known: Mutex<HashMap<String, Weak<CallerShare>>>,
}

impl Callers {
    pub(crate) fn new(shares: Shares) -> Self {
        Self { shares, known: Mutex::default() }
    }

    /// The share of the caller with this subject: the same one for all its tokens.
    pub(crate) fn share(&self, subject: &str) -> Arc<CallerShare> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = known.get(subject).and_then(Weak::upgrade) {
            return share;
        }
        // Before more room is taken: those that nobody knows any more leave theirs.
        if known.len() == known.capacity() {
            known.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(CallerShare { member: self.shares.caller(), calls: CallCount::default() });
        known.insert(subject.to_owned(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shares::{Limit, Percent, Resource};

    #[test]
    fn a_caller_has_one_share_however_often_it_signs_in() {
        let shares = Shares::new(|_| Limit::new(10, 1, Percent { peer: 90, connection: 50 }));
        let callers = Callers::new(shares);
        let (first, again, other) = (callers.share("ada"), callers.share("ada"), callers.share("bob"));
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other));
        let (member, under_way) = first.begin();
        assert_eq!((again.calls.get(), other.calls.get()), (1, 0));
        let taken: Vec<_> = std::iter::from_fn(|| member.take(Resource::Calls, 1)).collect();
        assert_eq!(taken.len(), 9, "as much as an address has");
        assert!(other.begin().0.take(Resource::Calls, 1).is_some());
        drop((taken, under_way));
        assert_eq!(again.calls.get(), 0);
    }

    #[test]
    fn who_is_gone_takes_no_room() {
        let callers = Callers::new(Shares::new(|_| Limit::new(10, 1, Percent { peer: 90, connection: 50 })));
        for number in 0..10_000 {
            callers.share(&number.to_string());
        }
        assert!(callers.known.lock().unwrap().capacity() < 100);
    }
}
