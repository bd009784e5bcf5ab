//! Records with the headers of before ADR 47, which topics and tables still hold.

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use openorder_messaging::{
    ConsumerSettings, ScanFrom, Scanned, Sequence, TopicScan,
    desk::{Filter, ReplayRequest},
};
use openorder_testing::{Tail, TestProducer, World, eventually, header, header_names};
use rdkafka::Message;
use uuid::Uuid;

use crate::common::{ADDED, TOPIC, quick, send, send_as, start};

const BOUND: Duration = Duration::from_secs(60);

/// In the order in which they were published.
fn former_headers(event_id: &str) -> [(&'static str, &str); 9] {
    [
        ("ce_specversion", "1.0"),
        ("ce_id", event_id),
        ("ce_type", ADDED),
        ("ce_source", "/openorder/elsewhere"),
        ("ce_subject", "an-aggregate"),
        ("ce_time", "2026-11-28T06:30:00.123456Z"),
        ("ce_sequence", "4"),
        ("content-type", "application/protobuf"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]
}

async fn send_former(producer: &TestProducer, key: &str, number: i64, event_id: Uuid) {
    let id = event_id.to_string();
    producer.send(TOPIC, key, &former_headers(&id), &number.to_be_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_the_former_form_is_consumed_once_parked_dead_lettered_and_replayed() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    instance.consumer_with(ConsumerSettings { attempts_max: 2, ..quick() });
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    let (producer, desk) = (TestProducer::new(&world), instance.desk());
    let (good, broken) = (Uuid::now_v7(), Uuid::now_v7());
    send_former(&producer, "good", 1, good).await;
    send_former(&producer, "broken", 2, broken).await;
    // The same event again, in either form: a relay publishes its last events again after an upgrade.
    send_former(&producer, "good", 1, good).await;
    send_as(&producer, "good", 1, good).await;
    send(&producer, "good", 3).await;
    eventually("good", BOUND, || async { (instance.numbers("good").await == [1, 3]).then_some(()) }).await;

    let letter = eventually("dead", BOUND, || async {
        desk.dead_letters(&Filter::default(), None, 10).await.unwrap().items.pop()
    })
    .await;
    assert_eq!((letter.event_id, letter.event_type.as_str(), letter.attempts), (broken, ADDED, 2));
    assert_eq!(letter.trace_id, "0af7651916cd43dd8448eb211c80319c");
    let detail = desk.dead_letter(letter.sequence).await.unwrap().unwrap();
    let id = broken.to_string();
    let shown: Vec<(&str, &[u8])> = detail.headers.iter().collect();
    let expected: Vec<(&str, &[u8])> =
        former_headers(&id).iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    assert_eq!(shown, expected);
    let copy = Tail::new(&world, "ledger.entry.v1.ledger.dlq").next(BOUND).await.expect("a dead letter");
    assert_eq!(copy.payload(), Some(&2_i64.to_be_bytes()[..]));
    for (name, value) in former_headers(&id) {
        assert_eq!(header(&copy, name).as_deref(), Some(value), "{name}");
    }
    assert!(header_names(&copy).contains(&"kafka_dlt-original-timestamp"));

    instance.ledger.mended.store(true, Ordering::SeqCst);
    let request = ReplayRequest {
        request_id: "one".to_owned(),
        requested_by: "ann".to_owned(),
        reason: "mended".to_owned(),
        filter: Filter::default(),
        rate_per_second: 1_000,
        items_max: 10,
    };
    desk.start_replay(&request).await.unwrap();
    eventually("replayed", BOUND, || async { (instance.numbers("broken").await == [2]).then_some(()) }).await;
    // What was replayed is known by its id.
    send_as(&producer, "broken", 2, broken).await;
    send(&producer, "broken", 5).await;
    eventually("known", BOUND, || async { (instance.numbers("broken").await == [2, 5]).then_some(()) }).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_whole_topic_knows_the_two_forms_and_those_of_others_apart() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    instance.consumer();
    eventually("topics", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    let producer = TestProducer::new(&world);
    send_former(&producer, "former", 1, Uuid::now_v7()).await;
    let id = Uuid::now_v7().to_string();
    let present = [("ce_type", ADDED), ("ce_id", &id), ("ce_source", "/openorder/elsewhere"), ("ce_sequence", "12")];
    producer.send(TOPIC, "present", &present, &1_i64.to_be_bytes()).await;
    send(&producer, "foreign", 1).await;
    let mut scan = TopicScan::open(&world.kafka(), TOPIC, ScanFrom::Beginning).await.unwrap();
    let mut seen: HashMap<String, (String, Option<Sequence>)> = HashMap::new();
    let each = |message: &Scanned<'_>| {
        let key = String::from_utf8(message.received().key.into()).unwrap();
        seen.insert(key, (message.subject.to_owned(), message.sequence));
    };
    assert!(scan.read(100, each).await.unwrap());
    let expected = [
        ("former", "an-aggregate", Some(Sequence::Version(4))),
        ("present", "present", Some(Sequence::Position(12))),
        ("foreign", "foreign", None),
    ];
    let expected = expected.map(|(key, subject, sequence)| (key.to_owned(), (subject.to_owned(), sequence)));
    assert_eq!(seen, HashMap::from(expected));
    world.close().await;
}
