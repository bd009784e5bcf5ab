//! Somebody else writes to our topics, whatever Kafka lets through; a topic takes only small batches for a while; records
//! are deleted unread, and a topic is deleted and made again.

use std::time::{Duration, Instant};

use openorder_messaging::KafkaSettings;
use openorder_proto::{event_types, topics};
use openorder_testing::{OpenTransaction, RawRecord, alter_topic, delete_all_records, noise, recreate_topic, send_raw};

use crate::fleet::Fleet;
use crate::load::{Load, Plan};
use crate::{Outcome, Servers, faults::Length, id};

/// Few dead letters have a row, so that others stand on their topic alone.
const DEAD_LETTERS_MAX: i64 = 20;
const SETTINGS: &[(&str, &str)] = &[("inventory.consumer", "parked_messages_max = 20")];
/// A known type of each topic, which some service acts on.
const KNOWN: &[(&str, &str)] = &[
    (topics::ORDER_LIFECYCLE, event_types::ORDER_CREATED),
    (topics::INVENTORY_STOCK, event_types::STOCK_RESERVED),
    (topics::PAYMENT_TRANSACTION, event_types::PAYMENT_COMPLETED),
    (topics::PRODUCT_CATALOG, event_types::PRODUCT_CREATED),
];
/// Less than a batch of orders under load, more than any one event.
const SMALL_BATCH_BYTES: &str = "6000";
const USUAL_BATCH_BYTES: &str = "1048588";
/// How the fleet's topics are made.
const PARTITIONS: i32 = 4;
/// How long orders may take once a topic has lost its records.
const RECOVERED_WITHIN: Duration = Duration::from_secs(120);

/// Orders flow on, nothing of ours is lost or turned round, and what nobody can read is listed, bounded and discarded.
pub async fn foreign(servers: Servers, length: Length) -> (Servers, Outcome) {
    let phase = Duration::from_secs(length.pick(4, 15));
    let mut fleet = Fleet::start(servers, SETTINGS).await;
    let kafka = KafkaSettings {
        brokers: fleet.servers.brokers.clone(),
        topic_prefix: fleet.topic_prefix(),
        partitions: PARTITIONS,
        ..KafkaSettings::default()
    };
    let load = Load::start(&fleet, Plan::default()).await;
    tokio::time::sleep(phase).await;

    // A transaction that nobody ends holds up nothing behind it.
    let open = OpenTransaction::begin(&kafka, topics::ORDER_LIFECYCLE, 0).await;
    let mut written = 0;
    for _ in 0..length.pick(3, 10) {
        written += write_foreign(&kafka).await;
        tokio::time::sleep(phase / 10).await;
    }
    let through_records = load.probe().await;
    let dead = dead_of(&fleet, "inventory").await;

    alter_topic(&kafka, topics::ORDER_LIFECYCLE, &[("max.message.bytes", SMALL_BATCH_BYTES)]).await;
    tokio::time::sleep(phase).await;
    let through_small_batches = load.probe().await;
    alter_topic(&kafka, topics::ORDER_LIFECYCLE, &[("max.message.bytes", USUAL_BATCH_BYTES)]).await;
    let recovery = load.probe().await.max(through_records).max(through_small_batches);
    drop(open);

    let gateway = fleet.gateway();
    let mut failures = Vec::new();
    for reason in ["MALFORMED", "UNREADABLE_HEADERS"] {
        let act = ["--reason", "scenario", "--yes", "--gateway", gateway.as_str()];
        let discard = [&["dlq", "discard", "--error", reason][..], &act[..]].concat();
        let (code, text) = fleet.command(&discard).await;
        failures.extend((code != 0).then(|| format!("discard of {reason} ended with {code}: {text}")));
    }
    let names = load.names().clone();
    let ledger = load.stop().await;
    let what = "foreign records on all topics, an open transaction, small batches";
    let mut outcome = Outcome::of(&fleet, &names, ledger).await.broken(what, written, recovery);
    outcome.wrong.extend(failures);
    outcome.expect(
        (1..=DEAD_LETTERS_MAX + 1).contains(&dead),
        format!("inventory had {dead} dead letters with a row; the bound is {DEAD_LETTERS_MAX}"),
    );
    let missing = lose_topics(&mut fleet, &kafka, phase).await;
    outcome.expect(missing == 0, format!("{missing} orders did not end after the topics had lost their records"));
    outcome.notes.push(format!("{written} foreign records; inventory kept {dead} of its dead letters in its table"));
    super::judged(fleet, outcome).await
}

/// At rest, a topic loses records that a stopped service has not read, and another topic is deleted and made again.
/// Gives how many of the orders placed afterwards do not come to their end.
async fn lose_topics(fleet: &mut Fleet, kafka: &KafkaSettings, phase: Duration) -> usize {
    let inventory = fleet.running("inventory")[0];
    fleet.remove(inventory).await;
    for partition in 0..PARTITIONS {
        send_raw(kafka, topics::ORDER_LIFECYCLE, partition, &small_ones("no.such.type")).await;
    }
    delete_all_records(kafka, topics::ORDER_LIFECYCLE).await;
    fleet.launch(inventory).await;
    fleet.ready().await;
    recreate_topic(kafka, topics::INVENTORY_STOCK).await;
    let load = Load::start(fleet, Plan::default()).await;
    tokio::time::sleep(phase).await;
    let names = load.names().clone();
    let ledger = load.stop().await;
    let (accepted, started) = (ledger.accepted.len(), Instant::now());
    loop {
        let ended = Outcome::at_rest(fleet, &names).await;
        if ended == accepted || started.elapsed() > RECOVERED_WITHIN {
            return if accepted == 0 { 1 } else { accepted - ended };
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Writes to each partition of each topic what no schema allows; gives how many records.
async fn write_foreign(kafka: &KafkaSettings) -> usize {
    let mut count = 0;
    for (topic, known) in KNOWN {
        for partition in 0..PARTITIONS {
            let records = small_ones(known);
            send_raw(kafka, topic, partition, &records).await;
            // Each in a batch of its own: together they are more than the topic takes.
            let large = [garbage(known, &noise(600_000)), garbage(known, b"").header("huge", noise(600_000))];
            for record in &large {
                send_raw(kafka, topic, partition, std::slice::from_ref(record)).await;
            }
            count += records.len() + large.len();
        }
    }
    count
}

fn small_ones(known: &str) -> Vec<RawRecord> {
    let key = || id("foreign").into_bytes();
    let unknown = |number: usize| RawRecord { key: Some(key()), payload: Some(vec![7; number]), headers: Vec::new() };
    let mut records: Vec<RawRecord> =
        (0..100).map(|number| unknown(number).header("ce_type", "no.such.type")).collect();
    records.extend([
        // The name of a header is no text.
        garbage(known, &key()).header([0xff, 0xfe], "value"),
        // Keys: none, empty, longer than an index row, no text.
        RawRecord { key: None, ..garbage(known, b"") },
        garbage(known, b""),
        garbage(known, &noise(4_000)),
        garbage(known, &[&[0xff, 0x00][..], &key()].concat()),
        // Of a known type, and nothing in it; and nothing at all.
        RawRecord { payload: None, ..garbage(known, &key()) },
        RawRecord::default(),
        RawRecord { key: Some(key()), ..RawRecord::default() },
        // Headers that lie.
        garbage(known, &key()).header("ce_id", [0xff]).header("traceparent", "00-zz").header("ce_time", "soon"),
    ]);
    records
}

fn garbage(known: &str, key: &[u8]) -> RawRecord {
    let record =
        RawRecord { key: Some(key.to_vec()), payload: Some(b"\xff\xff no event".to_vec()), headers: Vec::new() };
    record.header("ce_type", known)
}

/// Dead letters that have a row.
async fn dead_of(fleet: &Fleet, service: &str) -> i64 {
    let mut connection = fleet.database(service).await;
    let sql = "select count(*) from parked_message where state = 2";
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("the dead letters")
}
