//! Everything comes twice.

use std::time::Duration;

use openorder_messaging::KafkaSettings;
use openorder_proto::topics;
use sqlx::Row;

use crate::load::{Load, Plan};
use crate::{Outcome, Servers, faults::Length};
use crate::{fleet::Fleet, roles};

/// Services with a group.
const GROUPS: [&str; 7] = ["order", "inventory", "payment", "notification", "analytics", "history", "cart"];

/// Every group is set back to the beginning of every topic: nothing changes.
pub async fn duplicates(servers: Servers, length: Length) -> (Servers, Outcome) {
    let mut fleet = Fleet::start(servers, &[]).await;
    let load = Load::start(&fleet, Plan { stock: 5_000, ..Plan::default() }).await;
    tokio::time::sleep(Duration::from_secs(length.pick(4, 20))).await;
    let names = load.names().clone();
    let ledger = load.stop().await;
    // At rest first, so that what the doubles change can be seen.
    let first = Outcome::of(&fleet, &names, Default::default()).await;
    let before = fingerprints(&fleet).await;
    for group in GROUPS {
        let index = fleet.running(group)[0];
        fleet.remove(index).await;
        reset(&fleet, group).await;
        fleet.launch(index).await;
    }
    fleet.ready().await;
    caught_up(&fleet).await;
    let after = fingerprints(&fleet).await;
    let what = "all topics read again from their start by a group";
    let mut outcome = Outcome::of(&fleet, &names, ledger).await.broken(what, GROUPS.len(), Duration::ZERO);
    outcome.expect(before == after, format!("tables changed: {before:?} became {after:?}"));
    outcome.expect(first.out_of_order == 0, "versions were out of order before");
    super::judged(fleet, outcome).await
}

/// Sets a group back to offset 0 in every topic that it follows.
async fn reset(fleet: &Fleet, group: &str) {
    let settings = KafkaSettings {
        brokers: fleet.servers.brokers.clone(),
        topic_prefix: fleet.topic_prefix(),
        ..KafkaSettings::default()
    };
    openorder_testing::reset_group(&settings, group, topics::ALL).await;
}

/// Waits until every group is where it was: at the end of its topics.
async fn caught_up(fleet: &Fleet) {
    let settings = KafkaSettings {
        brokers: fleet.servers.brokers.clone(),
        topic_prefix: fleet.topic_prefix(),
        ..KafkaSettings::default()
    };
    for group in GROUPS {
        openorder_testing::eventually("a group has read its topics again", Duration::from_secs(60), || async {
            openorder_testing::group_lag(&settings, group, topics::ALL).await.filter(|lag| *lag == 0)
        })
        .await;
    }
}

/// A number for all that a service holds: its state and its log.
async fn fingerprints(fleet: &Fleet) -> Vec<(String, String)> {
    let tables = [
        ("order", "orders"),
        ("inventory", "reservation"),
        ("inventory", "stock_level"),
        ("payment", "payment"),
        ("payment", "wallet"),
        ("notification", "notification"),
        ("analytics", "order_count"),
        ("analytics", "sales"),
        ("analytics", "product_sales"),
        ("history", "order_view_a"),
    ];
    let logs = roles::with_events().iter().map(|service| (*service, "event_log")).collect::<Vec<_>>();
    let mut found = Vec::new();
    for (service, table) in tables.into_iter().chain(logs) {
        let mut connection = fleet.database(service).await;
        let sql =
            format!("select count(*) || ' ' || coalesce(sum(hashtext(t::text)::bigint), 0) as print from {table} t");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.expect("a table");
        found.push((format!("{service}.{table}"), row.get("print")));
    }
    found
}
