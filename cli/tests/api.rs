//! Orders over HTTP and JSON: through the gateway, from the real services, over real servers; and whose they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder::{ProcessSettings, Role, System};
use openorder_auth::{Claims, SigningKey, jwk_set};
use openorder_gateway::Anonymous;
use openorder_proto::order::v1::GetOrderRequest;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_rpc::{CallContext, RpcClientSettings};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{World, eventually, free_address};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(60);

async fn started(world: &World) -> (System, String) {
    let mut settings = ProcessSettings { kafka: world.kafka(), ..Default::default() };
    settings.gateway.anonymous = Anonymous::Operator;
    settings.admin.listen_address = free_address().to_string();
    for role in Role::ALL {
        settings.listen_on(*role, &free_address().to_string());
    }
    settings.order.database_url = world.database_url("order");
    settings.product.database_url = world.database_url("product");
    settings.order.database = world.database();
    settings.product.database = world.database();
    let gateway = settings.gateway.listen_address.clone();
    let system = Box::pin(System::start(settings, &[Role::Gateway, Role::Order, Role::Product])).await.unwrap();
    let waiting = tokio::time::timeout(PATIENCE, system.readiness().wait_serving()).await;
    assert!(waiting.is_ok(), "calls are not answered: {:?}", system.readiness().snapshot());
    (system, gateway)
}

/// One request, as curl sends it: its status, and the JSON of its answer.
async fn call(gateway: &str, method: &str, path: &str, body: Option<Json>) -> (u16, Json) {
    call_as("", gateway, method, path, body).await
}

/// The same with a token; an empty one is none.
async fn call_as(token: &str, gateway: &str, method: &str, path: &str, body: Option<Json>) -> (u16, Json) {
    let mut stream = tokio::net::TcpStream::connect(gateway).await.unwrap();
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let (kind, length) = ("content-type: application/json", body.len());
    let bearer = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {gateway}\r\n{kind}\r\ncontent-length: {length}\r\n{bearer}connection: close"
    );
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

#[tokio::test]
async fn an_order_that_is_made_in_json_is_the_one_that_every_protocol_reads() {
    let world = World::new();
    let (system, gateway) = Box::pin(started(&world)).await;
    let product = json!({
        "requestId": "chair-1", "sku": "chair", "displayName": "A chair", "initialStock": 5,
        "price": {"currencyCode": "EUR", "units": "19", "nanos": 500_000_000}
    });
    let (status, made) = call(&gateway, "POST", "/v1/products", Some(product)).await;
    assert_eq!(status, 200, "{made}");
    let (_, by_sku) = call(&gateway, "GET", "/v1/skus/chair", None).await;
    assert_eq!(by_sku, made);

    let order = json!({"request_id": "order-1", "customer_id": "anna", "lines": [{"sku": "chair", "quantity": 2}]});
    let (status, made) = call(&gateway, "POST", "/v1/orders", Some(order.clone())).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(made["order"]["total"], json!({"currencyCode": "EUR", "units": "39"}));
    let order_id = made["order"]["orderId"].as_str().unwrap();
    let (_, again) = call(&gateway, "POST", "/v1/orders", Some(order)).await;
    assert_eq!(again["order"]["orderId"], order_id, "the same command has no second effect");

    let (_, by_rest) = call(&gateway, "GET", &format!("/v1/orders/{order_id}"), None).await;
    let connect = "/openorder.order.v1.OrderService/GetOrder";
    let (_, by_connect) = call(&gateway, "POST", connect, Some(json!({"orderId": order_id}))).await;
    assert_eq!(by_rest, by_connect);
    let client = RpcClientSettings { in_memory: false, ..Default::default() };
    let channel =
        openorder_rpc::channel(&RoleTelemetry::disabled("test"), &format!("http://{gateway}"), &client).unwrap();
    let request = GetOrderRequest { order_id: order_id.to_owned() };
    let asked = CallContext::of_service("test", TraceContext::NONE).request(request);
    let by_grpc = OrderServiceClient::new(channel).get_order(asked).await.unwrap().into_inner().order.unwrap();
    assert_eq!((by_grpc.order_id.as_str(), by_grpc.customer_id.as_str()), (order_id, "anna"));
    assert_eq!(by_rest["order"]["version"], by_grpc.version.to_string());
    let (_, listed) = call(&gateway, "GET", "/v1/orders?customerId=anna&statuses=ORDER_STATUS_PENDING", None).await;
    assert_eq!(listed["orders"][0]["orderId"], order_id);

    let empty = json!({"requestId": "order-2", "customerId": "anna", "lines": [{"sku": "no sku", "quantity": 0}]});
    let (status, refused) = call(&gateway, "POST", "/v1/orders", Some(empty)).await;
    assert_eq!(status, 400, "{refused}");
    let fields: Vec<_> =
        refused["details"][1]["fieldViolations"].as_array().unwrap().iter().map(|one| &one["field"]).collect();
    assert_eq!(fields, ["lines[0].sku", "lines[0].quantity"]);
    let (status, missed) = call(&gateway, "GET", "/v1/orders/00000000-0000-7000-8000-000000000000", None).await;
    assert_eq!((status, &missed["details"][0]["reason"]), (404, &json!("ORDER_NOT_FOUND")));
    system.stop().await;
    world.close().await;
}

/// An issuer of tokens: whoever it signs in is `corp.` and its name here.
struct Issuer {
    url: String,
    key: SigningKey,
}

impl Issuer {
    async fn open() -> Self {
        let key = SigningKey::from_seed(&[5; 32]).unwrap();
        let set = jwk_set(&[(key.key_id().to_owned(), key.public_key())]).to_string();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let length = set.len();
        let kind = "content-type: application/json";
        let answer = format!("HTTP/1.1 200 OK\r\n{kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{set}");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut asked, mut bytes) = (Vec::new(), [0; 1_024]);
                while !asked.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut bytes).await {
                        Ok(read) if read > 0 => asked.extend_from_slice(&bytes[..read]),
                        _ => break,
                    }
                }
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Self { url, key }
    }

    fn settings(&self) -> String {
        let url = &self.url;
        let roles = "customer:customer viewer:viewer operator:operator";
        format!("name=corp;issuer={url};audience=shop;jwks_url={url};algorithms=EdDSA;roles={roles}")
    }

    fn token(&self, user: &str, role: &str) -> String {
        let now = chrono::Utc::now().timestamp();
        self.key.sign(&Claims {
            iss: self.url.clone(),
            aud: "shop".to_owned(),
            sub: user.to_owned(),
            exp: now + 600,
            iat: now,
            roles: vec![role.to_owned()],
            ..Claims::default()
        })
    }
}

/// These services, behind a gateway that lets in nobody without a token.
async fn shop(world: &World, issuer: &Issuer, roles: &[Role]) -> (System, String) {
    let mut settings = Box::new(ProcessSettings { kafka: world.kafka(), ..Default::default() });
    settings.admin.listen_address = free_address().to_string();
    for role in Role::ALL {
        settings.listen_on(*role, &free_address().to_string());
    }
    let names = [
        "order",
        "product",
        "inventory",
        "payment",
        "promotion",
        "shipping",
        "notification",
        "history",
        "cart",
        "user",
    ];
    let urls = names.map(|name| world.database_url(name));
    let [order, product, inventory, payment, promotion, shipping, notification, history, cart, user] = urls;
    settings.order.database_url = order;
    settings.product.database_url = product;
    settings.inventory.database_url = inventory;
    settings.payment.database_url = payment;
    settings.promotion.database_url = promotion;
    settings.shipping.database_url = shipping;
    settings.notification.database_url = notification;
    settings.history.database_url = history;
    settings.cart.database_url = cart;
    settings.user.database_url = user;
    for database in [
        &mut settings.order.database,
        &mut settings.product.database,
        &mut settings.inventory.database,
        &mut settings.payment.database,
        &mut settings.promotion.database,
        &mut settings.shipping.database,
        &mut settings.notification.database,
        &mut settings.history.database,
        &mut settings.cart.database,
        &mut settings.user.database,
    ] {
        *database = world.database();
    }
    let redis = openorder_testing::redis_url();
    settings.cart.redis_url = redis.as_str().into();
    settings.notification.redis_url = redis.as_str().into();
    settings.user.redis_url = redis.as_str().into();
    settings.gateway.anonymous = Anonymous::Nobody;
    settings.gateway.issuers = vec![issuer.settings()];
    let gateway = settings.gateway.listen_address.clone();
    let system = Box::pin(System::start(*settings, roles)).await.unwrap();
    let waiting = tokio::time::timeout(PATIENCE, system.readiness().wait_serving()).await;
    assert!(waiting.is_ok(), "calls are not answered: {:?}", system.readiness().snapshot());
    (system, gateway)
}

const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_reaches_its_own_objects_and_what_is_anothers_does_not_exist() {
    let (world, issuer) = (World::new(), Issuer::open().await);
    let roles: Vec<Role> = Role::ALL
        .iter()
        .copied()
        .filter(|role| !matches!(role, Role::Operations | Role::Analytics | Role::User))
        .collect();
    let (system, gateway) = Box::pin(shop(&world, &issuer, &roles)).await;
    let [ada, eve] = ["ada", "eve"].map(|user| issuer.token(user, "customer"));
    let (root, viewer) = (issuer.token("root", "operator"), issuer.token("vera", "viewer"));
    let ask = async |token: &str, method: &str, path: &str, body: Option<Json>| {
        call_as(token, &gateway, method, path, body).await
    };
    let must = async |token: &str, method: &str, path: &str, body: Json| {
        let (status, answer) = ask(token, method, path, Some(body)).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    };
    let product = json!({"requestId": "p", "sku": "cup", "displayName": "A cup", "initialStock": 50,
        "price": {"currencyCode": "EUR", "units": 5}});
    must(&root, "POST", "/v1/products", product).await;
    let money = json!({"requestId": "m", "amount": {"currencyCode": "EUR", "units": 100}});
    must(&root, "POST", "/v1/wallets/corp.ada:charge", money).await;
    let coupon = json!({"requestId": "c", "code": "ONE", "displayName": "One", "terms": {"fixedAmount": {"currencyCode": "EUR", "units": 1}},
        "validUntilTime": "2090-01-01T00:00:00Z", "issueLimit": 10, "issueLimitPerUser": 2});
    must(&root, "POST", "/v1/coupons", coupon).await;
    must(&ada, "POST", "/v1/couponCodes/ONE:issue", json!({"requestId": "i", "userId": "corp.ada"})).await;
    let item = json!({"requestId": "a", "sku": "cup", "quantity": 1});
    must(&ada, "POST", "/v1/customers/corp.ada/cart/items", item).await;
    let address = json!({"regionCode": "DE", "postalCode": "10115", "locality": "Berlin", "addressLines": ["Weg 1"]});
    let order = |request_id: &str, customer: &str| {
        json!({"requestId": request_id, "customerId": customer, "customerEmail": "ada@example.com",
            "lines": [{"sku": "cup", "quantity": 1}], "shippingAddress": address})
    };
    let made = must(&ada, "POST", "/v1/orders", order("o-1", "corp.ada")).await;
    let id = made["order"]["orderId"].as_str().unwrap().to_owned();
    must(&ada, "POST", "/v1/orders", order("o-2", "corp.ada")).await;
    let (order_path, view_path) = (format!("/v1/orders/{id}"), format!("/v1/orderViews/{id}"));
    for path in [&format!("{order_path}/shipment"), &format!("{order_path}/payment"), &view_path] {
        eventually(path, PATIENCE, || async { (ask(&ada, "GET", path, None).await.0 == 200).then_some(()) }).await;
    }
    let told = format!("/v1/notifications?orderId={id}");
    eventually("a message", PATIENCE, || async {
        ask(&ada, "GET", &told, None).await.1.to_string().contains("corp.ada").then_some(())
    })
    .await;

    // What is asked for by its id: as what nobody has, in the same words.
    let requests = [
        ("GET", "/v1/orders/{id}", None),
        ("GET", "/v1/orders/{id}/timeline", None),
        ("GET", "/v1/orders/{id}:watch", None),
        ("GET", "/v1/orders/{id}/payment", None),
        ("GET", "/v1/orders/{id}/shipment", None),
        ("GET", "/v1/orderViews/{id}", None),
        ("POST", "/v1/orders/{id}:cancel", Some(json!({"reason": "no"}))),
        ("POST", "/v1/orders/{id}:pay", Some(json!({}))),
        (
            "POST",
            "/v1/orders/{id}:modify",
            Some(json!({"expectedVersion": 1, "lines": [{"sku": "cup", "quantity": 2}]})),
        ),
    ];
    for (number, (method, path, body)) in requests.iter().enumerate() {
        let mut answers = Vec::new();
        for (of, one) in [("theirs", id.as_str()), ("none", NOBODY)] {
            let body = body.clone().map(|mut body| {
                body["requestId"] = format!("{of}-{number}").into();
                body
            });
            let (status, answer) = ask(&eve, method, &path.replace("{id}", one), body).await;
            answers.push((status, answer.to_string().replace(one, "…")));
        }
        assert_eq!(answers[0], answers[1], "{method} {path}");
        assert_eq!(answers[0].0, 404, "{method} {path}: {}", answers[0].1);
    }
    // What is asked for by its customer: whether there is such a one or not.
    for (path, status) in [
        ("/v1/wallets/corp.{}", 404),
        ("/v1/users/corp.{}/notificationPreferences", 404),
        ("/v1/customers/corp.{}/cart", 403),
        ("/v1/orders?customerId=corp.{}", 403),
        ("/v1/orderViews?customerId=corp.{}", 403),
    ] {
        let (theirs, none) = (path.replace("{}", "ada"), path.replace("{}", "nix"));
        let (theirs, none) = (ask(&eve, "GET", &theirs, None).await, ask(&eve, "GET", &none, None).await);
        assert_eq!((theirs.0, none.0), (status, status), "{path}: {theirs:?}");
        assert_eq!(
            theirs.1.to_string().replace("corp.ada", "…"),
            none.1.to_string().replace("corp.nix", "…"),
            "{path}"
        );
    }
    for (path, body) in [
        ("/v1/orders", order("e-1", "corp.ada")),
        ("/v1/wallets/corp.ada:charge", json!({"requestId": "e-2", "amount": {"currencyCode": "EUR", "units": 1}})),
        ("/v1/couponCodes/ONE:issue", json!({"requestId": "e-3", "userId": "corp.ada"})),
        ("/v1/customers/corp.ada/cart/items", json!({"requestId": "e-4", "sku": "cup", "quantity": 1})),
        ("/v1/customers/corp.ada/cart:clear", json!({"requestId": "e-5"})),
        ("/v1/customers/corp.ada/cart:checkout", json!({"requestId": "e-6"})),
        (
            "/v1/customers/corp.ada/cart:merge",
            json!({"requestId": "e-7", "visitorId": "6f1c3c8a-6f5e-4d38-9d57-0f8f2b6d7a10"}),
        ),
    ] {
        let (status, answer) = ask(&eve, "POST", path, Some(body)).await;
        assert_eq!(status, 403, "{path}: {answer}");
    }
    // In lists: its owner finds it, and nobody else but who reads everybody's.
    for path in [
        "/v1/orders".to_owned(),
        format!("/v1/orders:batchGet?orderIds={id}"),
        "/v1/payments".to_owned(),
        format!("/v1/payments?orderId={id}"),
        "/v1/shipments".to_owned(),
        "/v1/notifications".to_owned(),
        "/v1/issuedCoupons".to_owned(),
        "/v1/orderViews".to_owned(),
        "/v1/orderViews:search?sku=cup".to_owned(),
        format!("/v1/orderViews:search?query={id}"),
    ] {
        for (token, finds) in [(&ada, true), (&eve, false), (&viewer, true)] {
            let (status, answer) = ask(token, "GET", &path, None).await;
            assert_eq!(status, 200, "{path}: {answer}");
            assert_eq!(answer.to_string().contains("corp.ada"), finds, "{path}: {answer}");
        }
    }
    for path in ["/v1/payments", "/v1/shipments", "/v1/notifications", "/v1/issuedCoupons"] {
        for of in ["userId", "customerId"] {
            let (status, answer) = ask(&eve, "GET", &format!("{path}?{of}=corp.ada"), None).await;
            assert!(status == 400 || !answer.to_string().contains("corp.ada"), "{path}: {answer}");
        }
    }
    // By a page token, and by a request id.
    let token = ask(&ada, "GET", "/v1/orders?pageSize=1", None).await.1["nextPageToken"].as_str().unwrap().to_owned();
    let (status, refused) = ask(&eve, "GET", &format!("/v1/orders?pageSize=1&pageToken={token}"), None).await;
    assert_eq!((status, refused["details"][0]["reason"].as_str()), (400, Some("PAGE_TOKEN_INVALID")));
    let own = must(&eve, "POST", "/v1/orders", order("o-1", "corp.eve")).await;
    assert_ne!(own["order"]["orderId"], id.as_str());
    assert_eq!(own["order"]["customerId"], "corp.eve");

    // Who looks on sees neither where it goes nor whom it is for, and changes nothing.
    for (token, sees) in [(&ada, true), (&root, true), (&viewer, false)] {
        let (_, seen) = ask(token, "GET", &order_path, None).await;
        assert_eq!(seen["order"]["customerEmail"] == "ada@example.com", sees, "{seen}");
        assert_eq!(seen["order"]["shippingAddress"].is_object(), sees, "{seen}");
        let (_, seen) = ask(token, "GET", &format!("{order_path}/shipment"), None).await;
        assert_eq!(seen["shipment"]["address"].is_object(), sees, "{seen}");
        let (_, seen) = ask(token, "GET", &told, None).await;
        assert_eq!(seen["notifications"][0]["body"].is_string(), sees, "{seen}");
    }
    let (status, refused) =
        ask(&viewer, "POST", &format!("{order_path}:cancel"), Some(json!({"requestId": "v"}))).await;
    assert_eq!((status, refused["details"][0]["reason"].as_str()), (403, Some("ROLE_REQUIRED")));
    let (status, refused) = ask("", "GET", &order_path, None).await;
    assert_eq!((status, refused["details"][0]["reason"].as_str()), (401, Some("TOKEN_MISSING")));
    system.stop().await;
    world.close().await;
}

/// What was revoked is refused within this time.
const SOON: Duration = Duration::from_secs(5);

async fn refused_soon(gateway: &str, token: &str, path: &str, reason: &str) {
    eventually(reason, SOON, || async {
        let (_, answer) = call_as(token, gateway, "GET", path, None).await;
        (answer["details"][0]["reason"] == reason).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_and_calls_until_its_session_is_over() {
    let (world, issuer) = (World::new(), Issuer::open().await);
    let roles = [Role::Gateway, Role::User, Role::Order, Role::Product];
    let (system, gateway) = Box::pin(shop(&world, &issuer, &roles)).await;
    let root = issuer.token("root", "operator");
    let ask = async |token: &str, method: &str, path: &str, body: Option<Json>| {
        let (status, answer) = call_as(token, &gateway, method, path, body).await;
        let reason = answer["details"][0]["reason"].as_str().unwrap_or_default().to_owned();
        (status, reason, answer)
    };
    let must = async |token: &str, path: &str, body: Json| {
        let (status, _, answer) = ask(token, "POST", path, Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    // Whoever is nobody yet registers and signs in, and does nothing else.
    let password = "correct horse battery";
    let mut dora = json!({"requestId": "u", "email": "dora@example.com", "password": password, "displayName": "Dora"});
    let id = must("", "/v1/users", dora.clone()).await["user"]["userId"].as_str().unwrap().to_owned();
    let own = format!("/v1/users/{id}");
    let sign_in = json!({"email": "dora@example.com", "password": password, "clientId": "web"});
    let signed_in = must("", "/v1/sessions", sign_in.clone()).await;
    let text = |session: &Json, name: &str| session["session"][name].as_str().unwrap().to_owned();
    let (token, refresh) = (text(&signed_in, "accessToken"), text(&signed_in, "refreshToken"));
    assert_eq!(ask("", "GET", &own, None).await.1, "TOKEN_MISSING");
    eventually("the gateway knows the keys", PATIENCE, || async {
        (ask(&token, "GET", &own, None).await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(ask(&token, "GET", "/v1/users/somebody", None).await.1, "USER_NOT_FOUND");
    assert_eq!(ask(&token, "GET", "/v1/orders", None).await.0, 200);
    assert_eq!(ask(&token, "POST", "/v1/products", Some(json!({}))).await.1, "ROLE_REQUIRED");

    // A key of a program, which calls as its user.
    let made = must(&token, &format!("{own}/apiKeys"), json!({"requestId": "k", "displayName": "nightly"})).await;
    let (key, key_id) = (made["key"].as_str().unwrap(), made["apiKey"]["apiKeyId"].as_str().unwrap());
    assert_eq!(ask(key, "GET", &own, None).await.0, 200);
    let another = json!({"requestId": "k-2", "displayName": "of a key"});
    assert_eq!(ask(key, "POST", &format!("{own}/apiKeys"), Some(another)).await.1, "API_KEY_NOT_ALLOWED");

    // Keys are exchanged while callers work.
    must(&root, "/v1/signingKeys:rotate", json!({"requestId": "s"})).await;
    for _ in 0..20 {
        assert_eq!(ask(&token, "GET", &own, None).await.0, 200);
        let fresh = must("", "/v1/sessions", sign_in.clone()).await;
        assert_eq!(ask(&text(&fresh, "accessToken"), "GET", &own, None).await.0, 200);
    }

    // Other roles: what was issued before is refused, for the key is exchanged anew.
    must(&root, &format!("{own}:assignRole"), json!({"requestId": "r", "roles": ["USER_ROLE_VIEWER"]})).await;
    refused_soon(&gateway, &token, &own, "TOKEN_REVOKED").await;
    let order = json!({"requestId": "o", "customerId": id, "lines": [{"sku": "cup", "quantity": 1}]});
    eventually("the key is a viewer's", SOON, || async {
        (ask(key, "POST", "/v1/orders", Some(order.clone())).await.1 == "ROLE_REQUIRED").then_some(())
    })
    .await;
    let viewer = must("", "/v1/sessions:refresh", json!({"refreshToken": refresh})).await;
    let (viewer, refresh) = (text(&viewer, "accessToken"), text(&viewer, "refreshToken"));
    assert_eq!(ask(&viewer, "GET", "/v1/users", None).await.0, 200);
    assert_eq!(ask(&viewer, "POST", "/v1/orders", Some(order)).await.1, "ROLE_REQUIRED");

    must(&viewer, &format!("/v1/apiKeys/{key_id}:revoke"), json!({"requestId": "k-3"})).await;
    refused_soon(&gateway, key, &own, "API_KEY_UNKNOWN").await;
    must("", "/v1/sessions:signOut", json!({"refreshToken": refresh})).await;
    refused_soon(&gateway, &viewer, &own, "TOKEN_REVOKED").await;

    // Who wants to be forgotten is nobody from then on, and its mail address is free.
    let last = text(&must("", "/v1/sessions", sign_in.clone()).await, "accessToken");
    let erase = format!("{own}:erase");
    let without = ask(&last, "POST", &erase, Some(json!({"requestId": "e"}))).await;
    assert_eq!((without.0, without.1.as_str()), (400, "FIELD_MISSING"));
    let erased = must(&last, &erase, json!({"requestId": "e-2", "currentPassword": password})).await;
    assert_eq!(erased["user"]["state"], "USER_STATE_ERASED");
    refused_soon(&gateway, &last, &own, "TOKEN_REVOKED").await;
    assert_eq!(ask("", "POST", "/v1/sessions", Some(sign_in)).await.1, "CREDENTIALS_REFUSED");
    let (_, _, seen) = ask(&root, "GET", &own, None).await;
    assert!(seen["user"]["state"] == "USER_STATE_ERASED" && !seen.to_string().contains("ora"), "{seen}");
    dora["requestId"] = json!("u-2");
    assert_ne!(must("", "/v1/users", dora).await["user"]["userId"], id.as_str());
    system.stop().await;
    world.close().await;
}
