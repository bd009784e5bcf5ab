//! Up to when everything is in the documents.

use std::time::Duration;

use chrono::Utc;
use openorder_proto::{history::v1::SearchOrdersRequest, order::v1::OrderConfirmed};
use openorder_testing::{TestProducer, eventually};
use openorder_types::Timestamp;

use crate::{
    story::Story,
    world::{BOUND, Client, Shop, as_operator, becomes, get},
};

async fn as_of(client: &Client) -> Option<Timestamp> {
    let answer = client.clone().search_orders(as_operator().request(SearchOrdersRequest::default())).await.unwrap();
    let time = answer.into_inner().as_of?;
    Timestamp::from_timestamp(time.seconds, time.nanos.cast_unsigned())
}

/// Waits until an answer says that everything up to a time is in it.
pub(crate) async fn is_after(client: &Client, time: Timestamp) {
    let reached = || async { as_of(client).await.filter(|as_of| *as_of > time) };
    eventually("as_of goes on", BOUND, reached).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_goes_on_while_nothing_happens_and_everything_before_it_is_there() {
    let (shop, client) = Shop::open().await;
    is_after(&client, Utc::now()).await;
    let producer = TestProducer::new(&shop.world);
    for _ in 0..5 {
        let stories: Vec<Story> = (0..20).map(|_| Story::of("anna", "CHAIR")).collect();
        for story in &stories {
            producer.publish(&story.order_id, &story.created_message()).await;
        }
        // Kafka has acknowledged all of them. As soon as an answer says that it is past that, all are there.
        is_after(&client, Utc::now()).await;
        for story in &stories {
            assert!(get(&client, as_operator(), &story.order_id).await.is_ok(), "at once");
        }
    }
    let idle = Utc::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let as_of = as_of(&client).await.unwrap();
    assert!(as_of > idle && as_of <= Utc::now(), "{as_of}: about now, two seconds after {idle}");
    shop.close().await;
}

/// A group that is new reads from the earliest event; until it has caught up it does not say how fresh it is.
#[tokio::test(flavor = "multi_thread")]
async fn orders_of_before_the_service_was_first_started_appear() {
    let shop = Shop::closed().await;
    let stories: Vec<Story> = (0..30).map(|_| Story::of("anna", "CHAIR")).collect();
    for story in &stories {
        for events in story.whole() {
            shop.append(events).await;
        }
    }
    let before = Utc::now();
    let client = shop.start(shop.world.role("history"), |_| {}).await;
    // As soon as it says that it is past that time, everything is there.
    is_after(&client, before).await;
    for story in &stories {
        let view = becomes(&client, &story.order_id, "the order is there", |_| true).await;
        assert_eq!((view.order_version, view.status_times.len()), (4, 4));
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_stands_still_before_a_message_that_could_not_be_taken_over() {
    let (shop, client) = Shop::open().await;
    is_after(&client, Utc::now()).await;
    let before = Utc::now();
    let wrong = OrderConfirmed { order_id: "no order".to_owned(), version: 1, ..OrderConfirmed::default() };
    TestProducer::new(&shop.world).publish("no order", &wrong).await;
    let after = Utc::now();
    let pool = shop.database("history").await;
    eventually("the message is dead", BOUND, || async {
        let dead: i64 = sqlx::query_scalar("select count(*) from parked_message").fetch_one(&pool).await.unwrap();
        (dead == 1).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stands = as_of(&client).await.unwrap();
    assert!(stands < after && stands >= before - Duration::from_millis(500), "{before} {stands} {after}");
    let story = Story::of("anna", "CHAIR");
    shop.append(story.created()).await;
    becomes(&client, &story.order_id, "all others go on", |_| true).await;
    assert!(as_of(&client).await.unwrap() < after);
    // As an operator's discard does.
    sqlx::query("delete from parked_message").execute(&pool).await.unwrap();
    is_after(&client, Utc::now()).await;
    shop.close().await;
}

/// Nobody knows what has come meanwhile to the partitions of an instance that is gone, until another one has them.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_all_instances_is_that_of_the_slowest_partition() {
    let shop = Shop::closed().await;
    let client = shop.start(shop.world.role("history"), |_| {}).await;
    let other = shop.world.separate_role("history");
    let second = shop.start(other.clone(), |_| {}).await;
    is_after(&client, Utc::now()).await;
    is_after(&second, Utc::now()).await;
    other.shutdown.trigger();
    let gone = Utc::now();
    is_after(&client, gone).await;
    let story = Story::of("anna", "CHAIR");
    shop.append(story.created()).await;
    becomes(&client, &story.order_id, "its partitions are taken over", |_| true).await;
    shop.close().await;
}
