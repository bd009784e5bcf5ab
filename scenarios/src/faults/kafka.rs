//! The broker goes, comes back, is slow.

use std::time::Duration;

use crate::fleet::Fleet;
use crate::load::{Load, Plan};
use crate::servers::Part;
use crate::signal::Signal;
use crate::{Cluster, Outcome, Servers, faults::Length};

/// Stopped for 20 seconds, killed, and slow: it stands still again and again.
pub async fn kafka(servers: Servers, length: Length) -> (Servers, Outcome) {
    let mut fleet = Fleet::start(servers, &[]).await;
    let load = Load::start(&fleet, Plan::default()).await;
    let mut recovery = Duration::ZERO;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let before = load.accepted();
    fleet.servers.stop(Part::Kafka).await;
    tokio::time::sleep(Duration::from_secs(length.pick(5, 20))).await;
    let meanwhile = load.accepted() - before;
    fleet.servers.start(Part::Kafka).await;
    recovery = recovery.max(load.probe().await);

    fleet.servers.signal(Part::Kafka, Signal::Kill).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    fleet.servers.start(Part::Kafka).await;
    recovery = recovery.max(load.probe().await);

    let pulses = length.pick(3, 15);
    for _ in 0..pulses {
        fleet.servers.signal(Part::Kafka, Signal::Stop).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        fleet.servers.signal(Part::Kafka, Signal::Continue).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    recovery = recovery.max(load.probe().await);
    fleet.heal().await;
    let what = "Kafka stopped, killed, standing still by turns";
    let (servers, mut outcome) = super::kill::end(fleet, load, what, pulses + 2, recovery).await;
    outcome.expect(meanwhile > 0, "no order was accepted while the broker was away");
    outcome.notes.push(format!("{meanwhile} accepted while it was away"));
    (servers, outcome)
}

/// The broker stands still for long, while roles of their own are at rest.
pub async fn freezes(servers: Servers, length: Length) -> (Servers, Outcome) {
    let fleet = Fleet::start(servers, &[]).await;
    freeze(fleet, length, "Kafka frozen at rest, a process a role").await
}

/// The same, with all roles in one process.
pub async fn freezes_whole(servers: Servers, length: Length) -> (Servers, Outcome) {
    let fleet = Fleet::start_whole(servers, &[]).await;
    freeze(fleet, length, "Kafka frozen at rest, one process").await
}

/// Freezes of lengths at which librdkafka's clients lose their brokers in different ways. After each, an order comes to its
/// end, every role is ready, and at last every process ends when it is asked to.
async fn freeze(mut fleet: Fleet, length: Length, what: &str) -> (Servers, Outcome) {
    // Orders are only the probes: clients that have work notice more.
    let load = Load::start(&fleet, Plan { callers: 0, ..Plan::default() }).await;
    let (seconds, rounds): (&[u64], usize) = length.pick((&[35], 1), (&[20, 35, 45, 60, 90], 2));
    let (mut recovery, mut times) = (Duration::ZERO, 0);
    for _ in 0..rounds {
        for frozen in seconds {
            tokio::time::sleep(Duration::from_secs(3)).await;
            fleet.servers.signal(Part::Kafka, Signal::Stop).await;
            tokio::time::sleep(Duration::from_secs(*frozen)).await;
            fleet.servers.signal(Part::Kafka, Signal::Continue).await;
            recovery = recovery.max(load.probe().await);
            fleet.ready().await;
            times += 1;
        }
    }
    for index in 0..fleet.instances.len() {
        fleet.remove(index).await;
        fleet.launch(index).await;
    }
    fleet.ready().await;
    let (servers, mut outcome) = super::kill::end(fleet, load, what, times, recovery).await;
    let prepared = outcome.prepared;
    outcome.expect(prepared == times, format!("{prepared} of {times} orders were prepared after a freeze"));
    (servers, outcome)
}

/// Three brokers, every partition on all of them, two needed for a write: one is killed, then two, then each in turn.
pub async fn brokers(servers: Servers, length: Length) -> (Servers, Outcome) {
    let cluster = Cluster::start().await;
    let kafka = format!("brokers = \"{}\"\nreplication_factor = 3", cluster.brokers());
    let mut fleet = Fleet::start(servers, &[("kafka", kafka.as_str())]).await;
    let load = Load::start(&fleet, Plan::default()).await;
    let mut recovery = Duration::ZERO;
    let mut times = 0;
    let rounds: &[&[u16]] = length.pick(&[&[1], &[2, 3]], &[&[1], &[2, 3], &[1, 2], &[3], &[1, 3]]);
    for killed in rounds {
        tokio::time::sleep(Duration::from_secs(2)).await;
        for number in *killed {
            cluster.kill(*number).await;
            times += 1;
        }
        tokio::time::sleep(Duration::from_secs(length.pick(3, 10))).await;
        for number in *killed {
            cluster.launch(*number).await;
        }
        for number in *killed {
            cluster.answers(*number).await;
        }
        recovery = recovery.max(load.probe().await);
    }
    fleet.heal().await;
    super::kill::end(fleet, load, "SIGKILL of one or two of three brokers", times, recovery).await
}
