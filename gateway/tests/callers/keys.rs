//! API keys, and tokens of other issuers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use openorder_auth::{ApiKey, Claims, SigningKey, jwk_set};
use openorder_gateway::Anonymous;
use openorder_proto::internal::user::v1::revocation::Target;
use serde_json::json;

use super::world::{REACHED, World, claims, now};
use crate::support::{GET_ORDER, until};

const CREATE_PRODUCT: &str = "/openorder.product.v1.ProductService/CreateProduct";

/// A key, and the claims of its tokens.
fn key(number: u8, user: &str, roles: &[&str]) -> (ApiKey, Claims) {
    let key = ApiKey::new(&[number; 10], &[number; 32]);
    let claims = Claims { client_id: openorder_auth::API_KEY_CLIENT_ID.to_owned(), ..claims(user, key.id(), roles) };
    (key, claims)
}

#[tokio::test]
async fn an_api_key_is_exchanged_once_and_calls_as_its_user() {
    let world = World::ready(|settings| settings.anonymous = Anonymous::Nobody).await;
    let (key, claims) = key(1, "shop", &["service"]);
    let text = key.expose().to_string();
    world.users.api_keys.lock().unwrap().push((key.clone(), claims));
    // All at once: who comes first asks, and the others find what it was told.
    for (reason, told) in join_all((0..20).map(|_| world.says(CREATE_PRODUCT, &text))).await {
        assert_eq!((reason.as_str(), told), (REACHED, format!("shop service {} -", key.id())));
    }
    assert_eq!(world.users.exchanged.load(Ordering::SeqCst), 1);

    let other = ApiKey::new(&[1; 10], &[2; 32]).expose().to_string();
    for _ in 0..10 {
        let (reason, told) = world.says(CREATE_PRODUCT, &other).await;
        assert_eq!(reason, "API_KEY_UNKNOWN");
        assert!(!told.contains(&other[20..]));
    }
    assert_eq!(world.users.exchanged.load(Ordering::SeqCst), 2, "who goes on with a wrong key asks nobody for a while");
}

#[tokio::test]
async fn a_key_that_is_revoked_is_refused_and_one_whose_roles_change_has_the_new_ones() {
    let world = World::ready(|_| {}).await;
    let ((gone, gone_claims), (kept, kept_claims)) = (key(1, "one", &["service"]), key(2, "two", &["service"]));
    let (gone_text, kept_text) = (gone.expose().to_string(), kept.expose().to_string());
    *world.users.api_keys.lock().unwrap() = vec![(gone, gone_claims), (kept, kept_claims)];
    for text in [&gone_text, &kept_text] {
        assert_eq!(world.says(CREATE_PRODUCT, text).await.0, REACHED);
    }
    let gone = {
        let mut keys = world.users.api_keys.lock().unwrap();
        keys[1].1.roles = vec!["customer".to_owned()];
        keys.remove(0).0
    };
    world.users.revoke(Target::SessionId(gone.id().to_owned()), now());
    until(async || world.says(CREATE_PRODUCT, &gone_text).await.0 == "API_KEY_UNKNOWN").await;
    // A token that is exchanged in the second of the revocation counts as one of before.
    world.users.revoke(Target::UserId("two".to_owned()), now());
    until(async || world.says(CREATE_PRODUCT, &kept_text).await.0 == "ROLE_REQUIRED").await;
    until(async || world.says(GET_ORDER, &kept_text).await.1.starts_with("two customer ")).await;
}

/// Another issuer: its discovery document, and its keys, which may change.
struct Corp {
    url: String,
    keys: Arc<Mutex<Vec<SigningKey>>>,
    fetched: Arc<AtomicU32>,
}

impl Corp {
    async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keys: Arc<Mutex<Vec<SigningKey>>> = Arc::default();
        keys.lock().unwrap().push(SigningKey::from_seed(&[3; 32]).unwrap());
        let fetched = Arc::new(AtomicU32::new(0));
        let (shown, counted, own) = (Arc::clone(&keys), Arc::clone(&fetched), url.clone());
        let set = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let keys = shown.lock().unwrap();
            let pairs: Vec<_> = keys.iter().map(|key| (key.key_id().to_owned(), key.public_key())).collect();
            let set = jwk_set(&pairs).to_string();
            async { set }
        };
        let document = move || {
            let document = json!({"issuer": own, "jwks_uri": format!("{own}/keys")}).to_string();
            async { document }
        };
        let router = axum::Router::new()
            .route("/.well-known/openid-configuration", axum::routing::get(document))
            .route("/keys", axum::routing::get(set));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, keys, fetched }
    }

    fn settings(&self) -> String {
        let url = &self.url;
        format!("name=corp;issuer={url};audience=shop;algorithms=EdDSA;roles=clerk:operator buyer:customer")
    }

    fn token(&self, key: &SigningKey, user: &str, roles: &[&str]) -> String {
        let claims = Claims { iss: self.url.clone(), aud: "shop".to_owned(), ..claims(user, "there", roles) };
        key.sign(&claims)
    }
}

#[tokio::test]
async fn a_token_of_another_issuer_calls_under_its_name_in_the_roles_that_the_settings_give() {
    let corp = Corp::open().await;
    let world = World::open(|settings| settings.issuers = vec![corp.settings()]).await;
    let signing = SigningKey::from_seed(&[3; 32]).unwrap();
    let clerk = corp.token(&signing, "4711", &["clerk", "king"]);
    // Its own session is nothing that is known here.
    assert_eq!(world.says(CREATE_PRODUCT, &clerk).await, (REACHED.to_owned(), "corp.4711 operator - -".to_owned()));
    let buyer = corp.token(&signing, "auth0|x", &["buyer"]);
    let (reason, told) = world.says(GET_ORDER, &buyer).await;
    assert!(reason == REACHED && told.starts_with("corp..") && told.ends_with(" customer - -"), "{told}");
    assert_eq!(world.says(CREATE_PRODUCT, &buyer).await.0, "ROLE_REQUIRED");
    assert_eq!(world.says(GET_ORDER, &corp.token(&signing, "x", &["operator"])).await.0, "ROLE_REQUIRED", "its word");
    assert_eq!(corp.fetched.load(Ordering::SeqCst), 1);

    let elsewhere = Claims { iss: corp.url.clone(), ..claims("x", "s", &["clerk"]) };
    assert_eq!(world.says(GET_ORDER, &signing.sign(&elsewhere)).await.0, "TOKEN_AUDIENCE_WRONG");
    // Some issuers write the end of all times.
    let endless = Claims { exp: i64::MAX, aud: "shop".to_owned(), ..elsewhere };
    assert_eq!(world.says(GET_ORDER, &signing.sign(&endless)).await.0, REACHED);
    // The user service's key signs nothing for it.
    assert_eq!(world.says(GET_ORDER, &corp.token(&world.users.key, "x", &["clerk"])).await.0, "TOKEN_KEY_UNKNOWN");

    // Keys that nobody has are asked for once in half a minute, whatever comes.
    for seed in 10..40 {
        let unknown = SigningKey::from_seed(&[seed; 32]).unwrap();
        assert_eq!(world.says(GET_ORDER, &corp.token(&unknown, "x", &["clerk"])).await.0, "TOKEN_KEY_UNKNOWN");
    }
    assert_eq!(corp.fetched.load(Ordering::SeqCst), 1);
    corp.keys.lock().unwrap().clear();
    assert_eq!(world.says(GET_ORDER, &corp.token(&signing, "y", &["clerk"])).await.0, REACHED, "the known keys stay");
}
