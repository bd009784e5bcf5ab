//! Orders under way, with a ledger of what was asked and answered. Nobody gives up: a request id is sent until it is answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openorder_proto::order::v1::{CancelOrderRequest, CreateOrderRequest, OrderStatus};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::{Fleet, Shop, eur, id};

/// How long one try may take before the same request is sent again.
const TRY_BOUND: Duration = Duration::from_secs(5);
/// Pause before a request is sent again.
const PAUSE: Duration = Duration::from_millis(100);
/// One request of so many is sent once more after its answer: it has to be answered the same.
const ASKED_AGAIN_EVERY: u64 = 10;

/// One order of so many uses a coupon.
const WITH_COUPON_EVERY: u64 = 5;
/// Coupons that one customer may be issued, as many as there may be.
const COUPONS_A_CUSTOMER: i32 = 1_000;

/// What the load is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Callers, each of which waits for its answer.
    pub callers: usize,
    /// Pause of a caller between two orders.
    pub pause: Duration,
    /// Orders at most; none for as long as the load runs.
    pub orders: Option<u64>,
    /// Products, each with stock enough unless `stock` says how much.
    pub products: usize,
    /// Pieces of each product.
    pub stock: i32,
    /// Customers, each with money enough.
    pub customers: usize,
    /// One order of so many is called off as soon as it is accepted, so that compensations are under way too.
    pub cancel_every: Option<u64>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            callers: 12,
            pause: Duration::from_millis(40),
            orders: None,
            products: 10,
            stock: 1_000_000,
            customers: 50,
            cancel_every: Some(10),
        }
    }
}

/// What was asked and what was answered.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Requests that were begun.
    pub offered: u64,
    /// Order ids, by request id.
    pub accepted: HashMap<String, String>,
    /// Request ids that were answered with two different orders.
    pub answered_twice: Vec<String>,
    /// Answers that no retry mends.
    pub refused: Vec<String>,
    /// Tries that were not answered.
    pub unanswered_tries: u64,
}

struct Shared {
    shop: Shop,
    plan: Plan,
    names: Names,
    begun: AtomicU64,
    is_over: AtomicBool,
    ledger: Mutex<Ledger>,
}

/// Ids that only this load uses.
#[derive(Debug, Clone)]
pub struct Names {
    run: String,
}

impl Names {
    /// Ids that begin with what nobody else's begin with, some thirty characters.
    pub(crate) fn new(run: String) -> Self {
        Self { run }
    }

    /// A product's SKU.
    pub fn sku(&self, number: usize) -> String {
        format!("{}-sku-{number}", self.run)
    }

    /// A customer's id.
    pub fn customer(&self, number: usize) -> String {
        format!("{}-customer-{number}", self.run)
    }

    /// The code of the coupon of a tenth off.
    pub fn coupon(&self) -> String {
        // A code has 32 characters at most.
        format!("C-{}", self.run.chars().skip(10).take(24).collect::<String>().to_uppercase())
    }

    /// What all customers' ids begin with.
    pub fn customers(&self) -> String {
        format!("{}-customer-", self.run)
    }
}

/// Callers at work.
pub struct Load {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<()>>,
    started: Instant,
}

impl Load {
    /// Makes products and wallets, then starts the callers.
    pub async fn start(fleet: &Fleet, plan: Plan) -> Self {
        let (shop, names) = (fleet.shop(), Names::new(id("load")));
        for number in 0..plan.products {
            shop.product(&names.sku(number), eur(1, 0), plan.stock).await;
        }
        for number in 0..plan.customers {
            shop.charge(&names.customer(number), eur(1_000_000, 0)).await;
        }
        shop.coupon(&names.coupon(), 1_000_000, COUPONS_A_CUSTOMER).await;
        for number in 0..plan.products {
            shop.stock_is(&names.sku(number), plan.stock, 0).await;
        }
        let shared = Arc::new(Shared {
            shop,
            plan,
            names,
            begun: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            ledger: Mutex::default(),
        });
        // Connections of their own: calls of one connection go to one gateway.
        let callers = (0..plan.callers).map(|_| tokio::spawn(call(Arc::clone(&shared), fleet.shop())));
        Self { callers: callers.collect(), shared, started: Instant::now() }
    }

    /// Its ids.
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// Orders accepted until now.
    pub fn accepted(&self) -> usize {
        self.shared.ledger.lock().expect("a ledger").accepted.len()
    }

    /// One of the orders accepted until now.
    pub fn some_order(&self) -> Option<String> {
        self.shared.ledger.lock().expect("a ledger").accepted.values().next().cloned()
    }

    /// Accepted orders a second since the start.
    pub fn rate(&self) -> f64 {
        self.accepted() as f64 / self.started.elapsed().as_secs_f64()
    }

    /// Waits until the plan's orders are answered.
    pub async fn finish(self) -> Ledger {
        for caller in self.callers {
            caller.await.expect("a caller does not fail");
        }
        std::mem::take(&mut *self.shared.ledger.lock().expect("a ledger"))
    }

    /// No new orders; waits until those that were begun are answered.
    pub async fn stop(self) -> Ledger {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// One order from now on, until it is at its end: how long that takes is how long the system takes to recover.
    pub async fn probe(&self) -> Duration {
        let started = Instant::now();
        let names = &self.shared.names;
        let request = Shop::request(&names.customer(0), &names.sku(0), 1);
        self.shared.ledger.lock().expect("a ledger").offered += 1;
        let order_id = until_answered(&self.shared, &self.shared.shop, &request).await;
        let order_id = order_id.expect("a probe is not refused");
        loop {
            let asked = openorder_proto::order::v1::GetOrderRequest { order_id: order_id.clone() };
            if let Ok(answer) = self.shared.shop.orders.clone().get_order(asked).await {
                let status = answer.into_inner().order.map(|order| order.status()).unwrap_or_default();
                if [OrderStatus::Preparing, OrderStatus::Cancelled, OrderStatus::Rejected].contains(&status) {
                    return started.elapsed();
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn call(shared: Arc<Shared>, shop: Shop) {
    while !shared.is_over.load(Ordering::Relaxed) {
        let number = shared.begun.fetch_add(1, Ordering::Relaxed);
        if shared.plan.orders.is_some_and(|orders| number >= orders) {
            return;
        }
        let (sku, customer) = (number as usize % shared.plan.products, number as usize % shared.plan.customers);
        let mut request = Shop::request(&shared.names.customer(customer), &shared.names.sku(sku), 1);
        if number % WITH_COUPON_EVERY == 2 {
            // Without one, where it is not to be had just now: the order is what matters.
            let issued =
                tokio::time::timeout(TRY_BOUND, shop.issue(&shared.names.coupon(), &request.customer_id)).await;
            request.issued_coupon_id =
                issued.map_or_else(|_| String::new(), |issued| issued.unwrap_or_default().issued_coupon_id);
        }
        shared.ledger.lock().expect("a ledger").offered += 1;
        let answered = until_answered(&shared, &shop, &request).await;
        if answered.is_some() && number.is_multiple_of(ASKED_AGAIN_EVERY) {
            until_answered(&shared, &shop, &request).await;
        }
        if let Some(order_id) = answered
            && shared.plan.cancel_every.is_some_and(|every| number % every == 3)
        {
            cancel(&shared, &shop, order_id).await;
        }
        tokio::time::sleep(shared.plan.pause).await;
    }
}

/// The order that the request made; none when it was refused for good.
async fn until_answered(shared: &Shared, shop: &Shop, request: &CreateOrderRequest) -> Option<String> {
    loop {
        match tokio::time::timeout(TRY_BOUND, shop.create(request.clone())).await {
            Ok(Ok(order)) => {
                let mut ledger = shared.ledger.lock().expect("a ledger");
                let known = ledger.accepted.insert(request.request_id.clone(), order.order_id.clone());
                if known.is_some_and(|known| known != order.order_id) {
                    ledger.answered_twice.push(request.request_id.clone());
                }
                return Some(order.order_id);
            }
            Ok(Err(status)) if !is_transient(status.code()) => {
                let refusal = format!("{}: {:?} {}", request.request_id, status.code(), status.message());
                shared.ledger.lock().expect("a ledger").refused.push(refusal);
                return None;
            }
            Ok(Err(_)) | Err(_) => {
                shared.ledger.lock().expect("a ledger").unanswered_tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Calls an order off; whether it still may be is not ours to say.
async fn cancel(shared: &Shared, shop: &Shop, order_id: String) {
    let request = CancelOrderRequest { request_id: id("cancel"), order_id, reason: "changed my mind".to_owned() };
    loop {
        match tokio::time::timeout(TRY_BOUND, shop.orders.clone().cancel_order(request.clone())).await {
            Ok(Ok(_)) => return,
            Ok(Err(status)) if !is_transient(status.code()) => {
                if status.code() != Code::FailedPrecondition {
                    let refusal = format!("cancel {}: {:?} {}", request.order_id, status.code(), status.message());
                    shared.ledger.lock().expect("a ledger").refused.push(refusal);
                }
                return;
            }
            Ok(Err(_)) | Err(_) => {
                shared.ledger.lock().expect("a ledger").unanswered_tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// INTERNAL is among them only because a connection that breaks in the middle of an answer is told so by the client.
pub(crate) fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::ResourceExhausted
            | Code::Internal
            | Code::Aborted
    )
}
