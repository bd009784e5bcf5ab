//! Customers, each of whom has a session, orders with it, and keeps it going.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use openorder_proto::user::v1::{RegisterUserRequest, Session, user_service_client::UserServiceClient};
use openorder_testing::eventually;
use tonic::transport::Channel;

use super::calls::{BOUND, PASSWORD, PAUSE, described, email, patiently, refresh, sign_in_as, users, with};
use crate::load::{Ledger, Names, is_transient};
use crate::{Fleet, Shop, eur, id};

/// How many there are.
const CUSTOMERS: usize = 6;
/// How often a customer refreshes its tokens.
const REFRESHED_EVERY: Duration = Duration::from_millis(700);

/// What the customers saw.
#[derive(Default)]
pub(super) struct Observed {
    pub(super) ledger: Ledger,
    pub(super) refreshes: u64,
    /// Heads of access tokens: each signing key has its own.
    pub(super) heads: BTreeSet<String>,
    /// The first order of each customer.
    pub(super) orders: BTreeMap<String, String>,
}

pub(super) struct Customers {
    pub(super) names: Names,
    pub(super) observed: Mutex<Observed>,
    pub(super) is_over: AtomicBool,
}

impl Customers {
    pub(super) fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().expect("what was observed")
    }

    pub(super) fn heads(&self) -> usize {
        self.observed().heads.len()
    }

    /// Waits until customers have ordered more, whoever is away meanwhile.
    pub(super) async fn goes_on(&self, meanwhile: &str) {
        let ordered = || self.observed().ledger.accepted.len();
        let enough = ordered() + 2 * CUSTOMERS;
        let what = format!("orders are made while {meanwhile} is away");
        eventually(&what, BOUND, || std::future::ready((ordered() >= enough).then_some(()))).await;
    }

    pub(super) fn order_of(&self, number: usize) -> String {
        self.observed().orders.get(&self.names.customer(number)).cloned().expect("everybody has ordered")
    }
}

/// A product, and customers with money who are users.
pub(super) async fn open(fleet: &Fleet) -> Arc<Customers> {
    let (shop, names, mut users) = (fleet.shop(), Names::new(id("sign")), users(fleet));
    shop.product(&names.sku(0), eur(1, 0), 1_000_000).await;
    for number in 0..CUSTOMERS {
        let user_id = names.customer(number);
        shop.charge(&user_id, eur(1_000_000, 0)).await;
        let request = RegisterUserRequest {
            request_id: id("user"),
            email: email(&user_id),
            password: PASSWORD.to_owned(),
            user_id,
            ..RegisterUserRequest::default()
        };
        users.register_user(request).await.expect("a user");
    }
    shop.stock_is(&names.sku(0), 1_000_000, 0).await;
    Arc::new(Customers { names, observed: Mutex::default(), is_over: AtomicBool::new(false) })
}

/// Customers at work; each has an order when this returns.
pub(super) async fn begin(fleet: &Fleet, customers: &Arc<Customers>) -> Vec<tokio::task::JoinHandle<()>> {
    let mut at_work = Vec::new();
    for number in 0..CUSTOMERS {
        let customer = customers.names.customer(number);
        let users = users(fleet);
        let session = sign_in_as(&users, &customer).await;
        let caller = Customer { customers: Arc::clone(customers), shop: fleet.shop(), users, customer, session };
        at_work.push(tokio::spawn(caller.live()));
    }
    let all = || std::future::ready((customers.observed().orders.len() == CUSTOMERS).then_some(()));
    eventually("everybody has ordered", BOUND, all).await;
    at_work
}

struct Customer {
    customers: Arc<Customers>,
    shop: Shop,
    users: UserServiceClient<Channel>,
    customer: String,
    session: Session,
}

impl Customer {
    /// Orders with a token that is valid, and keeps it so.
    async fn live(mut self) {
        let mut refreshed = Instant::now();
        while !self.customers.is_over.load(Ordering::Relaxed) {
            self.order().await;
            if refreshed.elapsed() >= REFRESHED_EVERY && self.refresh().await {
                refreshed = Instant::now();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn order(&self) {
        let request = Shop::request(&self.customer, &self.customers.names.sku(0), 1);
        let request_id = request.request_id.clone();
        self.customers.observed().ledger.offered += 1;
        let mut tries = 0;
        let order = || {
            tries += 1;
            let (mut orders, request) = (self.shop.orders.clone(), with(&self.session, request.clone()));
            async move { orders.create_order(request).await }
        };
        let answer = patiently(order).await;
        let mut observed = self.customers.observed();
        observed.ledger.unanswered_tries += tries - 1;
        match answer {
            Ok(answer) => {
                let order = answer.into_inner().order.expect("an order");
                observed.orders.entry(self.customer.clone()).or_insert_with(|| order.order_id.clone());
                observed.ledger.accepted.insert(request_id, order.order_id);
            }
            // Nothing that a call needs is away.
            Err(status) => observed.ledger.refused.push(format!("{request_id}: {}", described(&status))),
        }
    }

    /// Whether there are new tokens. While nobody gives any, those of before go on.
    async fn refresh(&mut self) -> bool {
        match refresh(self.users.clone(), self.session.refresh_token.clone()).await {
            Ok(session) => {
                let mut observed = self.customers.observed();
                observed.refreshes += 1;
                observed.heads.extend(session.access_token.split('.').next().map(str::to_owned));
                drop(observed);
                self.session = session;
                true
            }
            Err(status) if is_transient(status.code()) => false,
            Err(status) => {
                self.customers.observed().ledger.refused.push(format!("a refresh: {}", described(&status)));
                true
            }
        }
    }
}
