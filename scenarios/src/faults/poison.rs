//! One message of a hundred is poison: half of them cannot be read, half of them cannot be handled until a cause is mended.

use std::time::Duration;

use openorder_messaging::KafkaSettings;
use openorder_proto::{event_types, topics};
use openorder_testing::TestProducer;

use crate::fleet::Fleet;
use crate::load::{Load, Plan};
use crate::{Outcome, Servers, Shop, eur, faults::Length, id};

/// With fault injection, the stock of an order of this SKU cannot be handled.
const FAILING_SKU: &str = "FAIL";
/// A failing message is dead soon, and its order waits for it for as long as the scenario takes.
const SETTINGS: &[(&str, &str)] = &[
    ("inventory.consumer", "attempts_max = 2\nretry_delay_base_ms = 100\nretry_delay_max_ms = 200"),
    ("order", "saga_step_timeout_ms = 900000"),
];
/// Good orders have to come to their end at this share of the rate without poison.
const RATE_KEPT: f64 = 0.9;

/// Good orders keep their rate, nothing is turned round, and once the cause is mended a replay brings every order home.
pub async fn poison(servers: Servers, length: Length) -> (Servers, Outcome) {
    let phase = Duration::from_secs(length.pick(8, 20));
    let mut fleet = Fleet::start(servers, SETTINGS).await;
    inject(&mut fleet, true).await;
    let shop = fleet.shop();
    shop.product(FAILING_SKU, eur(1, 0), 1_000_000).await;
    shop.stock_is(FAILING_SKU, 1_000_000, 0).await;
    let customer = id("poisoned");
    shop.charge(&customer, eur(1_000_000, 0)).await;
    let plan = Plan { pause: Duration::ZERO, cancel_every: None, ..Plan::default() };
    let load = Load::start(&fleet, plan).await;

    tokio::time::sleep(phase / 2).await;
    let before = rate(&fleet, &load, phase).await;
    let poisoning = tokio::spawn(place_poison(producer(&fleet), shop.clone(), customer.clone(), before));
    let during = rate(&fleet, &load, phase).await;
    poisoning.abort();
    let after = rate(&fleet, &load, phase).await;
    let clean = (before + after) / 2.0;

    // What can never be read is discarded; what could not be handled is mended, then replayed.
    inject(&mut fleet, false).await;
    let gateway = fleet.gateway();
    let act = ["--reason", "scenario", "--yes", "--gateway", gateway.as_str()];
    let discard = [&["dlq", "discard", "--error", "MALFORMED"][..], &act[..]].concat();
    let (discarded, told_discard) = fleet.command(&discard).await;
    let replay = [&["dlq", "replay", "--all", "--rate", "1000"][..], &act[..]].concat();
    let (replayed, told_replay) = fleet.command(&replay).await;

    let recovery = load.probe().await;
    let what = "1 % of messages unreadable or failing";
    let names = load.names().clone();
    let ledger = load.stop().await;
    let mut outcome = Outcome::of(&fleet, &names, ledger).await.broken(what, 0, recovery);
    outcome.expect(discarded == 0, format!("discard ended with {discarded}: {told_discard}"));
    outcome.expect(replayed == 0, format!("replay ended with {replayed}: {told_replay}"));
    let (poisoned, home) = poisoned(&fleet, &customer).await;
    outcome.times = poisoned;
    outcome.expect(poisoned > 0 && poisoned == home, format!("{home} of {poisoned} poisoned orders came home"));
    let kept = during / clean;
    outcome.expect(kept >= RATE_KEPT, format!("good orders kept {:.0} % of their rate", kept * 100.0));
    outcome
        .notes
        .push(format!("{home} poisoned orders came home; good orders kept {:.0} % of {clean:.0}/s", kept * 100.0));
    super::judged(fleet, outcome).await
}

/// The inventory service with or without fault injection.
async fn inject(fleet: &mut Fleet, on: bool) {
    let index = fleet.running("inventory")[0];
    fleet.kill(index).await;
    if on {
        fleet.set_variable("OPENORDER_FAULT_INJECTION", "1");
    }
    fleet.launch(index).await;
    fleet.unset_variable("OPENORDER_FAULT_INJECTION");
    fleet.ready().await;
}

fn producer(fleet: &Fleet) -> TestProducer {
    TestProducer::on(&KafkaSettings {
        brokers: fleet.servers.brokers.clone(),
        topic_prefix: fleet.topic_prefix(),
        ..KafkaSettings::default()
    })
}

/// Orders of the load that come to their end, a second.
async fn rate(fleet: &Fleet, load: &Load, phase: Duration) -> f64 {
    let before = Outcome::at_rest(fleet, load.names()).await;
    tokio::time::sleep(phase).await;
    (Outcome::at_rest(fleet, load.names()).await - before) as f64 / phase.as_secs_f64()
}

/// One message of a hundred, half unreadable and half failing, until it is cut.
async fn place_poison(producer: TestProducer, shop: Shop, customer: String, good_rate: f64) {
    let pause = Duration::from_secs_f64(200.0 / good_rate.max(1.0));
    loop {
        let key = id("poison");
        let event_id = uuid::Uuid::now_v7().to_string();
        let headers = [("ce_id", event_id.as_str()), ("ce_type", event_types::ORDER_CREATED)];
        producer.send(topics::ORDER_LIFECYCLE, &key, &headers, b"\xff\xff not an order").await;
        // One that is refused is none that has to come home.
        drop(shop.create(Shop::request(&customer, FAILING_SKU, 1)).await);
        tokio::time::sleep(pause).await;
    }
}

/// Orders of the failing SKU, and those of them that were prepared.
async fn poisoned(fleet: &Fleet, customer: &str) -> (usize, usize) {
    let mut connection = fleet.database("order").await;
    let sql = "select count(*), count(*) filter (where status = 20) from orders where customer_id = $1";
    let mut counts = (0, 0);
    for _ in 0..100 {
        let found: (i64, i64) =
            sqlx::query_as(sql).bind(customer).fetch_one(&mut connection).await.expect("the orders");
        counts = (usize::try_from(found.0).unwrap_or_default(), usize::try_from(found.1).unwrap_or_default());
        if counts.0 == counts.1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    counts
}
