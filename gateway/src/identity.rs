//! Who makes a call.

use std::sync::Arc;

use openorder_rpc::caller::CallerHeaders;

use crate::admission::CallerKey;
use crate::shares::Member;

/// Who makes a call: what its service is given as the caller, and whose share the call counts against.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) caller: Arc<CallerHeaders>,
    pub(crate) member: Arc<Member>,
}

impl Identity {
    /// By what admission tells callers apart.
    pub(crate) fn share_key(&self) -> CallerKey {
        CallerKey { peer: self.member.peer(), caller: self.member.number() }
    }
}
