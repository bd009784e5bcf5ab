//! The one error table: what is the caller's doing, what is ours, and what a command may end in.

use std::fmt;
use std::time::Duration;

use crate::value::ValueError;

/// What kind of "no" a rejection is. `openorder-rpc` maps each to one gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectionKind {
    /// The request is malformed, whatever the state of the system.
    InvalidArgument,
    /// The object does not exist.
    NotFound,
    /// The object exists already, or the request id was used for something else.
    AlreadyExists,
    /// The object is not in the state that the command needs.
    FailedPrecondition,
    /// A value is outside what the system can hold.
    OutOfRange,
    /// A quota or a limited quantity is used up.
    ResourceExhausted,
    /// The caller is known and may not.
    PermissionDenied,
    /// The caller is not known.
    Unauthenticated,
    /// A concurrent change won; reading again and retrying may succeed.
    Aborted,
}

/// One field of a request that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The path in the protobuf message: `lines[0].sku`.
    pub field: String,
    /// Stable, `UPPER_SNAKE`.
    pub reason: &'static str,
    /// A sentence that is safe to show to the caller.
    pub description: String,
}

impl FieldViolation {
    /// A violation of the field at this path.
    pub fn new(field: impl Into<String>, reason: &'static str, description: impl Into<String>) -> Self {
        Self { field: field.into(), reason, description: description.into() }
    }

    /// A violation made of a value that did not parse.
    pub fn of(field: impl Into<String>, error: ValueError) -> Self {
        Self::new(field, error.reason, error.message)
    }
}

/// A "no" that is the caller's doing; never logged as an error. All of it may be shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Decides the gRPC code.
    pub kind: RejectionKind,
    /// Stable, `UPPER_SNAKE`: programs branch on it.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
    /// What programs need besides the reason, such as the SKU that is short.
    pub metadata: Vec<(&'static str, String)>,
    /// The fields of an invalid request; empty for every other kind.
    pub violations: Vec<FieldViolation>,
    /// When another try makes sense, where it passes by itself.
    pub retry_after: Option<Duration>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(reason: &'static str, message: impl Into<String>) -> Self {
                Self::new(RejectionKind::$kind, reason, message)
            }
        )*
    };
}

impl Rejection {
    /// A rejection without metadata and violations.
    pub fn new(kind: RejectionKind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into(), metadata: Vec::new(), violations: Vec::new(), retry_after: None }
    }

    constructors! {
        /// The object does not exist.
        not_found => NotFound;
        /// The object exists already.
        already_exists => AlreadyExists;
        /// The object is in another state than the command needs.
        failed_precondition => FailedPrecondition;
        /// A value is outside what the system can hold.
        out_of_range => OutOfRange;
        /// A quota or a limited quantity is used up.
        resource_exhausted => ResourceExhausted;
        /// The caller is known and may not.
        permission_denied => PermissionDenied;
        /// The caller is not known.
        unauthenticated => Unauthenticated;
        /// A concurrent change won.
        aborted => Aborted;
    }

    /// An invalid request with all its violations. Its reason is the violation's where there is one
    /// only, else `INVALID_ARGUMENT`.
    #[must_use]
    pub fn invalid(violations: Vec<FieldViolation>) -> Self {
        let (reason, message) = match violations.as_slice() {
            [one] => (one.reason, format!("{}: {}", one.field, one.description)),
            many => ("INVALID_ARGUMENT", format!("{} fields of the request are invalid", many.len())),
        };
        Self { violations, ..Self::new(RejectionKind::InvalidArgument, reason, message) }
    }

    /// An invalid request with one wrong field.
    pub fn invalid_field(field: impl Into<String>, reason: &'static str, description: impl Into<String>) -> Self {
        Self::invalid(vec![FieldViolation::new(field, reason, description)])
    }

    /// Adds a value that programs may need, such as the SKU that is short.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    /// Says when another try makes sense, of what passes by itself.
    #[must_use]
    pub fn passing_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Rejection {}

/// A failure that is ours. It decides what the runners do: wait, try again, or give up. The detail
/// is for logs and never leaves the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A dependency is away. Nothing is wrong with the work: pause, back off, lose nothing.
    #[error("{dependency} is unavailable: {detail}")]
    Outage {
        /// Such as `postgres`, `kafka`, `redis` or the name of a service.
        dependency: &'static str,
        /// For logs.
        detail: String,
    },
    /// This piece of work failed and may succeed later.
    #[error("failed and may succeed later: {detail}")]
    Retryable {
        /// Stable, `UPPER_SNAKE`: failures are grouped by it.
        reason: &'static str,
        /// For logs.
        detail: String,
    },
    /// This piece of work can never succeed.
    #[error("can never succeed: {detail}")]
    Permanent {
        /// Stable, `UPPER_SNAKE`: failures are grouped by it.
        reason: &'static str,
        /// For logs.
        detail: String,
    },
}

impl Fault {
    /// A dependency is away.
    pub fn outage(dependency: &'static str, detail: impl fmt::Display) -> Self {
        Self::Outage { dependency, detail: detail.to_string() }
    }

    /// May succeed later. Its reason is `TEMPORARILY_FAILED` unless [`Self::because`] says more.
    pub fn retryable(detail: impl fmt::Display) -> Self {
        Self::Retryable { reason: "TEMPORARILY_FAILED", detail: detail.to_string() }
    }

    /// Its kind, for labels: `outage`, `retryable` or `permanent`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Outage { .. } => "outage",
            Self::Retryable { .. } => "retryable",
            Self::Permanent { .. } => "permanent",
        }
    }

    /// Can never succeed. Its reason is `INVARIANT_BROKEN` unless [`Self::because`] says more.
    pub fn permanent(detail: impl fmt::Display) -> Self {
        Self::Permanent { reason: "INVARIANT_BROKEN", detail: detail.to_string() }
    }

    /// Gives the failure its own stable reason, `UPPER_SNAKE`. An outage is told by its dependency.
    #[must_use]
    pub fn because(mut self, stable: &'static str) -> Self {
        if let Self::Retryable { reason, .. } | Self::Permanent { reason, .. } = &mut self {
            *reason = stable;
        }
        self
    }
}

/// What a submitted command may end in besides its reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The caller's doing.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A dependency is away.
    #[error("{dependency} is unavailable")]
    Unavailable {
        /// Such as `postgres`, or the name of a service.
        dependency: &'static str,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// More work is waiting than is healthy; nothing of this command was done.
    #[error("overloaded")]
    Overloaded {
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// The caller's deadline passed; the command may still be carried out.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// Ours. The cause stands in the log under the trace id.
    #[error("internal error")]
    Internal,
    /// Ours, with its cause, which is logged under the trace id where the caller is answered, and never leaves the process.
    #[error("internal error")]
    Failed(Fault),
}

impl CallError {
    /// How long a caller waits before it tries again when a dependency is away.
    pub const OUTAGE_RETRY_AFTER: Duration = Duration::from_secs(1);
}

impl From<Fault> for CallError {
    /// An outage is told, without its detail; everything else is internal and keeps its cause for the log.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Outage { dependency, .. } => Self::Unavailable { dependency, retry_after: Self::OUTAGE_RETRY_AFTER },
            Fault::Retryable { .. } | Fault::Permanent { .. } => Self::Failed(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_violation_gives_its_own_reason() {
        let rejection = Rejection::invalid_field("lines[0].sku", "SKU_MALFORMED", "must be a SKU");
        assert_eq!(rejection.reason, "SKU_MALFORMED");
        assert_eq!(rejection.message, "lines[0].sku: must be a SKU");
        assert_eq!(rejection.kind, RejectionKind::InvalidArgument);
    }

    #[test]
    fn several_violations_give_the_general_reason_and_are_all_kept() {
        let rejection =
            Rejection::invalid(vec![FieldViolation::new("a", "A", "x"), FieldViolation::new("b", "B", "y")]);
        assert_eq!(rejection.reason, "INVALID_ARGUMENT");
        assert_eq!(rejection.violations.len(), 2);
    }

    #[test]
    fn metadata_keeps_its_order() {
        let rejection = Rejection::failed_precondition("OUT_OF_STOCK", "short").with("sku", "A").with("missing", 3);
        assert_eq!(rejection.metadata, vec![("sku", "A".to_owned()), ("missing", "3".to_owned())]);
    }

    #[test]
    fn a_failure_has_a_stable_reason_and_an_outage_its_dependency() {
        let reason = |fault: Fault| match fault {
            Fault::Retryable { reason, .. } | Fault::Permanent { reason, .. } => reason,
            Fault::Outage { dependency, .. } => dependency,
        };
        assert_eq!(reason(Fault::retryable("x")), "TEMPORARILY_FAILED");
        assert_eq!(reason(Fault::permanent("x").because("NO_SUCH_LINE")), "NO_SUCH_LINE");
        assert_eq!(reason(Fault::outage("redis", "x").because("Y")), "redis");
    }

    #[test]
    fn only_an_outage_is_told_to_the_caller() {
        assert!(matches!(
            CallError::from(Fault::outage("postgres", "connection refused")),
            CallError::Unavailable { dependency: "postgres", .. }
        ));
        assert_eq!(CallError::from(Fault::retryable("x")), CallError::Failed(Fault::retryable("x")));
        assert_eq!(CallError::from(Fault::permanent("x")), CallError::Failed(Fault::permanent("x")));
        assert!(!CallError::from(Fault::permanent("password")).to_string().contains("password"));
    }
}
