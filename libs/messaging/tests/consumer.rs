//! The consumer: effects once, a failing key stops alone and in order, an outage loses nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{sync::atomic::Ordering, time::Duration};

use common::{ADDED, TOPIC, send, send_as, start};
use openorder_testing::{TestProducer, World, eventually};
use openorder_types::Timestamp;
use uuid::Uuid;

const BOUND: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_twice_has_one_effect_also_after_a_restart() {
    let world = World::new();
    let first = start(&world, world.separate_role("ledger"), "ledger").await;
    first.consumer();
    eventually("topics", BOUND, || async { first.role.readiness.is_ready().then_some(()) }).await;
    let producer = TestProducer::new(&world);
    let ids: Vec<Uuid> = (0..20).map(|_| Uuid::now_v7()).collect();
    for round in 0..2 {
        for (number, id) in ids.iter().enumerate() {
            send_as(&producer, &format!("k{}", number % 3), i64::try_from(number).unwrap(), *id).await;
        }
        if round == 0 {
            eventually("first round", BOUND, || async { (first.count("ledger").await == 20).then_some(()) }).await;
        }
    }
    first.stop().await;
    let second = start(&world, world.separate_role("ledger"), "ledger").await;
    second.consumer();
    let last = Uuid::now_v7();
    send_as(&producer, "end", 99, last).await;
    eventually("the last one", BOUND, || async { (second.numbers("end").await == [99]).then_some(()) }).await;
    assert_eq!(second.count("ledger").await, 21);
    assert_eq!(second.count("inbox").await, 21);
    second.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_key_is_parked_in_order_while_the_others_flow_and_comes_home_when_mended() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    instance.consumer();
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    let producer = TestProducer::new(&world);
    for number in 0..100_i64 {
        let key = if number % 10 == 0 { "broken".to_owned() } else { format!("good{}", number % 7) };
        send(&producer, &key, number).await;
    }
    eventually("good keys", BOUND, || async { (instance.count("ledger").await == 90).then_some(()) }).await;
    eventually("parked", BOUND, || async { (instance.count("parked_message").await == 10).then_some(()) }).await;
    assert!(instance.numbers("broken").await.is_empty());
    instance.ledger.mended.store(true, Ordering::SeqCst);
    eventually("unparked", BOUND, || async { (instance.count("parked_message").await == 0).then_some(()) }).await;
    assert_eq!(instance.numbers("broken").await, (0..10).map(|tens| tens * 10).collect::<Vec<_>>());
    assert_eq!(instance.count("ledger").await, 100);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_decode_stops_its_key_and_nothing_behind_it_overtakes() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    instance.consumer();
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    let producer = TestProducer::new(&world);
    send(&producer, "k", 1).await;
    producer.send(TOPIC, "k", &[("ce_type", ADDED)], b"no number").await;
    send(&producer, "k", 2).await;
    send(&producer, "other", 3).await;
    eventually("the other key", BOUND, || async { (instance.numbers("other").await == [3]).then_some(()) }).await;
    eventually("parked", BOUND, || async { (instance.count("parked_message").await == 2).then_some(()) }).await;
    assert_eq!(instance.numbers("k").await, [1]);
    let states: Vec<(i16, Timestamp)> = sqlx::query_as("select state, parked_at from parked_message order by sequence")
        .fetch_all(instance.pool())
        .await
        .unwrap();
    assert_eq!(states.iter().map(|(state, _)| *state).collect::<Vec<_>>(), [2, 1]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_nothing_is_lost_parked_or_skipped() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    instance.consumer();
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    let name = world.database_url("ledger").expose().rsplit_once('/').unwrap().1.to_owned();
    use sqlx::Connection;
    let mut admin = sqlx::PgConnection::connect(&openorder_testing::database_url_of("postgres")).await.unwrap();
    // No new connections, and the old ones are cut: the database is away for this service.
    let closed = sqlx::AssertSqlSafe(format!("alter database \"{name}\" with allow_connections false"));
    sqlx::query(closed).execute(&mut admin).await.unwrap();
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
        .bind(&name)
        .execute(&mut admin)
        .await
        .unwrap();
    let producer = TestProducer::new(&world);
    for number in 0..50_i64 {
        send(&producer, &format!("k{}", number % 4), number).await;
    }
    eventually("not ready", BOUND, || async { (!world.readiness().is_ready()).then_some(()) }).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let open = sqlx::AssertSqlSafe(format!("alter database \"{name}\" with allow_connections true"));
    sqlx::query(open).execute(&mut admin).await.unwrap();
    eventually("all", BOUND, || async {
        let count = sqlx::query_scalar::<_, i64>("select count(*) from ledger").fetch_one(instance.pool()).await;
        (count.unwrap_or(0) == 50).then_some(())
    })
    .await;
    assert_eq!(instance.count("parked_message").await, 0);
    for key in 0..4 {
        let expected: Vec<i64> = (0..50).filter(|number| number % 4 == key).collect();
        assert_eq!(instance.numbers(&format!("k{key}")).await, expected);
    }
    eventually("ready again", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    world.close().await;
}
