//! Records that no schema allows: whatever a producer writes stops its own key at most, and no group.

use std::time::Duration;

use openorder_messaging::{
    ConsumerSettings, DecodeError, Interest, Received, ScanFrom, Subscription, TopicScan, UnknownTypes, desk::Filter,
};
use openorder_testing::{RawRecord, Tail, TestProducer, World, eventually, header, noise, send_raw};
use rdkafka::Message;

use crate::common::{ADDED, Instance, TOPIC, quick, send, start};

const BOUND: Duration = Duration::from_secs(60);
const DEAD_LETTERS: &str = "ledger.entry.v1.ledger.dlq";

async fn begin(world: &World, settings: ConsumerSettings) -> (Instance, TestProducer) {
    let instance = start(world, world.role("ledger"), "ledger").await;
    let subscription =
        Subscription { topics: vec![TOPIC], decode, interest: |_, _| Interest::Unknown, injects: |_| false };
    instance.backbone.consumer(instance.ledger.clone(), subscription, &settings);
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    (instance, TestProducer::new(world))
}

/// Like the services: by the type. Some payloads make it panic.
fn decode(message: &Received) -> Result<Option<crate::common::Add>, DecodeError> {
    assert!(&*message.payload != b"panic", "this payload panics");
    if message.event_type == ADDED {
        crate::common::decode(message)
    } else {
        Err(DecodeError::UnknownType(message.event_type.to_string()))
    }
}

fn named(key: &[u8]) -> RawRecord {
    RawRecord { key: Some(key.to_vec()), payload: Some(1_i64.to_be_bytes().to_vec()), headers: Vec::new() }
        .header("ce_type", ADDED)
}

/// What readiness says of the dependencies that are not there.
fn down(world: &World) -> String {
    let states = world.readiness().snapshot();
    let down = states.into_iter().filter(|state| !state.detail.is_empty());
    down.map(|state| format!("{}: {}\n", state.name, state.detail)).collect()
}

async fn reasons(instance: &Instance) -> Vec<(String, i64)> {
    sqlx::query_as("select error_reason, count(*) from parked_message where state = 2 group by 1 order by 1")
        .fetch_all(instance.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_whose_name_is_no_text_and_a_decode_that_panics_are_dead_letters_and_everybody_goes_on() {
    let world = World::new();
    let (instance, producer) = begin(&world, quick()).await;
    let id = "0198c0de-0000-7000-8000-000000000001";
    let unreadable = named(b"odd").header("ce_id", id).header([0xff, 0xfe], "value").header("tenant", "a");
    send_raw(&world.kafka(), TOPIC, 0, std::slice::from_ref(&unreadable)).await;
    let panics = RawRecord { payload: Some(b"panic".to_vec()), ..named(b"panics") };
    send_raw(&world.kafka(), TOPIC, 1, &[panics]).await;
    send(&producer, "good", 7).await;
    eventually("good", BOUND, || async { (instance.numbers("good").await == [7]).then_some(()) }).await;
    let expected = vec![("PANICKED".to_owned(), 1), ("UNREADABLE_HEADERS".to_owned(), 1)];
    eventually("dead", BOUND, || async { (reasons(&instance).await == expected).then_some(()) }).await;
    let letters = instance.desk().dead_letters(&Filter::default(), None, 10).await.unwrap().items;
    let letter = letters.iter().find(|letter| letter.error_reason == "UNREADABLE_HEADERS").unwrap();
    // Kept by its place, whatever id it brings: somebody else's event of that id is not dropped for it.
    assert_eq!((letter.partition, letter.offset, letter.key.as_slice()), (0, 0, &b"odd"[..]));
    assert_ne!(letter.event_id.to_string(), id);
    let detail = instance.desk().dead_letter(letter.sequence).await.unwrap().unwrap();
    assert_eq!(detail.headers.text("tenant"), Some("a"));
    let tail = Tail::new(&world, DEAD_LETTERS);
    let copies = tail.take(2, BOUND).await;
    assert!(
        copies.iter().any(|copy| header(copy, "kafka_dlt-exception-fqcn").unwrap().ends_with("UNREADABLE_HEADERS"))
    );

    // Who reads the topic from outside passes it as well.
    let watch = openorder_messaging::Tail::open(&world.kafka(), TOPIC).await.unwrap().only(&[ADDED]);
    send_raw(&world.kafka(), TOPIC, 0, &[unreadable]).await;
    assert_eq!(watch.next().await.unwrap().key, b"odd"[..]);
    let mut scan = TopicScan::open(&world.kafka(), TOPIC, ScanFrom::Beginning).await.unwrap();
    let (mut readable, mut unreadable) = (0, Vec::new());
    let each = |message: &openorder_messaging::Scanned<'_>| {
        if message.is_readable {
            readable += 1;
        } else {
            unreadable.push((message.event_type.to_owned(), message.offset, message.event_id()));
        }
    };
    assert!(scan.read(100, each).await.unwrap());
    assert_eq!((readable, unreadable.len()), (2, 2));
    assert_eq!(unreadable[0], (ADDED.to_owned(), 0, letter.event_id), "the id that the group knows it by");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_unknown_types_are_passed_over_and_stop_nothing() {
    let world = World::new();
    let (instance, producer) = begin(&world, ConsumerSettings { parked_messages_max: 5, ..quick() }).await;
    let unknown: Vec<RawRecord> = (0..500)
        .map(|number| RawRecord { headers: Vec::new(), ..named(format!("k{number}").as_bytes()) })
        .map(|record| record.header("ce_type", "ledger.entry.doubled"))
        .collect();
    send_raw(&world.kafka(), TOPIC, 0, &unknown).await;
    // Also where nothing says what it is: a tombstone, no headers, no key.
    send_raw(&world.kafka(), TOPIC, 0, &[RawRecord::default()]).await;
    for partition in 0..3 {
        send_raw(&world.kafka(), TOPIC, partition, &[named(format!("after{partition}").as_bytes())]).await;
    }
    send(&producer, "k1", 2).await;
    eventually("those behind", BOUND, || async { (instance.count("ledger").await == 4).then_some(()) }).await;
    assert_eq!(instance.count("parked_message").await, 0);
    assert_eq!(instance.numbers("k1").await, [2]);
    assert!(world.readiness().is_ready());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_make_a_message_of_an_unknown_type_a_dead_letter_or_let_it_stop_the_partitions() {
    let world = World::new();
    let unknown = RawRecord { headers: Vec::new(), ..named(b"k") }.header("ce_type", "ledger.entry.doubled");
    let (instance, _) = begin(&world, ConsumerSettings { unknown_types: UnknownTypes::Park, ..quick() }).await;
    send_raw(&world.kafka(), TOPIC, 0, std::slice::from_ref(&unknown)).await;
    let expected = vec![("UNKNOWN_EVENT_TYPE".to_owned(), 1)];
    eventually("dead", BOUND, || async { (reasons(&instance).await == expected).then_some(()) }).await;
    world.close().await;

    let world = World::new();
    let (instance, _) = begin(&world, ConsumerSettings { unknown_types: UnknownTypes::Fail, ..quick() }).await;
    send_raw(&world.kafka(), TOPIC, 0, &[unknown, named(b"behind")]).await;
    eventually("not ready", BOUND, || async { down(&world).contains("ledger.entry.doubled").then_some(()) }).await;
    assert_eq!((instance.count("ledger").await, instance.count("parked_message").await), (0, 0));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_messages_beyond_the_bound_stand_on_their_topic_alone_and_keep_nobody_waiting() {
    let world = World::new();
    let (instance, producer) = begin(&world, ConsumerSettings { parked_messages_max: 3, ..quick() }).await;
    for number in 0..8 {
        send(&producer, &format!("hopeless{number}"), number).await;
        let garbage = RawRecord { payload: Some(b"no number".to_vec()), ..named(b"garbled") };
        send_raw(&world.kafka(), TOPIC, 0, &[garbage]).await;
    }
    send(&producer, "good", 1).await;
    eventually("good", BOUND, || async { (instance.numbers("good").await == [1]).then_some(()) }).await;
    let tail = Tail::new(&world, DEAD_LETTERS);
    // All that are dead have their copy: those with a row, and those without. Of `garbled`, one may be dead with a row
    // and others wait behind it there; then these have none.
    let in_table = eventually("the table is full", BOUND, || async {
        let waiting = instance.parked().await;
        (waiting.len() == 3).then_some(waiting)
    })
    .await;
    let dead_in_table = in_table.iter().filter(|(_, state, ..)| *state == 2).count();
    let copies = tail.take(16 - (3 - dead_in_table), BOUND).await;
    let mut places: Vec<_> = copies.iter().map(|copy| header(copy, "__connect.errors.offset").unwrap()).collect();
    places.dedup();
    assert!(copies.iter().all(|copy| !copy.payload().unwrap().is_empty()));
    // One that will be tried again finds its place beside them.
    send(&producer, "broken", 5).await;
    eventually("parked", BOUND, || async {
        instance.parked().await.iter().any(|(key, state, ..)| key == "broken" && *state == 1).then_some(())
    })
    .await;
    let said = eventually("loud", BOUND, || async { Some(down(&world)).filter(|said| !said.is_empty()) }).await;
    assert!(said.starts_with("dead-letters: 3 messages"), "{said}");
    // Room again: readiness says so.
    for letter in instance.desk().dead_letters(&Filter::default(), None, 10).await.unwrap().items {
        let discard = openorder_messaging::desk::Discard {
            sequences: vec![letter.sequence],
            requested_by: "ann".to_owned(),
            reason: "makes room".to_owned(),
        };
        instance.desk().discard(&discard).await.unwrap();
    }
    instance.ledger.mended.store(true, std::sync::atomic::Ordering::SeqCst);
    eventually("ready", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_dead_messages_of_one_batch_find_their_topic_together() {
    let world = World::new();
    let (instance, producer) = begin(&world, ConsumerSettings { parked_messages_max: 1, ..quick() }).await;
    let garbage = |key: &str| RawRecord { payload: Some(b"no number".to_vec()), ..named(key.as_bytes()) };
    send_raw(&world.kafka(), TOPIC, 0, &[garbage("a"), garbage("b"), garbage("c"), garbage("d")]).await;
    send(&producer, "good", 1).await;
    eventually("good", BOUND, || async { (instance.numbers("good").await == [1]).then_some(()) }).await;
    Tail::new(&world, DEAD_LETTERS).take(4, BOUND).await;
    eventually("one has a row", BOUND, || async { (instance.count("parked_message").await == 1).then_some(()) }).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_among_the_retries_while_the_table_is_full_leaves_it_for_its_topic() {
    let world = World::new();
    let settings = ConsumerSettings { parked_messages_max: 2, attempts_max: 3, ..quick() };
    let (instance, producer) = begin(&world, settings).await;
    send(&producer, "hopeless0", 0).await;
    send(&producer, "hopeless1", 1).await;
    eventually("full", BOUND, || async { (instance.desk().counts().await.unwrap().dead == 2).then_some(()) }).await;
    send(&producer, "broken", 2).await;
    let tail = Tail::new(&world, DEAD_LETTERS);
    let copies = tail.take(3, BOUND).await;
    let last = copies.iter().find(|copy| copy.key() == Some(b"broken")).expect("its copy");
    assert_eq!(
        header(last, "kafka_dlt-exception-message").unwrap(),
        "the message failed 3 times, and its attempts are used up"
    );
    eventually("gone", BOUND, || async { (instance.count("parked_message").await == 2).then_some(()) }).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_key_kafka_lets_through_can_be_parked_with_its_order_and_be_seen() {
    let world = World::new();
    let (instance, producer) = begin(&world, quick()).await;
    for length in [4_000, 100_000, 900_000] {
        let key = noise(length);
        let garbage = RawRecord { payload: Some(b"no number".to_vec()), ..named(&key) };
        send_raw(&world.kafka(), TOPIC, 0, &[garbage]).await;
        let behind = RawRecord { payload: Some(2_i64.to_be_bytes().to_vec()), ..named(&key) };
        send_raw(&world.kafka(), TOPIC, 0, &[behind]).await;
    }
    // Not text, and no key at all.
    let garbage = |key: Option<Vec<u8>>| RawRecord { key, payload: Some(b"no number".to_vec()), ..named(b"") };
    send_raw(&world.kafka(), TOPIC, 0, &[garbage(Some(vec![0xff, 0x00])), garbage(None), garbage(Some(Vec::new()))])
        .await;
    send(&producer, "good", 7).await;
    eventually("good", BOUND, || async { (instance.numbers("good").await == [7]).then_some(()) }).await;
    eventually("parked", BOUND, || async { (instance.count("parked_message").await == 9).then_some(()) }).await;
    assert!(world.readiness().is_ready(), "{}", down(&world));
    let desk = instance.desk();
    let letters = desk.dead_letters(&Filter::default(), None, 10).await.unwrap().items;
    assert_eq!(letters.len(), 6);
    assert_eq!(letters.iter().map(|letter| letter.waiting_behind).sum::<i64>(), 3, "each behind its own");
    assert!(letters.iter().all(|letter| letter.key.len() <= 1_024));
    // Given up, what waits behind flows: the key is not text, so that is dead in turn.
    let long = letters.iter().find(|letter| letter.waiting_behind == 1).unwrap();
    let discard = openorder_messaging::desk::Discard {
        sequences: vec![long.sequence],
        requested_by: "ann".to_owned(),
        reason: "nobody's".to_owned(),
    };
    desk.discard(&discard).await.unwrap();
    eventually("the next is dead", BOUND, || async {
        let counts = desk.counts().await.unwrap();
        ((counts.dead, counts.parked) == (6, 2)).then_some(())
    })
    .await;
    assert_eq!(desk.causes(&Filter::default(), 10).await.unwrap().len(), 1);
    assert_eq!(desk.count_replay(&Filter::default()).await.unwrap().keys, 6);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_fails_is_recorded_whatever_its_trace_says_and_links_only_to_what_was_recorded() {
    let world = World::new();
    let (telemetry, spans) = openorder_telemetry::testing::recording("ledger", 0.0);
    let role = openorder_messaging::RoleContext { telemetry, ..world.role("ledger") };
    let instance = start(&world, role, "ledger").await;
    instance.consumer();
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    let trace = |number: u8, flags| format!("00-{:032x}-b7ad6b7169203331-{flags}", number);
    let garbage = |key: &[u8]| RawRecord { payload: Some(b"no number".to_vec()), ..named(key) };
    let records = [
        garbage(b"unsampled").header("traceparent", trace(1, "00")),
        garbage(b"sampled").header("traceparent", trace(2, "01")),
        garbage(b"none"),
        named(b"broken").header("traceparent", trace(4, "00")),
        named(b"good").header("traceparent", trace(5, "00")),
    ];
    send_raw(&world.kafka(), TOPIC, 0, &records).await;
    eventually("good", BOUND, || async { (instance.count("ledger").await == 1).then_some(()) }).await;
    eventually("parked", BOUND, || async { (instance.count("parked_message").await == 4).then_some(()) }).await;
    // What follows from a failing message is recorded as well.
    instance.ledger.mended.store(true, std::sync::atomic::Ordering::SeqCst);
    eventually("mended", BOUND, || async { (instance.count("ledger").await == 2).then_some(()) }).await;
    let of = |number: u8| {
        let id = format!("{number:032x}");
        let mut seen = spans.all();
        seen.retain(|span| span.span_context.trace_id().to_string() == id);
        seen
    };
    for (number, links) in [(1, 0), (2, 1)] {
        let failed = of(number);
        assert_eq!((failed.len(), failed[0].links.len()), (1, links), "{failed:?}");
        let reason = failed[0].attributes.iter().find(|one| one.key.as_str() == "error.type").unwrap();
        assert_eq!(reason.value.as_str(), "MALFORMED");
    }
    eventually("the event of the mended one is recorded", BOUND, || async {
        of(4).iter().any(|span| span.name.starts_with("create")).then_some(())
    })
    .await;
    assert!(of(4).iter().all(|span| span.links.is_empty()), "nothing of it was recorded before");
    assert!(of(5).is_empty(), "what does not fail is recorded as its trace says");
    world.close().await;
}
