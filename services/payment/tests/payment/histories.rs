//! A random history of charges, payments and refunds, doubled, late and in any order, while the service is killed
//! again and again: money is conserved and nobody is charged twice.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use openorder_testing::eventually;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::{Connection, PgConnection, Row};
use tokio::sync::watch;
use uuid::Uuid;

use crate::support::{
    BOUND, Bench, Client, Instance, Order, as_service, charge_request, confirmed, order, refund_requested,
};

const USERS: [&str; 3] = ["ada", "bob", "hot"];
const ORDERS: usize = 60;
const STEPS: usize = 400;
const KILLS: usize = 4;
const CHARGES: usize = 90;

/// Events as they were published about one order.
#[derive(Default)]
struct Told {
    confirmations: HashSet<Uuid>,
    refunds: HashSet<Uuid>,
}

/// Charges as a patient client does: the same request id until there is an answer. Returns the euros charged.
async fn charge_patiently(mut clients: watch::Receiver<Client>, seed: u64) -> i64 {
    let mut random = StdRng::seed_from_u64(seed);
    let mut charged = 0;
    for number in 0..CHARGES {
        let (user, euros) = (USERS[random.random_range(0..USERS.len())], random.random_range(1..40));
        let message = charge_request(&format!("{seed}-{number}"), user, euros);
        loop {
            let mut client = clients.borrow_and_update().clone();
            let call = as_service().within(Duration::from_secs(2));
            if client.charge_wallet(call.request(message.clone())).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        charged += euros;
    }
    charged
}

/// Publishes something about a random order: first words, repetitions and the same message once more.
async fn step(bench: &Bench, orders: &[Order], told: &mut HashMap<Uuid, Told>, random: &mut StdRng) {
    let order = &orders[random.random_range(0..orders.len())];
    let key = order.order_id;
    let known = told.entry(key).or_default();
    match random.random_range(0..10) {
        0..=4 => drop(known.confirmations.insert(bench.confirm(order).await)),
        5..=6 => drop(known.refunds.insert(bench.ask_back(order).await)),
        7..=8 => {
            if let Some(event_id) = known.confirmations.iter().next() {
                bench.publish(key, *event_id, &confirmed(order)).await;
            }
        }
        _ => {
            if let Some(event_id) = known.refunds.iter().next() {
                bench.publish(key, *event_id, &refund_requested(order)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_while_the_service_is_killed_again_and_again() {
    let mut bench = Bench::start().await;
    run(&mut bench, None).await;
    bench.close().await;
}

/// The second instance takes over what the first one leaves, and both work on the same wallets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_while_two_instances_share_the_work() {
    let mut bench = Bench::start().await;
    let second = Instance::start(&bench.world).await;
    run(&mut bench, Some(second.client.clone())).await;
    second.stop().await;
    bench.close().await;
}

async fn run(bench: &mut Bench, second: Option<Client>) {
    let seed = rand::random::<u64>();
    // Shown when the test fails.
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (client, clients) = watch::channel(bench.client());
    let other = second.map_or_else(|| clients.clone(), |client| watch::channel(client).1);
    let charging = [(clients.clone(), 1), (clients, 2), (other, 3)];
    let charging = charging.map(|(clients, seed)| tokio::spawn(charge_patiently(clients, seed)));
    let orders: Vec<Order> =
        (0..ORDERS).map(|number| order(USERS[number % USERS.len()], random.random_range(1..60))).collect();
    let mut told = HashMap::new();
    for round in 0..=KILLS {
        for _ in 0..STEPS / (KILLS + 1) {
            step(bench, &orders, &mut told, &mut random).await;
        }
        if round < KILLS {
            bench.kill();
            // Some of it comes while nobody is there.
            for _ in 0..5 {
                step(bench, &orders, &mut told, &mut random).await;
            }
            bench.start_again().await;
            client.send_replace(bench.client());
        }
    }
    let mut charged = 0;
    for charging in charging {
        charged += charging.await.unwrap();
    }
    let url = bench.world.database_url("payment");
    let mut database = PgConnection::connect(url.expose()).await.unwrap();
    wait_handled(&mut database, &told).await;
    check_money(&mut database, charged).await;
    check_payments(&mut database, bench, &told).await;
    check_wallets(&mut database, bench).await;
}

/// Waits until every event that was published is in the inbox; none may be parked.
async fn wait_handled(database: &mut PgConnection, told: &HashMap<Uuid, Told>) {
    let ids: Vec<Uuid> =
        told.values().flat_map(|told| told.confirmations.iter().chain(&told.refunds)).copied().collect();
    let expected = i64::try_from(ids.len()).unwrap();
    let database = tokio::sync::Mutex::new(database);
    eventually("every event is handled", BOUND, || async {
        let mut database = database.lock().await;
        let count: i64 = sqlx::query_scalar("select count(*) from inbox where event_id = any ($1)")
            .bind(&ids)
            .fetch_one(&mut **database)
            .await
            .unwrap();
        (count == expected).then_some(())
    })
    .await;
    let parked: i64 = sqlx::query_scalar("select count(*) from parked_message")
        .fetch_one(&mut **database.lock().await)
        .await
        .unwrap();
    assert_eq!(parked, 0);
}

/// Σ charges = balances + captured − refunded.
async fn check_money(database: &mut PgConnection, charged_euros: i64) {
    let balances: i64 = sqlx::query_scalar("select sum(balance_minor_units)::bigint from wallet")
        .fetch_one(&mut *database)
        .await
        .unwrap();
    let captured: i64 =
        sqlx::query_scalar("select coalesce(sum(amount_minor_units), 0)::bigint from payment where state = 2")
            .fetch_one(database)
            .await
            .unwrap();
    assert_eq!(charged_euros * 100, balances + captured);
}

/// Each order has one payment, which has told each of its states once and kept nothing that was asked back.
async fn check_payments(database: &mut PgConnection, bench: &Bench, told: &HashMap<Uuid, Told>) {
    let rows =
        sqlx::query("select order_id, state, failure_reason, version from payment").fetch_all(database).await.unwrap();
    let asked = told.iter().filter(|(_, told)| !told.confirmations.is_empty() || !told.refunds.is_empty());
    assert_eq!(rows.len(), asked.count());
    let mut states = HashSet::new();
    for row in rows {
        let (order_id, state): (Uuid, i16) = (row.get("order_id"), row.get("state"));
        let (failure_reason, version): (i16, i64) = (row.get("failure_reason"), row.get("version"));
        states.insert(state);
        let told = &told[&order_id];
        let voided = failure_reason == 4;
        let answers = if state == 4 { 2 } else { 1 };
        assert_eq!(usize::try_from(version).unwrap(), answers, "{order_id}");
        assert!(told.refunds.is_empty() || state != 2, "{order_id} kept what was asked back");
        assert!(!told.refunds.is_empty() || !voided, "{order_id} was voided by nobody");
        bench.observer.answers(order_id, answers).await;
    }
    assert_eq!(states, HashSet::from([2, 3, 4]), "the history was too tame");
}

/// What was published of each wallet leads to what stands in it.
async fn check_wallets(database: &mut PgConnection, bench: &Bench) {
    for user in USERS {
        let row = sqlx::query("select balance_minor_units, version from wallet where user_id = $1");
        let row = row.bind(user).fetch_one(&mut *database).await.unwrap();
        let (balance, version): (i64, i64) = (row.get("balance_minor_units"), row.get("version"));
        let said = bench.observer.movements(user, usize::try_from(version).unwrap()).await;
        let mut sum = 0;
        for event in &said {
            sum += crate::support::moved_minor_units(event);
            assert!(sum >= 0, "{user} went below nothing");
        }
        assert_eq!(sum, balance, "{user}");
    }
}
