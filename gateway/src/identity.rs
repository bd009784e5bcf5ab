//! Who makes a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openorder_rpc::caller::CallerHeaders;

use crate::admission::CallerKey;
use crate::shares::Member;

/// Who makes a call: what its service is given as the caller, and whose share the call counts against.
pub(crate) struct Identity {
    pub(crate) caller: Arc<CallerHeaders>,
    pub(crate) member: Arc<Member>,
    pub(crate) under_way: UnderWay,
}

impl Identity {
    /// By what admission tells callers apart.
    pub(crate) fn share_key(&self) -> CallerKey {
        CallerKey { peer: self.member.peer(), caller: self.member.number() }
    }
}

/// How many calls a caller has under way. Clones count the same calls.
#[derive(Clone, Default)]
pub(crate) struct CallCount(Arc<AtomicUsize>);

impl CallCount {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a call until it is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }
}

/// A call under way, from its head until its answer begins.
pub(crate) struct UnderWay(CallCount);

impl UnderWay {
    pub(crate) fn count(&self) -> &CallCount {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
