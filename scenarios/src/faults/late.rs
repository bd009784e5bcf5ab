//! Services that are switched on when there are orders already.

use std::time::{Duration, Instant};

use crate::{
    Outcome, Servers,
    faults::Length,
    fleet::Fleet,
    load::{Load, Names, Plan},
};

/// Services that follow the events of others and have none of their own.
const LATE: [&str; 2] = ["analytics", "history"];
/// How long all old orders may take to be read.
const CATCH_UP_BOUND: Duration = Duration::from_secs(240);

/// Analytics and history are switched on in a running system with old orders: they read all events from the earliest one
/// on, while new orders flow, and nobody else is touched.
pub async fn late(servers: Servers, length: Length) -> (Servers, Outcome) {
    let orders = length.pick(1_000, 20_000);
    let mut fleet = Fleet::start_without(servers, &[], &LATE).await;
    let plan = Plan { callers: 48, pause: Duration::ZERO, orders: Some(orders), ..Plan::default() };
    let load = Load::start(&fleet, plan).await;
    let (old_names, old) = (load.names().clone(), load.finish().await);
    // The old orders are at their end: what changes from here on is the new ones' doing.
    let mut outcome = Outcome::at_end(&fleet, &old_names, old).await;
    let load = Load::start(&fleet, Plan { callers: 4, pause: Duration::from_millis(100), ..Plan::default() }).await;
    let alone = load.probe().await;
    let others: Vec<_> = fleet.instances.iter().map(|one| (one.role, one.pid())).collect();
    let before = versions(&fleet, &old_names).await;
    let began = Instant::now();
    for role in LATE {
        fleet.add(role).await;
    }
    fleet.ready().await;
    let recovery = load.probe().await;
    let known = outcome.accepted as i64;
    while documents(&fleet).await < known && began.elapsed() < CATCH_UP_BOUND {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let caught_up = began.elapsed();
    outcome.expect(caught_up < CATCH_UP_BOUND, format!("not all {known} old orders are read after {caught_up:.0?}"));
    for (instance, (role, pid)) in fleet.instances.iter().zip(others) {
        outcome.expect(instance.pid() == pid && pid.is_some(), format!("{role} is not the process that it was"));
    }
    let after = versions(&fleet, &old_names).await;
    outcome.expect(before == after, format!("old orders and their versions: {before:?}, then {after:?}"));
    let (new_names, new) = (load.names().clone(), load.stop().await);
    // It has everything verified: the sums and the documents of old orders too.
    let of_new = Outcome::of(&fleet, &new_names, new).await;
    outcome.add(of_new);
    outcome.notes.push(format!(
        "all read after {:.1} s; an order took {:.2} s before, {:.2} s meanwhile",
        caught_up.as_secs_f64(),
        alone.as_secs_f64(),
        recovery.as_secs_f64()
    ));
    let what = format!("services switched on when there were {known} orders");
    let outcome = outcome.broken(&what, LATE.len(), recovery);
    super::judged(fleet, outcome).await
}

/// Orders of a load, and their versions together: both stay where nothing changes them.
async fn versions(fleet: &Fleet, names: &Names) -> (i64, i64) {
    let mut connection = fleet.database("order").await;
    sqlx::query_as("select count(*), coalesce(sum(version), 0)::bigint from orders where customer_id like $1")
        .bind(format!("{}%", names.customers()))
        .fetch_one(&mut connection)
        .await
        .expect("the orders")
}

/// Orders that somebody can find in the history.
async fn documents(fleet: &Fleet) -> i64 {
    let mut connection = fleet.database("history").await;
    sqlx::query_scalar("select count(*) from order_view_a where customer_id is not null")
        .fetch_one(&mut connection)
        .await
        .expect("the documents")
}
