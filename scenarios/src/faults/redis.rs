//! Redis goes, and comes back empty.

use std::time::Duration;

use crate::fleet::Fleet;
use crate::load::{Load, Plan};
use crate::servers::Part;
use crate::signal::Signal;
use crate::{Outcome, Servers, faults::Length};

/// Losing Redis loses no order.
pub async fn redis(servers: Servers, length: Length) -> (Servers, Outcome) {
    let mut fleet = Fleet::start(servers, &[]).await;
    let load = Load::start(&fleet, Plan::default()).await;
    let mut recovery = Duration::ZERO;
    let times = length.pick(1, 3);
    for _ in 0..times {
        tokio::time::sleep(Duration::from_secs(1)).await;
        fleet.servers.signal(Part::Redis, Signal::Kill).await;
        tokio::time::sleep(Duration::from_secs(length.pick(2, 5))).await;
        fleet.servers.start_empty(Part::Redis).await;
        recovery = recovery.max(load.probe().await);
    }
    fleet.heal().await;
    super::kill::end(fleet, load, "Redis killed, back empty", times, recovery).await
}
