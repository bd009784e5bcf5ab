//! Fault points: named places where a fault can be injected, to show what the system does then.
//!
//! Nothing of it is there unless the process runs with `OPENORDER_FAULT_INJECTION=1`: a point is one relaxed load of
//! an atomic then. With it, `OPENORDER_FAULT_POINTS` says what happens where:
//!
//! ```text
//! relay.after_publish=1*crash;consumer.before_commit=50%delay(100)->off;replay.item=3*error(retryable)
//! ```
//!
//! that is `name=[p%][n*]action[(argument)]`, several actions of one point joined by `->` (the next one when the
//! one before is used up), several points by `;`. Actions: `error` (`outage`, `retryable`, which is the default, or
//! `permanent`), `delay` (milliseconds), `crash` (the process aborts), `off`. Counting, chances and chains are those
//! of the `fail` crate.

mod spec;

use std::{
    sync::{
        Once,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use openorder_types::Fault;

pub use spec::SpecError;

/// The gate.
pub const GATE_VARIABLE: &str = "OPENORDER_FAULT_INJECTION";
/// What happens at which point.
pub const POINTS_VARIABLE: &str = "OPENORDER_FAULT_POINTS";

/// Every point that there is: a name that is none of these is a mistake in the setting.
pub const POINTS: &[&str] = &[
    COMMITTER_BEFORE_COMMIT,
    COMMITTER_AFTER_COMMIT,
    RELAY_AFTER_PUBLISH,
    CONSUMER_BEFORE_COMMIT,
    CONSUMER_AFTER_COMMIT,
    REPLAY_ITEM,
    SAGA_COMPENSATION,
    NOTIFICATION_AFTER_SEND,
];

/// A batch of commands is about to commit.
pub const COMMITTER_BEFORE_COMMIT: &str = "committer.before_commit";
/// A batch of commands is committed, and no caller has an answer yet.
pub const COMMITTER_AFTER_COMMIT: &str = "committer.after_commit";
/// A batch of events is published, and the relay's cursor has not moved.
pub const RELAY_AFTER_PUBLISH: &str = "relay.after_publish";
/// A batch of messages is about to commit.
pub const CONSUMER_BEFORE_COMMIT: &str = "consumer.before_commit";
/// A batch of messages is committed, and its offsets are not.
pub const CONSUMER_AFTER_COMMIT: &str = "consumer.after_commit";
/// A dead letter that is replayed is about to be handled.
pub const REPLAY_ITEM: &str = "replay.item";
/// A compensation of the saga is about to be made.
pub const SAGA_COMPENSATION: &str = "saga.compensation";
/// A message has left for its recipient, and that is not recorded yet.
pub const NOTIFICATION_AFTER_SEND: &str = "notification.after_send";

const UNKNOWN: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

static GATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// What a point gives instead of success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fault was injected at {point}")]
pub struct Injected {
    /// Where.
    pub point: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Outage,
    Retryable,
    Permanent,
}

/// Reason of injected faults.
pub const REASON: &str = "FAULT_INJECTED";

impl From<Injected> for Fault {
    fn from(injected: Injected) -> Self {
        match injected.kind {
            Kind::Outage => Self::outage(injected.point, injected),
            Kind::Retryable => Self::retryable(injected).because(REASON),
            Kind::Permanent => Self::permanent(injected).because(REASON),
        }
    }
}

/// Reads the gate and the points, once. A process that calls it at its start refuses a setting with a mistake;
/// without the call, the first point reads them, and a mistake leaves all points off.
///
/// # Errors
/// [`SpecError`] where the gate is open and the setting cannot be read. With the gate closed it is not even looked at.
pub fn init() -> Result<(), SpecError> {
    static READ: Once = Once::new();
    let mut result = Ok(());
    READ.call_once(|| result = read());
    result
}

#[expect(clippy::disallowed_methods, reason = "no setting of the program: it must not be in a file that is deployed")]
fn read() -> Result<(), SpecError> {
    if std::env::var(GATE_VARIABLE).as_deref() != Ok("1") {
        GATE.store(OFF, Ordering::Relaxed);
        return Ok(());
    }
    let points = std::env::var(POINTS_VARIABLE).unwrap_or_default();
    let parsed = spec::parse(&points).inspect_err(|_| GATE.store(OFF, Ordering::Relaxed))?;
    for (point, actions) in parsed {
        fail::cfg(point, &actions).map_err(|error| {
            GATE.store(OFF, Ordering::Relaxed);
            SpecError::new(point, error)
        })?;
    }
    GATE.store(ON, Ordering::Relaxed);
    tracing::warn!(points, "fault injection is on");
    Ok(())
}

/// Whether faults are injected in this process.
#[inline]
pub fn enabled() -> bool {
    match GATE.load(Ordering::Relaxed) {
        OFF => false,
        ON => true,
        _ => first_look(),
    }
}

#[cold]
fn first_look() -> bool {
    if let Err(error) = init() {
        tracing::error!(%error, "fault injection stays off");
    }
    GATE.load(Ordering::Relaxed) == ON
}

/// A place where a fault may be injected.
///
/// # Errors
/// [`Injected`] where the setting says so; a [`Fault`] by `?`.
#[inline]
pub async fn point(name: &'static str) -> Result<(), Injected> {
    if enabled() { act(name).await } else { Ok(()) }
}

#[cold]
async fn act(point: &'static str) -> Result<(), Injected> {
    let Some(action) = chosen(point) else { return Ok(()) };
    tracing::warn!(point, action, "a fault is injected");
    match action.as_str() {
        "crash" => std::process::abort(),
        "outage" => Err(Injected { point, kind: Kind::Outage }),
        "permanent" => Err(Injected { point, kind: Kind::Permanent }),
        "retryable" => Err(Injected { point, kind: Kind::Retryable }),
        delay => {
            // Checked when it was read.
            tokio::time::sleep(Duration::from_millis(delay.parse().unwrap_or_default())).await;
            Ok(())
        }
    }
}

/// What the `fail` crate chooses now, by count and chance.
fn chosen(point: &str) -> Option<String> {
    fail::eval(point, |action| action)?
}
