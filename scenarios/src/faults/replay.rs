//! A process dies in the middle of a replay.

use std::time::{Duration, Instant};

use sqlx::{Executor, PgConnection};

use crate::fleet::Fleet;
use crate::load::{Load, Plan};
use crate::{Outcome, Servers, Shop, eur, faults::Length, id};

/// Replayed batches that pass before the process dies.
const PASSES: u32 = 2;
/// How long dead letters, a crash or the last order may take.
const BOUND: Duration = Duration::from_secs(60);
/// An order waits for its replay for as long as the scenario takes.
const SETTINGS: &[(&str, &str)] = &[("order", "saga_step_timeout_ms = 900000")];

/// Orders whose stock the database refuses are dead letters. The cause is mended and they are replayed; the service dies
/// amid that, and the replay goes on where it stood: each order comes home, once.
pub async fn replay(servers: Servers, length: Length) -> (Servers, Outcome) {
    let poisoned = length.pick(60, 200);
    let mut fleet = Fleet::start(servers, SETTINGS).await;
    let load = Load::start(&fleet, Plan::default()).await;
    let (shop, sku, customer) = (fleet.shop(), id("refused"), id("patient"));
    shop.product(&sku, eur(1, 0), 1_000_000).await;
    shop.stock_is(&sku, 1_000_000, 0).await;
    shop.charge(&customer, eur(1_000_000, 0)).await;
    let mut stock = fleet.database("inventory").await;
    refuse(&mut stock, &sku).await;
    for _ in 0..poisoned {
        shop.create(Shop::request(&customer, &sku, 1)).await.expect("an order is accepted whatever comes of it");
    }
    let dead = within(&mut stock, "select count(*) from parked_message where state = 2", poisoned).await;
    mend(&mut stock).await;

    let index = fleet.running("inventory")[0];
    fleet.kill(index).await;
    fleet.set_variable("OPENORDER_FAULT_INJECTION", "1");
    fleet.set_variable("OPENORDER_FAULT_POINTS", &format!("replay.item={PASSES}*off->1*crash"));
    fleet.launch(index).await;
    fleet.unset_variable("OPENORDER_FAULT_INJECTION");
    fleet.unset_variable("OPENORDER_FAULT_POINTS");
    fleet.ready().await;
    let gateway = fleet.gateway();
    let arguments = ["dlq", "replay", "--all", "--rate", "40", "--reason", "scenario", "--yes", "--gateway", &gateway];
    let replaying = tokio::spawn(fleet.command(&arguments));
    let started = Instant::now();
    while !fleet.instances[index].notice_end() && started.elapsed() < BOUND {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let has_crashed = !fleet.instances[index].is_running();
    let mut orders = fleet.database("order").await;
    let home = format!("select count(*) from orders where customer_id = '{customer}' and status = 20");
    let home_before: i64 = count(&mut orders, &home).await;
    if has_crashed {
        fleet.launch(index).await;
    }
    let recovery = load.probe().await;
    let (code, output) = replaying.await.expect("the command ends");
    let home_after = within(&mut orders, &home, poisoned).await;

    let names = load.names().clone();
    let ledger = load.stop().await;
    let what = "crash in the middle of a replay";
    let mut outcome = Outcome::of(&fleet, &names, ledger).await.broken(what, 1, recovery);
    outcome.expect(dead == poisoned, format!("{dead} of {poisoned} refused orders were dead letters"));
    outcome.expect(has_crashed, "the fault point was not reached");
    outcome.expect(home_before < poisoned, "the replay was over before the crash");
    outcome.expect(code == 0, format!("the replay ended with {code}: {output}"));
    outcome.expect(home_after == poisoned, format!("{home_after} of {poisoned} replayed orders came home"));
    outcome.notes.push(format!("{home_after} replayed orders came home, {home_before} of them before the crash"));
    super::judged(fleet, outcome).await
}

/// The database takes no more reservations of this SKU.
async fn refuse(connection: &mut PgConnection, sku: &str) {
    let sql = format!(
        "create function refuse() returns trigger language plpgsql as $$ begin \
           if new.sku = '{sku}' then raise exception 'refused' using errcode = 'check_violation'; end if; \
           return new; end $$; \
         create trigger refuse before update on stock_level for each row execute function refuse()"
    );
    connection.execute(sqlx::AssertSqlSafe(sql)).await.expect("a trigger");
}

async fn mend(connection: &mut PgConnection) {
    connection.execute("drop trigger refuse on stock_level; drop function refuse()").await.expect("no trigger");
}

/// What is counted, once it is so many or the bound has passed.
async fn within(connection: &mut PgConnection, sql: &str, wanted: i64) -> i64 {
    let started = Instant::now();
    loop {
        let counted = count(connection, sql).await;
        if counted >= wanted || started.elapsed() > BOUND {
            return counted;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn count(connection: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(connection).await.expect("a count")
}
