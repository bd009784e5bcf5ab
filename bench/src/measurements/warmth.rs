//! The broker's code is compiled while it runs: its CPU an order falls to a fraction within a minute or two of load. What
//! is measured before it has settled is the compiler.

use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::load::Load;
use crate::output::say;

/// It has settled when two windows that follow each other differ by less.
const SETTLED: f64 = 0.05;
const WINDOW: Duration = Duration::from_secs(8);
const WINDOW_WARM_UP: Duration = Duration::from_secs(1);

/// What the windows of one program have shown.
#[derive(Clone, Debug, Default)]
struct Warmth {
    /// Kafka's CPU an order, in the last two windows.
    before: Option<f64>,
    last: Option<f64>,
}

impl Warmth {
    /// An order has always as many messages.
    fn tell(&mut self, kafka_us: f64) {
        self.before = self.last.replace(kafka_us);
    }

    fn has_settled(&self) -> bool {
        self.before.zip(self.last).is_some_and(|(before, last)| (last / before - 1.0).abs() < SETTLED)
    }
}

/// Load, until the broker's CPU an order has settled; of a pair, under both programs by turns.
pub(crate) async fn reach(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let bound = bench.args.warm_up_max();
    say(format_args!("warming up until Kafka's CPU an order has settled, {} s at most", bound.as_secs()));
    bench.pgbench.orders(Duration::from_secs(2)).await?;
    let until = Instant::now() + bound;
    let labels = bench.labels();
    let mut warmths = vec![Warmth::default(); labels.len()];
    loop {
        for (label, warmth) in labels.iter().zip(&mut warmths) {
            bench.select(label);
            let kafka_us = window(bench).await?;
            warmth.tell(kafka_us);
            say(format_args!("{label}: Kafka {kafka_us:.0} µs an order"));
            bench.side.samples.push("warm_up.kafka_cpu_us", kafka_us);
        }
        if warmths.iter().all(Warmth::has_settled) {
            return Ok(());
        }
        if Instant::now() + WINDOW > until {
            say("the broker has not settled within the bound: its compiler may still work while rows are measured");
            return Ok(());
        }
    }
}

async fn window(bench: &Bench<'_>) -> anyhow::Result<f64> {
    let running = bench.start(&[]).await?;
    let load = Load { warm_up: WINDOW_WARM_UP, duration: WINDOW, ..bench.maximum() };
    let found = bench.load(load, &running).await?;
    running.stop().await?;
    Ok(found.completed_cost.kafka)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_has_settled_when_two_windows_in_a_row_differ_by_less_than_five_percent() {
        let mut warmth = Warmth::default();
        let mut settled = Vec::new();
        for kafka_us in [140.0, 100.0, 60.0, 57.5, 50.0, 52.0] {
            warmth.tell(kafka_us);
            settled.push(warmth.has_settled());
        }
        assert_eq!(settled, [false, false, false, true, false, true]);
    }
}
