//! What failures come to: three answers, each key in its order, nothing lost.

use std::{sync::atomic::Ordering, time::Duration};

use openorder_messaging::{ConsumerSettings, DatabaseSettings};
use openorder_testing::{Message, Tail, TestProducer, World, eventually, header};
use rdkafka::message::Headers;

use crate::common::{ADDED, Instance, TOPIC, quick, send, start, start_on};

const BOUND: Duration = Duration::from_secs(30);

async fn begin(world: &World, settings: ConsumerSettings) -> (Instance, TestProducer) {
    let instance = start(world, world.role("ledger"), "ledger").await;
    instance.consumer_with(settings);
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    (instance, TestProducer::new(world))
}

/// What readiness says of the dependencies that are not there.
fn down(world: &World) -> String {
    let states = world.readiness().snapshot();
    let down = states.into_iter().filter(|state| !state.detail.is_empty());
    down.map(|state| format!("{}: {}\n", state.name, state.detail)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_attempts_are_used_up_is_dead_with_each_attempt_on_record_and_its_key_waits() {
    let world = World::new();
    let settings = ConsumerSettings { attempts_max: 5, attempts_recorded_max: 3, ..quick() };
    let (instance, producer) = begin(&world, settings).await;
    for number in 1..=3 {
        send(&producer, "broken", number).await;
    }
    send(&producer, "good", 4).await;
    let desk = instance.desk();
    let letter = eventually("dead", BOUND, || async {
        desk.dead_letters(&Default::default(), None, 10).await.unwrap().items.pop()
    })
    .await;
    assert_eq!(instance.numbers("good").await, [4]);
    assert_eq!((letter.attempts, letter.error_class.as_str(), letter.waiting_behind), (5, "retryable", 2));
    let detail = desk.dead_letter(letter.sequence).await.unwrap().unwrap();
    assert_eq!(detail.payload, 1_i64.to_be_bytes());
    assert_eq!(detail.headers.text("ce_type"), Some(ADDED));
    // The bound of the record keeps the last three of five.
    assert_eq!(detail.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [3, 4, 5]);
    assert!(detail.attempts.iter().all(|attempt| attempt.error_reason == "BROKEN_KEY"));
    assert!(detail.attempts.iter().all(|attempt| attempt.error_text == "this key is broken"));
    assert!(detail.attempts.is_sorted_by_key(|attempt| attempt.attempted_at));
    // It stays so by itself, also once it would succeed: it is an operator's.
    instance.ledger.mended.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(instance.numbers("broken").await.is_empty());
    let states: Vec<i16> = instance.parked().await.iter().map(|(_, state, ..)| *state).collect();
    assert_eq!(states, [2, 1, 1]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_succeed_is_dead_at_the_first_attempt() {
    let world = World::new();
    let (instance, producer) = begin(&world, quick()).await;
    send(&producer, "hopeless", 1).await;
    send(&producer, "panic", 2).await;
    producer.send(TOPIC, "garbled", &[("ce_type", ADDED)], b"no number").await;
    producer.send(TOPIC, "garbled", &[("ce_type", ADDED)], b"nor this").await;
    send(&producer, "good", 3).await;
    eventually("good", BOUND, || async { (instance.numbers("good").await == [3]).then_some(()) }).await;
    let mut parked = eventually("all", BOUND, || async {
        let parked = instance.parked().await;
        (parked.len() == 4).then_some(parked)
    })
    .await;
    parked.sort();
    let of = |key: &str, state, attempts, reason: &str| (key.to_owned(), state, attempts, reason.to_owned());
    let expected = [
        of("garbled", 1, 0, ""),
        of("garbled", 2, 1, "MALFORMED"),
        of("hopeless", 2, 1, "HOPELESS_KEY"),
        of("panic", 2, 1, "PANICKED"),
    ];
    assert_eq!(parked, expected);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_message_is_on_its_topic_with_its_bytes_and_the_headers_of_spring_and_connect() {
    let world = World::new();
    let (instance, producer) = begin(&world, ConsumerSettings { attempts_max: 2, ..quick() }).await;
    let headers = [
        ("ce_id", "0198c0de-0000-7000-8000-000000000001"),
        ("ce_type", ADDED),
        ("tenant", "a"),
        // As a tool leaves them that put a dead letter back on its topic.
        ("kafka_dlt-exception-message", "an older round"),
    ];
    producer.send(TOPIC, "broken", &headers, &7_i64.to_be_bytes()).await;
    let tail = Tail::new(&world, "ledger.entry.v1.ledger.dlq");
    let letter = tail.next(BOUND).await.expect("a dead letter");
    assert_eq!((letter.key(), letter.payload()), (Some(&b"broken"[..]), Some(&7_i64.to_be_bytes()[..])));
    assert_eq!(header(&letter, "tenant").as_deref(), Some("a"));
    assert_eq!(header(&letter, "ce_id").as_deref(), Some("0198c0de-0000-7000-8000-000000000001"));
    let topic = format!("{}{TOPIC}", world.topic_prefix());
    let group = format!("{}ledger", world.topic_prefix());
    assert_eq!(header(&letter, "kafka_dlt-original-topic"), Some(topic.clone()));
    assert_eq!(header(&letter, "kafka_dlt-original-consumer-group"), Some(group));
    assert_eq!(header(&letter, "kafka_dlt-exception-fqcn").as_deref(), Some("openorder.BROKEN_KEY"));
    assert_eq!(header(&letter, "__connect.errors.topic"), Some(topic));
    let headers = letter.headers().unwrap();
    let raw = |name: &str| headers.iter().find(|header| header.key == name).and_then(|header| header.value).unwrap();
    assert_eq!(raw("kafka_dlt-original-partition"), letter.partition().to_be_bytes());
    assert_eq!(raw("kafka_dlt-original-offset"), 0_i64.to_be_bytes());
    let recorded_ms = i64::from_be_bytes(raw("kafka_dlt-original-timestamp").try_into().unwrap());
    assert!((chrono::Utc::now().timestamp_millis() - recorded_ms).abs() < 60_000);
    let messages: Vec<_> = headers.iter().filter(|header| header.key == "kafka_dlt-exception-message").collect();
    assert_eq!(messages.len(), 1, "headers of an earlier round give way");
    eventually("marked as published", BOUND, || async {
        (instance.desk().counts().await.unwrap().unpublished == 0).then_some(())
    })
    .await;
    assert!(tail.next(Duration::from_millis(500)).await.is_none(), "published once");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_what_the_work_needs_pauses_and_counts_nothing_and_says_what_is_away() {
    let world = World::new();
    let (instance, producer) = begin(&world, quick()).await;
    for number in 0..20 {
        send(&producer, if number % 5 == 0 { "far" } else { "near" }, number).await;
    }
    let said = eventually("not ready", BOUND, || async {
        let said = down(&world);
        said.contains("far-service").then_some(said)
    })
    .await;
    assert_eq!(said, "kafka-consumer: far-service is unavailable: connection refused\n");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        (instance.count("parked_message").await, instance.count("inbox").await),
        (0, instance.count("ledger").await)
    );
    instance.ledger.reachable.store(true, Ordering::SeqCst);
    eventually("all", BOUND, || async { (instance.count("ledger").await == 20).then_some(()) }).await;
    assert_eq!(instance.numbers("far").await, [0, 5, 10, 15]);
    assert_eq!(instance.count("parked_message").await, 0);
    eventually("ready", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_during_a_retry_is_no_attempt() {
    let world = World::new();
    let (instance, producer) = begin(&world, ConsumerSettings { attempts_max: 3, ..quick() }).await;
    instance.ledger.reachable.store(true, Ordering::SeqCst);
    // `far` is fetched, fails for another reason first, and is parked.
    sqlx::query("alter table ledger add constraint no_five check (number <> 5)")
        .execute(instance.pool())
        .await
        .unwrap();
    send(&producer, "far", 5).await;
    eventually("dead", BOUND, || async { (instance.desk().counts().await.unwrap().dead == 1).then_some(()) }).await;
    sqlx::query("alter table ledger drop constraint no_five").execute(instance.pool()).await.unwrap();
    instance.ledger.reachable.store(false, Ordering::SeqCst);
    sqlx::query("update parked_message set state = 1, attempts = 1, next_attempt_at = now()")
        .execute(instance.pool())
        .await
        .unwrap();
    eventually("not ready", BOUND, || async { down(&world).starts_with("parked-retries: far-service").then_some(()) })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(instance.parked().await[0].2, 1, "attempts");
    instance.ledger.reachable.store(true, Ordering::SeqCst);
    eventually("handled", BOUND, || async { (instance.numbers("far").await == [5]).then_some(()) }).await;
    eventually("ready", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_among_500_good_messages_costs_them_a_search_and_later_ones_nothing() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let slowly =
        ConsumerSettings { retry_delay_base_ms: 600_000, retry_delay_max_ms: 600_000, linger_ms: 500, ..quick() };
    instance.consumer_with(slowly);
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    let producer = TestProducer::new(&world);
    let sends = (0..501).map(|number| {
        let key = if number == 250 { "broken".to_owned() } else { format!("good{number}") };
        let producer = &producer;
        async move { send(producer, &key, number).await }
    });
    futures::future::join_all(sends).await;
    eventually("good ones", BOUND, || async { (instance.count("ledger").await == 500).then_some(()) }).await;
    eventually("parked", BOUND, || async { (instance.parked().await.len() == 1).then_some(()) }).await;
    // Its next attempt may be near, by the jitter; here it must not be counted.
    sqlx::query("update parked_message set next_attempt_at = now() + interval '1 hour'")
        .execute(instance.pool())
        .await
        .unwrap();
    // Twice as a whole, the halves on the way to the guilty one and the good ones beside them, then that one alone.
    let (calls, commands) = instance.ledger.worked();
    assert!(calls <= 4 * 20 && commands <= 4 * 501 + 10, "{calls} transactions of {commands} messages");
    let started = std::time::Instant::now();
    send(&producer, "later", 1).await;
    eventually("a later one", BOUND, || async { (instance.numbers("later").await == [1]).then_some(()) }).await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(instance.ledger.worked(), (1, 1), "the parked one costs the later ones nothing");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_bound_of_messages_to_be_tried_again_the_partitions_wait_loudly_until_there_is_room() {
    let world = World::new();
    let (instance, producer) = begin(&world, ConsumerSettings { parked_messages_max: 3, ..quick() }).await;
    for number in 0..3 {
        send(&producer, &format!("broken{number}"), number).await;
    }
    eventually("full", BOUND, || async { (instance.parked().await.len() == 3).then_some(()) }).await;
    send(&producer, "broken3", 3).await;
    send(&producer, "good", 4).await;
    eventually("not ready", BOUND, || async { down(&world).contains("parked_messages_max").then_some(()) }).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(instance.parked().await.len(), 3);
    instance.ledger.mended.store(true, Ordering::SeqCst);
    eventually("flows", BOUND, || async { (instance.count("ledger").await == 5).then_some(()) }).await;
    assert_eq!(instance.parked().await.len(), 0);
    eventually("ready", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    world.close().await;
}

/// An instance whose statements may take a third of a second.
async fn begin_in_a_hurry(world: &World, settings: ConsumerSettings) -> (Instance, TestProducer) {
    let database = DatabaseSettings { statement_timeout_ms: 300, ..world.database() };
    let instance = start_on(world, world.role("ledger"), "ledger", world.kafka(), database).await;
    instance.consumer_with(settings);
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    (instance, TestProducer::new(world))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_for_long_is_an_outage_and_no_message_s_attempt() {
    let world = World::new();
    let settings = ConsumerSettings { attempts_max: 2, outage_delay_max_ms: 100, ..quick() };
    let (instance, producer) = begin_in_a_hurry(&world, settings).await;
    // As a migration does, or VACUUM FULL.
    let mut migration = instance.pool().begin().await.unwrap();
    sqlx::query("lock table ledger in access exclusive mode").execute(&mut *migration).await.unwrap();
    for number in 1..=20 {
        send(&producer, &format!("k{}", number % 4), number).await;
    }
    eventually("not ready", BOUND, || async { down(&world).contains("postgres-in-time").then_some(()) }).await;
    // Ten times the limit of a statement and more: more than the attempts that a message has.
    tokio::time::sleep(Duration::from_secs(6)).await;
    // Those that a search came upon are tried again meanwhile, and run into the lock as well.
    let parked = instance.parked().await;
    assert!(parked.iter().all(|(_, state, attempts, _)| (*state, *attempts) == (1, 0)), "{parked:?}");
    migration.rollback().await.unwrap();
    eventually("all", BOUND, || async { (instance.count("ledger").await == 20).then_some(()) }).await;
    for key in 0..4 {
        let expected: Vec<i64> = (1..=20).filter(|number| number % 4 == key).collect();
        assert_eq!(instance.numbers(&format!("k{key}")).await, expected);
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_that_always_runs_into_the_time_limit_keeps_its_key_waiting_and_nobody_else() {
    let world = World::new();
    let settings = ConsumerSettings { attempts_max: 2, outage_delay_max_ms: 100, ..quick() };
    let (instance, producer) = begin_in_a_hurry(&world, settings).await;
    let sends = (0..40).map(|number| {
        let key = if number % 20 == 7 { format!("endless{number}") } else { format!("good{number}") };
        let producer = &producer;
        async move { send(producer, &key, number).await }
    });
    futures::future::join_all(sends).await;
    send(&producer, "endless7", 100).await;
    eventually("the others", BOUND, || async { (instance.count("ledger").await == 38).then_some(()) }).await;
    // It is tried again and again meanwhile, and others that are parked are as well.
    send(&producer, "broken", 1).await;
    eventually("the broken one is dead", BOUND, || async {
        (instance.desk().counts().await.unwrap().dead == 1).then_some(())
    })
    .await;
    let mut parked = instance.parked().await;
    parked.retain(|(key, ..)| key.starts_with("endless"));
    parked.sort();
    let of = |key: &str, reason: &str| (key.to_owned(), 1, 0, reason.to_owned());
    let expected = [of("endless27", "DATABASE_TIMEOUT"), of("endless7", ""), of("endless7", "DATABASE_TIMEOUT")];
    assert_eq!(parked, expected);
    instance.ledger.mended.store(true, Ordering::SeqCst);
    eventually("home", BOUND, || async { (instance.numbers("endless7").await == [7, 100]).then_some(()) }).await;
    world.close().await;
}

/// The advisory locks of dead letters, the inbox and pruning, of all versions.
const DEAD_LETTERS_LOCK: i64 = 0x6f70_656e_0003;
const INBOX_LOCK: i64 = 0x6f70_656e_0004;
const PRUNE_LOCK: i64 = 0x6f70_656e_0005;

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_taken_over_while_dead_letters_are_published_and_the_log_is_pruned_and_the_other_way_round() {
    let world = World::new();
    let (instance, producer) = begin(&world, quick()).await;
    let mut holder = instance.pool().acquire().await.unwrap();
    for lock in [DEAD_LETTERS_LOCK, PRUNE_LOCK] {
        sqlx::query("select pg_advisory_lock($1)").bind(lock).execute(&mut *holder).await.unwrap();
    }
    send(&producer, "k", 1).await;
    send(&producer, "hopeless", 2).await;
    eventually("both are taken over", BOUND, || async {
        (instance.numbers("k").await == [1] && instance.parked().await.len() == 1).then_some(())
    })
    .await;
    sqlx::query("select pg_advisory_unlock_all()").execute(&mut *holder).await.unwrap();
    sqlx::query("select pg_advisory_lock_shared($1)").bind(INBOX_LOCK).execute(&mut *holder).await.unwrap();
    let tail = Tail::new(&world, &format!("{TOPIC}.ledger.dlq"));
    tail.take(1, BOUND).await;
    world.close().await;
}
