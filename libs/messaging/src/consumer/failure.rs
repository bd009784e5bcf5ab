//! What a failure of a message means: the one place where it is decided.
//!
//! | What failed | Answer |
//! |---|---|
//! | a dependency (`Fault::Outage`) | no failure of the message: the partitions pause, nothing is counted |
//! | one message, at which alone a statement runs into its time limit again and again | its key waits, and nothing is counted |
//! | the message, and it may succeed later (`Fault::Retryable`) | parked, until its attempts are used up |
//! | the message, for ever (`Fault::Permanent`, `DecodeError`) | dead at once |

use openorder_types::{Fault, Timestamp};

use crate::{ConsumerSettings, DecodeError, consumer::backoff};

/// Characters of a failure's text that are kept.
pub(crate) const TEXT_MAX_CHARS: usize = 1_000;

/// Whether another attempt may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Retryable,
    Permanent,
    /// The database did not answer in time: perhaps no message's doing.
    Outage,
}

impl Class {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::Permanent => "permanent",
            Self::Outage => "outage",
        }
    }
}

/// One failed attempt of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    /// Stable, `UPPER_SNAKE`.
    pub(crate) reason: &'static str,
    /// Bounded, and without mail addresses.
    pub(crate) text: String,
}

/// What becomes of a message that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Tried again at this time.
    Park(Timestamp),
    /// Tried again at this time, and this time was no attempt.
    Postpone(Timestamp),
    /// An operator's.
    Dead,
}

impl Verdict {
    /// Whether the failure was an attempt.
    pub(crate) const fn counts(self) -> bool {
        !matches!(self, Self::Postpone(_))
    }
}

impl Failure {
    /// The failure of a message, or the fault itself where it is an outage and no message's doing.
    pub(crate) fn of(fault: Fault) -> Result<Self, Fault> {
        match fault {
            Fault::Outage { .. } => Err(fault),
            Fault::Retryable { reason, detail } => Ok(Self::new(Class::Retryable, reason, &detail)),
            Fault::Permanent { reason, detail } => Ok(Self::new(Class::Permanent, reason, &detail)),
        }
    }

    /// The failure of a message that does not decode.
    pub(crate) fn undecodable(error: &DecodeError) -> Self {
        let reason = match error {
            DecodeError::Malformed { .. } => "MALFORMED",
            DecodeError::UnknownType(_) => "UNKNOWN_EVENT_TYPE",
            DecodeError::UnreadableHeaders => "UNREADABLE_HEADERS",
            DecodeError::Panicked => "PANICKED",
        };
        Self::new(Class::Permanent, reason, &error.to_string())
    }

    /// The failure of a message at which, alone, the database runs into its time limit.
    pub(crate) fn timed_out(fault: &Fault) -> Self {
        Self::new(Class::Outage, "DATABASE_TIMEOUT", &fault.to_string())
    }

    /// What becomes of a message behind a dead one whose table is full.
    pub(crate) fn behind_dead() -> Self {
        let text = "an earlier message of its key is dead, and as many messages wait for an operator as may";
        Self::new(Class::Permanent, "BEHIND_DEAD_LETTER", text)
    }

    fn new(class: Class, reason: &'static str, text: &str) -> Self {
        Self { class, reason, text: presentable(text) }
    }

    /// What this failure, the `attempts`-th one, comes to.
    pub(crate) fn verdict(&self, attempts: i32, settings: &ConsumerSettings, now: Timestamp) -> Verdict {
        if self.class == Class::Outage {
            // Each try costs a statement's whole time limit: not too often.
            Verdict::Postpone(now + std::time::Duration::from_millis(settings.retry_delay_max_ms))
        } else if self.class == Class::Permanent || attempts >= settings.attempts_max {
            Verdict::Dead
        } else {
            Verdict::Park(backoff::next_attempt_at(settings, attempts, now))
        }
    }
}

/// The beginning of a text that others wrote, for logs and spans.
pub(crate) fn cut(text: &str) -> &str {
    const CUT_MAX_CHARS: usize = 200;
    text.char_indices().nth(CUT_MAX_CHARS).map_or(text, |(end, _)| &text[..end])
}

/// Cut to its bound; whatever looks like a mail address is left out, and what PostgreSQL cannot keep.
fn presentable(text: &str) -> String {
    let words = text.split(' ').map(|word| if word.contains('@') { "[address]" } else { word });
    let mut kept = String::with_capacity(text.len().min(TEXT_MAX_CHARS));
    for word in words {
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(word);
    }
    kept.chars().filter(|character| *character != '\0').take(TEXT_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_no_failure_of_a_message() {
        let outage = Fault::outage("redis", "refused");
        assert_eq!(Failure::of(outage.clone()), Err(outage));
    }

    #[test]
    fn a_permanent_failure_is_dead_at_once_and_a_retryable_one_when_its_attempts_are_used_up() {
        let settings = ConsumerSettings { attempts_max: 3, ..ConsumerSettings::default() };
        let now = chrono::Utc::now();
        let permanent = Failure::of(Fault::permanent("x")).unwrap();
        assert_eq!(permanent.verdict(1, &settings, now), Verdict::Dead);
        let retryable = Failure::of(Fault::retryable("x")).unwrap();
        assert!(matches!(retryable.verdict(1, &settings, now), Verdict::Park(_)));
        assert!(matches!(retryable.verdict(2, &settings, now), Verdict::Park(_)));
        assert_eq!(retryable.verdict(3, &settings, now), Verdict::Dead);
        let unknown = Failure::undecodable(&DecodeError::UnknownType("x".to_owned()));
        assert_eq!((unknown.reason, unknown.verdict(1, &settings, now)), ("UNKNOWN_EVENT_TYPE", Verdict::Dead));
    }

    #[test]
    fn texts_are_bounded_and_tell_no_address() {
        let failure =
            Failure::of(Fault::retryable(format!("no mail to ann@example.org {}\0", "ü".repeat(2_000)))).unwrap();
        assert!(failure.text.starts_with("no mail to [address] ü"));
        assert_eq!(failure.text.chars().count(), TEXT_MAX_CHARS);
        assert!(!failure.text.contains('\0'));
    }
}
