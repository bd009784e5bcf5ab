//! L: the least CPU that an order can cost, put together from its unavoidable steps, each measured by itself.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::StreamExt;
use openorder_messaging::KafkaClient;
use openorder_proto::order::v1::GetOrderRequest;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::calls::Calls;
use crate::processes::{MICROS, Meter, own_seconds};
use crate::stack::Stack;
use crate::system::System;

const ROWS: usize = 100_000;
const BATCH: usize = 1_000;
const MESSAGES: u64 = 200_000;
const PAYLOAD: [u8; 200] = [b'x'; 200];
const BOUND: Duration = Duration::from_secs(60);

/// A step, and how many of it an order needs.
pub(crate) struct Step {
    /// Name of its samples.
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) per_order: f64,
    pub(crate) why: &'static str,
}

/// All steps of an order that succeeds.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "floor.insert_us",
        what: "row inserted by UNNEST, 1,000 at once",
        per_order: 12.0,
        why: "7 events, order, request result, reservation, payment, notification; the bits of the inbox are shared by a batch",
    },
    Step {
        name: "floor.update_us",
        what: "row updated by UNNEST, 1,000 at once",
        per_order: 2.0,
        why: "the order confirmed, then paid and preparing; stock and wallets are shared by a batch",
    },
    Step { name: "floor.produce_us", what: "message produced in big batches", per_order: 7.0, why: "its events" },
    Step {
        name: "floor.consume_us",
        what: "message consumed in big batches",
        per_order: 5.0,
        why: "created, stock reserved, confirmed, payment completed, paid",
    },
    Step { name: "floor.call_us", what: "unary gRPC call through the gateway", per_order: 1.0, why: "CreateOrder" },
];

const SCHEMA: &str = "\
drop table if exists floor_event, floor_order;
create table floor_event (
    position bigint generated always as identity primary key, aggregate_id text collate \"C\" not null,
    aggregate_version bigint not null, event_type text not null, payload bytea not null,
    unique (aggregate_id, aggregate_version));
create table floor_order (
    order_id uuid primary key, status smallint not null, version bigint not null, update_time timestamptz not null,
    customer_id text not null, lines json not null) with (fillfactor = 50);";

/// CPU microseconds of PostgreSQL for a row inserted, and one updated.
pub(crate) async fn rows(stack: &Stack) -> anyhow::Result<(f64, f64)> {
    let options: PgConnectOptions = stack.database_url("bench_reference")?.parse()?;
    let mut connection = options.connect().await?;
    connection.execute(SCHEMA).await?;
    let meter = Meter { postgres: stack.pid("postgres")?, ..Meter::default() };
    let ids: Vec<Uuid> = (0..ROWS).map(|_| Uuid::now_v7()).collect();

    let before = meter.read().postgres;
    for batch in ids.chunks(BATCH) {
        insert_events(&mut connection, batch).await?;
    }
    let inserted = meter.read().postgres - before;
    for batch in ids.chunks(BATCH) {
        insert_orders(&mut connection, batch).await?;
    }
    let before = meter.read().postgres;
    for batch in ids.chunks(BATCH) {
        update_orders(&mut connection, batch).await?;
    }
    let updated = meter.read().postgres - before;
    connection.close().await?;
    Ok((inserted * MICROS / ROWS as f64, updated * MICROS / ROWS as f64))
}

async fn insert_events(connection: &mut PgConnection, ids: &[Uuid]) -> anyhow::Result<()> {
    let aggregates: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    sqlx::query(
        "insert into floor_event (aggregate_id, aggregate_version, event_type, payload) \
         select a, 1, 'order.lifecycle.created', b from unnest($1::text[], $2::bytea[]) as x (a, b)",
    )
    .bind(aggregates)
    .bind(vec![PAYLOAD.as_slice(); ids.len()])
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_orders(connection: &mut PgConnection, ids: &[Uuid]) -> anyhow::Result<()> {
    sqlx::query(
        "insert into floor_order select a, 5, 1, now(), 'customer', \
         '[{\"sku\": \"SKU-1\", \"quantity\": 1, \"unit_price_minor\": 100}]' from unnest($1::uuid[]) as x (a)",
    )
    .bind(ids)
    .execute(connection)
    .await?;
    Ok(())
}

async fn update_orders(connection: &mut PgConnection, ids: &[Uuid]) -> anyhow::Result<()> {
    sqlx::query(
        "update floor_order set status = b, version = 2, update_time = now() \
         from unnest($1::uuid[], $2::smallint[]) as x (a, b) where order_id = a",
    )
    .bind(ids)
    .bind(vec![10_i16; ids.len()])
    .execute(connection)
    .await?;
    Ok(())
}

/// CPU microseconds of client and broker for a message produced, and one consumed.
pub(crate) async fn messages(stack: &Stack) -> anyhow::Result<(f64, f64)> {
    let meter = Meter { kafka: stack.pid("kafka")?, ..Meter::default() };
    let (topic, brokers) = (format!("floor-{}", Uuid::now_v7()), stack.brokers());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &brokers);
    let admin: KafkaClient<AdminClient<DefaultClientContext>> = KafkaClient::create(&config)?;
    let new = NewTopic::new(&topic, 6, TopicReplication::Fixed(1));
    admin.create_topics(&[new], &AdminOptions::new().operation_timeout(Some(BOUND))).await?;
    let cost = |before: f64| (meter.read().kafka + own_seconds() - before) * MICROS / MESSAGES as f64;

    let before = meter.read().kafka + own_seconds();
    let (producing, to) = (config.clone(), topic.clone());
    tokio::task::spawn_blocking(move || produce(producing, &to)).await??;
    let produced = cost(before);

    let before = meter.read().kafka + own_seconds();
    config.set("group.id", &topic).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    config.set("queued.min.messages", "100000").set("fetch.min.bytes", "100000");
    let consumer: KafkaClient<StreamConsumer> = KafkaClient::create(&config)?;
    consumer.subscribe(&[&topic])?;
    let reading = async {
        let mut stream = consumer.stream();
        for _ in 0..MESSAGES {
            stream.next().await.context("the topic ended")??;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(BOUND, reading).await.context("messages were not read within a minute")??;
    let consumed = cost(before);
    drop(consumer);
    drop(admin.delete_topics(&[&topic], &AdminOptions::new()).await);
    Ok((produced, consumed))
}

fn produce(mut config: ClientConfig, topic: &str) -> anyhow::Result<()> {
    config.set("enable.idempotence", "true").set("acks", "all").set("compression.type", "lz4");
    config.set("linger.ms", "20").set("batch.num.messages", "10000").set("batch.size", "1000000");
    let producer: KafkaClient<ThreadedProducer<DefaultProducerContext>> = KafkaClient::create(&config)?;
    let until = Instant::now() + BOUND;
    for number in 0..MESSAGES {
        let key = number.to_be_bytes();
        let mut record = BaseRecord::to(topic).key(&key).payload(PAYLOAD.as_slice());
        while let Err((error, back)) = producer.send(record) {
            let full = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            ensure!(full && Instant::now() < until, "a message could not be produced: {error}");
            record = back;
            #[expect(clippy::disallowed_methods, reason = "this is a thread for blocking calls")]
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(producer.flush(BOUND)?)
}

/// CPU microseconds of OpenOrder for a call that reaches a service and does nothing there.
pub(crate) async fn calls(system: &System, meter: &Meter, duration: Duration) -> anyhow::Result<f64> {
    // Refused by its form: gateway and service do all that a call needs, and no database is asked.
    let requests = [GetOrderRequest { order_id: "none".to_owned() }];
    let calls = Calls::new(&system.gateway(), "/openorder.order.v1.OrderService/GetOrder", &requests, "3")?;
    let before = meter.read().openorder;
    let (_, answered) = calls.run(64, duration).await?;
    Ok((meter.read().openorder - before) * MICROS / answered.max(1) as f64)
}
