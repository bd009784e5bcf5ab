//! One document an order.

use openorder_proto::{
    history::v1::{CompensationStep, OrderView},
    notification::v1::NotificationStatus,
    order::v1::OrderStatus,
    payment::v1::PaymentState,
    shipping::v1::ShipmentState,
};
use openorder_testing::eventually;
use prost::Message;
use sqlx::Row;
use tonic::Code;

use crate::{
    story::{Story, eur},
    world::{BOUND, Shop, as_customer, as_operator, becomes, get, is, refusal},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_document_of_what_all_services_tell() {
    let (shop, client) = Shop::open().await;
    let story = Story::of("anna", "CHAIR");
    for events in story.whole() {
        shop.append(events).await;
    }
    shop.append(story.shipped("TRACK-77")).await;
    let whole = |view: &OrderView| {
        view.order_version == 4
            && view.payment.is_some()
            && view.shipment.as_ref().is_some_and(|shipment| shipment.version == 2)
            && view.messages.iter().any(|message| message.status == NotificationStatus::Sent as i32)
    };
    let view = becomes(&client, &story.order_id, "everything is in the document", whole).await;
    assert_eq!((view.customer_id.as_str(), view.status()), ("anna", OrderStatus::Preparing));
    assert_eq!((view.total, view.create_time), (eur(10), Some(story.created)));
    assert_eq!((view.lines.len(), view.lines[0].sku.as_str(), view.lines[0].quantity), (1, "CHAIR", 2));
    let reached: Vec<i32> = view.status_times.iter().map(|reached| reached.status).collect();
    assert_eq!(reached, [5, 10, 15, 20], "in the order in which it came to them");
    assert!(view.status_times.iter().all(|reached| reached.time.is_some()) && view.update_time.is_some());
    let payment = view.payment.as_ref().unwrap();
    assert_eq!((payment.state(), payment.method.as_str()), (PaymentState::Completed, "WALLET"));
    assert_eq!((payment.amount.clone(), payment.payment_id.as_str()), (eur(10), story.payment_id.as_str()));
    assert!(payment.complete_time.is_some() && payment.refund.is_none() && payment.fail_time.is_none());
    let shipment = view.shipment.as_ref().unwrap();
    assert_eq!((shipment.state(), shipment.tracking_number.as_str()), (ShipmentState::Shipped, "TRACK-77"));
    assert_eq!(shipment.events.iter().map(|event| event.location.as_str()).collect::<Vec<_>>(), ["Ulm"]);
    assert_eq!((view.messages.len(), view.messages[0].attempts), (1, 1));
    assert!(view.coupon.is_none() && view.compensations.is_empty());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_shows_why_an_order_ended_and_what_was_given_back() {
    let (shop, client) = Shop::open().await;
    let story = Story::of("anna", "CHAIR");
    for events in story.whole() {
        shop.append(events).await;
    }
    shop.append(story.cancelled(5, "CANCELLED_BY_CUSTOMER")).await;
    shop.append(story.payment_refunded()).await;
    shop.append(story.trouble(6)).await;
    let ended = |view: &OrderView| {
        view.order_version == 7 && view.payment.as_ref().is_some_and(|payment| payment.refund.is_some())
    };
    let view = becomes(&client, &story.order_id, "the end is in the document", ended).await;
    assert_eq!((view.status(), view.status_reason.as_str()), (OrderStatus::Cancelled, "CANCELLED_BY_CUSTOMER"));
    let payment = view.payment.unwrap();
    assert_eq!(
        (payment.state(), payment.amount, payment.refund.unwrap().amount),
        (PaymentState::Refunded, eur(10), eur(10))
    );
    let steps: Vec<CompensationStep> = view.compensations.iter().map(|step| step.step()).collect();
    assert_eq!(steps, [CompensationStep::Failed, CompensationStep::Settled]);
    assert_eq!(view.compensations[1].operator, "root");
    let for_anna = get(&client, as_customer("anna"), &story.order_id).await.unwrap();
    assert!(for_anna.compensations[1].operator.is_empty(), "who of the operators did it is no customer's business");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_shows_the_coupon_and_what_it_took_off() {
    let (shop, client) = Shop::open().await;
    let story = Story { issued_coupon_id: uuid::Uuid::now_v7().to_string(), ..Story::of("anna", "CHAIR") };
    shop.append(story.created()).await;
    let view = becomes(&client, &story.order_id, "the order is there", |_| true).await;
    let coupon = view.coupon.unwrap();
    assert_eq!((view.total, coupon.issued_coupon_id, coupon.discount), (eur(10), story.issued_coupon_id.clone(), None));
    shop.append(story.confirmed()).await;
    let view = becomes(&client, &story.order_id, "the coupon is held", |view| view.order_version == 2).await;
    assert_eq!((view.total, view.coupon.unwrap().discount, view.lines[0].discount.clone()), (eur(9), eur(1), eur(1)));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_shows_the_lines_that_its_changes_left() {
    let (shop, client) = Shop::open().await;
    let story = Story::of("anna", "CHAIR");
    for events in [story.created(), story.confirmed(), story.modified()] {
        shop.append(events).await;
    }
    let view = becomes(&client, &story.order_id, "it is changed", |view| view.order_version == 6).await;
    assert_eq!((view.status(), view.total, view.status_reason.as_str()), (OrderStatus::Confirmed, eur(20), ""));
    assert_eq!((view.lines.len(), view.lines[0].quantity, view.lines[0].line_total.clone()), (1, 4, eur(20)));
    let reached: Vec<i32> = view.status_times.iter().map(|reached| reached.status).collect();
    assert_eq!(reached, [5, 10]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_comes_before_the_order_is_in_the_document_when_the_order_comes() {
    let (shop, client) = Shop::open().await;
    let story = Story::of("anna", "CHAIR");
    shop.append(story.payment_completed()).await;
    shop.append(story.customer_told()).await;
    let pool = shop.database("history").await;
    eventually("the payment is there", BOUND, || async {
        let count: i64 = sqlx::query_scalar("select count(*) from order_view_a").fetch_one(&pool).await.unwrap();
        (count == 1).then_some(())
    })
    .await;
    assert_eq!(refusal(get(&client, as_operator(), &story.order_id).await), is(Code::NotFound, "ORDER_NOT_FOUND"));
    shop.append(story.created()).await;
    let complete = |view: &OrderView| view.payment.is_some() && view.messages.len() == 1;
    becomes(&client, &story.order_id, "the order has its payment", complete).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_its_own_and_nothing_personal_is_kept() {
    let (shop, client) = Shop::open().await;
    let story = Story::of("anna", "CHAIR");
    for events in story.whole() {
        shop.append(events).await;
    }
    shop.append(story.cancelled(5, "CANCELLED_BY_CUSTOMER")).await;
    becomes(&client, &story.order_id, "the order ended", |view| view.order_version == 5).await;
    assert!(get(&client, as_customer("anna"), &story.order_id).await.is_ok());
    let foreign = get(&client, as_customer("bert"), &story.order_id).await;
    assert_eq!(refusal(foreign), is(Code::NotFound, "ORDER_NOT_FOUND"));
    let pool = shop.database("history").await;
    let row = sqlx::query("select body, words::text as words from order_view_a").fetch_one(&pool).await.unwrap();
    let (body, words): (Vec<u8>, String) = (row.get("body"), row.get("words"));
    let stored = openorder_proto::internal::history::v1::StoredView::decode(body.as_slice()).unwrap();
    assert!(!format!("{stored:?}").contains('@'), "no address");
    assert!(words.contains("'chair'") && !words.contains("zebulon"), "what a customer wrote is not searched: {words}");
    shop.close().await;
}

/// Two instances share the partitions of four topics: what one hears of an order and what the other hears do not undo each
/// other.
#[tokio::test(flavor = "multi_thread")]
async fn instances_that_hear_of_the_same_orders_lose_nothing() {
    let shop = Shop::closed().await;
    let stories: Vec<Story> = (0..60).map(|_| Story::of("anna", "CHAIR")).collect();
    // All at once, so that new orders are met in several topics at the same time.
    for number in 0..6 {
        let batch: Vec<_> = stories.iter().map(|story| story.whole().swap_remove(number)).collect();
        shop.append(Box::new(move |events| batch.iter().for_each(|append| append(events)))).await;
    }
    let first = shop.start(shop.world.role("history"), |settings| settings.consumer.batch_max = 20).await;
    shop.start(shop.world.role("history"), |settings| settings.consumer.batch_max = 20).await;
    let whole = |view: &OrderView| {
        view.order_version == 4
            && view.status_times.len() == 4
            && view.payment.is_some()
            && view.messages.iter().all(|message| message.version == 2)
            && view.messages.len() == 1
    };
    for story in &stories {
        becomes(&first, &story.order_id, "everything is in each document", whole).await;
    }
    assert_eq!(shop.world.deadlocks("history").await, 0);
    shop.close().await;
}
