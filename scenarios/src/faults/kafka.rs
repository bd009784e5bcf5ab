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
