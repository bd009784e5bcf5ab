//! The relay: everything that committed is published, in order per key, readable by any Kafka tool; one at a time.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures::future::join_all;
use openorder_messaging::{KafkaSettings, RelaySettings, unpublished};
use openorder_testing::{
    BrokerFront, Tail, World, alter_topic, create_topic, eventually, free_address, header, header_names,
};
use rdkafka::{Message, Timestamp, message::OwnedMessage};
use uuid::Uuid;

use crate::common::{ADDED, TOPIC, add, start, start_with};

const BOUND: Duration = Duration::from_secs(90);

fn key(message: &impl Message) -> String {
    String::from_utf8(message.key().unwrap().to_vec()).unwrap()
}

fn position(message: &OwnedMessage) -> i64 {
    header(message, "ce_sequence").unwrap().parse().unwrap()
}

/// The positions of the messages, which rise with each message of a key.
fn published_once_and_in_order(messages: &[OwnedMessage]) -> Vec<i64> {
    let mut last: HashMap<String, i64> = HashMap::new();
    let each = messages.iter().map(|message| {
        let (key, position) = (key(message), position(message));
        let before = last.insert(key.clone(), position).unwrap_or(0);
        assert!(position > before, "{key}: position {position} after {before}");
        position
    });
    each.collect()
}

/// Id and time of each event of the log, by its position.
async fn logged(instance: &crate::common::Instance) -> BTreeMap<i64, (Uuid, DateTime<Utc>)> {
    let rows: Vec<(i64, Uuid, DateTime<Utc>)> = sqlx::query_as("select position, event_id, occurred_at from event_log")
        .fetch_all(instance.pool())
        .await
        .unwrap();
    rows.into_iter().map(|(position, id, at)| (position, (id, at))).collect()
}

fn number(message: &impl Message) -> i64 {
    i64::from_be_bytes(message.payload().unwrap().try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_committed_is_published_in_order_with_cloudevents_headers() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer();
    // Before there is a relay: the events wait in the log.
    for number in 0..50 {
        add(&committer, &format!("k{}", number % 5), number).await.unwrap();
    }
    instance.relay();
    join_all((50..300).map(|number| {
        let committer = committer.clone();
        async move { add(&committer, &format!("k{}", number % 5), number).await.unwrap() }
    }))
    .await;
    let tail = Tail::new(&world, TOPIC);
    let messages = tail.take(300, Duration::from_secs(20)).await;
    let logged = logged(&instance).await;
    let mut published = published_once_and_in_order(&messages);
    for message in &messages {
        let (event_id, occurred_at) = &logged[&position(message)];
        // The key is the subject; a header for the trace is there where there is one.
        let names: Vec<&str> = header_names(message).into_iter().filter(|name| *name != "traceparent").collect();
        assert_eq!(names, ["ce_type", "ce_id", "ce_source", "ce_sequence", "ce_specversion"]);
        assert_eq!(header(message, "ce_specversion").unwrap(), "1.0");
        assert_eq!(header(message, "ce_type").unwrap(), ADDED);
        assert_eq!(header(message, "ce_source").unwrap(), "/openorder/ledger");
        assert_eq!(header(message, "ce_id").unwrap(), event_id.to_string());
        assert_eq!(message.timestamp(), Timestamp::CreateTime(occurred_at.timestamp_millis()));
    }
    published.sort_unstable();
    assert_eq!(published, logged.keys().copied().collect::<Vec<_>>(), "all of the log");
    assert!(tail.next(Duration::from_millis(500)).await.is_none(), "nothing is published twice");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_relays_own_process_and_another_one_write_by_turns_is_published_once_and_in_order() {
    let world = World::new();
    let first = start(&world, world.separate_role("ledger"), "ledger").await;
    let second = start(&world, world.separate_role("ledger"), "ledger").await;
    first.relay();
    // The first one's events are handed to its relay, the second one's it finds in the log.
    let committers = [first.committer(), second.committer()];
    join_all((0..400_usize).map(|number| {
        let committer = committers[number % 2].clone();
        async move { add(&committer, &format!("k{}", number % 7), number as i64).await.unwrap() }
    }))
    .await;
    let tail = Tail::new(&world, TOPIC);
    let mut published = published_once_and_in_order(&tail.take(400, Duration::from_secs(20)).await);
    published.sort_unstable();
    assert_eq!(published, logged(&first).await.into_keys().collect::<Vec<_>>(), "without a gap and without a copy");
    first.stop().await;
    second.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_waits_and_takes_over() {
    let world = World::new();
    let first = start(&world, world.separate_role("ledger"), "ledger").await;
    let second = start(&world, world.separate_role("ledger"), "ledger").await;
    let committer = second.committer();
    first.relay();
    let tail = Tail::new(&world, TOPIC);
    add(&committer, "k", 1).await.unwrap();
    assert_eq!(number(&tail.take(1, Duration::from_secs(20)).await[0]), 1);
    second.relay();
    add(&committer, "k", 2).await.unwrap();
    assert_eq!(number(&tail.take(1, Duration::from_secs(20)).await[0]), 2);
    first.stop().await;
    add(&committer, "k", 3).await.unwrap();
    // The last batch once more, in its order and under its ids, then what is new.
    let taken = tail.take(3, Duration::from_secs(20)).await;
    assert_eq!(taken.iter().map(number).collect::<Vec<_>>(), [1, 2, 3]);
    second.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_lost_its_lock_without_knowing_puts_no_old_event_between_newer_ones() {
    let world = World::new();
    let first = start(&world, world.separate_role("ledger"), "ledger").await;
    let second = start(&world, world.separate_role("ledger"), "ledger").await;
    let committer = second.committer();
    first.relay();
    let tail = Tail::new(&world, TOPIC);
    add(&committer, "k", 1).await.unwrap();
    tail.take(1, Duration::from_secs(20)).await;
    // The lock goes by itself, as after a network partition: both relays now believe that they may publish.
    sqlx::query("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted \
                 and database = (select oid from pg_database where datname = current_database()) and pid <> pg_backend_pid()")
        .execute(second.pool())
        .await
        .unwrap();
    second.relay();
    for number in 2..200 {
        add(&committer, "k", number).await.unwrap();
    }
    // Published again after a lost cursor is allowed; turned around is not.
    let mut highest = 1;
    while highest < 199 {
        let message = tail.next(Duration::from_secs(30)).await.expect("all that committed is published");
        let number = number(&message);
        assert!(number <= highest + 1, "{number} after {highest}: one was skipped");
        highest = highest.max(number);
    }
    first.stop().await;
    second.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_cannot_reach_kafka_keeps_none_that_can_from_its_place_and_stops_when_asked() {
    let world = World::new();
    let nowhere = KafkaSettings { brokers: free_address().to_string(), ..world.kafka() };
    let cut_off = start_with(&world, world.separate_role("ledger"), "ledger", nowhere).await;
    let healthy = start(&world, world.separate_role("ledger"), "ledger").await;
    // Kafka is not needed to accept a command.
    add(&cut_off.committer(), "k", 1).await.unwrap();
    cut_off.relay();
    tokio::time::sleep(Duration::from_secs(1)).await;
    healthy.relay();
    let tail = Tail::new(&world, TOPIC);
    assert_eq!(number(&tail.take(1, Duration::from_secs(15)).await[0]), 1);
    cut_off.stop().await;
    healthy.stop().await;
    world.close().await;
}

/// An event of so many bytes that nothing compresses.
fn event(key: &str, version: i64, length: usize) -> Big {
    Big { key: key.to_owned(), version, length }
}

struct Big {
    key: String,
    version: i64,
    length: usize,
}

/// Writes events to the log as a use case would.
async fn write(instance: &crate::common::Instance, events: &[Big]) {
    for Big { key, version, length } in events {
        let payload: Vec<u8> = (0..*length).map(|_| rand::random()).collect();
        sqlx::query(
            "insert into event_log (event_id, event_type, topic, aggregate_id, aggregate_version, payload, occurred_at) \
             values (gen_random_uuid(), $1, $2, $3, $4, $5, now())",
        )
        .bind(ADDED)
        .bind(TOPIC)
        .bind(key)
        .bind(version)
        .bind(payload)
        .execute(instance.pool())
        .await
        .unwrap();
    }
}

/// The key of each of the next messages, and the position of its event in the log.
async fn positions(tail: &Tail, count: usize) -> Vec<(String, i64)> {
    let messages = tail.take(count, BOUND).await;
    messages.iter().map(|message| (key(message), position(message))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_takes_only_small_batches_gets_small_ones_and_an_event_it_cannot_take_is_named() {
    let world = World::new();
    let kafka = KafkaSettings { partitions: 1, ..world.kafka() };
    create_topic(&kafka, TOPIC, &[("max.message.bytes", "20000")]).await;
    let instance = start_with(&world, world.role("ledger"), "ledger", kafka.clone()).await;
    // Ten times what a batch may hold.
    let small: Vec<Big> = (1..=100).map(|version| event("small", version, 2_000)).collect();
    write(&instance, &small).await;
    instance.relay();
    let tail = Tail::new(&world, TOPIC);
    // What was sent before a refusal may be sent again: the first copies are in order.
    let mut seen = Vec::new();
    while seen.len() < 100 {
        let (_, position) = positions(&tail, 1).await.remove(0);
        seen.extend((seen.last().is_none_or(|last| position > *last)).then_some(position));
    }
    assert_eq!(seen, (1..=100).collect::<Vec<i64>>());
    while tail.next(Duration::from_secs(2)).await.is_some() {}

    // The middle one fits into no batch: what is before it is published, what is behind it waits, loudly.
    write(&instance, &[event("small", 101, 2_000), event("large", 1, 30_000), event("small", 102, 2_000)]).await;
    assert_eq!(positions(&tail, 1).await, [("small".to_owned(), 101)]);
    let said = eventually("named", BOUND, || async {
        let states = world.readiness().snapshot();
        states.into_iter().map(|state| state.detail).find(|detail| detail.contains("max.message.bytes"))
    })
    .await;
    assert!(said.contains(TOPIC) && said.contains("is 20000") && said.contains(ADDED), "{said}");
    let mut again = 0;
    while let Some(message) = tail.next(Duration::from_secs(3)).await {
        assert_eq!(header(&message, "ce_sequence").unwrap(), "101", "nothing overtakes it");
        again += 1;
    }
    assert!(again <= 2, "what is before it is published {again} more times");

    alter_topic(&kafka, TOPIC, &[("max.message.bytes", "200000")]).await;
    assert_eq!(positions(&tail, 2).await, [("large".to_owned(), 102), ("small".to_owned(), 103)]);
    eventually("ready", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_takes_longer_than_the_lease_keeps_its_place_and_publishes_once() {
    let world = World::new();
    let front = BrokerFront::to(&world.kafka().brokers).await;
    let kafka = KafkaSettings { brokers: front.address(), ..world.kafka() };
    let instance = start_with(&world, world.role("ledger"), "ledger", kafka).await;
    let settings = RelaySettings { lease_ms: 1_000, publish_timeout_ms: 60_000, ..RelaySettings::default() };
    instance.backbone.relay(&settings, &[TOPIC]);
    let committer = instance.committer();
    add(&committer, "k", 1).await.unwrap();
    let tail = Tail::new(&world, TOPIC);
    assert_eq!(positions(&tail, 1).await, [("k".to_owned(), 1)]);
    let epoch = || async {
        sqlx::query_scalar::<_, i64>("select epoch from relay_cursor").fetch_one(instance.pool()).await.unwrap()
    };
    let before = epoch().await;
    // The broker does not answer for six times the lease.
    front.close();
    add(&committer, "k", 2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    front.reopen();
    assert_eq!(positions(&tail, 1).await, [("k".to_owned(), 2)]);
    assert!(tail.next(Duration::from_secs(2)).await.is_none(), "nothing is published again");
    assert_eq!(epoch().await, before, "no other time in the lead");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_is_written_once_an_interval_and_at_the_end_and_a_relay_that_lost_its_place_notices_then() {
    const INTERVAL: Duration = Duration::from_millis(500);
    let world = World::new();
    let instance = start(&world, world.separate_role("ledger"), "ledger").await;
    let watched = start(&world, world.separate_role("ledger"), "ledger").await;
    let note_writes = "create table cursor_write (number bigint generated always as identity); \
                       create function note_write() returns trigger language plpgsql as \
                       'begin insert into cursor_write default values; return new; end'; \
                       create trigger note_write after update of position on relay_cursor \
                       for each row execute function note_write()";
    sqlx::raw_sql(note_writes).execute(watched.pool()).await.unwrap();
    let number = async |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(watched.pool()).await.unwrap();
    let started = Instant::now();
    let interval_ms = u64::try_from(INTERVAL.as_millis()).unwrap();
    let settings = RelaySettings { cursor_interval_ms: interval_ms, ..RelaySettings::default() };
    instance.backbone.relay(&settings, &[TOPIC]);
    let (committer, tail) = (instance.committer(), Tail::new(&world, TOPIC));
    for number in 1..=40 {
        add(&committer, "k", number).await.unwrap();
        tail.take(1, BOUND).await;
    }
    let writes = number("select count(*) from cursor_write").await;
    let intervals = i64::try_from(started.elapsed().as_millis() / INTERVAL.as_millis()).unwrap();
    assert!(writes <= intervals + 1, "{writes} writes in {intervals} intervals");
    // The process that publishes knows at once what it has published; all others do after an interval.
    eventually("published", BOUND, || async {
        (unpublished(&instance.backbone).await.unwrap().events == 0).then_some(())
    })
    .await;
    eventually("written", BOUND, || async {
        (unpublished(&watched.backbone).await.unwrap().events == 0).then_some(())
    })
    .await;

    sqlx::query("update relay_cursor set epoch = epoch + 1").execute(watched.pool()).await.unwrap();
    let epoch = number("select epoch from relay_cursor").await;
    add(&committer, "k", 41).await.unwrap();
    eventually("another time in the lead", BOUND, || async {
        (number("select epoch from relay_cursor").await == epoch + 1).then_some(())
    })
    .await;
    add(&committer, "k", 42).await.unwrap();
    eventually("published by it", BOUND, || async {
        (unpublished(&instance.backbone).await.unwrap().events == 0).then_some(())
    })
    .await;
    instance.stop().await;
    assert_eq!(number("select position from relay_cursor").await, number("select max(position) from event_log").await);
    watched.stop().await;
    world.close().await;
}
