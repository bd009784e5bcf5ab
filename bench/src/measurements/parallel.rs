//! Work that waits for somebody else, many at a time: messages of one partition handed to a provider that takes a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use openorder_messaging::KafkaClient;
use openorder_proto::order::v1::{OrderPaid, OrderStatus};
use openorder_proto::{event_types, topics};
use prost::Message;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde::Deserialize;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::bench::Bench;
use crate::output::say;
use crate::system::System;

const ORDERS: usize = 1_000;
const CUSTOMERS: usize = 100;
/// What a customer hears of one order, in this order; by text message and by app.
const KINDS: [(&str, &str); 5] = [
    (event_types::ORDER_PAID, "order_paid"),
    (event_types::ORDER_SHIPPED, "order_shipped"),
    (event_types::ORDER_DELIVERED, "order_delivered"),
    (event_types::ORDER_CANCELLED, "order_cancelled"),
    (event_types::ORDER_REJECTED, "order_rejected"),
];
const CHANNELS: [&str; 2] = ["sms", "push"];
const MESSAGES: usize = ORDERS * KINDS.len() * CHANNELS.len();
/// The provider takes 0 to this long for a message.
const WORK_MAX_MS: u64 = 5;
const CONCURRENCY: usize = 64;
const BOUND: Duration = Duration::from_secs(120);

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    let system =
        System::configure(bench.side.system.program(), bench.stack, &format!("{}_parallel", bench.side.system.name()))
            .await?;
    let mut settings = vec![
        "kafka.partitions=1".to_owned(),
        format!("notification.delivery.concurrency={CONCURRENCY}"),
        "notification.delivery.batch_max=1000".to_owned(),
        "notification.delivery.poll_interval_ms=20".to_owned(),
    ];
    for channel in CHANNELS {
        settings.push(format!("notification.{channel}_transport=http"));
        settings.push(format!("notification.{channel}.url={}/{channel}", provider.url));
    }
    let running = system.start(&[&["notification"]], &settings).await?;
    let mut connection = system.database_url("notification").parse::<PgConnectOptions>()?.connect().await?;
    make_customers(&mut connection).await?;
    for _ in 0..bench.args.rounds() {
        provider.forget();
        let begin = Instant::now();
        publish(&bench.stack.brokers(), system.name())?;
        let serial = provider.took(MESSAGES).await?;
        let (took, serial) = (begin.elapsed().as_secs_f64(), serial.as_secs_f64());
        say(format_args!("{MESSAGES} messages to a provider that takes {serial:.1} s for them: {took:.2} s"));
        bench.side.samples.push("parallel.seconds", took);
        bench.side.samples.push("parallel.serial_seconds", serial);
    }
    bench
        .side
        .notes
        .insert("13", format!("{MESSAGES} messages, {ORDERS} orders, 1 partition, {CONCURRENCY} at a time"));
    connection.close().await?;
    running.stop().await
}

/// They want text messages and messages to their app, and no mail.
async fn make_customers(connection: &mut PgConnection) -> anyhow::Result<()> {
    let sql = "insert into preferences (user_id, email_enabled, sms_enabled, push_enabled, muted_kinds, version, \
                                        update_time, phone_number, push_token) \
               select 'customer-' || n, false, true, true, '{}', 1, now(), '+493090182' || n, 'app-' || n \
               from generate_series(0, $1 - 1) n on conflict do nothing";
    sqlx::query(sql).bind(CUSTOMERS as i64).execute(connection).await?;
    Ok(())
}

/// Events of new orders, kind by kind. They have the same fields, by number, as far as these are used.
fn publish(brokers: &str, name: &str) -> anyhow::Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("linger.ms", "5");
    let producer: KafkaClient<ThreadedProducer<DefaultProducerContext>> = KafkaClient::create(&config)?;
    let topic = format!("{name}.{}", topics::ORDER_LIFECYCLE);
    let orders: Vec<String> = (0..ORDERS).map(|_| Uuid::now_v7().to_string()).collect();
    for (version, (event_type, _)) in (1..).zip(KINDS) {
        for (number, order_id) in orders.iter().enumerate() {
            let event = OrderPaid {
                order_id: order_id.clone(),
                customer_id: format!("customer-{}", number % CUSTOMERS),
                version,
                status: OrderStatus::Paid.into(),
                ..OrderPaid::default()
            };
            let id = Uuid::now_v7().to_string();
            let headers = OwnedHeaders::new()
                .insert(Header { key: "ce_id", value: Some(&id) })
                .insert(Header { key: "ce_type", value: Some(event_type) });
            let payload = event.encode_to_vec();
            let record = BaseRecord::to(&topic).key(order_id).payload(&payload).headers(headers);
            producer.send(record).map_err(|(error, _)| error)?;
        }
    }
    Ok(producer.flush(Duration::from_secs(30))?)
}

/// Somebody who sends messages and takes a while for each.
struct Provider {
    url: String,
    taken: Taken,
    serving: JoinHandle<()>,
}

type Taken = Arc<Mutex<Found>>;

#[derive(Default)]
struct Found {
    /// Kinds by channel and order, in the order in which they came.
    kinds: HashMap<(&'static str, String), Vec<String>>,
    count: usize,
    /// What all of it takes, one after the other.
    work: Duration,
}

impl Found {
    /// What they took, once there are so many.
    fn done(&self, messages: usize) -> anyhow::Result<Option<Duration>> {
        if self.count < messages {
            return Ok(None);
        }
        let wanted = KINDS.map(|(_, kind)| kind);
        if let Some(((channel, order), kinds)) = self.kinds.iter().find(|(_, kinds)| **kinds != wanted) {
            bail!("messages about order {order} came by {channel} as {kinds:?}");
        }
        Ok(Some(self.work))
    }
}

#[derive(Deserialize)]
struct Posted {
    notification_id: Uuid,
    order_id: String,
    kind: String,
}

impl Provider {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let taken = Taken::default();
        let mut app = Router::new();
        for channel in CHANNELS {
            let take = move |State(taken): State<Taken>, Json(posted): Json<Posted>| take(channel, taken, posted);
            app = app.route(&format!("/{channel}"), post(take));
        }
        let app = app.with_state(Arc::clone(&taken));
        let serving = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { url, taken, serving })
    }

    fn forget(&self) {
        *found(&self.taken) = Found::default();
    }

    /// Waits for so many messages, each once and those of an order in their order; what they took, one after the other.
    async fn took(&self, messages: usize) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        loop {
            if let Some(work) = found(&self.taken).done(messages)? {
                return Ok(work);
            }
            ensure!(begin.elapsed() < BOUND, "the messages were not sent within {BOUND:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(channel: &'static str, taken: Taken, posted: Posted) -> StatusCode {
    // Random enough: the last bits of the id.
    let work = Duration::from_micros(posted.notification_id.as_u64_pair().1 % (WORK_MAX_MS * 1_000));
    tokio::time::sleep(work).await;
    let mut found = found(&taken);
    found.kinds.entry((channel, posted.order_id)).or_default().push(posted.kind);
    found.count += 1;
    found.work += work;
    StatusCode::OK
}

fn found(taken: &Mutex<Found>) -> MutexGuard<'_, Found> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}
