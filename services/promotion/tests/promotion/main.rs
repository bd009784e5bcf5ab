//! A running promotion service: coupons are made by operators, and issued to users exactly as often as they may be.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot have what it needs fails")]

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use openorder_promotion::{PromotionSettings, SPEC, serve};
use openorder_proto::{
    google::r#type::Money,
    promotion::v1::{
        Coupon, CouponCreated, CouponIssued, CouponTerms, CouponUpdated, CreateCouponRequest, GetCouponRequest,
        IssueCouponRequest, IssuedCoupon, ListCouponsRequest, ListIssuedCouponsRequest, UpdateCouponRequest,
        coupon_terms, get_coupon_request, issue_coupon_request, promotion_service_client::PromotionServiceClient,
    },
    topics,
};
use openorder_rpc::{CallContext, PageTokens, RpcClientSettings, UpstreamChannel, reason_of};
use openorder_service::Host;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{Message, Tail, World, eventually, free_address, start_service};
use openorder_types::{Caller, Role};
use prost::Message as _;
use tonic::{Code, Status};

const BOUND: Duration = Duration::from_secs(60);

type Client = PromotionServiceClient<UpstreamChannel>;

fn calling(caller: Caller) -> CallContext {
    CallContext { caller, ..CallContext::of_service("test", TraceContext::default()) }
}

fn as_operator() -> CallContext {
    calling(Caller::new("root", [Role::Operator]))
}

fn as_customer(name: &str) -> CallContext {
    calling(Caller::new(name, [Role::Customer]))
}

fn create(code: &str, issue_limit: i32, issue_limit_per_user: i32) -> CreateCouponRequest {
    let five = Money { currency_code: "EUR".to_owned(), units: 5, nanos: 0 };
    CreateCouponRequest {
        request_id: format!("create-{code}"),
        code: code.to_owned(),
        display_name: "Five off".to_owned(),
        terms: Some(CouponTerms { value: Some(coupon_terms::Value::FixedAmount(five)), ..CouponTerms::default() }),
        valid_from_time: None,
        valid_until_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        issue_limit,
        issue_limit_per_user,
    }
}

fn issue(request_id: &str, code: &str, user_id: &str) -> IssueCouponRequest {
    let key = Some(issue_coupon_request::Key::Code(code.to_owned()));
    IssueCouponRequest { request_id: request_id.to_owned(), key, user_id: user_id.to_owned() }
}

async fn made(client: &Client, request: CreateCouponRequest) -> Coupon {
    let answer = client.clone().create_coupon(as_operator().request(request)).await.unwrap();
    answer.into_inner().coupon.unwrap()
}

async fn issued(client: &Client, call: CallContext, request: IssueCouponRequest) -> Result<IssuedCoupon, Status> {
    client.clone().issue_coupon(call.request(request)).await.map(|answer| answer.into_inner().issued_coupon.unwrap())
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_makes_and_changes_a_coupon_and_each_change_is_published() {
    let world = World::new();
    let client = Client::new(start_service(&world, &SPEC, serve).await);
    let catalog = Tail::new(&world, topics::PROMOTION_CATALOG);
    let coupon = made(&client, create("FIVE", 10, 0)).await;
    assert_eq!((coupon.version, coupon.issue_limit_per_user, coupon.issued_count), (1, 1, 0));
    assert_eq!(made(&client, create("FIVE", 10, 0)).await, coupon, "the same request, the same answer");
    let again = CreateCouponRequest { request_id: "another".to_owned(), ..create("FIVE", 1, 1) };
    let taken = client.clone().create_coupon(as_operator().request(again)).await;
    assert_eq!(refusal(taken), is(Code::AlreadyExists, "COUPON_CODE_ALREADY_EXISTS"));
    let foreign = client.clone().create_coupon(as_customer("ada").request(create("SIX", 1, 1))).await;
    assert_eq!(refusal(foreign).0, Code::PermissionDenied);

    let update = |request_id: &str, limit, expected_version| UpdateCouponRequest {
        request_id: request_id.to_owned(),
        coupon: Some(Coupon { code: "FIVE".to_owned(), issue_limit: limit, ..Coupon::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["issue_limit".to_owned()] }),
        expected_version,
    };
    let changed = client.clone().update_coupon(as_operator().request(update("u-1", 20, 1))).await.unwrap();
    let changed = changed.into_inner().coupon.unwrap();
    assert_eq!((changed.version, changed.issue_limit), (2, 20));
    let stale = client.clone().update_coupon(as_operator().request(update("u-2", 30, 1))).await;
    assert_eq!(refusal(stale), is(Code::Aborted, "COUPON_VERSION_MISMATCH"));

    let key = Some(get_coupon_request::Key::Code("FIVE".to_owned()));
    let found = client.clone().get_coupon(as_customer("ada").request(GetCouponRequest { key })).await.unwrap();
    assert_eq!(found.into_inner().coupon, Some(changed.clone()));
    let published = catalog.take(2, BOUND).await;
    let first = CouponCreated::decode(published[0].payload().unwrap()).unwrap();
    let second = CouponUpdated::decode(published[1].payload().unwrap()).unwrap();
    assert_eq!((first.coupon, second.coupon), (Some(coupon), Some(changed)));
    assert_eq!(second.update_mask.unwrap().paths, ["issue_limit"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_issued_their_own_and_sees_their_own() {
    let world = World::new();
    let client = Client::new(start_service(&world, &SPEC, serve).await);
    let events = Tail::new(&world, topics::PROMOTION_COUPON);
    let coupon = made(&client, create("FIVE", 3, 2)).await;
    let ada = as_customer("ada");
    let first = issued(&client, ada.clone(), issue("r-1", "FIVE", "ada")).await.unwrap();
    assert_eq!((first.ordinal, first.coupon_id.as_str(), first.code.as_str()), (1, coupon.coupon_id.as_str(), "FIVE"));
    assert_eq!(issued(&client, ada.clone(), issue("r-1", "FIVE", "ada")).await.unwrap(), first);
    let foreign = issued(&client, ada.clone(), issue("r-2", "FIVE", "bob")).await;
    assert_eq!(refusal(foreign), is(Code::PermissionDenied, "NOT_YOUR_COUPON"));
    let missing = issued(&client, ada.clone(), issue("r-3", "NONE", "ada")).await;
    assert_eq!(refusal(missing), is(Code::NotFound, "COUPON_NOT_FOUND"));
    let wrong = issued(&client, ada.clone(), issue("", "none", "")).await;
    assert_eq!(refusal(wrong), is(Code::InvalidArgument, "INVALID_ARGUMENT"));
    let second = issued(&client, as_operator(), issue("r-4", "FIVE", "ada")).await.unwrap();
    let enough = issued(&client, ada.clone(), issue("r-5", "FIVE", "ada")).await;
    assert_eq!(refusal(enough), is(Code::FailedPrecondition, "COUPON_LIMIT_REACHED"));
    let bobs = issued(&client, as_customer("bob"), issue("r-6", "FIVE", "bob")).await.unwrap();
    let late = issued(&client, as_customer("eve"), issue("r-7", "FIVE", "eve")).await;
    assert_eq!(refusal(late), is(Code::FailedPrecondition, "COUPON_SOLD_OUT"));

    let list = async |call: CallContext, user_id: &str, page_size: i32, page_token: String| {
        let user_id = user_id.to_owned();
        let request = ListIssuedCouponsRequest { user_id, page_size, page_token, ..Default::default() };
        let page = client.clone().list_issued_coupons(call.request(request)).await.unwrap().into_inner();
        (page.issued_coupons, page.next_page_token)
    };
    assert_eq!(list(ada.clone(), "", 0, String::new()).await.0, [second.clone(), first.clone()]);
    assert_eq!(list(ada.clone(), "bob", 0, String::new()).await.0, []);
    let (page, next) = list(as_operator(), "", 2, String::new()).await;
    assert_eq!(page, [bobs.clone(), second.clone()]);
    assert_eq!(list(as_operator(), "", 2, next).await, (vec![first.clone()], String::new()));
    let coupons = client.clone().list_coupons(ada.request(ListCouponsRequest::default())).await.unwrap().into_inner();
    assert_eq!(coupons.coupons.iter().map(|coupon| coupon.issued_count).collect::<Vec<_>>(), [3]);

    let published = events.take(3, BOUND).await;
    let mut seen: Vec<IssuedCoupon> = published
        .iter()
        .map(|message| CouponIssued::decode(message.payload().unwrap()).unwrap().issued_coupon.unwrap())
        .collect();
    assert!(published.iter().zip(&seen).all(|(message, issued)| message.key().unwrap() == issued.user_id.as_bytes()));
    seen.sort_by_key(|issued| issued.ordinal);
    assert_eq!(seen, [first, second, bobs]);
    world.close().await;
}

/// A promotion service in a runtime of its own, so that it can be killed.
struct Instance {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Instance {
    async fn start(world: &World) -> Self {
        let address = free_address();
        let settings = PromotionSettings {
            listen_address: address.to_string(),
            database_url: world.database_url("promotion"),
            database: world.database(),
            ..PromotionSettings::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let host = Host::new(world.separate_role("promotion"), settings, world.kafka(), PageTokens::new(b"test"));
        runtime.spawn(serve(host));
        let client = RpcClientSettings { in_memory: false, ..RpcClientSettings::default() };
        let channel =
            openorder_rpc::channel(&RoleTelemetry::disabled("test"), &format!("http://{address}"), &client).unwrap();
        let client = Client::new(channel);
        eventually("the service answers", BOUND, || async {
            let asked = client.clone().list_coupons(as_operator().request(ListCouponsRequest::default())).await;
            asked.ok().map(drop)
        })
        .await;
        Self { runtime, client }
    }
}

/// Asks until the answer is final; true when the coupon was issued.
async fn insist(instances: &[&Client], number: usize) -> bool {
    let user = format!("user-{}", number % 150);
    let request = issue(&format!("r-{number}"), "HOT", &user);
    for attempt in 0..2_000 {
        let client = instances[(number + attempt) % instances.len()];
        match issued(client, as_customer(&user), request.clone()).await {
            Ok(_) => return true,
            Err(status) if status.code() == Code::FailedPrecondition => return false,
            Err(status) if matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::Cancelled) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(status) => panic!("{status:?}"),
        }
    }
    panic!("request {number} was never answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_coupon_is_issued_exactly_as_often_as_it_may_be_though_an_instance_is_killed() {
    const LIMIT: i32 = 200;
    let world = World::new();
    let (first, third) = (Instance::start(&world).await, Instance::start(&world).await);
    let Instance { runtime, client: killed } = Instance::start(&world).await;
    made(&first.client, create("HOT", LIMIT, 2)).await;
    let events = Tail::new(&world, topics::PROMOTION_COUPON);
    // The one that is killed is one of three that each caller tries by turns.
    let clients = [&first.client, &killed, &third.client];
    let calls = join_all((0..600).map(|number| insist(&clients, number)));
    let kill = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        runtime.shutdown_background();
    };
    let (answers, ()) = tokio::join!(calls, kill);
    assert_eq!(answers.into_iter().filter(|was_issued| *was_issued).count(), LIMIT as usize);
    let published = events.take(LIMIT as usize, BOUND).await;
    let issued =
        published.iter().map(|one| CouponIssued::decode(one.payload().unwrap()).unwrap().issued_coupon.unwrap());
    let ordinals: BTreeSet<i32> = issued.map(|issued| issued.ordinal).collect();
    assert_eq!(ordinals, (1..=LIMIT).collect::<BTreeSet<_>>());
    for instance in [first, third] {
        instance.runtime.shutdown_background();
    }
    world.close().await;
}
