//! An order that its customer pays, or does not.

use openorder::Role;
use openorder_proto::{
    event_types,
    order::v1::{CreateOrderRequest, Order, OrderStatus, PaymentMode, ReservationMode, SagaPart, SagaStep},
    payment::v1::{Payment, PaymentState, ProcessPaymentRequest},
};
use openorder_rpc::{CallContext, reason_of};
use openorder_testing::eventually;
use sqlx::Row;
use tonic::{Code, Status};

use crate::shop::{BOUND, MONEY, PRICE, STOCK, Shop, call, customer, id};

fn by_hand(shop: &Shop, name: &str) -> CreateOrderRequest {
    CreateOrderRequest { payment_mode: PaymentMode::Manual.into(), ..shop.request(name, name) }
}

async fn ask(shop: &Shop, request: CreateOrderRequest) -> Result<Order, Status> {
    let answer = shop.orders.clone().create_order(call().request(request)).await?;
    Ok(answer.into_inner().order.unwrap())
}

/// An order of one piece that waits for its customer to pay it.
async fn waiting(shop: &Shop, name: &str) -> Order {
    let order_id = ask(shop, by_hand(shop, name)).await.unwrap().order_id;
    shop.until(&order_id, OrderStatus::Confirmed).await
}

async fn pay_as(shop: &Shop, call: CallContext, request_id: &str, order_id: &str) -> Result<Payment, Status> {
    let request = ProcessPaymentRequest { request_id: request_id.to_owned(), order_id: order_id.to_owned() };
    let answer = shop.payments.clone().process_payment(call.request(request)).await?;
    Ok(answer.into_inner().payment.unwrap())
}

async fn pay(shop: &Shop, name: &str, order_id: &str) -> Result<Payment, Status> {
    pay_as(shop, customer(name), &id(), order_id).await
}

fn refused(answer: Result<Payment, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

fn because(reason: &str) -> (Code, String) {
    (Code::FailedPrecondition, reason.to_owned())
}

async fn money_is_back(shop: &Shop, name: &str, money: i64) {
    eventually("the money is there", BOUND, || async { (shop.balance(name).await == money).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_until_its_customer_pays_it_and_the_answer_stays_the_same() {
    let shop = Shop::open(|_| {}).await;
    let name = shop.customer("hand", STOCK, MONEY).await;
    let other = shop.customer("other", STOCK, MONEY).await;
    let order = waiting(&shop, &name).await;
    assert_eq!(order.payment_mode(), PaymentMode::Manual);
    let (until, made) = (order.payment_deadline.unwrap(), order.update_time.unwrap());
    assert_eq!((until.seconds - made.seconds, until.nanos), (900, made.nanos), "15 minutes from its being confirmed");
    let saga = shop.saga(&order.order_id).await;
    assert_eq!((saga.step(), saga.payment(), saga.deadline), (SagaStep::Paying, SagaPart::Asked, Some(until)));
    assert_eq!(shop.balance(&name).await, MONEY, "nothing is taken by itself");

    // Somebody else's order is none.
    assert_eq!(refused(pay(&shop, &other, &order.order_id).await), (Code::NotFound, "ORDER_NOT_FOUND".to_owned()));
    let request_id = id();
    let paid = pay_as(&shop, customer(&name), &request_id, &order.order_id).await.unwrap();
    assert_eq!((paid.state(), paid.order_id.as_str()), (PaymentState::Completed, order.order_id.as_str()));
    let done = shop.until(&order.order_id, OrderStatus::Preparing).await;
    assert_eq!((done.payment_deadline, shop.balance(&name).await), (None, MONEY - PRICE));
    // Asked again, also in other letters: the same answer. Another request is told that it is paid.
    for order_id in [order.order_id.clone(), order.order_id.to_ascii_uppercase()] {
        assert_eq!(pay_as(&shop, customer(&name), &request_id, &order_id).await.unwrap(), paid);
    }
    assert_eq!(refused(pay(&shop, &name, &order.order_id).await), because("ORDER_ALREADY_PAID"));
    let reused = pay_as(&shop, customer(&name), &request_id, &uuid::Uuid::now_v7().to_string()).await;
    assert_eq!(refused(reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    assert_eq!(shop.balance(&name).await, MONEY - PRICE);

    // Called off when it is paid: the money goes back, and nobody pays it again.
    shop.cancel(&name, &order.order_id).await;
    money_is_back(&shop, &name, MONEY).await;
    shop.stock_until(&name, STOCK, 0).await;
    let late = pay(&shop, &name, &order.order_id).await.unwrap_err();
    assert_eq!(reason_of(&late).as_deref(), Some("ORDER_NOT_PAYABLE"));
    assert!(late.message().contains("CANCELLED"), "{late:?}");
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_payable_only_while_it_waits_and_only_by_hand() {
    let mut shop = Shop::open(|_| {}).await;
    let name = shop.customer("early", STOCK, MONEY).await;
    shop.stop(Role::Inventory).await;
    let by_itself = shop.order(&name, &name).await;
    let pending = ask(&shop, by_hand(&shop, &name)).await.unwrap();
    assert_eq!((pending.status(), pending.payment_deadline), (OrderStatus::Pending, None));
    assert_eq!(refused(pay(&shop, &name, &pending.order_id).await), because("ORDER_NOT_PAYABLE"));
    assert_eq!(refused(pay(&shop, &name, &by_itself).await), because("PAYMENT_NOT_MANUAL"));
    shop.start(Role::Inventory).await;
    shop.until(&by_itself, OrderStatus::Preparing).await;
    assert_eq!(refused(pay(&shop, &name, &by_itself).await), because("ORDER_ALREADY_PAID"));
    shop.until(&pending.order_id, OrderStatus::Confirmed).await;
    // Who waits is not held up by the deadline of a step.
    assert_eq!(shop.saga(&pending.order_id).await.step(), SagaStep::Paying);
    pay(&shop, &name, &pending.order_id).await.unwrap();
    shop.until(&pending.order_id, OrderStatus::Preparing).await;

    // Held before it is answered, and then paid by hand.
    let immediate = CreateOrderRequest { reservation_mode: ReservationMode::Immediate.into(), ..by_hand(&shop, &name) };
    let order = ask(&shop, immediate).await.unwrap();
    assert_eq!(order.status(), OrderStatus::Confirmed);
    assert!(order.payment_deadline.is_some());
    pay(&shop, &name, &order.order_id).await.unwrap();
    shop.until(&order.order_id, OrderStatus::Preparing).await;
    assert_eq!(shop.balance(&name).await, MONEY - 3 * PRICE);
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_money_decides_nothing_and_the_order_is_paid_once_there_is_enough() {
    let shop = Shop::open(|_| {}).await;
    let name = shop.customer("short", STOCK, PRICE - 1).await;
    let order = waiting(&shop, &name).await;
    let request_id = id();
    for _ in 0..2 {
        let answer = pay_as(&shop, customer(&name), &request_id, &order.order_id).await;
        assert_eq!(refused(answer), because("INSUFFICIENT_BALANCE"));
    }
    let types = [event_types::PAYMENT_COMPLETED, event_types::PAYMENT_FAILED];
    assert_eq!(shop.logged("payment", &order.order_id, &types).await, 0, "nothing is decided");
    assert_eq!(shop.get(&order.order_id).await, order, "and the order is as it was");
    shop.charge(&name, 1).await;
    pay_as(&shop, customer(&name), &request_id, &order.order_id).await.unwrap();
    shop.until(&order.order_id, OrderStatus::Preparing).await;
    assert_eq!((shop.balance(&name).await, shop.logged("payment", &order.order_id, &types).await), (0, 1));

    let nobody = shop.customer("nobody", STOCK, 0).await;
    let order = waiting(&shop, &nobody).await;
    let answer = pay(&shop, &nobody, &order.order_id).await;
    assert_eq!(refused(answer), (Code::NotFound, "WALLET_NOT_FOUND".to_owned()));
    shop.cancel(&nobody, &order.order_id).await;
    shop.stock_until(&nobody, STOCK, 0).await;
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_not_paid_in_time_is_called_off_and_its_stock_is_given_back() {
    let shop = Shop::open(|settings| settings.order.payment_deadline_ms = 8_000).await;
    let name = shop.customer("late", STOCK, MONEY).await;
    let order = waiting(&shop, &name).await;
    shop.stock_until(&name, STOCK, 1).await;
    let ended = shop.until(&order.order_id, OrderStatus::Cancelled).await;
    assert_eq!(ended.status_reason, "PAYMENT_DEADLINE_EXCEEDED");
    let waited = ended.update_time.unwrap().seconds - order.update_time.unwrap().seconds;
    assert!(waited <= 30, "its own time, and not that of a step: {waited} s");
    shop.stock_until(&name, STOCK, 0).await;
    assert_eq!(refused(pay(&shop, &name, &order.order_id).await), because("ORDER_NOT_PAYABLE"));
    assert_eq!(shop.balance(&name).await, MONEY);
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_pay_stands_still_while_nobody_can_pay() {
    let mut shop = Shop::open(|settings| {
        settings.order.payment_deadline_ms = 8_000;
        settings.order.saga_route_interval_ms = 100;
        settings.order.saga_timer_lease_ms = 1_000;
    })
    .await;
    let name = shop.customer("away", STOCK, MONEY).await;
    let order = waiting(&shop, &name).await;
    shop.stop(Role::Payment).await;
    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
    assert_eq!(
        shop.get(&order.order_id).await.status(),
        OrderStatus::Confirmed,
        "its time is over, and does not count"
    );
    shop.start(Role::Payment).await;
    pay(&shop, &name, &order.order_id).await.unwrap();
    shop.until(&order.order_id, OrderStatus::Preparing).await;
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_that_meet_a_cancellation_are_taken_once_or_not_and_never_kept() {
    let shop = Shop::open(|_| {}).await;
    let name = shop.customer("race", 40, MONEY).await;
    for round in 0..12_u64 {
        let order = waiting(&shop, &name).await;
        let cancelling = async {
            tokio::time::sleep(std::time::Duration::from_millis(round % 6)).await;
            shop.cancel(&name, &order.order_id).await;
        };
        let (one, two, ()) =
            tokio::join!(pay(&shop, &name, &order.order_id), pay(&shop, &name, &order.order_id), cancelling);
        assert!(one.is_err() || two.is_err(), "paid twice");
        for answer in [one, two] {
            if let Err(status) = answer {
                let reason = reason_of(&status).unwrap_or_default();
                assert!(["ORDER_ALREADY_PAID", "ORDER_NOT_PAYABLE"].contains(&reason.as_str()), "{status:?}");
            }
        }
        let saga = shop.saga_until(&order.order_id, SagaStep::Compensated).await;
        assert!([SagaPart::Refused, SagaPart::Undone].contains(&saga.payment()), "{saga:?}");
    }
    shop.stock_until(&name, 40, 0).await;
    money_is_back(&shop, &name, MONEY).await;
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_for_longer_than_its_reservation_contradicts_nothing() {
    let shop = Shop::open(|settings| {
        settings.inventory.reservation_ttl_ms = 300;
        settings.inventory.reservation_look_again_ms = 100;
        settings.inventory.reconcile_grace_ms = 200;
    })
    .await;
    let name = shop.customer("slow", STOCK, MONEY).await;
    let order = waiting(&shop, &name).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let pool = shop.database("inventory").await;
    let row = sqlx::query("select count(*) from reservation_mismatch").fetch_one(&pool).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 0, "it may wait for its customer");
    pool.close().await;
    shop.stock_until(&name, STOCK, 1).await;
    pay(&shop, &name, &order.order_id).await.unwrap();
    shop.until(&order.order_id, OrderStatus::Preparing).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_orders_are_not_paid_by_hand_none_is_made_so_and_the_view_shows_for_how_long_one_waits() {
    let mut shop = Shop::open(|settings| settings.order.payment_deadline_ms = 60_000).await;
    let name = shop.customer("off", STOCK, MONEY).await;
    let order = waiting(&shop, &name).await;
    let by_itself = shop.order(&name, &name).await;
    let pool = shop.database("order").await;
    for (order_id, window) in [(&order.order_id, Some(60_000_i64)), (&by_itself, None)] {
        let sql = "select payment_window_ms, payment_mode from orders where order_id = $1";
        let row = sqlx::query(sql).bind(order_id.parse::<uuid::Uuid>().unwrap()).fetch_one(&pool).await.unwrap();
        assert_eq!(row.get::<Option<i64>, _>("payment_window_ms"), window);
        assert_eq!(row.get::<i16, _>("payment_mode"), if window.is_some() { 2 } else { 1 });
    }
    shop.stop(Role::Order).await;
    shop.settings.order.payment_deadline_ms = 0;
    shop.start(Role::Order).await;
    let refused = ask(&shop, by_hand(&shop, &name)).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason_of(&refused).as_deref()),
        (Code::InvalidArgument, Some("PAYMENT_MODE_UNSUPPORTED"))
    );
    // One that was made before keeps the time that it was given.
    assert_eq!(shop.get(&order.order_id).await.payment_deadline, order.payment_deadline);
    pay(&shop, &name, &order.order_id).await.unwrap();
    shop.until(&order.order_id, OrderStatus::Preparing).await;
    pool.close().await;
    shop.close().await;
}
