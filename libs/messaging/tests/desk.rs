//! The operator's desk over the real engine: look, replay, discard, redeliver, read the log.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use openorder_messaging::{
    ConsumerSettings,
    desk::{
        Desk, Discard, Discarded, EventFilter, Filter, ItemOutcome, ReplayJob, ReplayRequest, ReplayState, Resolution,
    },
};
use openorder_testing::{TestProducer, World, eventually};
use openorder_types::CallError;
use uuid::Uuid;

use crate::common::{ADDED, Instance, TOPIC, add, quick, send, start};

const BOUND: Duration = Duration::from_secs(120);

async fn begin(world: &World) -> (Instance, TestProducer, Desk) {
    begin_with(world, quick()).await
}

async fn begin_with(world: &World, settings: ConsumerSettings) -> (Instance, TestProducer, Desk) {
    let instance = start(world, world.role("ledger"), "ledger").await;
    instance.consumer_with(settings);
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    let desk = instance.desk();
    (instance, TestProducer::new(world), desk)
}

async fn dead(desk: &Desk, count: i64) {
    eventually("dead", BOUND, || async { (desk.counts().await.unwrap().dead == count).then_some(()) }).await;
}

fn replay(request_id: &str, filter: Filter, rate_per_second: u32) -> ReplayRequest {
    ReplayRequest {
        request_id: request_id.to_owned(),
        requested_by: "ann".to_owned(),
        reason: "mended".to_owned(),
        filter,
        rate_per_second,
        items_max: 10_000,
    }
}

async fn through(desk: &Desk, job: &ReplayJob) -> ReplayJob {
    eventually("replayed", BOUND, || async {
        let job = desk.replay(job.job_id).await.unwrap().unwrap();
        (job.state == ReplayState::Completed).then_some(job)
    })
    .await
}

fn discard(sequence: i64) -> Discard {
    Discard { sequences: vec![sequence], requested_by: "ann".to_owned(), reason: "no order of ours".to_owned() }
}

fn reason<T: std::fmt::Debug>(result: Result<T, CallError>) -> &'static str {
    match result {
        Err(CallError::Rejected(rejection)) => rejection.reason,
        other => panic!("not rejected: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_by_page_and_filter_and_grouped_by_cause() {
    let world = World::new();
    let (_instance, producer, desk) = begin(&world).await;
    for number in 0..5 {
        send(&producer, &format!("hopeless{number}"), number).await;
    }
    dead(&desk, 5).await;
    producer.send(TOPIC, "garbled", &[("ce_type", "ledger.entry.odd")], b"x").await;
    dead(&desk, 6).await;
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = desk.dead_letters(&Filter::default(), after, 2).await.unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|letter| letter.sequence));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(seen.len() == 6 && seen.is_sorted(), "{seen:?}");
    let count = async |filter: Filter| desk.dead_letters(&filter, None, 100).await.unwrap().items.len();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(count(Filter { reason: some("MALFORMED"), ..Filter::default() }).await, 1);
    assert_eq!(count(Filter { event_type: some(ADDED), ..Filter::default() }).await, 5);
    assert_eq!(count(Filter { topic: some("other.topic.v1"), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { key: Some(b"hopeless3".to_vec()), ..Filter::default() }).await, 1);
    assert_eq!(count(Filter { sequences: seen[..2].to_vec(), ..Filter::default() }).await, 2);
    let now = chrono::Utc::now();
    assert_eq!(count(Filter { from: Some(now), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { until: Some(now), ..Filter::default() }).await, 6);
    let causes = desk.causes(&Filter::default(), 10).await.unwrap();
    let causes: Vec<_> = causes.iter().map(|cause| (cause.error_reason.as_str(), cause.count, cause.keys)).collect();
    assert_eq!(causes, [("HOPELESS_KEY", 5, 5), ("MALFORMED", 1, 1)]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_what_was_dead_when_it_began_and_keeps_the_order_of_each_key() {
    let world = World::new();
    let (instance, producer, desk) = begin(&world).await;
    for number in 0..30 {
        send(&producer, &format!("hopeless{}", number % 3), number).await;
    }
    dead(&desk, 3).await;
    eventually("behind", BOUND, || async { (instance.count("parked_message").await == 30).then_some(()) }).await;
    let counted = desk.count_replay(&Filter::default()).await.unwrap();
    assert_eq!((counted.items, counted.keys, counted.waiting_behind, counted.in_other_replays), (3, 3, 27, 0));
    assert_eq!(desk.counts().await.unwrap().dead, 3, "counting changes nothing");

    instance.ledger.mended.store(true, Ordering::SeqCst);
    let job = desk.start_replay(&replay("one", Filter::default(), 1_000)).await.unwrap();
    assert_eq!(job.items, 3);
    let done = through(&desk, &job).await;
    assert_eq!((done.succeeded, done.failed, done.waiting, done.released), (3, 0, 0, 0));
    eventually("followed", BOUND, || async { (instance.count("ledger").await == 30).then_some(()) }).await;
    for key in 0..3 {
        let expected: Vec<i64> = (0..30).filter(|number| number % 3 == key).collect();
        assert_eq!(instance.numbers(&format!("hopeless{key}")).await, expected);
    }
    let history = desk.history(&Filter::default(), None, 10).await.unwrap().items;
    assert_eq!(history.len(), 3);
    assert!(history.iter().all(|entry| entry.resolution == Resolution::Replayed && entry.resolved_by == "ann"));
    assert!(history.iter().all(|entry| entry.attempts.len() == 1 && entry.error_reason == "HOPELESS_KEY"));
    // The same request again is the same job; with other content it is refused.
    assert_eq!(desk.start_replay(&replay("one", Filter::default(), 1_000)).await.unwrap(), done);
    assert_eq!(reason(desk.start_replay(&replay("one", Filter::default(), 5)).await), "REQUEST_ID_REUSED");
    assert_eq!(reason(desk.start_replay(&replay("two", Filter::default(), 5)).await), "NOTHING_TO_REPLAY");
    assert_eq!(reason(desk.start_replay(&replay("three", Filter::default(), 0)).await), "OUT_OF_RANGE");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_in_one_open_replay_only_and_one_that_fails_again_says_so() {
    let world = World::new();
    let (instance, producer, desk) = begin(&world).await;
    for number in 0..4 {
        send(&producer, &format!("hopeless{number}"), number).await;
    }
    dead(&desk, 4).await;
    // So slow that the second one finds the first one open.
    let slow = desk.start_replay(&replay("slow", Filter::default(), 1)).await.unwrap();
    assert_eq!(reason(desk.start_replay(&replay("other", Filter::default(), 1)).await), "NOTHING_TO_REPLAY");
    assert_eq!(desk.count_replay(&Filter::default()).await.unwrap().in_other_replays, 4);
    eventually("a first failure", BOUND, || async {
        (desk.replay(slow.job_id).await.unwrap().unwrap().failed > 0).then_some(())
    })
    .await;
    let cancelled = desk.cancel_replay(slow.job_id).await.unwrap();
    assert_eq!(cancelled.state, ReplayState::Cancelled);
    assert!(cancelled.failed >= 1 && cancelled.left_out >= 1, "{cancelled:?}");
    assert_eq!(cancelled.failed + cancelled.left_out + cancelled.released, 4);
    let items = desk.replay_items(slow.job_id, None, 100).await.unwrap().items;
    let failed: Vec<_> = items.iter().filter(|item| item.outcome == ItemOutcome::FailedAgain).collect();
    assert!(failed.iter().all(|item| item.error_reason == "HOPELESS_KEY" && item.finished_at.is_some()));
    dead(&desk, 4).await;
    let attempts: i64 =
        sqlx::query_scalar("select max(number)::bigint from parked_attempt").fetch_one(instance.pool()).await.unwrap();
    assert_eq!(attempts, 2, "the attempt of the replay is on record");
    // What the cancelled one left, another one takes.
    instance.ledger.mended.store(true, Ordering::SeqCst);
    let next = desk.start_replay(&replay("next", Filter::default(), 1_000)).await.unwrap();
    assert_eq!(next.items, 4);
    assert_eq!(through(&desk, &next).await.succeeded, 4);
    assert_eq!(instance.count("ledger").await, 4);
    let jobs = desk.replays(None, 10).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.request_id.as_str()).collect::<Vec<_>>(), ["next", "slow"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_keeps_to_its_rate_and_outlives_the_instance_that_began_it() {
    let world = World::new();
    let first = start(&world, world.separate_role("ledger"), "ledger").await;
    first.consumer();
    eventually("ready", BOUND, || async { first.role.readiness.is_ready().then_some(()) }).await;
    let producer = TestProducer::new(&world);
    for number in 0..60 {
        send(&producer, &format!("hopeless{number}"), number).await;
    }
    dead(&first.desk(), 60).await;
    first.ledger.mended.store(true, Ordering::SeqCst);
    let job = first.desk().start_replay(&replay("one", Filter::default(), 20)).await.unwrap();
    let started = Instant::now();
    eventually("some", BOUND, || async { (first.count("ledger").await >= 10).then_some(()) }).await;
    first.stop().await;
    let second = start(&world, world.separate_role("ledger"), "ledger").await;
    second.ledger.mended.store(true, Ordering::SeqCst);
    second.consumer();
    let done = through(&second.desk(), &job).await;
    assert_eq!((done.succeeded, second.count("ledger").await), (60, 60));
    assert!(started.elapsed() > Duration::from_millis(2_900), "60 at 20 a second took {:?}", started.elapsed());
    second.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_thousands_is_a_matter_of_batches() {
    const COUNT: i64 = 2_000;
    let world = World::new();
    let (instance, producer, desk) = begin(&world).await;
    // Half of them of keys of their own, half behind ten keys.
    let sends = (0..COUNT).map(|number| {
        let key = if number % 2 == 0 { format!("hopeless{number}") } else { format!("hopeless-shared{}", number % 10) };
        let producer = &producer;
        async move { send(producer, &key, number).await }
    });
    futures::future::join_all(sends).await;
    eventually("parked", BOUND, || async { (instance.count("parked_message").await == COUNT).then_some(()) }).await;
    let dead = desk.counts().await.unwrap().dead;
    assert_eq!(dead, COUNT / 2 + 5);
    instance.ledger.mended.store(true, Ordering::SeqCst);
    instance.ledger.worked();
    let started = Instant::now();
    let job = desk.start_replay(&replay("all", Filter::default(), 10_000)).await.unwrap();
    eventually("all", BOUND, || async { (instance.count("ledger").await == COUNT).then_some(()) }).await;
    let done = through(&desk, &job).await;
    assert_eq!(i64::from(done.succeeded), dead);
    let (calls, commands) = instance.ledger.worked();
    println!("{COUNT} messages in {:?}, {calls} transactions", started.elapsed());
    assert!(calls < 100 && commands == COUNT as usize, "{calls} transactions of {commands} messages");
    for shared in [1, 3, 5, 7, 9] {
        let numbers = instance.numbers(&format!("hopeless-shared{shared}")).await;
        assert!(numbers.len() == 200 && numbers.is_sorted());
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_dead_letter_lets_its_key_flow_on_and_stays_in_the_history() {
    let world = World::new();
    let (instance, producer, desk) = begin(&world).await;
    producer.send(TOPIC, "k", &[("ce_type", ADDED), ("tenant", "a")], b"no number").await;
    for number in 1..=3 {
        send(&producer, "k", number).await;
    }
    dead(&desk, 1).await;
    eventually("behind", BOUND, || async { (instance.count("parked_message").await == 4).then_some(()) }).await;
    let sequence = desk.dead_letters(&Filter::default(), None, 1).await.unwrap().items[0].sequence;
    assert_eq!(reason(desk.discard(&Discard { reason: " ".to_owned(), ..discard(sequence) }).await), "REASON_INVALID");
    let waiting = Discard { sequences: vec![sequence, sequence + 1], ..discard(sequence) };
    let done = desk.discard(&waiting).await.unwrap();
    assert_eq!((done.discarded, done.in_replay, done.unknown), (1, 0, 1), "one of them only waits");
    let entry = desk.history(&Filter::default(), None, 10).await.unwrap().items.remove(0);
    assert_eq!((entry.payload.as_slice(), entry.headers.text("tenant")), (&b"no number"[..], Some("a")));
    assert_eq!((entry.resolution, entry.attempts.len()), (Resolution::Discarded, 1));
    eventually("flows on", BOUND, || async { (instance.numbers("k").await == [1, 2, 3]).then_some(()) }).await;
    assert_eq!(instance.count("parked_message").await, 0);
    assert_eq!(
        desk.discard(&discard(sequence)).await.unwrap(),
        Discarded { discarded: 1, ..Discarded::default() },
        "asked again"
    );
    assert_eq!(desk.history(&Filter::default(), None, 10).await.unwrap().items, [entry]);
    assert!(desk.dead_letter(sequence).await.unwrap().is_none());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_services_log_are_redelivered_to_another_that_missed_them_and_only_those() {
    let world = World::new();
    let source = start(&world, world.role("source"), "source").await;
    let committer = source.committer();
    for number in 1..=6 {
        add(&committer, if number % 2 == 0 { "even" } else { "odd" }, number).await.unwrap();
    }
    let (target, producer, desk) = begin(&world).await;
    let events = |filter: EventFilter| {
        let desk = source.desk();
        async move { desk.events(&filter, None, 100).await.unwrap().unwrap().items }
    };
    let all = events(EventFilter::default()).await;
    assert_eq!(all.len(), 6);
    let odd = events(EventFilter { aggregate_id: Some("odd".to_owned()), ..EventFilter::default() }).await;
    assert_eq!(odd.len(), 3);
    let late = events(EventFilter { from: Some(all[4].occurred_at), ..EventFilter::default() }).await;
    assert_eq!(late.iter().map(|event| event.position).collect::<Vec<_>>(), [all[4].position, all[5].position]);
    let early = events(EventFilter { until: Some(all[1].occurred_at), ..EventFilter::default() }).await;
    assert_eq!(early.iter().map(|event| event.position).collect::<Vec<_>>(), [all[0].position]);
    assert!(events(EventFilter { event_types: vec!["x".to_owned()], ..EventFilter::default() }).await.is_empty());
    let first_page = source.desk().events(&EventFilter::default(), None, 4).await.unwrap().unwrap();
    let second_page = source.desk().events(&EventFilter::default(), first_page.next, 4).await.unwrap().unwrap();
    assert_eq!((first_page.items.len(), second_page.items.len(), second_page.next), (4, 2, None));

    // One of them came by Kafka.
    crate::common::send_as(&producer, "odd", 1, odd[0].event_id).await;
    eventually("by Kafka", BOUND, || async { (target.numbers("odd").await == [1]).then_some(()) }).await;
    let given = desk.redeliver("source", &all).await.unwrap();
    assert_eq!((given.accepted, given.known), (5, 1));
    eventually("all", BOUND, || async { (target.count("ledger").await == 6).then_some(()) }).await;
    assert_eq!((target.numbers("odd").await, target.numbers("even").await), (vec![1, 3, 5], vec![2, 4, 6]));
    let again = desk.redeliver("source", &all).await.unwrap();
    assert_eq!((again.accepted, again.known), (0, 6));
    let mut foreign = all[0].clone();
    foreign.topic = "other.topic.v1".into();
    foreign.event_id = Uuid::now_v7();
    assert_eq!(reason(desk.redeliver("source", &[foreign]).await), "TOPIC_NOT_CONSUMED");
    world.close().await;
}
