//! What a group has not read and cannot read any more is reported, and the group goes on. Its gauges end with their owner.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{sync::OnceLock, sync::atomic::Ordering, time::Duration};

use common::{Instance, TOPIC, quick, send, start_with};
use openorder_messaging::{ConsumerSettings, KafkaSettings};
use openorder_telemetry::{Telemetry, TelemetrySettings};
use openorder_testing::{OpenTransaction, TestProducer, World, delete_records, eventually, group_lag, recreate_topic};

const BOUND: Duration = Duration::from_secs(60);

/// One a process; before the first world.
fn telemetry() -> &'static Telemetry {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| {
        let settings = TelemetrySettings { otlp_endpoint: String::new(), ..TelemetrySettings::default() };
        openorder_telemetry::init(&settings).unwrap()
    })
}

/// Value of the first series of this name with all of these labels.
fn metric(name: &str, labels: &[&str]) -> Option<f64> {
    let text = telemetry().prometheus_text();
    let mut lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
    let line = lines.find(|line| labels.iter().all(|label| line.contains(label)))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

fn one_partition(world: &World) -> KafkaSettings {
    KafkaSettings { partitions: 1, ..world.kafka() }
}

fn looking() -> ConsumerSettings {
    ConsumerSettings { lag_interval_ms: 200, ..quick() }
}

/// A consumer of the one partition, under a role's name that only this test has.
async fn consuming(world: &World, role: &'static str) -> Instance {
    let instance = start_with(world, world.separate_role(role), role, one_partition(world)).await;
    instance.consumer_with(looking());
    instance
}

async fn read(instance: &Instance, count: i64) {
    eventually("all are read", BOUND, || async { (instance.count("ledger").await == count).then_some(()) }).await;
}

/// Waits until the group has committed all that there is.
async fn committed(world: &World, role: &str) {
    eventually("committed", BOUND, || async {
        (group_lag(&one_partition(world), role, &[TOPIC]).await == Some(0)).then_some(())
    })
    .await;
}

fn lost(service: &str, kind: &str) -> f64 {
    let (service, kind) = (format!("service=\"{service}\""), format!("kind=\"{kind}\""));
    metric("openorder_consumer_losses_total", &[&service, &kind]).unwrap_or(-1.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_deleted_before_they_were_read_are_reported_and_the_group_goes_on() {
    telemetry();
    let world = World::new();
    let first = consuming(&world, "deleted").await;
    let producer = TestProducer::new(&world);
    for number in 0..3 {
        send(&producer, "k", number).await;
    }
    read(&first, 3).await;
    committed(&world, "deleted").await;
    first.stop().await;
    for number in 3..8 {
        send(&producer, "k", number).await;
    }
    delete_records(&one_partition(&world), TOPIC, &[(0, 6)]).await;
    let second = consuming(&world, "deleted").await;
    read(&second, 5).await;
    assert_eq!(second.numbers("k").await, [0, 1, 2, 6, 7]);
    eventually("reported", BOUND, || async { (lost("deleted", "deleted_unread") == 1.0).then_some(()) }).await;
    // And where nothing comes after it.
    committed(&world, "deleted").await;
    second.stop().await;
    send(&producer, "k", 8).await;
    delete_records(&one_partition(&world), TOPIC, &[(0, 9)]).await;
    let third = consuming(&world, "deleted").await;
    eventually("reported", BOUND, || async { (lost("deleted", "deleted_unread") == 2.0).then_some(()) }).await;
    eventually("ready", BOUND, || async { third.role.readiness.is_ready().then_some(()) }).await;
    send(&producer, "k", 9).await;
    read(&third, 6).await;
    assert_eq!(lost("deleted", "deleted_unread"), 2.0, "each loss once");
    third.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_again_is_reported_and_read_from_its_beginning() {
    telemetry();
    let world = World::new();
    let instance = consuming(&world, "remade").await;
    let producer = TestProducer::new(&world);
    for number in 0..5 {
        send(&producer, "k", number).await;
    }
    read(&instance, 5).await;
    committed(&world, "remade").await;
    recreate_topic(&one_partition(&world), TOPIC).await;
    let producer = TestProducer::new(&world);
    send(&producer, "k", 5).await;
    send(&producer, "k", 6).await;
    read(&instance, 7).await;
    assert_eq!(instance.numbers("k").await, [0, 1, 2, 3, 4, 5, 6]);
    eventually("reported", BOUND, || async {
        (lost("remade", "forgotten") + lost("remade", "beyond_end") >= 1.0).then_some(())
    })
    .await;
    // The group's position is one that can be, and is committed.
    committed(&world, "remade").await;
    eventually("ready", BOUND, || async { instance.role.readiness.is_ready().then_some(()) }).await;
    instance.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_of_a_foreign_publisher_keeps_nobody_waiting() {
    telemetry();
    let world = World::new();
    let instance = consuming(&world, "foreign").await;
    eventually("ready", BOUND, || async { instance.role.readiness.is_ready().then_some(()) }).await;
    let open = OpenTransaction::begin(&one_partition(&world), TOPIC, 0).await;
    let producer = TestProducer::new(&world);
    send(&producer, "k", 1).await;
    read(&instance, 1).await;
    committed(&world, "foreign").await;
    drop(open);
    instance.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_is_told_through_an_outage_and_ends_with_the_consumer() {
    telemetry();
    let world = World::new();
    let instance = consuming(&world, "lagging").await;
    eventually("ready", BOUND, || async { instance.role.readiness.is_ready().then_some(()) }).await;
    let producer = TestProducer::new(&world);
    let lag = || metric("openorder_consumer_lag", &["service=\"lagging\"", "partition=\"0\""]);
    let outage = || metric("openorder_dependency_outage", &["service=\"lagging\"", "dependency=\"far-service\""]);
    for number in 0..4 {
        send(&producer, "far", number).await;
    }
    eventually("they wait", BOUND, || async { (lag() == Some(4.0) && outage() == Some(1.0)).then_some(()) }).await;
    send(&producer, "far", 4).await;
    eventually("one more waits", BOUND, || async { (lag() == Some(5.0)).then_some(()) }).await;
    instance.ledger.reachable.store(true, Ordering::SeqCst);
    eventually("all are read", BOUND, || async { (lag() == Some(0.0) && outage().is_none()).then_some(()) }).await;
    instance.stop().await;
    assert_eq!(lag(), None, "nobody owns the partition any more");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_during_an_outage_tells_what_waits() {
    telemetry();
    let world = World::new();
    let first = consuming(&world, "starting").await;
    let producer = TestProducer::new(&world);
    send(&producer, "k", 1).await;
    read(&first, 1).await;
    committed(&world, "starting").await;
    first.stop().await;
    send(&producer, "k", 2).await;
    world.database_accepts("starting", false).await;
    let role = world.separate_role("starting");
    let shutdown = role.shutdown.clone();
    let (url, database, kafka) = (world.database_url("starting"), world.database(), one_partition(&world));
    let starting = tokio::spawn(async move {
        let open = openorder_messaging::Backbone::start(&role, &url, &database, &kafka, &common::MIGRATIONS);
        open.await.is_ok()
    });
    eventually("the lag and the outage", BOUND, || async {
        let lag = metric("openorder_consumer_lag", &["service=\"starting\"", "partition=\"0\""]);
        let outage = metric("openorder_dependency_outage", &["service=\"starting\"", "dependency=\"postgres\""]);
        (lag == Some(1.0) && outage == Some(1.0)).then_some(())
    })
    .await;
    shutdown.trigger();
    assert!(!starting.await.unwrap());
    assert_eq!(metric("openorder_consumer_lag", &["service=\"starting\""]), None);
    world.database_accepts("starting", true).await;
    world.close().await;
}
