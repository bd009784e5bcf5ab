//! An order whose lines are changed.

use openorder::Role;
use openorder_proto::{
    event_types,
    google::r#type::Money,
    order::v1::{
        CreateOrderRequest, ModifyOrderRequest, Order, OrderModification, OrderModificationState as State, OrderStatus,
        PaymentMode, RequestedLine, SagaStep,
    },
    payment::v1::{GetPaymentRequest, Payment, PaymentState, ProcessPaymentRequest, get_payment_request::Key},
};
use openorder_rpc::reason_of;
use openorder_testing::eventually;
use tonic::{Code, Status};

use crate::shop::{BOUND, MONEY, PRICE, STOCK, Shop, call, customer, id};

fn by_hand(shop: &Shop, name: &str) -> CreateOrderRequest {
    CreateOrderRequest { payment_mode: PaymentMode::Manual.into(), ..shop.request(name, name) }
}

async fn make(shop: &Shop, request: CreateOrderRequest) -> Order {
    shop.orders.clone().create_order(call().request(request)).await.unwrap().into_inner().order.unwrap()
}

/// An order of one piece that waits for its customer to pay it.
async fn waiting(shop: &Shop, name: &str) -> Order {
    let order_id = make(shop, by_hand(shop, name)).await.order_id;
    shop.until(&order_id, OrderStatus::Confirmed).await
}

fn request(order: &Order, lines: &[(&str, i32)]) -> ModifyOrderRequest {
    let lines = lines.iter().map(|(sku, quantity)| RequestedLine { sku: (*sku).to_owned(), quantity: *quantity });
    ModifyOrderRequest {
        request_id: id(),
        order_id: order.order_id.clone(),
        expected_version: order.version,
        lines: lines.collect(),
        expected_total: None,
    }
}

async fn send(shop: &Shop, name: &str, request: ModifyOrderRequest) -> Result<Order, Status> {
    let answer = shop.orders.clone().modify_order(customer(name).request(request)).await?;
    Ok(answer.into_inner().order.unwrap())
}

async fn modify(shop: &Shop, name: &str, order: &Order, lines: &[(&str, i32)]) -> Result<Order, Status> {
    send(shop, name, request(order, lines)).await
}

async fn decided(shop: &Shop, order_id: &str) -> (Order, OrderModification) {
    eventually(&format!("the change of {order_id} is decided"), BOUND, || async {
        let order = shop.get(order_id).await;
        let modification = order.modification.clone().unwrap();
        (modification.state() != State::Requested).then_some((order, modification))
    })
    .await
}

async fn pay(shop: &Shop, name: &str, order_id: &str) -> Result<(), Status> {
    let request = ProcessPaymentRequest { request_id: id(), order_id: order_id.to_owned() };
    shop.payments.clone().process_payment(customer(name).request(request)).await.map(drop)
}

async fn payment(shop: &Shop, order_id: &str) -> Payment {
    let request = GetPaymentRequest { key: Some(Key::OrderId(order_id.to_owned())) };
    shop.payments.clone().get_payment(call().request(request)).await.unwrap().into_inner().payment.unwrap()
}

fn reason(answer: Result<Order, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

fn because(reason: &str) -> (Code, String) {
    (Code::FailedPrecondition, reason.to_owned())
}

fn shown(order: &Order) -> Vec<(&str, i32)> {
    order.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect()
}

fn total(order: &Order) -> i64 {
    order.total.as_ref().unwrap().units
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_gets_other_lines_costs_what_they_cost_and_holds_exactly_their_stock() {
    let shop = Shop::open(|_| {}).await;
    let (name, cup) = (shop.customer("tea", STOCK, MONEY).await, shop.customer("cup", STOCK, 0).await);
    let order = waiting(&shop, &name).await;
    let wanted = request(&order, &[(&cup, 2), (&name, 3)]);
    let asked = send(&shop, &name, wanted.clone()).await.unwrap();
    assert_eq!((asked.version, asked.status()), (order.version + 1, OrderStatus::Confirmed));
    let modification = asked.modification.as_ref().unwrap();
    assert_eq!((modification.state(), modification.order_version), (State::Requested, asked.version));
    assert_eq!((shown(&asked), &asked.total), (vec![(name.as_str(), 1)], &order.total));
    let (changed, modification) = decided(&shop, &order.order_id).await;
    assert_eq!((modification.state(), modification.lines.len()), (State::Accepted, 0));
    assert_eq!(shown(&changed), [(cup.as_str(), 2), (name.as_str(), 3)]);
    assert_eq!((total(&changed), changed.status()), (5 * PRICE, OrderStatus::Confirmed));
    assert_eq!(changed.payment_deadline, order.payment_deadline, "the time to pay goes on");
    shop.stock_until(&name, STOCK, 3).await;
    shop.stock_until(&cup, STOCK, 2).await;
    let held = shop.reservation(&order.order_id).await.unwrap().lines;
    let held: Vec<(&str, i32)> = held.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
    assert_eq!(held, shown(&changed));
    // Asked again: the first answer. As it was seen before: refused.
    assert_eq!(send(&shop, &name, wanted).await.unwrap(), asked);
    let stale = modify(&shop, &name, &order, &[(&cup, 1)]).await.unwrap_err();
    assert_eq!((stale.code(), reason_of(&stale).as_deref()), (Code::Aborted, Some("ORDER_VERSION_MISMATCH")));
    assert!(stale.message().contains(&format!("version {}", changed.version)), "{stale:?}");

    let undecided = payment(&shop, &order.order_id).await;
    assert_eq!(undecided.state(), PaymentState::Initiated);
    pay(&shop, &name, &order.order_id).await.unwrap();
    let done = shop.until(&order.order_id, OrderStatus::Preparing).await;
    assert_eq!((shop.balance(&name).await, total(&done)), (MONEY - 5 * PRICE, 5 * PRICE));
    let paid = payment(&shop, &order.order_id).await;
    assert_eq!((paid.state(), &paid.payment_id), (PaymentState::Completed, &undecided.payment_id));
    assert_eq!(reason(modify(&shop, &name, &done, &[(&cup, 1)]).await), because("ORDER_NOT_MODIFIABLE"));
    shop.cancel(&name, &order.order_id).await;
    eventually("the money is back", BOUND, || async { (shop.balance(&name).await == MONEY).then_some(()) }).await;
    for sku in [&name, &cup] {
        shop.stock_until(sku, STOCK, 0).await;
    }
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_stock_for_all_of_them_the_order_keeps_its_lines_and_says_why() {
    let shop = Shop::open(|_| {}).await;
    let (name, cup) = (shop.customer("keeps", STOCK, MONEY).await, shop.customer("rare", 1, 0).await);
    let order = waiting(&shop, &name).await;
    modify(&shop, &name, &order, &[(&name, 2), (&cup, 2)]).await.unwrap();
    let (kept, modification) = decided(&shop, &order.order_id).await;
    assert_eq!((modification.state(), modification.reason.as_str()), (State::Rejected, "OUT_OF_STOCK"));
    assert!(modification.detail.contains("2 asked for, 1 available"), "{modification:?}");
    assert_eq!(modification.lines.len(), 2, "what was asked for is shown");
    assert_eq!((shown(&kept), total(&kept), kept.status_reason.as_str()), (vec![(name.as_str(), 1)], PRICE, ""));
    shop.stock_until(&name, STOCK, 1).await;
    shop.stock_until(&cup, 1, 0).await;
    let missing = format!("no-{}", id());
    assert_eq!(reason(modify(&shop, &name, &kept, &[(&missing, 1)]).await), because("UNKNOWN_SKU"));
    let mut dear = request(&kept, &[(&name, 2)]);
    dear.expected_total = Some(Money { currency_code: "EUR".to_owned(), units: PRICE, nanos: 0 });
    assert_eq!(reason(send(&shop, &name, dear).await), because("PRICE_CHANGED"));
    let other = shop.customer("other", STOCK, 0).await;
    assert_eq!(reason(modify(&shop, &other, &kept, &[(&name, 2)]).await).1, "ORDER_NOT_FOUND");
    assert_eq!(shop.get(&order.order_id).await, kept, "nothing of that left a trace");
    // It can be changed again, and paid.
    modify(&shop, &name, &kept, &[(&cup, 1)]).await.unwrap();
    let (changed, _) = decided(&shop, &order.order_id).await;
    assert_eq!(shown(&changed), [(cup.as_str(), 1)]);
    shop.stock_until(&name, STOCK, 0).await;
    pay(&shop, &name, &order.order_id).await.unwrap();
    shop.until(&order.order_id, OrderStatus::Preparing).await;
    let types = [event_types::ORDER_MODIFIED, event_types::ORDER_MODIFICATION_REJECTED];
    assert_eq!(shop.logged("order", &order.order_id, &types).await, 2);
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_paid_by_itself_is_changed_while_its_stock_is_not_decided() {
    let mut shop = Shop::open(|_| {}).await;
    let name = shop.customer("pending", STOCK, MONEY).await;
    shop.stop(Role::Inventory).await;
    let order = make(&shop, shop.request(&name, &name)).await;
    assert_eq!(order.status(), OrderStatus::Pending);
    let asked = modify(&shop, &name, &order, &[(&name, 3)]).await.unwrap();
    assert_eq!((asked.status(), shop.saga(&order.order_id).await.step()), (OrderStatus::Pending, SagaStep::Modifying));
    assert_eq!(reason(modify(&shop, &name, &asked, &[(&name, 4)]).await), because("MODIFICATION_UNDER_WAY"));
    let left = make(&shop, shop.request(&name, &name)).await;
    let cancelled = make(&shop, shop.request(&name, &name)).await;
    modify(&shop, &name, &left, &[(&name, STOCK + 1)]).await.unwrap();
    modify(&shop, &name, &cancelled, &[(&name, 2)]).await.unwrap();
    shop.cancel(&name, &cancelled.order_id).await;
    let ended = shop.get(&cancelled.order_id).await.modification.unwrap();
    assert_eq!((ended.state(), ended.reason.as_str()), (State::Rejected, "CANCELLED_BY_CUSTOMER"));
    shop.start(Role::Inventory).await;
    let done = shop.until(&order.order_id, OrderStatus::Preparing).await;
    assert_eq!((shown(&done), total(&done)), (vec![(name.as_str(), 3)], 3 * PRICE));
    let kept = shop.until(&left.order_id, OrderStatus::Preparing).await;
    assert_eq!(shown(&kept), [(name.as_str(), 1)]);
    assert_eq!(kept.modification.unwrap().reason, "OUT_OF_STOCK");
    assert_eq!(shop.balance(&name).await, MONEY - 4 * PRICE);
    shop.saga_until(&cancelled.order_id, SagaStep::Compensated).await;
    shop.stock_until(&name, STOCK, 4).await;
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_changes_and_cancellations_that_meet_are_decided_once_and_stock_and_money_add_up() {
    let shop = Shop::open(|_| {}).await;
    let name = shop.customer("meet", 60, MONEY).await;
    let mut pieces = 0;
    for round in 0..15_u64 {
        let order = waiting(&shop, &name).await;
        let later = |ms: u64| tokio::time::sleep(std::time::Duration::from_millis(ms));
        let is_cancelled = round % 3 == 0;
        let paying = async {
            later(round % 5).await;
            pay(&shop, &name, &order.order_id).await
        };
        let cancelling = async {
            if is_cancelled {
                later(round % 7).await;
                shop.cancel(&name, &order.order_id).await;
            }
        };
        let lines = [(name.as_str(), 2)];
        let (paid, asked, ()) = tokio::join!(paying, modify(&shop, &name, &order, &lines), cancelling);
        if let Err(status) = &paid {
            let reason = reason_of(status).unwrap_or_default();
            assert!(["MODIFICATION_UNDER_WAY", "ORDER_NOT_PAYABLE"].contains(&reason.as_str()), "{status:?}");
        }
        if asked.is_ok() {
            decided(&shop, &order.order_id).await;
        }
        if is_cancelled {
            shop.saga_until(&order.order_id, SagaStep::Compensated).await;
            continue;
        }
        if paid.is_err() {
            pay(&shop, &name, &order.order_id).await.unwrap();
        }
        let done = shop.until(&order.order_id, OrderStatus::Preparing).await;
        assert_eq!(payment(&shop, &order.order_id).await.amount, done.total, "{done:?}");
        pieces += done.lines[0].quantity;
        shop.charge(&name, total(&done)).await;
    }
    shop.stock_until(&name, 60, pieces).await;
    eventually("the money adds up", BOUND, || async { (shop.balance(&name).await == MONEY).then_some(()) }).await;
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_a_service_that_is_away_and_is_decided_when_that_is_back() {
    let mut shop = Shop::open(|_| {}).await;
    let name = shop.customer("away", STOCK, MONEY).await;
    for role in [Role::Payment, Role::Inventory] {
        let order = waiting(&shop, &name).await;
        shop.stop(role).await;
        modify(&shop, &name, &order, &[(&name, 2)]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let waits = shop.get(&order.order_id).await;
        assert_eq!(waits.modification.unwrap().state(), State::Requested);
        // The order service comes back on what is stored.
        shop.stop(Role::Order).await;
        shop.start(Role::Order).await;
        shop.start(role).await;
        let (changed, modification) = decided(&shop, &order.order_id).await;
        assert_eq!((modification.state(), shown(&changed)), (State::Accepted, vec![(name.as_str(), 2)]));
        shop.cancel(&name, &order.order_id).await;
        shop.saga_until(&order.order_id, SagaStep::Compensated).await;
        shop.stock_until(&name, STOCK, 0).await;
    }
    shop.check_versions().await;
    shop.close().await;
}
