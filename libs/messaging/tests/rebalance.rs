//! Several instances: rebalances, slow work, zombies, and a key between retries and new messages.

use std::{
    process::{Child, Command},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use openorder_messaging::{ConsumerSettings, DatabaseSettings, KafkaSettings};
use openorder_testing::{TestProducer, World, eventually};

use crate::common::{Instance, quick, send, start, start_on};

const BOUND: Duration = Duration::from_secs(60);

async fn ready(instance: &Instance) {
    eventually("ready", BOUND, || async { instance.role.readiness.is_ready().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_takes_longer_than_the_poll_interval_keeps_its_place_in_the_group() {
    let world = World::new();
    let kafka =
        KafkaSettings { poll_interval_max_ms: 10_000, session_timeout_ms: 6_000, partitions: 1, ..world.kafka() };
    // The slow work stands still inside its transaction.
    let patient = DatabaseSettings { transaction_idle_max_ms: 60_000, ..world.database() };
    let instance = start_on(&world, world.role("ledger"), "ledger", kafka, patient).await;
    instance.consumer();
    ready(&instance).await;
    let producer = TestProducer::new(&world);
    instance.ledger.slow_ms.store(13_000, Ordering::SeqCst);
    send(&producer, "slow", 1).await;
    eventually("the slow one", BOUND, || async { (instance.numbers("slow").await == [1]).then_some(()) }).await;
    let done = Instant::now();
    send(&producer, "quick", 2).await;
    eventually("the next one", BOUND, || async { (instance.numbers("quick").await == [2]).then_some(()) }).await;
    assert!(done.elapsed() < Duration::from_secs(3), "it had to join again: {:?}", done.elapsed());
    assert_eq!(instance.ledger.worked(), (2, 2), "each was handled once");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_parked_by_one_instance_is_honoured_by_the_one_that_takes_its_partition_over() {
    let world = World::new();
    let first = start(&world, world.separate_role("ledger"), "ledger").await;
    // Its retries are out of reach, so that only the second instance can run them.
    let far = ConsumerSettings { retry_delay_base_ms: 600_000, retry_delay_max_ms: 600_000, ..quick() };
    first.consumer_with(far);
    ready(&first).await;
    let producer = TestProducer::new(&world);
    send(&producer, "broken", 1).await;
    send(&producer, "good", 1).await;
    eventually("parked", BOUND, || async { (first.count("parked_message").await == 1).then_some(()) }).await;
    first.stop().await;
    let second = start(&world, world.separate_role("ledger"), "ledger").await;
    // For this instance the key is mended: nothing but the parked message can keep the next one back.
    second.ledger.mended.store(true, Ordering::SeqCst);
    second.consumer();
    for number in 2..=5 {
        send(&producer, "broken", number).await;
        send(&producer, "good", number).await;
    }
    eventually("good", BOUND, || async { (second.numbers("good").await == [1, 2, 3, 4, 5]).then_some(()) }).await;
    eventually("behind", BOUND, || async { (second.count("parked_message").await == 5).then_some(()) }).await;
    assert!(second.numbers("broken").await.is_empty());
    sqlx::query("update parked_message set next_attempt_at = now() where next_attempt_at is not null")
        .execute(second.pool())
        .await
        .unwrap();
    eventually("in order", BOUND, || async { (second.numbers("broken").await == [1, 2, 3, 4, 5]).then_some(()) }).await;
    assert_eq!(second.count("parked_message").await, 0);
    second.stop().await;
    world.close().await;
}

/// Retriers that empty keys while consumers take the next messages of these keys, and partitions that move meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_fail_now_and_then_keep_their_order_while_instances_come_and_go() {
    const KEYS: i64 = 12;
    const NUMBERS: i64 = 80;
    let world = World::new();
    let settings = ConsumerSettings {
        retry_delay_base_ms: 2,
        retry_delay_max_ms: 10,
        retry_poll_interval_ms: 10,
        immediate_tries_max: 0,
        ..quick()
    };
    let first = start(&world, world.separate_role("ledger"), "ledger").await;
    first.consumer_with(settings.clone());
    ready(&first).await;
    let producer = TestProducer::new(&world);
    let sending = async {
        for number in 0..NUMBERS {
            let sends = (0..KEYS).map(|key| {
                let producer = &producer;
                async move { send(producer, &format!("flaky{key}"), number).await }
            });
            futures::future::join_all(sends).await;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    let coming_and_going = async {
        for _ in 0..2 {
            let other = start(&world, world.separate_role("ledger"), "ledger").await;
            other.consumer_with(settings.clone());
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            other.stop().await;
        }
    };
    tokio::join!(sending, coming_and_going);
    eventually("all", BOUND, || async { (first.count("ledger").await == KEYS * NUMBERS).then_some(()) }).await;
    eventually("none parked", BOUND, || async { (first.count("parked_message").await == 0).then_some(()) }).await;
    let expected: Vec<i64> = (0..NUMBERS).collect();
    for key in 0..KEYS {
        assert_eq!(first.numbers(&format!("flaky{key}")).await, expected, "flaky{key}");
    }
    assert_eq!(first.count("inbox").await, KEYS * NUMBERS);
    first.stop().await;
    world.close().await;
}

/// An instance as a process of its own, so that it can be stopped as a whole.
struct Process(Child);

impl Process {
    fn start(world: &World) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "rebalance::instance", "--ignored"]).env("OPENORDER_TEST_WORLD", world.name());
        Self(command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn impatient(world: &World) -> DatabaseSettings {
    DatabaseSettings { transaction_idle_max_ms: 2_000, ..world.database() }
}

/// What the process runs: an instance that takes long over `slow`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "what another test runs in a process of its own"]
async fn instance() {
    let world = World::named(&openorder_testing::variable("OPENORDER_TEST_WORLD", ""));
    let instance = start_on(&world, world.role("ledger"), "ledger", world.kafka(), impatient(&world)).await;
    instance.ledger.slow_ms.store(1_500, Ordering::SeqCst);
    instance.consumer();
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_stood_still_with_a_batch_in_hand_writes_nothing_when_it_wakes_up() {
    let world = World::new();
    let instance = start_on(&world, world.separate_role("ledger"), "ledger", world.kafka(), impatient(&world)).await;
    let zombie = Process::start(&world);
    let producer = TestProducer::new(&world);
    send(&producer, "warm-up", 0).await;
    eventually("the process", BOUND, || async { (instance.count("ledger").await == 1).then_some(()) }).await;
    for number in 0..10 {
        send(&producer, "slow", number).await;
    }
    let in_hand =
        "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'";
    eventually("a batch in hand", BOUND, || async {
        let count: i64 = sqlx::query_scalar(in_hand).fetch_one(instance.pool()).await.unwrap();
        (count > 0).then_some(())
    })
    .await;
    zombie.signal("-STOP");
    let before = instance.numbers("slow").await.len();
    assert!(before < 10, "it was too quick to be caught");
    // The other one takes over: Kafka gives it the partitions, and the database ends the transaction that stands still.
    instance.consumer();
    for number in 10..15 {
        send(&producer, "slow", number).await;
    }
    eventually("taken over", BOUND, || async { (instance.numbers("slow").await.len() == 15).then_some(()) }).await;
    zombie.signal("-CONT");
    // Time to write what it had in hand, if it could.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(instance.numbers("slow").await, (0..15).collect::<Vec<_>>());
    assert_eq!(instance.count("ledger").await, 16);
    assert_eq!(instance.count("parked_message").await, 0);
    drop(zombie);
    instance.stop().await;
    world.close().await;
}
