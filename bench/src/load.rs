//! `openorder load`, and what the system used while it ran.
//!
//! Throughput and CPU are taken over one window of a steady system: from the first progress line after the warm-up to
//! the last one before the load waits for its last orders. Both are read when a line arrives.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::processes::{Cpu, Meter};
use crate::stack::without_settings;
use crate::system::System;

/// As many as T's transaction writes.
const LINES: u32 = 2;

/// What one load asks for.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) callers: u32,
    /// Orders a second, in an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    pub(crate) products: u32,
    /// Lines of an order, each of another product.
    pub(crate) lines: u32,
    pub(crate) connections: u16,
    pub(crate) in_flight_orders_max: u32,
    pub(crate) sampled_ratio: Option<f64>,
    pub(crate) completion_timeout: Duration,
}

/// What `openorder load --output json` tells.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LoadReport {
    pub(crate) offered: u64,
    pub(crate) accepted: u64,
    pub(crate) completed: u64,
    pub(crate) unfinished: u64,
    pub(crate) failed: std::collections::BTreeMap<String, u64>,
    pub(crate) accepted_per_second: f64,
    pub(crate) call_ms: Latencies,
    pub(crate) completion_ms: Latencies,
}

/// Milliseconds.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What a load found out.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) report: LoadReport,
    /// Orders completed a second, in the window.
    pub(crate) completed_per_second: f64,
    /// CPU microseconds a completed order, in the window.
    pub(crate) completed_cost: Cpu,
    /// CPU microseconds an accepted order, in the window.
    pub(crate) accepted_cost: Cpu,
}

/// A load whose orders are being sent.
pub(crate) struct Loading {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStderr>>,
    stdout: ChildStdout,
    meter: Meter,
    bound: Duration,
    notes: Vec<String>,
}

/// Where the window begins or ends.
#[derive(Clone, Copy)]
struct Mark {
    time: Instant,
    cpu: Cpu,
    accepted: u64,
    completed: u64,
}

impl Load {
    /// Callers that each wait for their answer.
    pub(crate) fn closed(callers: u32, warm_up: Duration, duration: Duration) -> Self {
        Self {
            callers,
            rate: None,
            warm_up,
            duration,
            products: 100,
            lines: LINES,
            connections: 4,
            in_flight_orders_max: 10_000,
            sampled_ratio: None,
            completion_timeout: Duration::from_secs(60),
        }
    }

    /// Runs it to its end; every order must be completed.
    pub(crate) async fn run(&self, system: &System, meter: Meter) -> anyhow::Result<Loaded> {
        let loaded = self.begin(system, meter).await?.finish().await?;
        let report = &loaded.report;
        ensure!(report.unfinished == 0, "{} orders were accepted and never completed", report.unfinished);
        ensure!(loaded.completed_per_second > 0.0, "no order was completed: {:?}", report.failed);
        Ok(loaded)
    }

    /// Starts it and waits until the products and wallets are made.
    pub(crate) async fn begin(&self, system: &System, meter: Meter) -> anyhow::Result<Loading> {
        let mut command = Command::new(system.program());
        without_settings(&mut command);
        command.arg("--config").arg(system.config()).args(["load", "--output", "json"]);
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        let flags = [
            ("--gateway", system.gateway()),
            ("--callers", self.callers.to_string()),
            ("--warm-up", millis(self.warm_up)),
            ("--duration", millis(self.duration)),
            ("--products", self.products.to_string()),
            ("--lines", self.lines.to_string()),
            ("--connections", self.connections.to_string()),
            ("--in-flight-orders-max", self.in_flight_orders_max.to_string()),
            ("--completion-timeout", millis(self.completion_timeout)),
        ];
        for (flag, value) in flags {
            command.args([flag, &value]);
        }
        if let Some(rate) = self.rate {
            command.args(["--rate", &format!("{rate:.2}")]);
        }
        if let Some(ratio) = self.sampled_ratio {
            command.args(["--sampled-ratio", &ratio.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("openorder load")?;
        let stderr = child.stderr.take().context("standard error of the load")?;
        let stdout = child.stdout.take().context("standard output of the load")?;
        let meter = Meter { load: child.id(), ..meter };
        let mut loading = Loading {
            child,
            lines: BufReader::new(stderr).lines(),
            stdout,
            meter,
            bound: self.warm_up + self.duration + self.completion_timeout + Duration::from_secs(60),
            notes: Vec::new(),
        };
        let started = tokio::time::timeout(Duration::from_secs(180), loading.until_started()).await;
        started.context("products and wallets were not made within three minutes")??;
        Ok(loading)
    }
}

impl Loading {
    async fn until_started(&mut self) -> anyhow::Result<()> {
        while let Some(line) = self.lines.next_line().await? {
            if line.starts_with("load on ") {
                return Ok(());
            }
            self.notes.push(line);
        }
        anyhow::bail!("openorder load ended before it began: {}", self.notes.join("; "))
    }

    /// Waits for its end.
    pub(crate) async fn finish(self) -> anyhow::Result<Loaded> {
        let bound = self.bound;
        tokio::time::timeout(bound, self.follow()).await.with_context(|| format!("a load took more than {bound:?}"))?
    }

    async fn follow(mut self) -> anyhow::Result<Loaded> {
        let (mut begin, mut end): (Option<Mark>, Option<Mark>) = (None, None);
        let (mut accepted, mut completed, mut draining) = (0, 0, false);
        while let Some(line) = self.lines.next_line().await? {
            draining |= line.starts_with("waiting for");
            let Some(counts) = progress(&line) else {
                self.notes.push(line);
                continue;
            };
            if draining || line.ends_with("(warm-up)") {
                continue;
            }
            accepted += counts.0;
            completed += counts.1;
            let mark = Mark { time: Instant::now(), cpu: self.meter.read(), accepted, completed };
            if begin.is_none() { begin = Some(mark) } else { end = Some(mark) }
        }
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).await?;
        self.child.wait().await?;
        let report: LoadReport = serde_json::from_str(&text)
            .with_context(|| format!("openorder load gave no result: {}", self.notes.join("; ")))?;
        let (begin, end) = begin.zip(end).context("the load was too short to be measured")?;
        let cpu = end.cpu - begin.cpu;
        let completed = end.completed - begin.completed;
        Ok(Loaded {
            report,
            completed_per_second: completed as f64 / (end.time - begin.time).as_secs_f64(),
            completed_cost: cpu.micros_each(completed),
            accepted_cost: cpu.micros_each(end.accepted - begin.accepted),
        })
    }
}

/// Orders accepted and completed in the second that a progress line tells of.
fn progress(line: &str) -> Option<(u64, u64)> {
    let number_after = |word: &str| {
        let (_, rest) = line.split_once(word)?;
        rest.trim_start().split('/').next()?.parse().ok()
    };
    Some((number_after("accepted ")?, number_after("completed ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_a_progress_line() {
        let line = "   4 s  accepted   4210/s  completed   3987/s  in flight   1999  failed 0  (warm-up)";
        assert_eq!(progress(line), Some((4_210, 3_987)));
        assert_eq!(progress("waiting for the last 12 orders to be completed …"), None);
    }
}
