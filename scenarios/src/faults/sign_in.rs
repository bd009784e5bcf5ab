//! Who may call, while everything that knows it comes and goes: signing keys, the user service, Redis, sessions.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use openorder_proto::order::v1::{GetOrderRequest, OrderStatus, WatchOrderRequest, WatchOrderResponse};
use openorder_proto::user::v1::{
    AuthenticateRequest, RefreshTokenRequest, RegisterUserRequest, RotateSigningKeysRequest, Session, SignOutRequest,
    sign_out_request::Target, user_service_client::UserServiceClient,
};
use openorder_runtime::asked;
use openorder_testing::{Cut, eventually};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_types::StatusExt;

use crate::clock::Clocks;
use crate::load::{Ledger, Names, is_transient};
use crate::servers::Part;
use crate::signal::Signal;
use crate::{Fleet, Outcome, Servers, Shop, eur, faults::Length, id};

/// Customers, each of whom has a session and orders with it.
const CUSTOMERS: usize = 6;
const PASSWORD: &str = "correct horse battery";
/// Between two orders of a customer.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a customer refreshes its tokens.
const REFRESHED_EVERY: Duration = Duration::from_millis(700);
/// How long an access token is valid.
const TOKEN_LIFE_S: u64 = 60;
/// How far clocks may be apart: so much longer a token is accepted.
const LEEWAY_S: u64 = 30;
/// How long after its revocation a token may still be accepted, anywhere.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);
/// How long anything else may take, on a busy machine.
const BOUND: Duration = Duration::from_secs(60);
/// Tabs of a browser that refresh the same session at once.
const REFRESHED_AT_ONCE: usize = 64;
/// Services that no order needs: a taste does without.
const BESIDE: &[&str] = &["analytics", "history", "notification", "promotion", "cart", "operations"];

/// What the customers saw.
#[derive(Default)]
struct Told {
    ledger: Ledger,
    refreshes: u64,
    /// Heads of access tokens: each signing key has its own.
    heads: BTreeSet<String>,
    /// The first order of each customer.
    orders: BTreeMap<String, String>,
}

struct Street {
    names: Names,
    told: Mutex<Told>,
    is_over: AtomicBool,
}

impl Street {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("what was told")
    }

    fn heads(&self) -> usize {
        self.told().heads.len()
    }

    /// Waits until customers have ordered more, whoever is away meanwhile.
    async fn goes_on(&self, meanwhile: &str) {
        let ordered = || self.told().ledger.accepted.len();
        let enough = ordered() + 2 * CUSTOMERS;
        let what = format!("orders are made while {meanwhile} is away");
        eventually(&what, BOUND, || std::future::ready((ordered() >= enough).then_some(()))).await;
    }

    fn order_of(&self, number: usize) -> String {
        self.told().orders.get(&self.names.customer(number)).cloned().expect("everybody has ordered")
    }
}

/// Callers with valid tokens are never refused, whoever is away; those without are refused everywhere, soon.
pub async fn sign_in(servers: Servers, length: Length) -> (Servers, Outcome) {
    let rounds = length.pick(1, 4);
    let redis = Cut::to(servers.redis.trim_start_matches("redis://").trim_end_matches('/')).await;
    let redis_url = format!("redis_url = \"redis://{}\"", redis.address());
    let of_gateway =
        format!("trust_interval_ms = 500\ncaller_rate_per_second = 5000\ncaller_burst = 5000\n{redis_url}");
    let of_users = format!(
        "access_token_life_ms = {}\nrefresh_grace_ms = 60000\nsigning_key_announce_ms = 4000\n\
         password_memory_kib = 8192\npassword_iterations = 1\n{redis_url}",
        TOKEN_LIFE_S * 1_000
    );
    let without = length.pick(BESIDE, &[]);
    let settings = [("gateway", of_gateway.as_str()), ("user", of_users.as_str())];
    let mut fleet = Fleet::start_without(servers, &settings, without).await;
    let clocks = Clocks::new(fleet.folder()).await;
    let ahead = add_gateway_with_clock(&mut fleet, &clocks).await;
    let street = open(&fleet).await;
    let mut users = users(&fleet);
    let (mut wrong, mut notes) = (Vec::new(), Vec::new());
    let gateways = fleet.running("gateway").into_iter().map(|index| fleet.instances[index].listen);
    let gateways: Vec<SocketAddr> = gateways.collect();

    // One that is old when clocks are set.
    let (old, signed_in_at) = (sign_in_as(&users, &street.names.customer(0)).await, Instant::now());
    let at_work = begin(&fleet, &street).await;

    let mut recovery = Duration::ZERO;
    for round in 1..=rounds {
        let rotated = RotateSigningKeysRequest { request_id: id("rotate") };
        users.rotate_signing_keys(rotated).await.expect("a new key");
        lose_redis(&fleet, &redis, &users, &street, length, &mut wrong).await;
        // Before it signs, which it may begin while nobody can be asked.
        let (all, keys) = (gateways.as_slice(), round + 1);
        let known = || async move { know(all, keys).await.then_some(()) };
        eventually("every gateway knows the new key", BOUND, known).await;
        let down = fleet.running("user")[0];
        fleet.kill(down).await;
        street.goes_on("the user service").await;
        tokio::time::sleep(Duration::from_millis(length.pick(0, 5_000))).await;
        fleet.launch(down).await;
        let began = Instant::now();
        sign_in_as(&users, &street.names.customer(3)).await;
        recovery = recovery.max(began.elapsed());
        eventually("the new key signs", BOUND, || std::future::ready((street.heads() > round).then_some(()))).await;
    }

    let mut revoked_after = Duration::ZERO;
    for _ in 0..rounds {
        let session = sign_in_as(&users, &street.names.customer(1)).await;
        match revoke(&mut users, &gateways, &street, &session).await {
            Ok(after) => revoked_after = revoked_after.max(after),
            Err(what) => wrong.push(what),
        }
    }
    let tabs = sign_in_as(&users, &street.names.customer(2)).await;
    if let Err(what) = refresh_at_once(&users, &tabs).await {
        wrong.push(what);
    }

    street.is_over.store(true, Ordering::Relaxed);
    for customer in at_work {
        customer.await.expect("a customer does not fail");
    }
    let ahead = Ahead { gateway: fleet.instances[ahead].listen, clocks, order_id: street.order_of(0) };
    if let Err(what) = ahead.expire(&users, &old, signed_in_at).await {
        wrong.push(what);
    }
    let mut told = std::mem::take(&mut *street.told());

    notes.push(format!("{} refreshes by {} keys", told.refreshes, told.heads.len()));
    notes.push(format!("revoked after {:.1} s", revoked_after.as_secs_f64()));
    let mut outcome = Outcome::at_end(&fleet, &street.names, std::mem::take(&mut told.ledger)).await;
    if length == Length::Full {
        outcome.verified(fleet.verify(&["--settle", "10s"]).await);
    }
    outcome.expect(told.refreshes > 0, "no token was refreshed");
    outcome.wrong.extend(wrong);
    outcome.notes.extend(notes);
    let what = "keys rotated, user service killed, Redis lost, sessions revoked";
    super::judged(fleet, outcome.broken(what, rounds * 4, recovery)).await
}

/// One more gateway, whose clock can be set.
async fn add_gateway_with_clock(fleet: &mut Fleet, clocks: &Clocks) -> usize {
    let variables = clocks.variables("gateway");
    for (name, value) in &variables {
        fleet.set_variable(name, value);
    }
    let index = fleet.add("gateway").await;
    for (name, _) in &variables {
        fleet.unset_variable(name);
    }
    fleet.ready().await;
    index
}

/// A product, and customers with money who are users.
async fn open(fleet: &Fleet) -> Arc<Street> {
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
    Arc::new(Street { names, told: Mutex::default(), is_over: AtomicBool::new(false) })
}

/// Customers at work; each has an order when this returns.
async fn begin(fleet: &Fleet, street: &Arc<Street>) -> Vec<tokio::task::JoinHandle<()>> {
    let mut at_work = Vec::new();
    for number in 0..CUSTOMERS {
        let customer = street.names.customer(number);
        let users = users(fleet);
        let session = sign_in_as(&users, &customer).await;
        let caller = Customer { street: Arc::clone(street), shop: fleet.shop(), users, customer, session };
        at_work.push(tokio::spawn(caller.live()));
    }
    let all = || std::future::ready((street.told().orders.len() == CUSTOMERS).then_some(()));
    eventually("everybody has ordered", BOUND, all).await;
    at_work
}

struct Customer {
    street: Arc<Street>,
    shop: Shop,
    users: UserServiceClient<Channel>,
    customer: String,
    session: Session,
}

impl Customer {
    /// Orders with a token that is valid, and keeps it so.
    async fn live(mut self) {
        let mut refreshed = Instant::now();
        while !self.street.is_over.load(Ordering::Relaxed) {
            self.order().await;
            if refreshed.elapsed() >= REFRESHED_EVERY && self.refresh().await {
                refreshed = Instant::now();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn order(&self) {
        let request = Shop::request(&self.customer, &self.street.names.sku(0), 1);
        let request_id = request.request_id.clone();
        self.street.told().ledger.offered += 1;
        let mut tries = 0;
        let order = || {
            tries += 1;
            let (mut orders, request) = (self.shop.orders.clone(), with(&self.session, request.clone()));
            async move { orders.create_order(request).await }
        };
        let answer = patiently(order).await;
        let mut told = self.street.told();
        told.ledger.unanswered_tries += tries - 1;
        match answer {
            Ok(answer) => {
                let order = answer.into_inner().order.expect("an order");
                told.orders.entry(self.customer.clone()).or_insert_with(|| order.order_id.clone());
                told.ledger.accepted.insert(request_id, order.order_id);
            }
            // Nothing that a call needs is away.
            Err(status) => told.ledger.refused.push(format!("{request_id}: {}", described(&status))),
        }
    }

    /// Whether there are new tokens. While nobody gives any, those of before go on.
    async fn refresh(&mut self) -> bool {
        match refresh(self.users.clone(), self.session.refresh_token.clone()).await {
            Ok(session) => {
                let mut told = self.street.told();
                told.refreshes += 1;
                told.heads.extend(session.access_token.split('.').next().map(str::to_owned));
                drop(told);
                self.session = session;
                true
            }
            Err(status) if is_transient(status.code()) => false,
            Err(status) => {
                self.street.told().ledger.refused.push(format!("a refresh: {}", described(&status)));
                true
            }
        }
    }
}

/// Whether all gateways know so many signing keys.
async fn know(gateways: &[SocketAddr], keys: usize) -> bool {
    let known = join_all(gateways.iter().map(|gateway| asked::get(*gateway, "/.well-known/jwks.json"))).await;
    known.into_iter().all(|answer| answer.is_some_and(|text| text.matches("\"kid\"").count() >= keys))
}

/// Redis goes and comes back; who wants to sign in meanwhile does.
async fn lose_redis(
    fleet: &Fleet,
    cable: &Cut,
    users: &UserServiceClient<Channel>,
    street: &Street,
    length: Length,
    wrong: &mut Vec<String>,
) {
    match length {
        Length::Short => cable.cut(),
        Length::Full => fleet.servers.signal(Part::Redis, Signal::Kill).await,
    }
    let customer = street.names.customer(4);
    if let Err(status) = patiently(|| try_sign_in(users.clone(), customer.clone())).await {
        wrong.push(format!("nobody signs in without Redis: {}", described(&status)));
    }
    street.goes_on("Redis").await;
    tokio::time::sleep(Duration::from_millis(length.pick(0, 3_000))).await;
    match length {
        Length::Short => cable.mend(),
        Length::Full => fleet.servers.start_empty(Part::Redis).await,
    }
}

/// Ends a session: how long it takes until its token is refused by every gateway, its open streams included.
async fn revoke(
    users: &mut UserServiceClient<Channel>,
    gateways: &[SocketAddr],
    street: &Street,
    session: &Session,
) -> Result<Duration, String> {
    let order_id = street.order_of(1);
    let mut streams: Vec<Streaming<WatchOrderResponse>> = Vec::new();
    for gateway in gateways {
        let watch = || {
            let asked = WatchOrderRequest { order_id: order_id.clone(), until: OrderStatus::Delivered.into() };
            let (mut orders, asked) = (shop_at(*gateway).orders, with(session, asked));
            async move { orders.watch_order(asked).await }
        };
        let mut stream = patiently(watch)
            .await
            .map_err(|status| format!("an order is not watched: {}", described(&status)))?
            .into_inner();
        stream.message().await.map_err(|status| format!("a watch ended at once: {}", described(&status)))?;
        streams.push(stream);
    }
    let target = Some(Target::RefreshToken(session.refresh_token.clone()));
    users
        .sign_out(SignOutRequest { target })
        .await
        .map_err(|status| format!("a session goes on: {}", described(&status)))?;
    let began = Instant::now();
    let calls = gateways.iter().map(|gateway| refused(*gateway, session, &order_id));
    let ends = streams.iter_mut().map(ended);
    let all = async { (join_all(calls).await, join_all(ends).await) };
    match tokio::time::timeout(REVOKED_WITHIN, all).await {
        Ok((_, ends)) => match ends.iter().find(|reason| *reason != "TOKEN_REVOKED") {
            None => Ok(began.elapsed()),
            Some(reason) => Err(format!("a watch of a revoked session ended with {reason}")),
        },
        Err(_) => Err(format!("a revoked token is accepted after {REVOKED_WITHIN:?}")),
    }
}

/// Ends when a gateway refuses the token because it was revoked.
async fn refused(gateway: SocketAddr, session: &Session, order_id: &str) {
    let shop = shop_at(gateway);
    loop {
        let asked = GetOrderRequest { order_id: order_id.to_owned() };
        match shop.orders.clone().get_order(with(session, asked)).await {
            Err(status) if reason(&status) == "TOKEN_REVOKED" => return,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Why a stream ended.
async fn ended(stream: &mut Streaming<WatchOrderResponse>) -> String {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return "no reason".to_owned(),
            Err(status) => return reason(&status),
        }
    }
}

/// Many refreshes of one session at once give one successor, and the session goes on.
async fn refresh_at_once(users: &UserServiceClient<Channel>, session: &Session) -> Result<(), String> {
    let all = (0..REFRESHED_AT_ONCE).map(|_| {
        let (users, token) = (users.clone(), session.refresh_token.clone());
        patiently(move || refresh(users.clone(), token.clone()))
    });
    let mut tokens = BTreeSet::new();
    for answer in join_all(all).await {
        let next = answer.map_err(|status| format!("one of many refreshes: {}", described(&status)))?;
        tokens.insert(next.refresh_token);
    }
    let found: Vec<String> = tokens.into_iter().collect();
    let [one] = found.as_slice() else {
        return Err(format!("{} successors of one refresh token", found.len()));
    };
    let refreshed = patiently(|| refresh(users.clone(), one.clone())).await;
    refreshed.map(drop).map_err(|status| format!("a session ended that nobody stole: {}", described(&status)))
}

/// A gateway whose clock can be set, and an order of whoever calls it.
struct Ahead {
    gateway: SocketAddr,
    clocks: Clocks,
    order_id: String,
}

impl Ahead {
    /// With its clock between the end of an old token and that of one of now, it refuses the one and believes the other.
    async fn expire(
        &self,
        users: &UserServiceClient<Channel>,
        old: &Session,
        signed_in_at: Instant,
    ) -> Result<(), String> {
        let before = self.ask(old).await;
        let age = signed_in_at.elapsed().as_secs();
        let seconds = TOKEN_LIFE_S + LEEWAY_S - age.min(TOKEN_LIFE_S) / 2;
        self.clocks.shift("gateway", i64::try_from(seconds).unwrap_or_default());
        let refused = self.ask(old).await;
        let refreshed = patiently(|| refresh(users.clone(), old.refresh_token.clone()))
            .await
            .map_err(|status| format!("an old session: {}", described(&status)))?;
        let answered = self.ask(&refreshed).await;
        self.clocks.shift("gateway", 0);
        match (before.as_str(), refused.as_str(), answered.as_str()) {
            // Of a run that takes long, it has ended by the right clock already.
            ("" | "TOKEN_EXPIRED", "TOKEN_EXPIRED", "") => Ok(()),
            _ => Err(format!("a token of {age} s: {before:?}; {seconds} s later {refused:?}; refreshed {answered:?}")),
        }
    }

    /// The reason for which a call is refused; empty if it is not.
    async fn ask(&self, session: &Session) -> String {
        let asked = GetOrderRequest { order_id: self.order_id.clone() };
        let answer = shop_at(self.gateway).orders.get_order(with(session, asked)).await;
        answer.err().map_or_else(String::new, |status| reason(&status))
    }
}

fn users(fleet: &Fleet) -> UserServiceClient<Channel> {
    UserServiceClient::new(channel(&fleet.gateway()))
}

fn shop_at(gateway: SocketAddr) -> Shop {
    Shop::new(channel(&format!("http://{gateway}")))
}

fn channel(url: &str) -> Channel {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("an address");
    endpoint.connect_timeout(Duration::from_secs(5)).connect_lazy()
}

fn email(user_id: &str) -> String {
    format!("{user_id}@example.com")
}

async fn try_sign_in(mut users: UserServiceClient<Channel>, user_id: String) -> Result<Session, Status> {
    let (email, password) = (email(&user_id), PASSWORD.to_owned());
    let request = AuthenticateRequest { email, password, client_id: "scenario".to_owned() };
    Ok(users.authenticate(request).await?.into_inner().session.expect("a session"))
}

async fn sign_in_as(users: &UserServiceClient<Channel>, user_id: &str) -> Session {
    patiently(|| try_sign_in(users.clone(), user_id.to_owned())).await.expect("a sign-in")
}

/// Calls again for as long as a busy machine may take, unless the answer is that it shall not be.
async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let began = Instant::now();
    loop {
        match call().await {
            Err(status) if is_transient(status.code()) && began.elapsed() < BOUND => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

async fn refresh(mut users: UserServiceClient<Channel>, refresh_token: String) -> Result<Session, Status> {
    let request = RefreshTokenRequest { refresh_token };
    Ok(users.refresh_token(request).await?.into_inner().session.expect("a session"))
}

/// A call by whom the session is of.
fn with<T>(session: &Session, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", session.access_token);
    request.metadata_mut().insert("authorization", bearer.parse().expect("a token"));
    request
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map_or_else(|| format!("{:?}", status.code()), |info| info.reason)
}

fn described(status: &Status) -> String {
    format!("{} {}", reason(status), status.message())
}
