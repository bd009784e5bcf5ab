//! A cart is ordered once, and what was ordered leaves it: with the real order service.

use std::time::Duration;

use openorder::Role;
use openorder_proto::{
    cart::v1::{AddItemRequest, Cart, CheckoutRequest, GetCartRequest},
    google::r#type::Money,
    inventory::v1::AdjustStockRequest,
    order::v1::{ListOrdersRequest, Order, OrderStatus, ReservationMode},
};
use openorder_rpc::{reason_of, status::metadata_of};
use openorder_testing::eventually;
use tonic::{Code, Status};

use crate::shop::{BOUND, MONEY, PRICE, STOCK, Shop, call, customer, id};

async fn add(shop: &Shop, name: &str, quantity: i32) -> Cart {
    let request = AddItemRequest {
        request_id: id(),
        customer_id: name.to_owned(),
        sku: name.to_owned(),
        quantity,
        ..AddItemRequest::default()
    };
    shop.carts.clone().add_item(customer(name).request(request)).await.unwrap().into_inner().cart.unwrap()
}

fn ordering(request_id: &str, name: &str) -> CheckoutRequest {
    CheckoutRequest { request_id: request_id.to_owned(), customer_id: name.to_owned(), ..CheckoutRequest::default() }
}

async fn checkout(shop: &Shop, request: CheckoutRequest) -> Result<Order, Status> {
    let call = customer(&request.customer_id).within(BOUND);
    let answer = shop.carts.clone().checkout(call.retry_safe_request(request)).await?;
    Ok(answer.into_inner().order.unwrap())
}

async fn pieces(shop: &Shop, name: &str) -> Option<i32> {
    let request = GetCartRequest { customer_id: name.to_owned(), ..GetCartRequest::default() };
    let cart = shop.carts.clone().get_cart(call().request(request)).await.ok()?.into_inner().cart?;
    Some(cart.lines.iter().map(|line| line.quantity).sum())
}

async fn until_pieces(shop: &Shop, name: &str, expected: i32) {
    eventually(&format!("{expected} pieces are in the cart of {name}"), BOUND, || async {
        (pieces(shop, name).await? == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_checkouts_at_once_are_one_order_though_the_cart_changes_and_only_what_was_ordered_leaves() {
    let mut shop = Shop::open(|_| {}).await;
    shop.start(Role::Cart).await;
    let name = shop.customer("cart", STOCK, MONEY).await;
    let cart = add(&shop, &name, 2).await;
    assert_eq!(cart.total.as_ref().map(|total| total.units), Some(2 * PRICE));
    let (shop_ref, name_ref) = (&shop, name.as_str());
    let callers = (0..20).map(|number| async move {
        tokio::time::sleep(Duration::from_millis(number * 5)).await;
        checkout(shop_ref, ordering("checkout-1", name_ref)).await.unwrap()
    });
    let changes = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            add(shop_ref, name_ref, 1).await;
        }
    };
    // The first one has fixed what is ordered before anything else is put in.
    let first = checkout(&shop, ordering("checkout-1", &name)).await.unwrap();
    let (orders, ()) = tokio::join!(futures::future::join_all(callers), changes);
    assert!(orders.iter().all(|order| order.order_id == first.order_id));
    assert_eq!((first.lines.len(), first.lines[0].quantity), (1, 2));
    let made: i64 = sqlx::query_scalar("select count(*) from orders where customer_id = $1")
        .bind(&name)
        .fetch_one(&shop.database("order").await)
        .await
        .unwrap();
    assert_eq!(made, 1);
    shop.until(&first.order_id, OrderStatus::Preparing).await;
    until_pieces(&shop, &name, 3).await;
    // Once more, as another event of the same fact.
    let ids = shop.publish_again(&first.order_id, "order.lifecycle.created").await;
    shop.handled("cart", &ids).await;
    assert_eq!(pieces(&shop, &name).await, Some(3));
    assert_eq!(shop.balance(&name).await, MONEY - 2 * PRICE);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_made_at_the_price_that_was_shown_or_not_at_all() {
    let mut shop = Shop::open(|_| {}).await;
    shop.start(Role::Cart).await;
    let name = shop.customer("price", STOCK, MONEY).await;
    let cart = add(&shop, &name, 3).await;
    let wrong = Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 };
    let refused = checkout(&shop, CheckoutRequest { expected_total: Some(wrong), ..ordering("c-1", &name) }).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::FailedPrecondition, Some("PRICE_CHANGED")));
    let of = |key: &str| metadata_of(&refused, key).unwrap();
    assert_eq!((of("expected_total"), of("total")), ("1.00 EUR".to_owned(), format!("{}.00 EUR", 3 * PRICE)));
    let shown = CheckoutRequest { expected_total: cart.total.clone(), ..ordering("c-1", &name) };
    let order = checkout(&shop, shown.clone()).await.unwrap();
    assert_eq!(order.total, cart.total);
    assert_eq!(checkout(&shop, shown).await.unwrap().order_id, order.order_id);
    let other = checkout(&shop, ordering("c-1", &name)).await.unwrap_err();
    assert_eq!(reason_of(&other).as_deref(), Some("REQUEST_ID_REUSED"));
    until_pieces(&shop, &name, 0).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_on_without_the_cart_service_and_leave_the_cart_when_it_is_back() {
    let mut shop = Shop::open(|_| {}).await;
    shop.start(Role::Cart).await;
    let name = shop.customer("away", STOCK, MONEY).await;
    add(&shop, &name, 1).await;
    let order = checkout(&shop, ordering("c-1", &name)).await.unwrap();
    shop.stop(Role::Cart).await;
    shop.until(&order.order_id, OrderStatus::Preparing).await;
    let by_hand = shop.order(&name, &name).await;
    shop.until(&by_hand, OrderStatus::Preparing).await;
    shop.start(Role::Cart).await;
    until_pieces(&shop, &name, 0).await;
    add(&shop, &name, 1).await;
    assert_eq!(pieces(&shop, &name).await, Some(1), "an order that comes of no cart takes nothing out");
    assert_eq!(checkout(&shop, ordering("c-1", &name)).await.unwrap().order_id, order.order_id);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_immediate_mode_refuses_comes_back_into_the_cart_and_is_ordered_once_there_is_stock() {
    let mut shop = Shop::open(|_| {}).await;
    shop.start(Role::Cart).await;
    let name = shop.customer("vain", 2, MONEY).await;
    add(&shop, &name, 3).await;
    let at_once = |request_id: &str| CheckoutRequest {
        reservation_mode: ReservationMode::Immediate.into(),
        ..ordering(request_id, &name)
    };
    let refused = checkout(&shop, at_once("c-1")).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::FailedPrecondition, Some("OUT_OF_STOCK")));
    let cart = shop.database("cart").await;
    let put_back = async |orders: usize| {
        eventually("it was taken out and put back", BOUND, || async {
            let noted = "select count(put_back_time) from checkout";
            let count: i64 = sqlx::query_scalar(noted).fetch_one(&cart).await.unwrap();
            (usize::try_from(count) == Ok(orders)).then_some(())
        })
        .await;
        assert_eq!(pieces(&shop, &name).await, Some(3));
    };
    put_back(1).await;
    // The second one may find out before there is an order: then nothing has left.
    let refused = checkout(&shop, at_once("c-2")).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("OUT_OF_STOCK"));
    let list = ListOrdersRequest { customer_id: name.clone(), ..ListOrdersRequest::default() };
    let orders = shop.orders.clone().list_orders(call().request(list)).await.unwrap().into_inner().orders;
    assert!(orders.iter().all(|order| order.status() == OrderStatus::Rejected), "{orders:?}");
    put_back(orders.len()).await;
    cart.close().await;

    let more = AdjustStockRequest { request_id: id(), sku: name.clone(), delta: 5, reason: String::new() };
    shop.inventory.clone().adjust_stock(call().request(more)).await.unwrap();
    let order = checkout(&shop, at_once("c-3")).await.unwrap();
    assert_eq!(order.lines[0].quantity, 3);
    until_pieces(&shop, &name, 0).await;
    shop.until(&order.order_id, OrderStatus::Preparing).await;
    shop.close().await;
}
