//! PostgreSQL goes, comes back, cuts connections, refuses to write, takes too long.

use std::time::Duration;

use sqlx::{Connection, Executor};

use crate::load::{Load, Plan};
use crate::servers::Part;
use crate::signal::Signal;
use crate::{Outcome, Servers, faults::Length};
use crate::{fleet::Fleet, roles};

/// How long a statement of the services may run.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(1);

/// Restarted, killed, all connections cut, statements cut by their timeout.
pub async fn postgres(servers: Servers, length: Length) -> (Servers, Outcome) {
    let line = format!("statement_timeout_ms = {}", STATEMENT_TIMEOUT.as_millis());
    let sections = roles::with_events().iter().map(|service| format!("{service}.database")).collect::<Vec<_>>();
    let settings: Vec<(&str, &str)> = sections.iter().map(|section| (section.as_str(), line.as_str())).collect();
    let mut fleet = Fleet::start(servers, &settings).await;
    let load = Load::start(&fleet, Plan::default()).await;
    let pause = Duration::from_secs(length.pick(1, 4));
    let mut recovery = Duration::ZERO;
    let mut times = 0;
    tokio::time::sleep(pause).await;

    fleet.servers.stop(Part::Postgres).await;
    tokio::time::sleep(pause).await;
    fleet.servers.start(Part::Postgres).await;
    recovery = recovery.max(load.probe().await);

    fleet.servers.signal(Part::Postgres, Signal::Kill).await;
    tokio::time::sleep(pause).await;
    fleet.servers.start(Part::Postgres).await;
    recovery = recovery.max(load.probe().await);

    for _ in 0..length.pick(3, 10) {
        let ours = format!("{}%", fleet.database_name(""));
        let cut = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname like '{ours}'");
        fleet.administer(&cut).await;
        times += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    recovery = recovery.max(load.probe().await);

    // Whoever writes waits for longer than a statement may take.
    for service in roles::with_events().iter().copied() {
        lock_log(&fleet, service).await;
        times += 1;
    }
    recovery = recovery.max(load.probe().await);
    fleet.heal().await;
    super::kill::end(fleet, load, "PostgreSQL restarted, killed, cut, timing out", times + 2, recovery).await
}

/// Locks the event log for longer than [`STATEMENT_TIMEOUT`].
async fn lock_log(fleet: &Fleet, service: &str) {
    let mut connection = fleet.database(service).await;
    let mut transaction = connection.begin().await.expect("a transaction");
    transaction.execute("lock table event_log in exclusive mode").await.expect("the lock");
    tokio::time::sleep(STATEMENT_TIMEOUT * 2).await;
    transaction.rollback().await.expect("the end");
}

/// The database of one service after the other refuses to write: a standby that was promoted, a disk that is full.
pub async fn read_only(servers: Servers, length: Length) -> (Servers, Outcome) {
    let fleet = Fleet::start(servers, &[]).await;
    let load = Load::start(&fleet, Plan::default()).await;
    let mut recovery = Duration::ZERO;
    for service in roles::with_events().iter().copied() {
        let name = fleet.database_name(service);
        fleet.administer(&format!("alter database \"{name}\" set default_transaction_read_only = on")).await;
        // The setting holds for connections that are made from now on.
        fleet
            .administer(&format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"))
            .await;
        tokio::time::sleep(Duration::from_secs(length.pick(2, 6))).await;
        fleet.administer(&format!("alter database \"{name}\" reset default_transaction_read_only")).await;
        fleet
            .administer(&format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"))
            .await;
        recovery = recovery.max(load.probe().await);
    }
    super::kill::end(fleet, load, "database of a service read-only", roles::with_events().len(), recovery).await
}
