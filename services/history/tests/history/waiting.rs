//! Reading what one has written.

use std::time::{Duration, Instant};

use openorder_proto::history::v1::{GetOrderViewRequest, OrderView};
use openorder_rpc::{
    CallContext,
    status::{metadata_of, retry_after_of},
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    story::Story,
    world::{Client, Shop, as_customer, as_operator, becomes, is, refusal},
};

async fn at_least(client: &Client, call: CallContext, order_id: &str, min_version: i64) -> Result<OrderView, Status> {
    let request = GetOrderViewRequest { order_id: order_id.to_owned(), min_version };
    client.clone().get_order_view(call.request(request)).await.map(|answer| answer.into_inner().order_view.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_known_is_waited_for() {
    let (shop, client) = Shop::open_with(|settings| settings.wait_max_ms = 30_000).await;
    let story = Story::of("anna", "CHAIR");
    let waiting = {
        let (client, order_id) = (client.clone(), story.order_id.clone());
        tokio::spawn(async move { at_least(&client, as_customer("anna"), &order_id, 2).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished(), "the order is not even made");
    shop.append(story.created()).await;
    shop.append(story.confirmed()).await;
    assert_eq!(waiting.await.unwrap().unwrap().order_version, 2);
    assert_eq!(at_least(&client, as_customer("anna"), &story.order_id, 1).await.unwrap().order_version, 2);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_come_is_told_within_its_bound() {
    let (shop, client) = Shop::open_with(|settings| settings.wait_max_ms = 300).await;
    let story = Story::of("anna", "CHAIR");
    shop.append(story.created()).await;
    becomes(&client, &story.order_id, "the order is there", |view| view.order_version == 1).await;
    let began = Instant::now();
    let behind = at_least(&client, as_operator(), &story.order_id, 2).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < Duration::from_secs(5));
    assert_eq!(retry_after_of(&behind), Some(Duration::from_secs(1)));
    assert_eq!(metadata_of(&behind, "order_version").as_deref(), Some("1"));
    assert_eq!(refusal(Err::<(), _>(behind)), is(Code::Aborted, "VIEW_BEHIND"));
    // What is not there and what is another's look the same.
    let absent = at_least(&client, as_customer("bert"), &Uuid::now_v7().to_string(), 1).await.unwrap_err();
    let foreign = at_least(&client, as_customer("bert"), &story.order_id, 1).await.unwrap_err();
    for unseen in [&absent, &foreign] {
        assert_eq!(metadata_of(unseen, "order_version").as_deref(), Some("0"));
    }
    assert_eq!(refusal(Err::<(), _>(absent)), refusal(Err::<(), _>(foreign)));
    let negative = at_least(&client, as_operator(), &story.order_id, -1).await;
    assert_eq!(refusal(negative), is(Code::InvalidArgument, "VERSION_OUT_OF_RANGE"));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_may_wait_and_no_more() {
    let change = |settings: &mut openorder_history::HistorySettings| {
        (settings.waiters_max, settings.wait_max_ms) = (1, 3_000);
    };
    let (shop, client) = Shop::open_with(change).await;
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { at_least(&client, as_operator(), &Uuid::now_v7().to_string(), 1).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = at_least(&client, as_operator(), &Uuid::now_v7().to_string(), 1).await;
    assert_eq!(refusal(refused), is(Code::ResourceExhausted, "OVERLOADED"));
    assert_eq!(refusal(waiting.await.unwrap()), is(Code::Aborted, "VIEW_BEHIND"));
    shop.close().await;
}
