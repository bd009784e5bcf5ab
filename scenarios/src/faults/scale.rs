//! Instances come and go, and one sleeps.

use std::time::Duration;

use crate::load::{Load, Plan};
use crate::signal::Signal;
use crate::{Outcome, Servers, faults::Length};
use crate::{fleet::Fleet, roles};

/// A second and a third instance of each service are added under load, and the older ones taken away.
pub async fn scale(servers: Servers, length: Length) -> (Servers, Outcome) {
    let more = length.pick(1, 2);
    let mut fleet = Fleet::start(servers, &[]).await;
    let load = Load::start(&fleet, Plan::default()).await;
    let mut times = 0;
    for service in roles::with_events().iter().copied() {
        for _ in 0..more {
            fleet.add(service).await;
            times += 1;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    fleet.ready().await;
    tokio::time::sleep(Duration::from_secs(length.pick(1, 5))).await;
    for service in roles::with_events().iter().copied() {
        // The oldest go, so that relays and partitions have to move.
        for index in fleet.running(service).into_iter().take(more) {
            fleet.remove(index).await;
            times += 1;
        }
    }
    let recovery = load.probe().await;
    super::kill::end(fleet, load, "instance of a service added or taken away", times, recovery).await
}

/// The process that relays and consumes is frozen until others have taken its work, and wakes believing that it has it.
pub async fn zombie(servers: Servers, length: Length) -> (Servers, Outcome) {
    let asleep = Duration::from_secs(length.pick(10, 30));
    let frozen = ["order", "inventory", "payment"];
    let mut fleet = Fleet::start(servers, &[]).await;
    for role in frozen {
        fleet.add(role).await;
    }
    fleet.ready().await;
    let load = Load::start(&fleet, Plan::default()).await;
    let mut recovery = Duration::ZERO;
    let mut notes = Vec::new();
    for role in frozen {
        tokio::time::sleep(Duration::from_secs(2)).await;
        // The first instance was there first: it has the relay.
        let index = fleet.running(role)[0];
        fleet.instances[index].signal(Signal::Stop).await;
        // What it had in hand when it was frozen is let go of by then.
        tokio::time::sleep(asleep / 2).await;
        let before = Outcome::at_rest(&fleet, load.names()).await;
        tokio::time::sleep(asleep / 2).await;
        let meanwhile = Outcome::at_rest(&fleet, load.names()).await - before;
        notes.push(format!("{meanwhile} orders came to their end while {role} was frozen"));
        fleet.instances[index].signal(Signal::Continue).await;
        recovery = recovery.max(load.probe().await);
        if fleet.instances[index].notice_end() {
            notes.push(format!("{role} ended itself"));
            fleet.launch(index).await;
        }
    }
    let what = format!("instance frozen for {} s, awake as a zombie", asleep.as_secs());
    let (servers, mut outcome) = super::kill::end(fleet, load, &what, frozen.len(), recovery).await;
    outcome.notes.extend(notes);
    (servers, outcome)
}
