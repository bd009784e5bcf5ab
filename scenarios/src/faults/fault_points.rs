//! Crashes at the places where they hurt most: between a commit and what has to follow it.

use std::time::{Duration, Instant};

use crate::fleet::Fleet;
use crate::load::{Load, Plan};
use crate::{Outcome, Servers, faults::Length};

/// How long a process may take to come to its fault point.
const REACH_BOUND: Duration = Duration::from_secs(30);
/// Passes of a point before it crashes: the process is at work by then.
const PASSES: u32 = 20;

/// Points and the roles that come to them.
const POINTS: [(&str, &[&str]); 6] = [
    ("committer.before_commit", &["order"]),
    ("committer.after_commit", &["order"]),
    ("relay.after_publish", &["order", "inventory", "payment", "notification"]),
    ("consumer.before_commit", &["order", "inventory", "payment", "notification"]),
    ("consumer.after_commit", &["order", "inventory", "payment", "notification"]),
    ("saga.compensation", &["order"]),
];

/// Each point once in each role; after the crash the role is started again, without faults.
pub async fn fault_points(servers: Servers, length: Length) -> (Servers, Outcome) {
    let mut fleet = Fleet::start(servers, &[]).await;
    let load = Load::start(&fleet, Plan { cancel_every: Some(4), ..Plan::default() }).await;
    let (mut times, mut recovery, mut unreached) = (0, Duration::ZERO, Vec::new());
    for (point, roles) in POINTS {
        for role in roles.iter().take(length.pick(1, roles.len())) {
            let index = fleet.running(role)[0];
            fleet.kill(index).await;
            fleet.set_variable("OPENORDER_FAULT_INJECTION", "1");
            fleet.set_variable("OPENORDER_FAULT_POINTS", &format!("{point}={PASSES}*off->1*crash"));
            fleet.launch(index).await;
            fleet.unset_variable("OPENORDER_FAULT_INJECTION");
            fleet.unset_variable("OPENORDER_FAULT_POINTS");
            if crashes(&mut fleet, index).await {
                times += 1;
                fleet.launch(index).await;
            } else {
                unreached.push(format!("{point} was not reached in {role}"));
            }
            recovery = recovery.max(load.probe().await);
        }
    }
    let (servers, mut outcome) = super::kill::end(fleet, load, "crash at a fault point", times, recovery).await;
    outcome.wrong.extend(unreached);
    (servers, outcome)
}

async fn crashes(fleet: &mut Fleet, index: usize) -> bool {
    let started = Instant::now();
    while started.elapsed() < REACH_BOUND {
        if fleet.instances[index].notice_end() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}
