//! Compensations that fail are seen, tried again and settled; what is away is waited for.

use std::time::Duration;

use openorder::Role;
use openorder_proto::{
    event_types,
    order::v1::{
        GetOrderTimelineRequest, ListSagasRequest, OrderCompensationSettled, OrderStatus, OrderTimelineEntry,
        RetryCompensationRequest, Saga, SagaPart, SagaStep, SettleCompensationRequest,
    },
};
use openorder_rpc::{CallContext, reason_of};
use openorder_testing::eventually;
use openorder_types::Caller;
use prost::Message;

use crate::shop::{BOUND, MONEY, PRICE, STOCK, Shop, call, customer, id};

/// Deadlines that pass soon, and one more attempt.
async fn open() -> Shop {
    Shop::open(|settings| {
        settings.order.saga_compensation_timeout_ms = 150;
        settings.order.saga_compensation_attempts_max = 1;
    })
    .await
}

async fn failed(shop: &Shop) -> Vec<String> {
    let request = ListSagasRequest { step: SagaStep::CompensationFailed.into(), ..Default::default() };
    let found = shop.orders.clone().list_sagas(call().request(request)).await.unwrap().into_inner().sagas;
    found.into_iter().map(|saga| saga.order_id).collect()
}

async fn failed_with(shop: &Shop, order_id: &str, stock: SagaPart, payment: SagaPart) -> Saga {
    shop.saga_until(order_id, SagaStep::CompensationFailed).await;
    eventually("one part is given back", BOUND, || async {
        let saga = shop.saga(order_id).await;
        (saga.stock() == stock && saga.payment() == payment).then_some(saga)
    })
    .await
}

fn retry(order_id: &str) -> RetryCompensationRequest {
    RetryCompensationRequest { request_id: id(), order_id: order_id.to_owned(), reason: "it is back".to_owned() }
}

fn settle(order_id: &str) -> SettleCompensationRequest {
    SettleCompensationRequest { request_id: id(), order_id: order_id.to_owned(), reason: "paid out in cash".to_owned() }
}

async fn timeline(shop: &Shop, order_id: &str, call: CallContext) -> Vec<OrderTimelineEntry> {
    let request = call.request(GetOrderTimelineRequest { order_id: order_id.to_owned(), ..Default::default() });
    shop.orders.clone().get_order_timeline(request).await.unwrap().into_inner().events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_that_nobody_answers_is_listed_tried_again_and_ended_by_a_late_answer() {
    let mut shop = open().await;
    let name = shop.customer("late", STOCK, MONEY).await;
    let order_id = shop.order(&name, &name).await;
    shop.until(&order_id, OrderStatus::Preparing).await;
    let refused = shop.orders.clone().retry_compensation(call().request(retry(&order_id))).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("COMPENSATION_NOT_FAILED"));

    shop.stop(Role::Inventory).await;
    shop.cancel(&name, &order_id).await;
    // The money is back, be it before or after the attempts were used up.
    let saga = failed_with(&shop, &order_id, SagaPart::Undoing, SagaPart::Undone).await;
    assert_eq!((saga.undo_attempts, saga.order_status()), (1, OrderStatus::Cancelled));
    assert!(saga.step_time.is_some() && saga.deadline.is_none());
    assert_eq!(failed(&shop).await, [order_id.as_str()]);

    // For operators alone; a service is none.
    for other in [customer(&name), CallContext { caller: Caller::service("inventory"), ..call() }] {
        let mut orders = shop.orders.clone();
        let refused = [
            orders.list_sagas(other.request(ListSagasRequest::default())).await.err(),
            orders.retry_compensation(other.request(retry(&order_id))).await.err(),
            orders.settle_compensation(other.request(settle(&order_id))).await.err(),
        ];
        for status in refused {
            assert_eq!(reason_of(&status.unwrap()).as_deref(), Some("ROLE_REQUIRED"));
        }
    }
    let wordless = RetryCompensationRequest { reason: String::new(), ..retry(&order_id) };
    let refused = shop.orders.clone().retry_compensation(call().request(wordless)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("REASON_MISSING"));

    // Tried again in vain, once however often it is asked for.
    let request = retry(&order_id);
    for _ in 0..3 {
        shop.orders.clone().retry_compensation(call().request(request.clone())).await.unwrap();
    }
    eventually("it fails again", BOUND, || async {
        let told = [event_types::ORDER_COMPENSATION_FAILED];
        (shop.logged("order", &order_id, &told).await == 2).then_some(())
    })
    .await;
    assert_eq!(shop.logged("order", &order_id, &[event_types::ORDER_COMPENSATION_RETRIED]).await, 1);

    shop.start(Role::Inventory).await;
    shop.saga_until(&order_id, SagaStep::Compensated).await;
    shop.stock_until(&name, STOCK, 0).await;
    assert_eq!(shop.balance(&name).await, MONEY);
    assert!(failed(&shop).await.is_empty());
    shop.check_versions().await;
    shop.close().await;
}

/// The service that has to answer is away for many times the time that a step has.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_service_that_has_to_answer_is_away_no_order_is_cancelled_for_its_silence() {
    let mut shop = Shop::open(|settings| {
        settings.order.saga_step_timeout_ms = 1_500;
        settings.order.saga_route_interval_ms = 100;
    })
    .await;
    let name = shop.customer("patient", STOCK, MONEY).await;
    for away in [Role::Payment, Role::Inventory] {
        shop.stop(away).await;
        let order_id = shop.order(&name, &name).await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        let waits = if away == Role::Payment { OrderStatus::Confirmed } else { OrderStatus::Pending };
        assert_eq!(shop.get(&order_id).await.status(), waits, "{away} is away");
        let asked_back = [event_types::STOCK_RELEASE_REQUESTED, event_types::PAYMENT_REFUND_REQUESTED];
        assert_eq!(shop.logged("order", &order_id, &asked_back).await, 0, "{away} is away");
        shop.start(away).await;
        shop.until(&order_id, OrderStatus::Preparing).await;
    }
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_settles_what_was_put_right_by_hand_and_the_history_says_who_and_why() {
    let mut shop = open().await;
    let name = shop.customer("settled", STOCK, MONEY).await;
    shop.stop(Role::Payment).await;
    shop.stop(Role::Order).await;
    shop.settings.order.completion_max_ms = 1_000;
    shop.start(Role::Order).await;
    let order_id = shop.order(&name, &name).await;
    let saga = failed_with(&shop, &order_id, SagaPart::Undone, SagaPart::Undoing).await;
    assert_eq!((saga.order_status(), saga.pending_reason.as_str()), (OrderStatus::Confirmed, "PAYMENT_TIMED_OUT"));

    let request = settle(&order_id);
    for _ in 0..2 {
        let answer = shop.orders.clone().settle_compensation(call().request(request.clone())).await.unwrap();
        let order = answer.into_inner().order.unwrap();
        assert_eq!((order.status(), order.status_reason.as_str()), (OrderStatus::Cancelled, "PAYMENT_TIMED_OUT"));
        assert_eq!(order.status_detail, "paid out in cash");
    }
    let again = shop.orders.clone().settle_compensation(call().request(settle(&order_id))).await.unwrap_err();
    assert_eq!(reason_of(&again).as_deref(), Some("COMPENSATION_NOT_FAILED"));
    assert!(failed(&shop).await.is_empty());
    assert_eq!(shop.saga(&order_id).await.payment(), SagaPart::Settled);

    let payload: Vec<u8> =
        sqlx::query_scalar("select payload from event_log where aggregate_id = $1 and event_type = $2")
            .bind(&order_id)
            .bind(event_types::ORDER_COMPENSATION_SETTLED)
            .fetch_one(&shop.database("order").await)
            .await
            .unwrap();
    let event = OrderCompensationSettled::decode(payload.as_slice()).unwrap();
    assert_eq!((event.operator.as_str(), event.reason.as_str()), ("olga", "paid out in cash"));
    assert!(event.payment_settled && !event.stock_settled);
    let told = |entries: Vec<OrderTimelineEntry>| {
        let entry = entries.into_iter().find(|entry| entry.event_type == event_types::ORDER_COMPENSATION_SETTLED);
        entry.unwrap().details
    };
    let (staff, own) =
        (told(timeline(&shop, &order_id, call()).await), told(timeline(&shop, &order_id, customer(&name)).await));
    assert_eq!((staff["operator"].as_str(), staff["settled"].as_str()), ("olga", "payment"));
    assert!(!own.contains_key("operator") && own["detail"] == "paid out in cash", "{own:?}");

    // What was asked stays asked: the payment service never takes the money, and its answer changes nothing.
    shop.start(Role::Payment).await;
    eventually("a late answer", BOUND, || async {
        (shop.logged("payment", &order_id, &[event_types::PAYMENT_FAILED, event_types::PAYMENT_REFUNDED]).await > 0)
            .then_some(())
    })
    .await;
    let later = shop.order(&name, &name).await;
    shop.until(&later, OrderStatus::Preparing).await;
    assert_eq!(shop.balance(&name).await, MONEY - PRICE, "the later order alone is paid");
    assert_eq!(shop.saga(&order_id).await.step(), SagaStep::Compensated);
    shop.check_versions().await;
    shop.close().await;
}
