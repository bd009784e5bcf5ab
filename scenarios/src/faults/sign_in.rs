//! Who may call, while everything that knows it comes and goes: signing keys, the user service, Redis, sessions.
//!
//! - `customers.rs`: who orders meanwhile;
//! - `calls.rs`: calls as whoever signs in makes them.

mod calls;
mod customers;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;
use openorder_proto::order::v1::{GetOrderRequest, OrderStatus, WatchOrderRequest, WatchOrderResponse};
use openorder_proto::user::v1::{
    RotateSigningKeysRequest, Session, SignOutRequest, sign_out_request::Target, user_service_client::UserServiceClient,
};
use openorder_runtime::asked;
use openorder_testing::{Cut, eventually};
use tonic::Streaming;
use tonic::transport::Channel;

use self::calls::{BOUND, described, patiently, reason, refresh, shop_at, sign_in_as, try_sign_in, users, with};
use self::customers::{Customers, begin, open};
use crate::clock::Clocks;
use crate::servers::Part;
use crate::signal::Signal;
use crate::{Fleet, Outcome, Servers, faults::Length, id};

/// How long an access token is valid.
const TOKEN_LIFE_S: u64 = 60;
/// How far clocks may be apart: so much longer a token is accepted.
const LEEWAY_S: u64 = 30;
/// How long after its revocation a token may still be accepted, anywhere.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);
/// Tabs of a browser that refresh the same session at once.
const REFRESHED_AT_ONCE: usize = 64;
/// Services that no order needs: a taste does without.
const BESIDE: &[&str] = &["analytics", "history", "notification", "promotion", "cart", "operations"];

/// Callers with valid tokens are never refused, whoever is away; those without are refused everywhere, soon.
pub async fn sign_in(servers: Servers, length: Length) -> (Servers, Outcome) {
    let rounds = length.pick(1, 4);
    let redis = Cut::to(servers.redis.trim_start_matches("redis://").trim_end_matches('/')).await;
    let mut fleet = start(servers, length, &redis).await;
    let clocks = Clocks::new(fleet.folder()).await;
    let ahead = add_gateway_with_clock(&mut fleet, &clocks).await;
    let gateways = fleet.running("gateway").into_iter().map(|index| fleet.instances[index].listen).collect();
    let customers = open(&fleet).await;
    let mut scene = Scene { redis, users: users(&fleet), customers, gateways, length, wrong: Vec::new() };

    // One that is old when clocks are set.
    let (old, signed_in_at) = (scene.sign_in(0).await, Instant::now());
    let at_work = begin(&fleet, &scene.customers).await;
    let (mut recovery, mut revoked_after) = (Duration::ZERO, Duration::ZERO);
    for round in 1..=rounds {
        recovery = recovery.max(scene.lose_what_knows(&mut fleet, round).await);
    }
    for _ in 0..rounds {
        revoked_after = revoked_after.max(scene.revoke_a_session().await);
    }
    let tabs = scene.sign_in(2).await;
    let refreshed = refresh_at_once(&scene.users, &tabs).await;
    scene.wrong.extend(refreshed.err());

    scene.customers.is_over.store(true, Ordering::Relaxed);
    for customer in at_work {
        customer.await.expect("a customer does not fail");
    }
    let order_id = scene.customers.order_of(0);
    let ahead = ClockedGateway { gateway: fleet.instances[ahead].listen, clocks, order_id };
    let expired = ahead.expire(&scene.users, &old, signed_in_at).await;
    scene.wrong.extend(expired.err());

    let mut observed = std::mem::take(&mut *scene.customers.observed());
    let mut outcome = Outcome::at_end(&fleet, &scene.customers.names, std::mem::take(&mut observed.ledger)).await;
    if length == Length::Full {
        outcome.verified(fleet.verify(&["--settle", "10s"]).await);
    }
    outcome.expect(observed.refreshes > 0, "no token was refreshed");
    outcome.wrong.extend(scene.wrong);
    outcome.notes.push(format!("{} refreshes by {} keys", observed.refreshes, observed.heads.len()));
    outcome.notes.push(format!("revoked after {:.1} s", revoked_after.as_secs_f64()));
    let what = "keys rotated, user service killed, Redis lost, sessions revoked";
    super::judged(fleet, outcome.broken(what, rounds * 4, recovery)).await
}

/// The system, whose gateway and user service reach Redis through `redis`.
async fn start(servers: Servers, length: Length, redis: &Cut) -> Fleet {
    let redis_url = format!("redis_url = \"redis://{}\"", redis.address());
    let of_gateway =
        format!("trust_interval_ms = 500\ncaller_rate_per_second = 5000\ncaller_burst = 5000\n{redis_url}");
    let of_users = format!(
        "access_token_life_ms = {}\nrefresh_grace_ms = 60000\nsigning_key_announce_ms = 4000\n\
         password_memory_kib = 8192\npassword_iterations = 1\n{redis_url}",
        TOKEN_LIFE_S * 1_000
    );
    let settings = [("gateway", of_gateway.as_str()), ("user", of_users.as_str())];
    Fleet::start_without(servers, &settings, length.pick(BESIDE, &[])).await
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

/// What is broken, and who works meanwhile.
struct Scene {
    redis: Cut,
    users: UserServiceClient<Channel>,
    customers: Arc<Customers>,
    gateways: Vec<SocketAddr>,
    length: Length,
    wrong: Vec<String>,
}

impl Scene {
    async fn sign_in(&self, customer: usize) -> Session {
        sign_in_as(&self.users, &self.customers.names.customer(customer)).await
    }

    /// A new key, while Redis is away; then the user service is killed: how long it takes until somebody signs in again.
    async fn lose_what_knows(&mut self, fleet: &mut Fleet, round: usize) -> Duration {
        let rotated = RotateSigningKeysRequest { request_id: id("rotate") };
        self.users.rotate_signing_keys(rotated).await.expect("a new key");
        self.lose_redis(fleet).await;
        // Before it signs, which it may begin while nobody can be asked.
        let (all, keys) = (self.gateways.as_slice(), round + 1);
        let known = || async move { know(all, keys).await.then_some(()) };
        eventually("every gateway knows the new key", BOUND, known).await;
        let down = fleet.running("user")[0];
        fleet.kill(down).await;
        self.customers.goes_on("the user service").await;
        tokio::time::sleep(Duration::from_millis(self.length.pick(0, 5_000))).await;
        fleet.launch(down).await;
        let began = Instant::now();
        self.sign_in(3).await;
        let recovery = began.elapsed();
        let signs = || std::future::ready((self.customers.heads() > round).then_some(()));
        eventually("the new key signs", BOUND, signs).await;
        recovery
    }

    /// Redis goes and comes back; who wants to sign in meanwhile does.
    async fn lose_redis(&mut self, fleet: &Fleet) {
        match self.length {
            Length::Short => self.redis.cut(),
            Length::Full => fleet.servers.signal(Part::Redis, Signal::Kill).await,
        }
        let customer = self.customers.names.customer(4);
        if let Err(status) = patiently(|| try_sign_in(self.users.clone(), customer.clone())).await {
            self.wrong.push(format!("nobody signs in without Redis: {}", described(&status)));
        }
        self.customers.goes_on("Redis").await;
        tokio::time::sleep(Duration::from_millis(self.length.pick(0, 3_000))).await;
        match self.length {
            Length::Short => self.redis.mend(),
            Length::Full => fleet.servers.start_empty(Part::Redis).await,
        }
    }

    /// How long a session that ends is still believed somewhere.
    async fn revoke_a_session(&mut self) -> Duration {
        let (session, order_id) = (self.sign_in(1).await, self.customers.order_of(1));
        let revoked = revoke(&mut self.users, &self.gateways, &order_id, &session).await;
        revoked.unwrap_or_else(|what| {
            self.wrong.push(what);
            Duration::ZERO
        })
    }
}

/// Whether all gateways know so many signing keys.
async fn know(gateways: &[SocketAddr], keys: usize) -> bool {
    let known = join_all(gateways.iter().map(|gateway| asked::get(*gateway, "/.well-known/jwks.json"))).await;
    known.into_iter().all(|answer| answer.is_some_and(|text| text.matches("\"kid\"").count() >= keys))
}

/// Ends a session: how long it takes until its token is refused by every gateway, its open streams included.
async fn revoke(
    users: &mut UserServiceClient<Channel>,
    gateways: &[SocketAddr],
    order_id: &str,
    session: &Session,
) -> Result<Duration, String> {
    let mut streams: Vec<Streaming<WatchOrderResponse>> = Vec::new();
    for gateway in gateways {
        let watch = || {
            let asked = WatchOrderRequest { order_id: order_id.to_owned(), until: OrderStatus::Delivered.into() };
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
    let calls = gateways.iter().map(|gateway| refused(*gateway, session, order_id));
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
struct ClockedGateway {
    gateway: SocketAddr,
    clocks: Clocks,
    order_id: String,
}

impl ClockedGateway {
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
