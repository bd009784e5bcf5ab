//! What a load found out, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::LoadArgs;
use super::cpu::Cost;
use super::statistics::Statistics;
use crate::output::columns;

/// The result of `openorder load`. Orders are those after the warm-up; times are in milliseconds unless named otherwise.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    gateway: String,
    /// Of a closed loop; the bound of an open one.
    callers: u32,
    /// Of an open loop.
    orders_per_second: Option<f64>,
    connections: u16,
    lines: u32,
    products: u32,
    customers: u32,
    duration_seconds: f64,
    warm_up_seconds: f64,
    /// Whether it was ended before its time.
    interrupted: bool,
    /// Sent, or due and never sent.
    offered: u64,
    /// Orders of an open loop that were due and never sent: all callers waited for answers.
    unsent: u64,
    accepted: u64,
    completed: u64,
    /// Of the completed ones, those that are being prepared.
    succeeded: u64,
    /// Accepted, and no last event within the completion timeout.
    unfinished: u64,
    failed: BTreeMap<String, u64>,
    retries: u64,
    accepted_per_second: f64,
    completed_per_second: f64,
    /// From the first order's sending to the last one's answer.
    accepted_within_seconds: f64,
    /// From the first order's sending to the last one's last event.
    completed_within_seconds: f64,
    call_ms: Latencies,
    completion_ms: Latencies,
    cpu: Vec<Cost>,
}

/// A distribution of times in milliseconds.
#[derive(Clone, Debug, Serialize)]
struct Latencies {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl From<&Histogram<u64>> for Latencies {
    fn from(micros: &Histogram<u64>) -> Self {
        let at = |quantile| micros.value_at_quantile(quantile) as f64 / 1_000.0;
        Self {
            mean: micros.mean() / 1_000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: micros.max() as f64 / 1_000.0,
        }
    }
}

impl Statistics {
    /// What was found out.
    pub(super) fn report(&self, args: &LoadArgs, gateway: &str, cpu: Vec<Cost>, interrupted: bool) -> Report {
        let counts = self.measured();
        let (accepted_within, completed_within) = self.spans();
        let (calls, completions) = self.latencies();
        let due = |rate: f64| (rate * (args.warm_up + args.duration).as_secs_f64()).ceil() as u64;
        let due = args.rate.filter(|_| !interrupted).map_or(0, due);
        let unsent = due.saturating_sub(self.all().offered);
        Report {
            gateway: gateway.to_owned(),
            callers: args.callers,
            orders_per_second: args.rate,
            connections: args.connections,
            lines: args.lines,
            products: args.products,
            customers: args.customers,
            duration_seconds: args.duration.as_secs_f64(),
            warm_up_seconds: args.warm_up.as_secs_f64(),
            interrupted,
            offered: counts.offered + unsent,
            unsent,
            accepted: counts.accepted,
            completed: counts.completed,
            succeeded: counts.succeeded,
            unfinished: self.unfinished(),
            failed: self.failures().clone(),
            retries: counts.retries,
            accepted_per_second: rate_of(counts.accepted, accepted_within),
            completed_per_second: rate_of(counts.completed, completed_within),
            accepted_within_seconds: accepted_within.as_secs_f64(),
            completed_within_seconds: completed_within.as_secs_f64(),
            call_ms: calls.into(),
            completion_ms: completions.into(),
            cpu,
        }
    }
}

/// Events a second; nothing of nothing.
fn rate_of(count: u64, within: Duration) -> f64 {
    if within.is_zero() { 0.0 } else { count as f64 / within.as_secs_f64() }
}

impl Report {
    /// Whether orders were accepted, and all of them completed.
    pub(super) fn is_complete(&self) -> bool {
        self.accepted > 0 && self.unfinished == 0
    }

    /// The report for people.
    pub(super) fn table(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        if self.interrupted {
            lines.push("interrupted before its time".to_owned());
        }
        lines.extend(columns(&self.counts()));
        lines.push(String::new());
        lines.extend(columns(&self.times()));
        if !self.cpu.is_empty() {
            lines.push(String::new());
            lines.extend(columns(&self.costs()));
        }
        lines
    }

    fn counts(&self) -> Vec<Vec<String>> {
        let row = |name: &str, count: u64, note: String| vec![name.to_owned(), format!("{count:>9}"), note];
        let rate = |rate: f64, within: f64| format!("{rate:>8.0}/s  within {within:.1} s");
        let mut rows = vec![row("offered", self.offered, String::new())];
        if self.unsent > 0 {
            rows.push(row(
                "  never sent",
                self.unsent,
                "  all callers waited: more of them, or a lower rate".to_owned(),
            ));
        }
        rows.push(row("accepted", self.accepted, rate(self.accepted_per_second, self.accepted_within_seconds)));
        rows.push(row("completed", self.completed, rate(self.completed_per_second, self.completed_within_seconds)));
        rows.push(row("  succeeded", self.succeeded, String::new()));
        if self.unfinished > 0 {
            rows.push(row("unfinished", self.unfinished, "  no last event was read in time".to_owned()));
        }
        for (reason, count) in &self.failed {
            rows.push(row("failed", *count, format!("  {reason}")));
        }
        if self.retries > 0 {
            rows.push(row("sent again", self.retries, "  after UNAVAILABLE or RESOURCE_EXHAUSTED".to_owned()));
        }
        rows
    }

    fn times(&self) -> Vec<Vec<String>> {
        let header = ["milliseconds", "p50", "p90", "p99", "max", "mean"];
        let mut rows = vec![header.map(|name| format!("{name:>9}")).to_vec()];
        rows[0][0] = header[0].to_owned();
        for (name, times) in [("CreateOrder", &self.call_ms), ("creation to completion", &self.completion_ms)] {
            let values = [times.p50, times.p90, times.p99, times.max, times.mean];
            let cells = values.map(|value| format!("{value:>9.1}"));
            rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
        }
        rows
    }

    fn costs(&self) -> Vec<Vec<String>> {
        let mut rows = vec![vec!["CPU of process".to_owned(), "  seconds".to_owned(), "µs an order".to_owned()]];
        rows.extend(self.cpu.iter().map(|cost| {
            let each = if self.completed == 0 { 0.0 } else { cost.cpu_seconds * 1e6 / self.completed as f64 };
            vec![cost.process.clone(), format!("{:>9.2}", cost.cpu_seconds), format!("{each:>11.1}")]
        }));
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use clap::Parser;

    use super::*;
    use crate::load::statistics::Outcome;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn args(more: &[&str]) -> LoadArgs {
        Line::try_parse_from([&["load"], more].concat()).unwrap().load
    }

    fn statistics(orders: u32, completed: u32) -> Statistics {
        let start = Instant::now();
        let mut statistics = Statistics::default();
        statistics.measure_from(start);
        for number in 0..orders {
            let due = start + Duration::from_millis(10) * number;
            statistics.offered(due);
            statistics.accepted(u128::from(number), due, due + Duration::from_millis(10), true);
        }
        for number in 0..completed {
            let read = start + Duration::from_millis(20) * (number + 1);
            statistics.completed(u128::from(number), Outcome::Succeeded, read);
        }
        statistics
    }

    #[test]
    fn rates_are_counts_by_the_time_until_the_last_one() {
        let report = statistics(100, 100).report(&args(&[]), "g", Vec::new(), false);
        assert!((report.accepted_per_second - 100.0).abs() < 1e-6, "{}", report.accepted_per_second);
        assert!((report.completed_per_second - 50.0).abs() < 1e-6, "{}", report.completed_per_second);
        assert!(report.is_complete());
        let table = report.table().join("\n");
        assert!(table.contains("100/s  within 1.0 s") && table.contains("50/s  within 2.0 s"), "{table}");
    }

    #[test]
    fn an_order_without_its_last_event_is_told() {
        let report = statistics(3, 2).report(&args(&[]), "g", Vec::new(), false);
        assert_eq!((report.unfinished, report.is_complete()), (1, false));
        assert!(report.table().iter().any(|line| line.starts_with("unfinished") && line.contains(" 1 ")));
    }

    #[test]
    fn orders_of_an_open_loop_that_were_never_sent_are_told() {
        let args = args(&["--rate", "50", "--duration", "2s", "--warm-up", "1s"]);
        let report = statistics(100, 100).report(&args, "g", Vec::new(), false);
        assert_eq!((report.offered, report.unsent), (150, 50));
        let report = statistics(100, 100).report(&args, "g", Vec::new(), true);
        assert_eq!((report.offered, report.unsent), (100, 0), "an interrupted plan is nobody's debt");
    }

    #[test]
    fn nothing_at_all_is_a_report_too() {
        let report = Statistics::default().report(
            &args(&[]),
            "g",
            vec![Cost { process: "load".to_owned(), cpu_seconds: 1.0 }],
            true,
        );
        assert!(!report.is_complete());
        assert!(!report.table().is_empty());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["completed_per_second"], 0.0);
        assert_eq!(json["cpu"][0]["process"], "load");
    }

    #[test]
    fn bounds_of_arguments_hold() {
        let refused = |more: &[&str]| Line::try_parse_from([&["load"], more].concat()).is_err();
        for wrong in
            [["--rate", "0"], ["--callers", "0"], ["--sampled-ratio", "1.5"], ["--lines", "101"], ["--duration", "20"]]
        {
            assert!(refused(&wrong), "{wrong:?}");
        }
        assert_eq!(args(&["--rate", "0.5"]).rate, Some(0.5));
    }
}
