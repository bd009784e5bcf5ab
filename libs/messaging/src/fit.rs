//! What the relay does when a topic takes no batches as large as it makes them, or not even one of its events.

use std::{pin::pin, time::Duration};

use sqlx::PgConnection;

use crate::LoggedEvent;

/// Bytes of a batch at first; Kafka's own default of `max.message.bytes` is a little more.
const BATCH_BYTES: usize = 1_000_000;
/// Below that, events are sent one by one.
const BATCH_BYTES_MIN: usize = 1_000;

/// How large the batches of one client are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSize {
    pub(crate) bytes: usize,
    pub(crate) events: usize,
}

/// What a relay has learnt of its topics while it leads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit {
    bytes: usize,
    /// Events to be published next at most: those before one that was refused.
    before_refused: Option<usize>,
    /// The event that is next was the first of a refused batch, and is tried alone; what its topic takes, if known.
    suspected: Option<Option<usize>>,
    /// Whether the event that is next fits into no batch.
    pub(crate) is_blocked: bool,
}

/// What comes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Fewer events may do.
    Fewer,
    /// The first event alone is too large.
    Blocked,
}

impl Fit {
    pub(crate) const fn new() -> Self {
        Self { bytes: BATCH_BYTES, before_refused: None, suspected: None, is_blocked: false }
    }

    pub(crate) const fn batch_size(&self) -> BatchSize {
        if self.bytes < BATCH_BYTES_MIN {
            BatchSize { bytes: BATCH_BYTES, events: 1 }
        } else {
            BatchSize { bytes: self.bytes, events: 10_000 }
        }
    }

    /// How many events may be published next.
    pub(crate) fn events_max(&self) -> usize {
        if self.is_blocked { 1 } else { self.before_refused.unwrap_or(usize::MAX) }
    }

    /// What was in hand is published.
    pub(crate) fn published(&mut self) {
        if let Some(topic_max) = self.suspected.take() {
            // It was the batch, not the event. As large as the topic says, unless that did not help; half, where it says nothing.
            self.bytes = topic_max.filter(|max| *max < self.bytes).unwrap_or(self.bytes / 2).max(1);
        }
        self.before_refused = None;
        self.is_blocked = false;
    }

    /// Of `count` events, the one at `index` began a batch that its topic refused; `topic_max` is what that takes in bytes,
    /// if it says so. Those before it are published first, then it alone.
    pub(crate) fn refused(&mut self, index: usize, count: usize, topic_max: Option<usize>) -> Refusal {
        self.is_blocked = count == 1;
        self.suspected = (index == 0 && count > 1).then_some(topic_max);
        self.before_refused = Some(index.max(1));
        if self.is_blocked { Refusal::Blocked } else { Refusal::Fewer }
    }
}

/// Why a relay cannot go on: for its log, readiness and the operator.
pub(crate) fn blocked_by(event: &LoggedEvent, topic_max: Option<usize>) -> String {
    let max = topic_max.map_or_else(|| "not known".to_owned(), |max| max.to_string());
    format!(
        "event {} ({}, {} bytes and its headers) does not fit into topic {}, whose max.message.bytes is {max}: raise it; \
         all later events of this service wait",
        event.event_id,
        event.event_type,
        event.payload.len() + event.key.text_len(),
        event.topic,
    )
}

/// Works, and meanwhile uses a session now and then that PostgreSQL would end if it stood still: whoever works is alive.
///
/// # Errors
/// Those of the work, or the session is gone.
pub(crate) async fn keeping_alive<T, E: From<sqlx::Error>>(
    connection: &mut PgConnection,
    interval: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            () = tokio::time::sleep(interval) => {}
        }
        sqlx::query("select").execute(&mut *connection).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_before_a_refused_batch_goes_first_then_its_first_event_alone_and_then_batches_are_smaller() {
        let mut fit = Fit::new();
        assert_eq!(fit.refused(7, 100, Some(20_000)), Refusal::Fewer);
        assert_eq!(fit.events_max(), 7);
        fit.published();
        assert_eq!(fit.batch_size().bytes, BATCH_BYTES, "nothing is known of the batch yet");
        assert_eq!(fit.refused(0, 93, Some(20_000)), Refusal::Fewer);
        assert_eq!(fit.events_max(), 1);
        fit.published();
        assert_eq!((fit.batch_size().bytes, fit.events_max()), (20_000, usize::MAX));
        // Framing: less than the topic says.
        fit.refused(0, 92, Some(20_000));
        fit.published();
        assert_eq!(fit.batch_size(), BatchSize { bytes: 10_000, events: 10_000 });
        for _ in 0..20 {
            fit.refused(0, 2, None);
            fit.published();
        }
        assert_eq!(fit.batch_size().events, 1);
    }

    #[test]
    fn an_event_that_is_refused_alone_blocks_until_it_is_published_and_makes_no_batch_smaller() {
        let mut fit = Fit::new();
        assert_eq!(fit.refused(0, 3, Some(20_000)), Refusal::Fewer);
        assert_eq!(fit.refused(0, 1, Some(20_000)), Refusal::Blocked);
        assert_eq!((fit.events_max(), fit.is_blocked), (1, true));
        assert_eq!(fit.refused(0, 1, Some(20_000)), Refusal::Blocked);
        fit.published();
        assert_eq!((fit.events_max(), fit.is_blocked, fit.batch_size().bytes), (usize::MAX, false, BATCH_BYTES));
    }
}
