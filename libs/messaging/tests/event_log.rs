//! The event log: positions are drawn in the order of the commits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{add, start};
use openorder_testing::{World, eventually};

/// The advisory lock of the appenders, of all versions.
const APPEND_LOCK: i64 = 0x6f70_656e_0001;

#[tokio::test(flavor = "multi_thread")]
async fn no_position_is_drawn_by_who_waits_for_the_append_lock() {
    let world = World::new();
    let one = start(&world, world.role("ledger"), "ledger").await;
    let two = start(&world, world.separate_role("ledger"), "ledger").await;
    let committers = [one.committer(), two.committer()];
    add(&committers[0], "before", 1).await.unwrap();
    let mut holder = one.pool().acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock($1)").bind(APPEND_LOCK).execute(&mut *holder).await.unwrap();
    let waiting = [0, 1].map(|index| {
        let committer = committers[index].clone();
        tokio::spawn(async move { add(&committer, &format!("after-{index}"), 2).await })
    });
    let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted and classid = $1::bigint::oid \
               and objid = $2::bigint::oid and database = (select oid from pg_database where datname = current_database())";
    eventually("both writers wait", Duration::from_secs(20), || async {
        let (high, low) = (APPEND_LOCK >> 32, APPEND_LOCK & 0xffff_ffff);
        let count: i64 = sqlx::query_scalar(sql).bind(high).bind(low).fetch_one(two.pool()).await.unwrap();
        (count == 2).then_some(())
    })
    .await;
    let drawn = "select last_value from event_log_position_seq";
    assert_eq!(sqlx::query_scalar::<_, i64>(drawn).fetch_one(two.pool()).await.unwrap(), 1);
    sqlx::query("select pg_advisory_unlock($1)").bind(APPEND_LOCK).execute(&mut *holder).await.unwrap();
    for writer in waiting {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(one.count("event_log").await, 3);
    two.stop().await;
    world.close().await;
}
