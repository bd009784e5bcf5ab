//! A running loyalty service: an order that was paid brings points, which are spent once.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use openorder_loyalty::{SPEC, serve};
use openorder_proto::{
    google::r#type::Money,
    loyalty::v1::{PointsChanged, SpendPointsRequest, loyalty_service_client::LoyaltyServiceClient},
    order::v1::OrderPaid,
    topics,
};
use openorder_rpc::{CallContext, reason_of};
use openorder_telemetry::TraceContext;
use openorder_testing::{Message, Tail, TestProducer, World, eventually, start_service};
use prost::Message as _;

const BOUND: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn points_are_earned_by_a_paid_order_and_spent_once() {
    let world = World::new();
    let client = LoyaltyServiceClient::new(start_service(&world, &SPEC, serve).await);
    let changes = Tail::new(&world, topics::LOYALTY_POINTS);
    let spend = async |request_id: &str, points| {
        let (request_id, customer_id) = (request_id.to_owned(), "ada".to_owned());
        let call = CallContext::of_service("test", TraceContext::default());
        client.clone().spend_points(call.request(SpendPointsRequest { request_id, customer_id, points })).await
    };
    assert_eq!(reason_of(&spend("early", 1).await.unwrap_err()).as_deref(), Some("POINTS_TOO_FEW"));

    let total = Some(Money { currency_code: "EUR".to_owned(), units: 12, nanos: 500_000_000 });
    let paid = OrderPaid { customer_id: "ada".to_owned(), total, ..OrderPaid::default() };
    TestProducer::new(&world).publish("order-1", &paid).await;
    let left = eventually("the points", BOUND, || async { Some(spend("s-1", 5).await.ok()?.into_inner().points) }).await;
    assert_eq!((left, spend("s-1", 5).await.unwrap().into_inner().points), (7, 7), "the same request, the same answer");

    let published = changes.take(2, BOUND).await;
    let seen = published.iter().map(|one| PointsChanged::decode(one.payload().unwrap()).unwrap());
    assert_eq!(seen.map(|one| (one.change, one.points, one.version)).collect::<Vec<_>>(), [(12, 12, 1), (-5, 7, 2)]);
    world.close().await;
}
