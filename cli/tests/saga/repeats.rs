//! A call that is made again makes no second order and is answered with the first one, however its request is written and whoever is away; and
//! what bears the name of something else is not that.

use openorder::Role;
use openorder_proto::{
    order::v1::{CreateOrderRequest, Order, OrderStatus, PaymentMode, RequestedLine, ReservationMode},
    product::v1::CreateProductRequest,
};
use openorder_rpc::reason_of;
use tonic::Status;

use crate::shop::{MONEY, STOCK, Shop, call, id};

fn request(request_id: &str, customer: &str, sku: &str) -> CreateOrderRequest {
    CreateOrderRequest {
        request_id: request_id.to_owned(),
        customer_id: customer.to_owned(),
        lines: vec![RequestedLine { sku: sku.to_owned(), quantity: 1 }],
        ..Default::default()
    }
}

async fn create(shop: &Shop, request: CreateOrderRequest) -> Result<Order, Status> {
    let answer = shop.orders.clone().create_order(call().request(request)).await?;
    Ok(answer.into_inner().order.unwrap())
}

/// The same order; it may have gone on.
fn is_again(made: &Order, again: &Order) {
    let of_then = Order { status: made.status, version: made.version, update_time: made.update_time, ..again.clone() };
    assert_eq!(of_then, *made);
    assert!(again.version >= made.version, "{again:?}");
}

#[tokio::test]
async fn an_order_that_is_asked_for_again_is_answered_again_whoever_is_away() {
    let mut shop = Shop::open(|_| {}).await;
    let name = shop.customer("again", STOCK, MONEY).await;
    let made = create(&shop, request("known", &name, &name)).await.unwrap();
    let rejected = create(&shop, request("unknown", &name, "NO-SUCH-SKU")).await.unwrap();
    assert_eq!(rejected.status(), OrderStatus::Rejected);
    let written_out = |request: CreateOrderRequest| CreateOrderRequest {
        reservation_mode: ReservationMode::Deferred.into(),
        payment_mode: PaymentMode::Automatic.into(),
        ..request
    };
    is_again(&made, &create(&shop, written_out(request("known", &name, &name))).await.unwrap());
    let other =
        CreateOrderRequest { reservation_mode: ReservationMode::Immediate.into(), ..request("known", &name, &name) };
    let refused = create(&shop, other).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("REQUEST_ID_REUSED"));

    shop.until(&made.order_id, OrderStatus::Preparing).await;
    shop.stop(Role::Product).await;
    assert_eq!(create(&shop, request("unknown", &name, "NO-SUCH-SKU")).await.unwrap(), rejected);
    assert_eq!(create(&shop, written_out(request("unknown", &name, "NO-SUCH-SKU"))).await.unwrap(), rejected);
    let unasked = create(&shop, request("new", &name, "NO-SUCH-SKU")).await.unwrap_err();
    assert_eq!(reason_of(&unasked).as_deref(), Some("DEPENDENCY_UNAVAILABLE"));
    // Another instance knows nothing by heart.
    shop.stop(Role::Order).await;
    shop.start(Role::Order).await;
    let again = create(&shop, request("known", &name, &name)).await.unwrap();
    is_again(&made, &again);
    assert_eq!(again.status(), OrderStatus::Preparing, "as it stands now");
    assert_eq!(create(&shop, request("unknown", &name, "NO-SUCH-SKU")).await.unwrap(), rejected);
    shop.close().await;
}

#[tokio::test]
async fn a_product_may_be_named_like_an_order() {
    let shop = Shop::open(|_| {}).await;
    let name = shop.customer("named", STOCK, MONEY).await;
    let order_id = shop.order(&name, &name).await;
    shop.until(&order_id, OrderStatus::Preparing).await;
    let product = CreateProductRequest {
        request_id: id(),
        sku: order_id.clone(),
        display_name: "Named like an order".to_owned(),
        price: Some(openorder_proto::google::r#type::Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 }),
        initial_stock: STOCK,
        description: String::new(),
    };
    shop.products.clone().create_product(call().request(product)).await.unwrap();
    shop.stock_until(&order_id, STOCK, 0).await;
    let other = shop.order(&name, &order_id).await;
    shop.until(&other, OrderStatus::Preparing).await;
    // Held until it is shipped.
    shop.stock_until(&order_id, STOCK, 1).await;
    let inventory = shop.database("inventory").await;
    let failed: i64 = sqlx::query_scalar("select count(*) from parked_message").fetch_one(&inventory).await.unwrap();
    assert_eq!(failed, 0, "nothing failed on the way");
    inventory.close().await;
    shop.close().await;
}
