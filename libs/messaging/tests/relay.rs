//! The relay: everything that committed is published, in order per key, readable by any Kafka tool; one at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{collections::HashMap, time::Duration};

use common::{ADDED, TOPIC, add, start, start_with};
use futures::future::join_all;
use openorder_messaging::KafkaSettings;
use openorder_testing::{Tail, World, free_address, header};
use rdkafka::Message;

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
    let mut next: HashMap<String, i64> = HashMap::new();
    for message in &messages {
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        let version: i64 = header(message, "ce_sequence").unwrap().parse().unwrap();
        let expected = next.entry(key.clone()).or_insert(1);
        assert_eq!(version, *expected, "versions of {key} in order, without a gap");
        *expected += 1;
        assert_eq!(header(message, "ce_specversion").unwrap(), "1.0");
        assert_eq!(header(message, "ce_type").unwrap(), ADDED);
        assert_eq!(header(message, "ce_source").unwrap(), "/openorder/ledger");
        assert_eq!(header(message, "ce_subject").unwrap(), key);
        assert_eq!(header(message, "content-type").unwrap(), "application/protobuf");
        assert!(header(message, "ce_time").unwrap().ends_with('Z'));
        assert_eq!(header(message, "ce_id").unwrap().len(), 36);
    }
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
    let mut last: HashMap<Vec<u8>, i64> = HashMap::new();
    for message in tail.take(400, Duration::from_secs(20)).await {
        let version: i64 = header(&message, "ce_sequence").unwrap().parse().unwrap();
        let before = last.insert(message.key().unwrap().to_vec(), version).unwrap_or(0);
        assert_eq!(version, before + 1, "in order, without a gap and without a copy");
    }
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
        let version: i64 = header(&message, "ce_sequence").unwrap().parse().unwrap();
        assert!(version <= highest + 1, "version {version} after {highest}: one was skipped");
        highest = highest.max(version);
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
