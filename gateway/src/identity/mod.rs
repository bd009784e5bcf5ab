//! Who makes a call, and whose share it counts against.
//!
//! * this file: a call as it arrives, and its caller once that is known;
//! * `bearer.rs`: what the call says of its caller;
//! * `sign_in.rs`: the caller of a call: who the token says, and whether it may call the method;
//! * `cache.rs`: tokens that were looked at already;
//! * `trust.rs`: which tokens are believed, and which are so no more; `refresh.rs` keeps it fresh;
//! * `exchange.rs`: tokens for API keys; `callers.rs`: the share of each caller that signed in;
//! * `issuers/`: tokens of others.

pub(crate) mod bearer;
mod cache;
mod callers;
mod exchange;
mod issuers;
mod refresh;
mod sign_in;
mod trust;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use openorder_auth::PEER_METADATA;
use openorder_rpc::caller::CallerHeaders;

use self::bearer::Bearer;
use crate::admission::CallerKey;
use crate::answers::Ending;
use crate::rates::CallerRate;
use crate::shares::Member;

use self::sign_in::Session;

pub(crate) use refresh::TrustPoll;
pub(crate) use sign_in::{JWKS_PATH, SignIn};

openorder_config::choices! {
    /// Who a caller without a token is.
    pub enum Anonymous {
        /// An operator, who may do everything.
        Operator = "operator",
        /// Nobody, who may call what needs no token.
        Nobody = "none",
    }
}

/// A call before it is known who makes it.
pub(crate) struct Arrival {
    connection: Arc<Member>,
    under_way: UnderWay,
    bearer: Bearer,
    /// What its address has left, where callers have a limit.
    rate: Option<Arc<CallerRate>>,
}

impl Arrival {
    /// A call of this connection. What it says of its caller is for the gateway alone, and goes no further.
    pub(crate) fn new(
        connection: &Arc<Member>,
        calls: &CallCount,
        rate: Option<&Arc<CallerRate>>,
        headers: &mut HeaderMap,
    ) -> Self {
        let (connection, under_way, rate) = (Arc::clone(connection), calls.begin(), rate.cloned());
        Self { connection, under_way, bearer: Bearer::take(headers), rate }
    }

    /// What the call counts against before it is known who makes it, and where that does not matter.
    pub(crate) fn into_connection(self) -> (Arc<Member>, UnderWay) {
        (self.connection, self.under_way)
    }
}

/// Who makes a call: what its service is given as the caller, and whose share the call counts against.
pub(crate) struct Identity {
    pub(crate) caller: Arc<CallerHeaders>,
    pub(crate) member: Arc<Member>,
    pub(crate) under_way: UnderWay,
    /// Where the call came from.
    pub(crate) address: Option<IpAddr>,
    /// By which it may end; none of a caller that cannot be revoked.
    session: Option<Session>,
}

impl Identity {
    /// Tells the service who calls, and from which address, whatever was said before.
    pub(crate) fn write(&self, headers: &mut HeaderMap, with_address: bool) {
        self.caller.write(headers);
        let address = self.address.filter(|_| with_address);
        if let Some(Ok(address)) = address.map(|address| HeaderValue::try_from(address.to_string())) {
            headers.insert(HeaderName::from_static(PEER_METADATA), address);
        }
    }

    /// What ends a stream of this caller: that its session was revoked.
    pub(crate) fn ending(&self, is_stream: bool) -> Ending {
        let session = self.session.as_ref().filter(|_| is_stream)?.clone();
        Some(Box::pin(session.revoked()))
    }

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
