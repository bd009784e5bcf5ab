//! A running user service with its callers.

use std::{sync::atomic::AtomicU64, sync::atomic::Ordering, time::Duration};

use openorder_auth::{
    ACCESS_TOKEN_TYPE, AUDIENCE, Claims, Expected, LEEWAY_SECONDS, PEER_METADATA, VerifyingKey, peek, verify,
};
use openorder_proto::{
    internal::user::v1::{GetTrustRequest, GetTrustResponse, trust_service_client::TrustServiceClient},
    user::v1::{
        AuthenticateRequest, AuthenticateResponse, RefreshTokenRequest, RegisterUserRequest, Session, User,
        user_service_client::UserServiceClient,
    },
};
use openorder_rpc::{CallContext, PageTokens, RpcClientSettings, UpstreamChannel, reason_of};
use openorder_service::Host;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{World, eventually, free_address};
use openorder_types::{Caller, Role};
use openorder_user::{UserSettings, serve};
use tokio::runtime::Runtime;
use tonic::{Code, Request, Status};

/// How long anything may take on a busy machine.
pub const BOUND: Duration = Duration::from_secs(60);
/// The password of everybody here.
pub const PASSWORD: &str = "correct horse battery";

pub type Users = UserServiceClient<UpstreamChannel>;

/// One user service in a runtime of its own, so that it can be killed.
struct Instance {
    runtime: Runtime,
    users: Users,
    trust: TrustServiceClient<UpstreamChannel>,
}

impl Instance {
    /// Starts the service and waits until it answers.
    async fn start(world: &World, settings: UserSettings) -> Self {
        let address = free_address();
        let settings = UserSettings {
            listen_address: address.to_string(),
            database_url: world.database_url("user"),
            database: world.database(),
            redis_url: openorder_testing::redis_url().as_str().into(),
            // As little as Argon2id takes: what a hash costs is not what is tested.
            password_memory_kib: 64,
            password_iterations: 1,
            ..settings
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let role = world.separate_role("user");
        runtime.spawn(serve(Host::new(role, settings, world.kafka(), PageTokens::new(b"test"))));
        let settings = RpcClientSettings { in_memory: false, ..RpcClientSettings::default() };
        let url = format!("http://{address}");
        let channel = || openorder_rpc::channel(&RoleTelemetry::disabled("test"), &url, &settings).unwrap();
        let trust = TrustServiceClient::new(channel());
        eventually("the service answers", BOUND, || async {
            trust.clone().get_trust(GetTrustRequest::default()).await.ok().map(drop)
        })
        .await;
        Self { runtime, users: Users::new(channel()), trust }
    }
}

pub struct Bench {
    pub world: World,
    instance: Option<Instance>,
    /// Beside that one, on the same database.
    others: Vec<Instance>,
    settings: UserSettings,
}

impl Bench {
    pub async fn start() -> Self {
        Self::with(UserSettings::default()).await
    }

    pub async fn with(settings: UserSettings) -> Self {
        let world = World::new();
        let instance = Some(Instance::start(&world, settings.clone()).await);
        Self { world, instance, others: Vec::new(), settings }
    }

    /// Starts one more instance; its callers.
    pub async fn another(&mut self) -> Users {
        let instance = Instance::start(&self.world, self.settings.clone()).await;
        let users = instance.users.clone();
        self.others.push(instance);
        users
    }

    /// Ends the service wherever it stands, and starts another one on what it left.
    pub async fn crash(&mut self) {
        self.kill();
        self.instance = Some(Instance::start(&self.world, self.settings.clone()).await);
    }

    fn kill(&mut self) {
        for instance in self.instance.take().into_iter().chain(self.others.drain(..)) {
            instance.runtime.shutdown_background();
        }
    }

    pub async fn close(mut self) {
        self.kill();
        self.world.close().await;
    }

    pub fn users(&self) -> Users {
        self.instance.as_ref().unwrap().users.clone()
    }

    pub fn trust_service(&self) -> TrustServiceClient<UpstreamChannel> {
        self.instance.as_ref().unwrap().trust.clone()
    }

    pub async fn trust(&self, since: i64) -> GetTrustResponse {
        self.trust_service().get_trust(GetTrustRequest { since }).await.unwrap().into_inner()
    }

    /// What the gateway believes of a token.
    pub async fn claims(&self, token: &str) -> Claims {
        let trust = self.trust(0).await;
        let key_id = peek(token).unwrap().key_id;
        let key = trust.keys.iter().find(|key| key.key_id == key_id).expect("the key is published");
        let expected = Expected {
            issuer: &trust.issuer,
            audience: AUDIENCE,
            typ: ACCESS_TOKEN_TYPE,
            leeway_seconds: LEEWAY_SECONDS,
        };
        let key = VerifyingKey::from_ed25519(&key.public_key).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        verify(token, &key, &expected, i64::try_from(now).unwrap()).unwrap()
    }

    /// A new customer, by its first name.
    pub async fn register(&self, name: &str) -> User {
        let message = registration(name);
        self.users().register_user(from("192.0.2.1", message)).await.unwrap().into_inner().user.unwrap()
    }

    pub async fn authenticate(&self, name: &str, password: &str, peer: &str) -> Result<AuthenticateResponse, Status> {
        let message =
            AuthenticateRequest { email: email(name), password: password.to_owned(), client_id: "test".to_owned() };
        Ok(self.users().authenticate(from(peer, message)).await?.into_inner())
    }

    pub async fn sign_in(&self, name: &str) -> Session {
        self.authenticate(name, PASSWORD, "192.0.2.1").await.unwrap().session.unwrap()
    }

    pub async fn refresh(&self, refresh_token: &str) -> Result<Session, Status> {
        let message = RefreshTokenRequest { refresh_token: refresh_token.to_owned() };
        Ok(self.users().refresh_token(from("192.0.2.1", message)).await?.into_inner().session.unwrap())
    }
}

pub fn email(name: &str) -> String {
    format!("{name}@example.com")
}

pub fn registration(name: &str) -> RegisterUserRequest {
    RegisterUserRequest {
        request_id: request_id(),
        email: email(name),
        password: PASSWORD.to_owned(),
        display_name: format!("{name} the tester"),
        ..RegisterUserRequest::default()
    }
}

pub fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("r-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A request of somebody who has not signed in, from a network address.
pub fn from<T>(peer: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(PEER_METADATA, peer.parse().unwrap());
    request
}

pub fn as_operator() -> CallContext {
    calling(Caller::new("root", [Role::Operator]))
}

pub fn as_customer(user_id: &str) -> CallContext {
    calling(Caller::new(user_id, [Role::Customer]))
}

fn calling(caller: Caller) -> CallContext {
    CallContext { caller, ..CallContext::of_service("test", TraceContext::default()) }
}

/// The code and the reason of a refusal.
pub fn refusal<T>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.err().expect("it is refused");
    (status.code(), reason_of(&status).unwrap_or_default())
}

pub fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}
