//! Who calls, in which trace, until when: what every call carries besides its message.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use openorder_telemetry::TraceContext;
use openorder_types::{Caller, Rejection, Role};
use tonic::metadata::MetadataMap;

use crate::timeout;

/// Metadata key of the caller's subject. The gateway sets it, and removes what came from outside.
pub const SUBJECT: &str = "x-openorder-subject";
/// Metadata key of the caller's roles, separated by commas.
pub const ROLES: &str = "x-openorder-roles";
/// What all keys begin with that no caller from outside may send.
pub const RESERVED_PREFIX: &str = "x-openorder-";

/// Subject of a caller who has not signed in, where a method is open to those.
pub const NOBODY: &str = "anonymous";

/// Longest subject that is taken, in bytes.
const SUBJECT_LENGTH_MAX: usize = 128;

/// The caller that the gateway, or another service, vouches for.
///
/// # Errors
///
/// `CALLER_MISSING` without the metadata, `CALLER_MALFORMED` for a subject or role that cannot be.
pub fn caller_of<T>(request: &tonic::Request<T>) -> Result<Caller, Rejection> {
    caller_in(request.metadata())
}

/// As [`caller_of`]; not compiled for each message.
fn caller_in(metadata: &MetadataMap) -> Result<Caller, Rejection> {
    let (Some(subject), Some(roles)) = (metadata.get(SUBJECT), metadata.get(ROLES)) else {
        return Err(Rejection::unauthenticated("CALLER_MISSING", "the call does not say who calls"));
    };
    let malformed = || Rejection::unauthenticated("CALLER_MALFORMED", "the call does not say clearly who calls");
    let subject = subject.to_str().map_err(|_| malformed())?;
    if subject.is_empty() || subject.len() > SUBJECT_LENGTH_MAX || !subject.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(malformed());
    }
    let roles = roles.to_str().map_err(|_| malformed())?;
    let roles = roles.split(',').filter(|name| !name.is_empty()).map(|name| Role::parse(name.trim()));
    let roles: Option<Vec<_>> = roles.collect();
    Ok(Caller::new(subject, roles.ok_or_else(malformed)?))
}

/// A caller as header values: made once, sent with many calls.
#[derive(Clone, Debug)]
pub struct CallerHeaders {
    subject: HeaderValue,
    roles: HeaderValue,
    more: Option<(HeaderName, HeaderValue)>,
}

impl CallerHeaders {
    /// `None` for a subject that a header cannot hold.
    #[must_use]
    pub fn new(caller: &Caller) -> Option<Self> {
        let roles: Vec<_> = caller.roles.iter().map(|role| role.as_str()).collect();
        let subject = HeaderValue::from_str(&caller.subject).ok()?;
        Some(Self { subject, roles: HeaderValue::from_str(&roles.join(",")).ok()?, more: None })
    }

    /// With one header more, such as the caller's session.
    #[must_use]
    pub fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { more: Some((name, value)), ..self }
    }

    /// Sets the caller, whatever was said before.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(SUBJECT, self.subject.clone());
        headers.insert(ROLES, self.roles.clone());
        if let Some((name, value)) = &self.more {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// What the server layer found out about a call; it stands in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct ServerCall {
    pub(crate) trace: TraceContext,
    pub(crate) deadline: Option<Instant>,
}

/// What the client channel is to say about an outgoing call; it stands in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct OutgoingCall {
    pub(crate) trace: TraceContext,
    pub(crate) deadline: Option<Instant>,
    pub(crate) retry_safe: bool,
}

/// A call as a handler sees it.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Who calls.
    pub caller: Caller,
    /// The span of this call: parent of everything done for it.
    pub trace: TraceContext,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

impl CallContext {
    /// Reads the context of a request that came through [`crate::serve`].
    ///
    /// # Errors
    ///
    /// As [`caller_of`].
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, Rejection> {
        caller_of(request).map(|caller| Self::with_caller(request, caller))
    }

    /// As [`Self::of`], for a method that is open to those who have not signed in: they are [`NOBODY`], without a role.
    ///
    /// # Errors
    ///
    /// `CALLER_MALFORMED`.
    pub fn of_anybody<T>(request: &tonic::Request<T>) -> Result<Self, Rejection> {
        let is_silent = request.metadata().get(SUBJECT).is_none() && request.metadata().get(ROLES).is_none();
        let caller = if is_silent { Caller::new(NOBODY, []) } else { caller_of(request)? };
        Ok(Self::with_caller(request, caller))
    }

    fn with_caller<T>(request: &tonic::Request<T>, caller: Caller) -> Self {
        let (trace, deadline) = match request.extensions().get::<ServerCall>() {
            Some(call) => (call.trace.clone(), call.deadline),
            None => (trace_of(request.metadata()), None),
        };
        Self { caller, trace, deadline }
    }

    /// The context of work that no call asked for, such as a consumer's: the service itself is the caller.
    #[must_use]
    pub fn of_service(name: &str, trace: TraceContext) -> Self {
        Self { caller: Caller::service(name), trace, deadline: None }
    }

    /// The same call with at most this much time.
    #[must_use]
    pub fn within(mut self, bound: Duration) -> Self {
        let bound = Instant::now() + bound;
        self.deadline = Some(self.deadline.map_or(bound, |deadline| deadline.min(bound)));
        self
    }

    /// An outgoing request in this call's name, trace and time.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        self.outgoing(message, false)
    }

    /// Like [`Self::request`], for a call that may be sent twice without harm: a read, or a command with a request
    /// id. The channel retries it while the upstream is unavailable.
    pub fn retry_safe_request<T>(&self, message: T) -> tonic::Request<T> {
        self.outgoing(message, true)
    }

    fn outgoing<T>(&self, message: T, retry_safe: bool) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(headers) = CallerHeaders::new(&self.caller) {
            let mut map = HeaderMap::with_capacity(8);
            headers.write(&mut map);
            *request.metadata_mut() = MetadataMap::from_headers(map);
        }
        let call = OutgoingCall { trace: self.trace.clone(), deadline: self.deadline, retry_safe };
        request.extensions_mut().insert(call);
        request
    }
}

fn trace_of(metadata: &MetadataMap) -> TraceContext {
    trace_of_headers(metadata.as_ref())
}

/// The trace context that the headers carry; none if they carry none, or a wrong one.
pub(crate) fn trace_of_headers(headers: &HeaderMap) -> TraceContext {
    let mut traceparents = headers.get_all("traceparent").iter();
    // Two of them are as good as none: nobody can say which one is meant.
    let (Some(traceparent), None) = (traceparents.next(), traceparents.next()) else {
        return TraceContext::NONE;
    };
    let mut states = headers.get_all("tracestate").iter().filter_map(|value| value.to_str().ok());
    let state = states.next().map(|first| states.fold(first.to_owned(), |all, next| all + "," + next));
    let traceparent = traceparent.to_str().ok();
    traceparent.and_then(|text| TraceContext::parse(text, state.as_deref())).unwrap_or_default()
}

/// Writes the trace context, whatever was said before.
pub fn write_trace(trace: &TraceContext, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_bytes(&trace.traceparent_bytes()) {
        headers.insert("traceparent", value);
    }
    match trace.has_tracestate().then(|| HeaderValue::from_str(&trace.tracestate())) {
        Some(Ok(value)) => drop(headers.insert("tracestate", value)),
        _ => drop(headers.remove("tracestate")),
    }
}

/// The deadline that the headers ask for, counted from `now`.
#[must_use]
pub fn deadline_of(headers: &HeaderMap, now: Instant) -> Option<Instant> {
    now.checked_add(timeout::parse(headers)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn request(pairs: &[(&'static str, &str)]) -> tonic::Request<()> {
        let mut request = tonic::Request::new(());
        for (key, value) in pairs {
            request.metadata_mut().append(*key, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_caller_goes_out_and_comes_in() {
        let caller = Caller::new("ada", [Role::Customer, Role::Operator]);
        let context = CallContext { caller: caller.clone(), trace: TraceContext::NONE, deadline: None };
        assert_eq!(caller_of(&context.request(())).unwrap(), caller);
    }

    #[test]
    fn what_a_caller_says_besides_replaces_what_stood_there() {
        let name = HeaderName::from_static("x-openorder-session");
        let mut headers = HeaderMap::new();
        headers.insert(name.clone(), HeaderValue::from_static("forged"));
        let caller = CallerHeaders::new(&Caller::new("ada", [Role::Viewer])).unwrap();
        caller.with(name, HeaderValue::from_static("s1")).write(&mut headers);
        let pairs = [(SUBJECT, "ada"), (ROLES, "viewer"), ("x-openorder-session", "s1")];
        assert!(pairs.iter().all(|(name, value)| headers[*name] == *value) && headers.len() == 3);
    }

    #[test]
    fn an_unclear_caller_is_refused() {
        let reason = |pairs: &[(&'static str, &str)]| caller_of(&request(pairs)).unwrap_err().reason;
        assert_eq!(reason(&[]), "CALLER_MISSING");
        assert_eq!(reason(&[(SUBJECT, "ada")]), "CALLER_MISSING");
        assert_eq!(reason(&[(SUBJECT, ""), (ROLES, "operator")]), "CALLER_MALFORMED");
        assert_eq!(reason(&[(SUBJECT, "ada"), (ROLES, "king")]), "CALLER_MALFORMED");
        assert_eq!(reason(&[(SUBJECT, "ada\tadmin"), (ROLES, "operator")]), "CALLER_MALFORMED");
        let none = caller_of(&request(&[(SUBJECT, "ada"), (ROLES, "")])).unwrap();
        assert!(none.roles.is_empty());
    }

    #[test]
    fn only_who_says_nothing_of_itself_is_nobody() {
        let anybody = |pairs: &[(&'static str, &str)]| CallContext::of_anybody(&request(pairs)).map(|call| call.caller);
        assert_eq!(anybody(&[]).unwrap(), Caller::new(NOBODY, []));
        assert_eq!(anybody(&[(SUBJECT, "ada"), (ROLES, "customer")]).unwrap(), Caller::new("ada", [Role::Customer]));
        assert_eq!(anybody(&[(SUBJECT, "ada")]).unwrap_err().reason, "CALLER_MISSING");
        assert_eq!(anybody(&[(SUBJECT, "ada"), (ROLES, "king")]).unwrap_err().reason, "CALLER_MALFORMED");
    }

    #[test]
    fn two_traceparents_are_none_and_two_tracestates_are_one() {
        let one = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let both = request(&[("traceparent", one), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        assert_eq!(trace_of(both.metadata()).tracestate(), "a=1,b=2");
        assert!(!trace_of(request(&[("traceparent", one), ("traceparent", one)]).metadata()).is_valid());
    }

    #[test]
    fn a_trace_replaces_what_stood_there() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static("nonsense"));
        headers.insert("tracestate", HeaderValue::from_static("old=1"));
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        write_trace(&TraceContext::parse(text, None).unwrap(), &mut headers);
        assert_eq!(headers["traceparent"], text);
        assert!(!headers.contains_key("tracestate"));
    }

    #[test]
    fn the_earlier_deadline_stands() {
        let context = CallContext::of_service("order", TraceContext::NONE);
        let soon = context.within(Duration::from_secs(1)).deadline.unwrap();
        let context = CallContext { deadline: Some(soon), ..CallContext::of_service("order", TraceContext::NONE) };
        assert_eq!(context.within(Duration::from_secs(60)).deadline, Some(soon));
    }
}
