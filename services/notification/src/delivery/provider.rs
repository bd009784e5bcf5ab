//! What every channel's provider is to the worker: one interface, and one meaning of its answers.

use std::time::Duration;

use crate::{
    domain::{Channel, DeliveryOutcome},
    persistence::Due,
};

/// Longest text of a provider that is kept, in characters.
const DETAIL_LENGTH_MAX: usize = 300;
/// Digits in a word that make it look like a telephone number.
const DIGITS_MIN: usize = 7;

/// The provider is away, or does not let us in: it certainly did not take the message, and nothing is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Outage(pub(crate) String);

/// What a provider said to a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It took it.
    Accepted,
    /// Not now. It certainly did not take it.
    Busy {
        /// Stable, `UPPER_SNAKE`.
        reason: &'static str,
        /// What it said, without addresses.
        detail: String,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// Nothing, after the message was on its way: it may have taken it.
    Unknown {
        /// Stable, `UPPER_SNAKE`.
        reason: &'static str,
        /// What happened, without addresses.
        detail: String,
    },
    /// It will never take it.
    Refused {
        /// Stable, `UPPER_SNAKE`.
        reason: &'static str,
        /// What it said, without addresses.
        detail: String,
    },
}

impl Answer {
    /// Whether the provider does its work.
    pub(crate) const fn is_healthy(&self) -> bool {
        matches!(self, Self::Accepted | Self::Refused { .. })
    }

    /// As it is recorded.
    pub(crate) fn outcome(self) -> DeliveryOutcome {
        match self {
            Self::Accepted => DeliveryOutcome::Accepted,
            Self::Busy { reason, detail, .. } | Self::Unknown { reason, detail } => {
                DeliveryOutcome::TryLater { reason, detail }
            }
            Self::Refused { reason, detail } => DeliveryOutcome::Refused { reason, detail },
        }
    }
}

/// Somebody who brings messages to customers over one channel.
pub(crate) trait Provider: Send + Sync + 'static {
    /// The channel.
    fn channel(&self) -> Channel;

    /// Its name as a dependency and in metrics.
    fn name(&self) -> &'static str;

    /// How it is reached, as traces name it.
    fn transport(&self) -> &'static str;

    /// Bound of [`Self::send`].
    fn timeout(&self) -> Duration;

    /// Whether it lets us in; `false` when that cannot be told without a message.
    fn probe(&self) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// Hands one message over.
    fn send(&self, one: &Due) -> impl Future<Output = Result<Answer, Outage>> + Send;
}

/// What a provider said, for people: providers repeat addresses.
pub(crate) fn without_addresses(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        if word.contains('@') || digits >= DIGITS_MIN { "<address>" } else { word }
    });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(DETAIL_LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_says_is_kept_without_addresses() {
        let text = "permanent error (550): 5.1.1 <ada@example.com>: no\r\nsuch user ada@example.com";
        assert_eq!(without_addresses(text), "permanent error (550): 5.1.1 <address> no such user <address>");
        assert_eq!(without_addresses("{\"to\":\"+4930901820\", \"code\":21211}"), "<address> \"code\":21211}");
        assert_eq!(without_addresses(&"x".repeat(1_000)).len(), 300);
    }
}
