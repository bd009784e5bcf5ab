//! Clients that librdkafka left without a broker: they are replaced, and nobody waits for their end.

use std::time::{Duration, Instant};

use openorder_messaging::{KafkaSettings, lag::LagReader};
use openorder_testing::{BrokerFront, Tail, TestProducer, World, eventually};

use crate::common::{Instance, TOPIC, add, quick, send, start_with};

const BOUND: Duration = Duration::from_secs(60);

/// Clients of these settings reach the broker through the front.
fn through(front: &BrokerFront, world: &World) -> KafkaSettings {
    KafkaSettings {
        brokers: front.address(),
        client_check_interval_ms: 300,
        client_doubt_max_ms: 1_000,
        ..world.kafka()
    }
}

async fn ready(instance: &Instance) {
    eventually("ready", BOUND, || async { instance.role.readiness.is_ready().then_some(()) }).await;
}

/// What a broker does that stood still and lost its controller meanwhile: connections break, and those that are made next
/// are told that there is no broker.
async fn forget(front: &BrokerFront, instance: &Instance) {
    front.close();
    eventually("in doubt", BOUND, || async { (!instance.role.readiness.is_ready()).then_some(()) }).await;
    front.forget_brokers();
    front.reopen();
    tokio::time::sleep(Duration::from_secs(4)).await;
    front.remember_brokers();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_was_told_of_no_broker_is_replaced_and_reads_on() {
    let world = World::new();
    let front = BrokerFront::to(&world.kafka().brokers).await;
    let instance = start_with(&world, world.separate_role("ledger"), "ledger", through(&front, &world)).await;
    instance.consumer();
    ready(&instance).await;
    let producer = TestProducer::new(&world);
    send(&producer, "k", 1).await;
    eventually("the first", BOUND, || async { (instance.numbers("k").await == [1]).then_some(()) }).await;
    forget(&front, &instance).await;
    send(&producer, "k", 2).await;
    eventually("the second", BOUND, || async { (instance.numbers("k").await == [1, 2]).then_some(()) }).await;
    ready(&instance).await;
    instance.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_was_told_of_no_broker_is_replaced_and_publishes_on() {
    let world = World::new();
    let front = BrokerFront::to(&world.kafka().brokers).await;
    let instance = start_with(&world, world.separate_role("ledger"), "ledger", through(&front, &world)).await;
    let committer = instance.committer();
    instance.relay();
    ready(&instance).await;
    let tail = Tail::new(&world, TOPIC);
    add(&committer, "k", 1).await.unwrap();
    tail.take(1, BOUND).await;
    forget(&front, &instance).await;
    ready(&instance).await;
    let began = Instant::now();
    add(&committer, "k", 2).await.unwrap();
    // The first may come again before it.
    eventually("the second", BOUND, || async {
        let message = tail.next(BOUND).await?;
        (openorder_testing::Message::payload(&message) == Some(&2_i64.to_be_bytes()[..])).then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(25), "it waited for the end of a publish: {:?}", began.elapsed());
    instance.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_is_told_again_after_a_broker_was_forgotten() {
    let world = World::new();
    let front = BrokerFront::to(&world.kafka().brokers).await;
    let direct = start_with(&world, world.separate_role("ledger"), "ledger", world.kafka()).await;
    direct.consumer();
    ready(&direct).await;
    let producer = TestProducer::new(&world);
    send(&producer, "k", 1).await;
    let reader = LagReader::new(&KafkaSettings { lag_timeout_ms: 20_000, ..through(&front, &world) });
    let groups = ["ledger".to_owned()];
    eventually("all is read", BOUND, || async {
        let lag = reader.read(&groups).await.unwrap();
        (lag[0].partitions.iter().any(|one| one.committed_offset.is_some()) && lag[0].total() == 0).then_some(())
    })
    .await;
    front.forget_brokers();
    eventually("the reader knows no broker", BOUND, || async {
        let answer = tokio::time::timeout(Duration::from_secs(3), reader.read(&groups)).await;
        (!matches!(answer, Ok(Ok(_)))).then_some(())
    })
    .await;
    front.remember_brokers();
    let lag = reader.read(&groups).await.expect("a passing error is passed over, and the client replaced");
    assert_eq!(lag[0].members, 1);
    direct.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_ends_in_time_although_its_clients_cannot_be_closed() {
    let world = World::new();
    let front = BrokerFront::to(&world.kafka().brokers).await;
    let never =
        KafkaSettings { client_doubt_max_ms: 600_000, client_close_timeout_ms: 1_000, ..through(&front, &world) };
    let instance = start_with(&world, world.separate_role("ledger"), "ledger", never).await;
    instance.consumer_with(quick());
    instance.relay();
    ready(&instance).await;
    forget(&front, &instance).await;
    let began = Instant::now();
    instance.stop().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    world.close().await;
}
