//! Wall clocks that jump: hours ahead and hours back, of one role after the other.

use std::time::Duration;

use crate::clock::Clocks;
use crate::load::{Load, Plan};
use crate::{Outcome, Servers, faults::Length};
use crate::{fleet::Fleet, roles};

/// Further than any deadline, and than a broker tolerates in a publisher.
const JUMP_S: i64 = 2 * 3_600;

/// A clock that is wrong calls orders off too early or too late; it loses none, doubles none, and keeps none waiting.
pub async fn clock(servers: Servers, length: Length) -> (Servers, Outcome) {
    let roles = length.pick(&roles::all()[..1], roles::all());
    let wrong_for = Duration::from_secs(length.pick(2, 3));
    let mut fleet = Fleet::start(servers, &[]).await;
    let clocks = Clocks::new(fleet.folder()).await;
    for role in roles {
        let index = fleet.running(role)[0];
        fleet.kill(index).await;
        for (name, value) in clocks.variables(role) {
            fleet.set_variable(name, &value);
        }
        fleet.launch(index).await;
    }
    for name in ["LD_PRELOAD", "SHIFTED_CLOCK_FILE"] {
        fleet.unset_variable(name);
    }
    fleet.ready().await;
    let load = Load::start(&fleet, Plan::default()).await;
    let (mut times, mut recovery) = (0, Duration::ZERO);
    for role in roles {
        for seconds in [JUMP_S, -JUMP_S] {
            clocks.shift(role, seconds);
            tokio::time::sleep(wrong_for).await;
            // Also while it is wrong, orders come to their end.
            load.probe().await;
            clocks.shift(role, 0);
            recovery = recovery.max(load.probe().await);
            times += 1;
        }
    }
    let ahead = made(&fleet, &load, "create_time > now() + interval '1 hour'").await;
    let behind = made(&fleet, &load, "create_time < now() - interval '1 hour'").await;
    let (servers, mut outcome) = super::kill::end(fleet, load, "a role's clock two hours off", times, recovery).await;
    outcome.expect(ahead > 0 && behind > 0, "the clock of the order service did not jump");
    outcome.notes.push(format!("{ahead} orders made too late, {behind} too early by their time"));
    (servers, outcome)
}

async fn made(fleet: &Fleet, load: &Load, when: &str) -> i64 {
    let mut connection = fleet.database("order").await;
    let sql = format!("select count(*) from orders where customer_id like $1 and {when}");
    let counted = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(format!("{}%", load.names().customers()));
    counted.fetch_one(&mut connection).await.expect("the orders")
}
