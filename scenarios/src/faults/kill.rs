//! SIGKILL.

use std::time::{Duration, Instant};

use crate::load::{Load, Plan};
use crate::servers::rand_number;
use crate::{Outcome, Servers, faults::Length};
use crate::{fleet::Fleet, roles};

/// Any role, at any time: 20 times in 60 seconds of load.
pub async fn kill_at_random(servers: Servers, length: Length) -> (Servers, Outcome) {
    let (times, within) = length.pick((5, Duration::from_secs(15)), (20, Duration::from_secs(60)));
    let mut fleet = Fleet::start(servers, &[]).await;
    let load = Load::start(&fleet, Plan::default()).await;
    kill_any(&mut fleet, times, within).await;
    let recovery = load.probe().await;
    end(fleet, load, "SIGKILL of a role, any of them", times, recovery).await
}

/// Kills roles, any of them, at even times within this time, and waits until all are ready again.
pub(super) async fn kill_any(fleet: &mut Fleet, times: usize, within: Duration) {
    let started = Instant::now();
    for time in 0..times {
        let due = within * (time as u32 + 1) / (times as u32 + 1);
        tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        let role = roles::all()[rand_number() as usize % roles::all().len()];
        let index = fleet.running(role)[0];
        fleet.kill(index).await;
        // Down for up to a second, then back.
        tokio::time::sleep(Duration::from_millis(u64::from(rand_number()) % 1_000)).await;
        fleet.launch(index).await;
    }
    fleet.ready().await;
}

/// Every role, one after the other, with the time that a new order takes after each.
pub async fn kill_in_turn(servers: Servers, length: Length) -> (Servers, Outcome) {
    let rounds = length.pick(1, 2);
    let mut fleet = Fleet::start(servers, &[]).await;
    let load = Load::start(&fleet, Plan::default()).await;
    let mut recovery = Duration::ZERO;
    for _ in 0..rounds {
        for role in roles::all() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let index = fleet.running(role)[0];
            fleet.kill(index).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            fleet.launch(index).await;
            recovery = recovery.max(load.probe().await);
        }
    }
    end(fleet, load, "SIGKILL of every role in turn", rounds * roles::all().len(), recovery).await
}

/// Stops the load, judges, gives the servers back.
pub(super) async fn end(
    fleet: Fleet,
    load: Load,
    broken: &str,
    times: usize,
    recovery: Duration,
) -> (Servers, Outcome) {
    let names = load.names().clone();
    let ledger = load.stop().await;
    let outcome = Outcome::of(&fleet, &names, ledger).await.broken(broken, times, recovery);
    super::judged(fleet, outcome).await
}
