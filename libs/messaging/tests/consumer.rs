//! The consumer: effects once, a failing key stops alone and in order, an outage loses nothing.

use std::{sync::atomic::Ordering, time::Duration};

use openorder_testing::{TestProducer, World, eventually};
use openorder_types::Timestamp;
use uuid::Uuid;

use crate::common::{ADDED, Instance, TOPIC, send, send_as, start};

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

/// Sends a number as the event at this position of a log.
async fn send_at(producer: &TestProducer, key: &str, number: i64, position: i64, event_id: Uuid) {
    let (id, position) = (event_id.to_string(), position.to_string());
    let headers =
        [("ce_type", ADDED), ("ce_id", id.as_str()), ("ce_source", "/openorder/ledger"), ("ce_sequence", &position)];
    producer.send(TOPIC, key, &headers, &number.to_be_bytes()).await;
}

async fn consuming(world: &World) -> (Instance, TestProducer) {
    let instance = start(world, world.separate_role("ledger"), "ledger").await;
    instance.consumer();
    eventually("topics", BOUND, || async { instance.role.readiness.is_ready().then_some(()) }).await;
    (instance, TestProducer::new(world))
}

/// A message with a key of its own, sent last: all before it were looked at once it is there, and those in other partitions.
async fn settle(instance: &Instance, producer: &TestProducer) {
    for number in 0..32 {
        send(producer, &format!("settle-{number}"), 1).await;
    }
    eventually("settled", BOUND, || async {
        let sql = "select count(distinct key) from ledger where key like 'settle-%'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(instance.pool()).await.unwrap();
        (count == 32).then_some(())
    })
    .await;
}

async fn rows(instance: &Instance, table: &'static str) -> i64 {
    let sql = match table {
        "inbox" => "select count(*) from inbox",
        _ => "select count(*) from inbox_position",
    };
    sqlx::query_scalar(sql).fetch_one(instance.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_known_by_their_position_in_any_order_and_partition() {
    let world = World::new();
    let (instance, producer) = consuming(&world).await;
    // Over the border of two rows; the position before the last is not there yet.
    let ids: Vec<Uuid> = (0..40).map(|_| Uuid::now_v7()).collect();
    let position = |number: usize| 1_000 + i64::try_from(number).unwrap();
    for (number, id) in ids.iter().enumerate().filter(|(number, _)| *number != 38) {
        send_at(&producer, "k", position(number), position(number), *id).await;
    }
    eventually("the first copies", BOUND, || async { (instance.count("ledger").await == 39).then_some(()) }).await;
    for (number, id) in ids.iter().enumerate() {
        // Once in its own partition and once where its key would be if the topic had more.
        send_at(&producer, "k", position(number), position(number), *id).await;
        for elsewhere in ["a", "b", "c", "d", "e"] {
            send_at(&producer, elsewhere, position(number), position(number), *id).await;
        }
    }
    settle(&instance, &producer).await;
    let of_events: i64 = sqlx::query_scalar("select count(*) from ledger where key not like 'settle-%'")
        .fetch_one(instance.pool())
        .await
        .unwrap();
    assert_eq!(of_events, 40, "the late one is taken over, and no copy is");
    assert_eq!(rows(&instance, "inbox").await, 32, "only the messages without a position have rows of their own");
    assert!(rows(&instance, "inbox_position").await <= 4);
    instance.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_restored_log_that_gives_positions_once_more_are_taken_over_once_each() {
    let world = World::new();
    let (instance, producer) = consuming(&world).await;
    let before: Vec<Uuid> = (0..10).map(|_| Uuid::now_v7()).collect();
    for (id, position) in before.iter().zip(1..) {
        send_at(&producer, "before", position, position, *id).await;
    }
    eventually("before", BOUND, || async { (instance.count("ledger").await == 10).then_some(()) }).await;
    // Restored to position 5: positions 6 to 10 are given again, and 11 and 12 for the first time.
    let after: Vec<Uuid> = (0..7).map(|_| Uuid::now_v7()).collect();
    for _ in 0..2 {
        for (id, position) in after.iter().zip(6..) {
            send_at(&producer, "before", 100 + position, position, *id).await;
        }
        for (id, position) in before.iter().zip(1..) {
            send_at(&producer, "before", position, position, *id).await;
        }
    }
    settle(&instance, &producer).await;
    let expected: Vec<i64> = (1..=10).chain(106..=112).collect();
    assert_eq!(instance.numbers("before").await, expected);
    instance.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_message_that_claims_a_position_keeps_no_event_from_its_effect() {
    let world = World::new();
    let (instance, producer) = consuming(&world).await;
    // Of a time to come, of another making, without a number, and one that reads like the log's own.
    let far = uuid::Builder::from_unix_timestamp_millis(4_102_444_800_000, &[7; 10]).into_uuid();
    for (number, id) in [(1, far), (2, Uuid::new_v4()), (3, Uuid::now_v7())] {
        send_at(&producer, "foreign", number, 7, id).await;
    }
    send_at(&producer, "foreign", 4, i64::MIN, Uuid::now_v7()).await;
    eventually("foreign", BOUND, || async { (instance.count("ledger").await == 4).then_some(()) }).await;
    let own = Uuid::now_v7();
    for (number, id) in [(5, own), (5, own), (1, far), (2, Uuid::new_v4())] {
        send_at(&producer, "foreign", if id == far || id == own { number } else { 6 }, 7, id).await;
    }
    settle(&instance, &producer).await;
    assert_eq!(instance.numbers("foreign").await, [1, 2, 3, 4, 5, 6]);
    instance.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_over_by_rows_before_an_upgrade_is_known_after_it() {
    let world = World::new();
    let instance = start(&world, world.separate_role("ledger"), "ledger").await;
    let ids: Vec<Uuid> = (0..6).map(|_| Uuid::now_v7()).collect();
    // As the version before left it.
    sqlx::query("insert into inbox (event_id, received_at) select unnest($1::uuid[]), now()")
        .bind(&ids[..3])
        .execute(instance.pool())
        .await
        .unwrap();
    sqlx::query("update inbox_former set until = now() + interval '1 day'").execute(instance.pool()).await.unwrap();
    instance.consumer();
    eventually("topics", BOUND, || async { instance.role.readiness.is_ready().then_some(()) }).await;
    let producer = TestProducer::new(&world);
    for _ in 0..2 {
        for (id, position) in ids.iter().zip(1..) {
            send_at(&producer, "k", position, position, *id).await;
        }
    }
    settle(&instance, &producer).await;
    assert_eq!(instance.numbers("k").await, [4, 5, 6]);
    instance.stop().await;
    world.close().await;
}
