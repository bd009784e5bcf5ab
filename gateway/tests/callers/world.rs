//! A user service that the tests write, and services behind the gateway that refuse every call by telling who made it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::Request as AnyRequest;
use openorder_auth::{AUDIENCE, ApiKey, Claims, SigningKey};
use openorder_gateway::{Backend, GatewaySettings, serve_backends};
use openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET;
use openorder_proto::internal::user::v1::revocation::Target;
use openorder_proto::internal::user::v1::trust_service_server::{TrustService, TrustServiceServer};
use openorder_proto::internal::user::v1::{
    ExchangeApiKeyRequest, ExchangeApiKeyResponse, GetTrustRequest, GetTrustResponse, Revocation, TrustedKey,
};
use openorder_rpc::{Refusal, caller_of, listen, reason_of, rejection};
use openorder_runtime::{Readiness, Shutdown};
use openorder_telemetry::RoleTelemetry;
use openorder_types::Rejection;
use prost_reflect::DescriptorPool;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::support::{Running, Seen, call_with, caller, service_at, settings};

pub const ISSUER: &str = "https://users.test";
/// What a call is answered with that reached its service.
pub const REACHED: &str = "REACHED";

/// Seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A user service: it knows what the test tells it.
#[derive(Clone)]
pub struct Users {
    pub key: Arc<SigningKey>,
    pub revocations: Arc<Mutex<Vec<Revocation>>>,
    /// Each with the claims of its tokens.
    pub api_keys: Arc<Mutex<Vec<(ApiKey, Claims)>>>,
    pub exchanged: Arc<AtomicU32>,
    pub asked: Arc<AtomicU32>,
    pub is_away: Arc<AtomicBool>,
}

impl Users {
    pub fn new() -> Self {
        Self {
            key: Arc::new(SigningKey::from_seed(&[7; 32]).unwrap()),
            revocations: Arc::default(),
            api_keys: Arc::default(),
            exchanged: Arc::default(),
            asked: Arc::default(),
            is_away: Arc::default(),
        }
    }

    /// A token of this user, in this session, with these roles.
    pub fn token(&self, user: &str, session: &str, roles: &[&str]) -> String {
        self.key.sign(&claims(user, session, roles))
    }

    pub fn revoke(&self, target: Target, seconds: i64) {
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let revocation =
            Revocation { target: Some(target), revoke_time: time(seconds), expire_time: time(seconds + 300) };
        self.revocations.lock().unwrap().push(revocation);
    }
}

pub fn claims(user: &str, session: &str, roles: &[&str]) -> Claims {
    Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: user.to_owned(),
        exp: now() + 300,
        iat: now(),
        jti: format!("{user}-{session}"),
        client_id: "test".to_owned(),
        sid: session.to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..Claims::default()
    }
}

#[tonic::async_trait]
impl TrustService for Users {
    async fn get_trust(&self, request: Request<GetTrustRequest>) -> Result<Response<GetTrustResponse>, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(caller_of(&request).unwrap().is_staff(), "a service asks");
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Refusal::dependency_unavailable(Duration::from_secs(1)));
        }
        let revocations = self.revocations.lock().unwrap();
        let since = usize::try_from(request.into_inner().since).unwrap();
        // One at a time, so that there is more of it.
        let part: Vec<_> = revocations.iter().skip(since).take(1).cloned().collect();
        let position = since + part.len();
        let key = TrustedKey { key_id: self.key.key_id().to_owned(), public_key: self.key.public_key().to_vec() };
        Ok(Response::new(GetTrustResponse {
            issuer: ISSUER.to_owned(),
            keys: vec![key],
            revocations: part,
            position: i64::try_from(position).unwrap(),
            has_more: position < revocations.len(),
        }))
    }

    async fn exchange_api_key(
        &self,
        request: Request<ExchangeApiKeyRequest>,
    ) -> Result<Response<ExchangeApiKeyResponse>, Status> {
        self.exchanged.fetch_add(1, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Refusal::dependency_unavailable(Duration::from_secs(1)));
        }
        let text = request.into_inner().api_key;
        let keys = self.api_keys.lock().unwrap();
        let found = keys.iter().find(|(key, _)| *key.expose() == text);
        let (_, claims) = found.ok_or_else(|| rejection(Rejection::unauthenticated("API_KEY_UNKNOWN", "unknown")))?;
        let access_token = self.key.sign(&Claims { iat: now(), ..claims.clone() });
        Ok(Response::new(ExchangeApiKeyResponse { access_token, expire_time: None }))
    }
}

/// Tells who called: `subject roles session address`, and whether a token came through.
async fn told(request: AnyRequest) -> http::Response<Body> {
    let header = |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    let names = ["x-openorder-subject", "x-openorder-roles", "x-openorder-session", "x-openorder-peer"];
    let text = names.map(header).join(" ");
    assert!(!request.headers().contains_key("authorization"), "a token is for the gateway alone");
    rejection(Rejection::failed_precondition(REACHED, text)).into_http()
}

/// A gateway in front of all services of the contract, which are one, and of the user service.
pub struct World {
    pub users: Users,
    pub gateway: Running,
    /// Its services run as long as it does.
    _services: Running,
    pub channel: Channel,
}

impl World {
    pub async fn open(change: impl FnOnce(&mut GatewaySettings)) -> Self {
        Self::with(Users::new(), change).await
    }

    pub async fn with(users: Users, change: impl FnOnce(&mut GatewaySettings)) -> Self {
        Self::of(RoleTelemetry::disabled("gateway"), users, None, change).await
    }

    /// With another order service, and spans that can be looked at.
    pub async fn of(
        role: RoleTelemetry,
        users: Users,
        orders: Option<&str>,
        change: impl FnOnce(&mut GatewaySettings),
    ) -> Self {
        let service = TrustServiceServer::new(users.clone());
        let routes = Routes::from(axum::Router::new().fallback(told)).add_service(service);
        let services = service_at("127.0.0.1:0", RoleTelemetry::disabled("user"), |_| routes).await;
        let mut settings = GatewaySettings { trust_interval_ms: 20, ..settings() };
        change(&mut settings);
        let gateway = gateway(role, &services.url(), orders, settings).await;
        let channel = caller(&gateway).await;
        Self { users, gateway, _services: services, channel }
    }

    /// A gateway that has heard of the user service.
    pub async fn ready(change: impl FnOnce(&mut GatewaySettings)) -> Self {
        let world = Self::open(change).await;
        let token = world.users.token("first", "first", &["viewer"]);
        crate::support::until(async || {
            world.says("/openorder.order.v1.OrderService/GetOrder", &token).await.0 == REACHED
        })
        .await;
        world
    }

    /// What a call with this token is answered with over gRPC: its reason, and its text. An empty token is none.
    pub async fn says(&self, path: &'static str, token: &str) -> (String, String) {
        let mut request = Request::new(String::new());
        if !token.is_empty() {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let status = call_with(&self.channel, path, request).await.unwrap_err();
        (reason_of(&status).unwrap_or_else(|| format!("{status:?}")), status.message().to_owned())
    }
}

async fn gateway(role: RoleTelemetry, url: &str, orders: Option<&str>, settings: GatewaySettings) -> Running {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let (address, shutdown, readiness) = (listener.local_addr().unwrap(), Shutdown::new(), Readiness::new());
    let backends: Vec<Backend> = services()
        .into_iter()
        .map(|(role, service)| {
            let url = orders.filter(|_| role == "order").unwrap_or(url).to_owned();
            Backend { role, service, url }
        })
        .collect();
    let (until, ready) = (shutdown.clone(), readiness.clone());
    let task = tokio::spawn(async move {
        serve_backends(role, &ready, listener, &settings, PUBLIC_FILE_DESCRIPTOR_SET, backends, &until).await.unwrap();
    });
    Running { address, shutdown, seen: Seen::default(), readiness, task }
}

/// The services of the contract, each with its role.
pub fn services() -> Vec<(&'static str, &'static str)> {
    let pool = DescriptorPool::decode(PUBLIC_FILE_DESCRIPTOR_SET).unwrap();
    let services = pool.services().filter(|service| service.full_name().starts_with("openorder."));
    // The names live as long as the test.
    let leaked = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    services
        .map(|service| {
            let role = service.full_name().split('.').nth(1).unwrap();
            (leaked(role), leaked(service.full_name()))
        })
        .collect()
}
