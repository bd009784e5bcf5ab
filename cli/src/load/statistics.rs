//! What is counted during a load. Pure: times come in as values.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Completions that are remembered although their order is not known (yet): the last event of an order can be read
/// before CreateOrder's answer, and that answer may never come.
const EARLY_MAX: usize = 100_000;

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    /// With its status reason.
    Rejected(String),
    /// With its status reason.
    Cancelled(String),
}

/// Numbers of orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) offered: u64,
    pub(super) accepted: u64,
    pub(super) completed: u64,
    pub(super) succeeded: u64,
    /// Calls that failed, orders that were rejected or cancelled.
    pub(super) failed: u64,
    pub(super) retries: u64,
}

/// An order between its acceptance and its last event.
struct Open {
    due: Instant,
    measured: bool,
}

/// Everything that is counted.
pub(super) struct Statistics {
    measure_from: Option<Instant>,
    open: HashMap<u128, Open>,
    early: HashMap<u128, (Outcome, Instant)>,
    all: Counts,
    measured: Counts,
    failures: BTreeMap<String, u64>,
    calls: Histogram<u64>,
    completions: Histogram<u64>,
    first_sent: Option<Instant>,
    last_answer: Option<Instant>,
    last_completion: Option<Instant>,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            measure_from: None,
            open: HashMap::new(),
            early: HashMap::new(),
            all: Counts::default(),
            measured: Counts::default(),
            failures: BTreeMap::new(),
            calls: latencies(),
            completions: latencies(),
            first_sent: None,
            last_answer: None,
            last_completion: None,
        }
    }
}

/// Microseconds to three digits, up to an hour.
#[expect(clippy::expect_used, reason = "these bounds are good, and they are constants")]
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds of a histogram")
}

impl Statistics {
    /// Orders that are sent from then on are measured.
    pub(super) fn measure_from(&mut self, from: Instant) {
        self.measure_from = Some(from);
    }

    /// An order is sent; whether it is measured.
    pub(super) fn offered(&mut self, now: Instant) -> bool {
        let measured = self.measure_from.is_some_and(|from| now >= from);
        self.all.offered += 1;
        if measured {
            self.measured.offered += 1;
            self.first_sent = self.first_sent.or(Some(now));
        }
        measured
    }

    /// The order was sent again.
    pub(super) fn retried(&mut self, measured: bool) {
        self.all.retries += 1;
        self.measured.retries += u64::from(measured);
    }

    /// CreateOrder answered with an order; whether its last event has been read already.
    pub(super) fn accepted(&mut self, order_id: u128, due: Instant, now: Instant, measured: bool) -> bool {
        self.all.accepted += 1;
        if measured {
            self.measured.accepted += 1;
            self.answered(due, now);
        }
        self.open.insert(order_id, Open { due, measured });
        match self.early.remove(&order_id) {
            Some((outcome, read)) => self.completed(order_id, outcome, read),
            None => false,
        }
    }

    /// CreateOrder answered "no", or nothing in time. Only accepted orders count in the latencies: a quick "no" is no merit.
    pub(super) fn refused(&mut self, reason: &str, now: Instant, measured: bool) {
        self.all.failed += 1;
        if measured {
            self.last_answer = self.last_answer.max(Some(now));
            self.fail(format!("CreateOrder: {reason}"));
        }
    }

    /// The last event of an order was read; whether the order was open.
    pub(super) fn completed(&mut self, order_id: u128, outcome: Outcome, now: Instant) -> bool {
        let Some(open) = self.open.remove(&order_id) else {
            if self.early.len() < EARLY_MAX {
                self.early.insert(order_id, (outcome, now));
            }
            return false;
        };
        let succeeded = u64::from(outcome == Outcome::Succeeded);
        self.all.completed += 1;
        self.all.succeeded += succeeded;
        self.all.failed += 1 - succeeded;
        if open.measured {
            self.measured.completed += 1;
            self.measured.succeeded += succeeded;
            self.last_completion = self.last_completion.max(Some(now));
            self.completions.saturating_record(micros(now.saturating_duration_since(open.due)));
            match outcome {
                Outcome::Succeeded => {}
                Outcome::Rejected(reason) => self.fail(format!("rejected: {reason}")),
                Outcome::Cancelled(reason) => self.fail(format!("cancelled: {reason}")),
            }
        }
        true
    }

    /// Orders that were accepted and whose last event was not read yet.
    pub(super) fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// Measured orders among [`Self::in_flight`].
    pub(super) fn unfinished(&self) -> u64 {
        self.open.values().filter(|open| open.measured).count() as u64
    }

    /// All orders, those of the warm-up too.
    pub(super) fn all(&self) -> Counts {
        self.all
    }

    /// Orders after the warm-up.
    pub(super) fn measured(&self) -> Counts {
        self.measured
    }

    /// Why measured orders failed, and how many.
    pub(super) fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    /// Times from due to answer, and from due to last event, in microseconds.
    pub(super) fn latencies(&self) -> (&Histogram<u64>, &Histogram<u64>) {
        (&self.calls, &self.completions)
    }

    /// From the first measured order's sending to the last answer, and to the last last event.
    pub(super) fn spans(&self) -> (Duration, Duration) {
        let since_first = |end: Option<Instant>| match (self.first_sent, end) {
            (Some(first), Some(end)) => end.saturating_duration_since(first),
            _ => Duration::ZERO,
        };
        (since_first(self.last_answer), since_first(self.last_completion))
    }

    fn answered(&mut self, due: Instant, now: Instant) {
        self.calls.saturating_record(micros(now.saturating_duration_since(due)));
        self.last_answer = self.last_answer.max(Some(now));
    }

    fn fail(&mut self, reason: String) {
        self.measured.failed += 1;
        *self.failures.entry(reason).or_default() += 1;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn measuring() -> (Statistics, Instant) {
        let start = Instant::now();
        let mut statistics = Statistics::default();
        statistics.measure_from(start);
        (statistics, start)
    }

    #[test]
    fn an_order_of_the_warm_up_counts_for_progress_alone() {
        let (mut statistics, start) = measuring();
        let due = start - MS;
        let measured = statistics.offered(due);
        assert!(!measured);
        assert!(!statistics.accepted(1, due, start + MS, measured));
        assert!(statistics.completed(1, Outcome::Succeeded, start + 2 * MS));
        assert_eq!(statistics.measured(), Counts::default());
        let expected = Counts { offered: 1, accepted: 1, completed: 1, succeeded: 1, ..Default::default() };
        assert_eq!(statistics.all(), expected);
        assert_eq!(statistics.spans(), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn spans_run_from_the_first_sending_to_the_last_answer_and_the_last_event() {
        let (mut statistics, start) = measuring();
        for (id, sent) in [(1, 5), (2, 10)] {
            let due = start + sent * MS;
            assert!(statistics.offered(due));
            statistics.accepted(id, due, due + 3 * MS, true);
        }
        assert!(statistics.completed(2, Outcome::Succeeded, start + 60 * MS));
        assert_eq!((statistics.in_flight(), statistics.unfinished()), (1, 1));
        assert!(statistics.completed(1, Outcome::Succeeded, start + 55 * MS));
        assert_eq!(statistics.spans(), (8 * MS, 55 * MS));
        let (calls, completions) = statistics.latencies();
        assert_eq!(calls.len(), 2);
        assert!((3_000..=3_002).contains(&calls.max()), "{}", calls.max());
        assert!((50_000..=50_100).contains(&completions.max()), "{}", completions.max());
    }

    #[test]
    fn a_last_event_that_is_read_before_the_answer_counts_at_its_own_time() {
        let (mut statistics, start) = measuring();
        statistics.offered(start);
        assert!(!statistics.completed(7, Outcome::Succeeded, start + 2 * MS));
        assert_eq!(statistics.all().completed, 0);
        assert!(statistics.accepted(7, start, start + 9 * MS, true), "its place is free again");
        assert_eq!(statistics.measured().completed, 1);
        assert_eq!(statistics.spans(), (9 * MS, 2 * MS));
        assert_eq!(statistics.in_flight(), 0);
    }

    #[test]
    fn failures_are_counted_by_reason() {
        let (mut statistics, start) = measuring();
        for id in 1..=3 {
            statistics.offered(start);
            statistics.accepted(id, start, start + MS, true);
        }
        statistics.offered(start);
        statistics.refused("UPSTREAM_UNAVAILABLE", start + MS, true);
        statistics.completed(1, Outcome::Succeeded, start + MS);
        statistics.completed(2, Outcome::Rejected("OUT_OF_STOCK".to_owned()), start + MS);
        statistics.completed(3, Outcome::Cancelled("INSUFFICIENT_BALANCE".to_owned()), start + MS);
        let counts = statistics.measured();
        assert_eq!(statistics.latencies().0.len(), 3);
        assert_eq!((counts.offered, counts.accepted, counts.completed), (4, 3, 3));
        assert_eq!((counts.succeeded, counts.failed), (1, 3));
        let reasons: Vec<&str> = statistics.failures().keys().map(String::as_str).collect();
        let expected =
            ["CreateOrder: UPSTREAM_UNAVAILABLE", "cancelled: INSUFFICIENT_BALANCE", "rejected: OUT_OF_STOCK"];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn a_second_last_event_changes_nothing() {
        let (mut statistics, start) = measuring();
        statistics.offered(start);
        statistics.accepted(1, start, start, true);
        assert!(statistics.completed(1, Outcome::Succeeded, start));
        assert!(!statistics.completed(1, Outcome::Succeeded, start));
        assert_eq!(statistics.measured().completed, 1);
    }
}
