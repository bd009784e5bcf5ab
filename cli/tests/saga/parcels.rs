//! An order and its parcel: the one follows the other, and a parcel that has left is not called off.

use openorder::Role;
use openorder_proto::{
    order::v1::{CancelOrderRequest, CancellationCause, Order, OrderStatus, UpdateOrderStatusRequest},
    shipping::v1::{
        CancelShipmentRequest, GetShipmentRequest, Shipment, ShipmentState, UpdateShipmentRequest,
        get_shipment_request::Key,
    },
};
use openorder_rpc::reason_of;
use openorder_testing::eventually;
use tonic::{Code, Status};

use crate::shop::{BOUND, MONEY, PRICE, STOCK, Shop, call, customer, id};

async fn shipment(shop: &Shop, order_id: &str) -> Option<Shipment> {
    let request = GetShipmentRequest { key: Some(Key::OrderId(order_id.to_owned())) };
    shop.shipping.clone().get_shipment(call().request(request)).await.ok()?.into_inner().shipment
}

async fn shipment_is(shop: &Shop, order_id: &str, state: ShipmentState) {
    eventually(&format!("the parcel of {order_id} is {}", state.as_str_name()), BOUND, || async {
        (shipment(shop, order_id).await?.state() == state).then_some(())
    })
    .await;
}

async fn hand_over(shop: &Shop, order_id: &str, state: ShipmentState) -> Result<(), Status> {
    let request = UpdateShipmentRequest {
        request_id: id(),
        order_id: order_id.to_owned(),
        state: state.into(),
        ..UpdateShipmentRequest::default()
    };
    shop.shipping.clone().update_shipment(call().request(request)).await.map(drop)
}

async fn move_on(shop: &Shop, order_id: &str, previous: OrderStatus, current: OrderStatus) -> Result<Order, Status> {
    let request = UpdateOrderStatusRequest {
        request_id: id(),
        order_id: order_id.to_owned(),
        previous_status: previous.into(),
        current_status: current.into(),
    };
    let answer = shop.orders.clone().update_order_status(call().request(request)).await?;
    Ok(answer.into_inner().order.unwrap())
}

async fn cancel(shop: &Shop, name: &str, order_id: &str) -> Result<Order, Status> {
    let (order_id, reason) = (order_id.to_owned(), "changed my mind".to_owned());
    let request = CancelOrderRequest { request_id: id(), order_id, reason };
    let answer = shop.orders.clone().cancel_order(customer(name).request(request)).await?;
    Ok(answer.into_inner().order.unwrap())
}

fn refused(answer: Result<Order, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_and_its_parcel_follow_each_other_whichever_is_moved() {
    let shop = Shop::open(|_| {}).await;
    let name = shop.customer("parcel", STOCK, MONEY).await;
    let (by_shipment, by_order) = (shop.order(&name, &name).await, shop.order(&name, &name).await);
    for order_id in [&by_shipment, &by_order] {
        shop.until(order_id, OrderStatus::Preparing).await;
        assert_eq!(shipment(&shop, order_id).await.unwrap().state(), ShipmentState::Created);
    }
    hand_over(&shop, &by_shipment, ShipmentState::Shipped).await.unwrap();
    shop.until(&by_shipment, OrderStatus::Shipped).await;
    let moved = move_on(&shop, &by_order, OrderStatus::Preparing, OrderStatus::Shipped).await.unwrap();
    assert_eq!(moved.status(), OrderStatus::Shipped);
    assert_eq!(shipment(&shop, &by_order).await.unwrap().state(), ShipmentState::Shipped);
    shop.stock_until(&name, STOCK - 2, 0).await;
    for order_id in [&by_shipment, &by_order] {
        assert_eq!(refused(cancel(&shop, &name, order_id).await).1, "ORDER_NOT_CANCELLABLE");
    }
    hand_over(&shop, &by_shipment, ShipmentState::Delivered).await.unwrap();
    shop.until(&by_shipment, OrderStatus::Delivered).await;
    move_on(&shop, &by_order, OrderStatus::Shipped, OrderStatus::Delivered).await.unwrap();
    shipment_is(&shop, &by_order, ShipmentState::Delivered).await;

    // The order service asked, and ended before it had the answer: the parcel's event has all of it.
    let asked = shop.order(&name, &name).await;
    shop.until(&asked, OrderStatus::Preparing).await;
    let request = CancelShipmentRequest {
        request_id: id(),
        order_id: asked.clone(),
        customer_id: name.clone(),
        cause: CancellationCause::Customer.into(),
        detail: "changed my mind".to_owned(),
    };
    shop.shipping.clone().cancel_shipment(call().request(request)).await.unwrap();
    let off = shop.until(&asked, OrderStatus::Cancelled).await;
    assert_eq!((off.status_reason.as_str(), off.status_detail.as_str()), ("CANCELLED_BY_CUSTOMER", "changed my mind"));
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_called_off_only_where_its_parcel_has_not_left_and_nobody_decides_for_a_service_that_is_away() {
    let mut shop = Shop::open(|_| {}).await;
    let name = shop.customer("off", STOCK, MONEY).await;
    let order_id = shop.order(&name, &name).await;
    shop.until(&order_id, OrderStatus::Preparing).await;
    shop.stop(Role::Shipping).await;
    // Paid, and nobody makes its parcel.
    let waiting = shop.order(&name, &name).await;
    shop.until(&waiting, OrderStatus::Paid).await;
    for paid in [&order_id, &waiting] {
        assert_eq!(refused(cancel(&shop, &name, paid).await).0, Code::Unavailable);
    }
    let moved = move_on(&shop, &order_id, OrderStatus::Preparing, OrderStatus::Shipped).await;
    assert_eq!(refused(moved).0, Code::Unavailable);
    shop.start(Role::Shipping).await;
    for paid in [&order_id, &waiting] {
        let off = cancel(&shop, &name, paid).await.unwrap();
        assert_eq!((off.status(), off.status_reason.as_str()), (OrderStatus::Cancelled, "CANCELLED_BY_CUSTOMER"));
        assert_eq!(off.status_detail, "changed my mind");
        shipment_is(&shop, paid, ShipmentState::Cancelled).await;
        let late = hand_over(&shop, paid, ShipmentState::Shipped).await.unwrap_err();
        assert_eq!(reason_of(&late).as_deref(), Some("SHIPMENT_CANCELLED"));
    }
    shop.stock_until(&name, STOCK, 0).await;
    eventually("the money is back", BOUND, || async { (shop.balance(&name).await == MONEY).then_some(()) }).await;
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_races_the_parcel_is_decided_once() {
    const ORDERS: i32 = 30;
    let shop = Shop::open(|_| {}).await;
    let name = shop.customer("race", ORDERS, i64::from(ORDERS) * PRICE).await;
    let mut orders = Vec::new();
    for _ in 0..ORDERS {
        orders.push(shop.order(&name, &name).await);
    }
    for order_id in &orders {
        shop.until(order_id, OrderStatus::Preparing).await;
    }
    let races = orders.iter().enumerate().map(async |(number, order_id)| {
        let leaves = async {
            if number % 2 == 0 {
                hand_over(&shop, order_id, ShipmentState::Shipped).await.is_ok()
            } else {
                move_on(&shop, order_id, OrderStatus::Preparing, OrderStatus::Shipped).await.is_ok()
            }
        };
        let off = async { cancel(&shop, &name, order_id).await.is_ok() };
        if number % 4 < 2 {
            tokio::join!(leaves, off)
        } else {
            let (off, leaves) = tokio::join!(off, leaves);
            (leaves, off)
        }
    });
    let answers = futures::future::join_all(races).await;
    assert!(answers.iter().all(|(left, off)| left != off), "never both, and never neither: {answers:?}");
    let left = answers.iter().filter(|(left, _)| *left).count();
    for (order_id, (left, _)) in orders.iter().zip(&answers) {
        let (status, state) = if *left {
            (OrderStatus::Shipped, ShipmentState::Shipped)
        } else {
            (OrderStatus::Cancelled, ShipmentState::Cancelled)
        };
        let order = shop.until(order_id, status).await;
        assert_eq!(order.status_detail, if *left { "" } else { "changed my mind" }, "whoever told the order first");
        shipment_is(&shop, order_id, state).await;
    }
    let left = i32::try_from(left).unwrap();
    shop.stock_until(&name, ORDERS - left, 0).await;
    let balance = i64::from(ORDERS - left) * PRICE;
    eventually("the money is where it belongs", BOUND, || async {
        (shop.balance(&name).await == balance).then_some(())
    })
    .await;
    shop.check_versions().await;
    shop.close().await;
}
