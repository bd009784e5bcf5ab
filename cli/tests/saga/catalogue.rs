//! What is sold, at what price and out of which stock, while the copies of the catalogue are behind.

use std::time::Duration;

use openorder::Role;
use openorder_proto::{
    google::r#type::Money,
    order::v1::{CreateOrderRequest, Order, OrderStatus},
    product::v1::{DeleteProductRequest, Product, ProductCreated, ProductUpdated, UpdateProductRequest},
};
use openorder_rpc::reason_of;
use openorder_testing::eventually;
use prost_types::FieldMask;
use sqlx::{Connection, Executor, PgConnection};
use tonic::Status;

use crate::shop::{BOUND, MONEY, PRICE, STOCK, Shop, call, id};

fn eur(units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), units, nanos: 0 })
}

async fn delete(shop: &Shop, sku: &str) {
    let key = Some(openorder_proto::product::v1::delete_product_request::Key::Sku(sku.to_owned()));
    let request = DeleteProductRequest { request_id: id(), key };
    shop.products.clone().delete_product(call().request(request)).await.unwrap();
}

async fn reprice(shop: &Shop, sku: &str, units: i64) {
    let request = UpdateProductRequest {
        request_id: id(),
        product: Some(Product { sku: sku.to_owned(), price: eur(units), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["price".to_owned()] }),
        expected_version: 0,
    };
    shop.products.clone().update_product(call().request(request)).await.unwrap();
}

async fn order(shop: &Shop, name: &str, quantity: i32, expected_total: Option<Money>) -> Result<Order, Status> {
    let mut request: CreateOrderRequest = shop.request(name, name);
    request.lines[0].quantity = quantity;
    request.expected_total = expected_total;
    shop.orders.clone().create_order(call().request(request)).await.map(|answer| answer.into_inner().order.unwrap())
}

/// What the order service's copy says of a SKU: product number, price in cents, deleted.
async fn copy(shop: &Shop, sku: &str) -> Option<(i64, i64, bool)> {
    sqlx::query_as("select product_number, unit_price_minor, deleted from catalog_item where sku = $1")
        .bind(sku)
        .fetch_optional(&shop.database("order").await)
        .await
        .unwrap()
}

/// A shop whose product service writes down how far it has published after each batch.
async fn shop_with_exact_cursor() -> Shop {
    Shop::open(|settings| settings.product.relay.cursor_interval_ms = 0).await
}

/// From now on, no more than one batch of the product service's events leaves its log.
async fn hold_catalogue_events(shop: &Shop) -> PgConnection {
    let url = shop.database("product").await;
    let mut holder = PgConnection::connect_with(&url.connect_options()).await.unwrap();
    holder.execute("begin; select from relay_cursor for update").await.unwrap();
    holder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_that_is_deleted_and_made_again_is_another_product_with_a_stock_of_its_own() {
    let shop = shop_with_exact_cursor().await;
    let name = shop.customer("again", 100, MONEY).await;
    let held = order(&shop, &name, 2, None).await.unwrap();
    shop.until(&held.order_id, OrderStatus::Preparing).await;
    // The copy hears that the product is gone, and not that there is a new one.
    let mut holder = hold_catalogue_events(&shop).await;
    delete(&shop, &name).await;
    eventually("the copy says deleted", BOUND, || async { copy(&shop, &name).await.filter(|copy| copy.2) }).await;
    shop.product(&name, 5).await;
    let again = order(&shop, &name, 3, None).await.unwrap();
    assert!(again.lines[0].product_number > held.lines[0].product_number && held.lines[0].product_number > 0);
    shop.until(&again.order_id, OrderStatus::Preparing).await;
    // Two pieces of the former product are held for its order; five are of the new one, and three of these held.
    shop.stock_until(&name, 7, 5).await;
    let short = order(&shop, &name, 3, None).await.unwrap();
    assert_eq!(shop.until(&short.order_id, OrderStatus::Rejected).await.status_reason, "OUT_OF_STOCK");
    holder.execute("commit").await.unwrap();

    // The news comes late, and changes nothing. What comes back of the former product is not sold again.
    eventually("the news", BOUND, || async { copy(&shop, &name).await.filter(|copy| !copy.2) }).await;
    shop.cancel(&name, &held.order_id).await;
    shop.stock_until(&name, 5, 3).await;
    shop.cancel(&name, &again.order_id).await;
    shop.stock_until(&name, 5, 0).await;
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_product_is_told_by_its_number_and_not_by_a_clock() {
    let shop = Shop::open(|_| {}).await;
    let name = id();
    let product = |number: i64, product_id: &str, version: i64, units: i64| Product {
        product_id: product_id.to_owned(),
        sku: name.clone(),
        display_name: name.clone(),
        price: eur(units),
        initial_stock: 4,
        version,
        product_number: number,
        ..Default::default()
    };
    // Ids by a clock: that of the newer product went back.
    let (older, newer) = ("01999999-0000-7000-8000-000000000001", "01900000-0000-7000-8000-000000000001");
    let created = |product: Product| ProductCreated { product: Some(product) };
    let updated = |product: Product| ProductUpdated { product: Some(product), update_mask: None };
    shop.publish("k", &created(product(7_000_001, older, 1, 10))).await;
    eventually("the first", BOUND, || async { copy(&shop, &name).await.filter(|copy| copy.1 == 1_000) }).await;
    shop.publish("k", &created(product(7_000_002, newer, 1, 20))).await;
    eventually("the newer one", BOUND, || async { copy(&shop, &name).await.filter(|copy| copy.1 == 2_000) }).await;
    shop.publish("k", &updated(product(7_000_001, older, 9, 30))).await;
    shop.publish("k", &updated(product(7_000_002, newer, 2, 40))).await;
    eventually("the update", BOUND, || async { copy(&shop, &name).await.filter(|copy| copy.1 == 4_000) }).await;
    assert_eq!(copy(&shop, &name).await, Some((7_000_002, 4_000, false)), "an older product never comes back");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_made_at_the_total_that_was_expected_or_not_at_all() {
    let shop = shop_with_exact_cursor().await;
    let name = shop.customer("expects", STOCK, MONEY).await;
    let sold = order(&shop, &name, 2, eur(2 * PRICE)).await.unwrap();
    assert_eq!(sold.total, eur(2 * PRICE));
    for wrong in [eur(2 * PRICE + 1), Some(Money { currency_code: "KRW".to_owned(), units: 20, nanos: 0 })] {
        let refused = order(&shop, &name, 2, wrong).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason_of(&refused).as_deref()),
            (tonic::Code::FailedPrecondition, Some("PRICE_CHANGED"))
        );
    }
    // The customer was shown the new price, and the copy does not have it yet.
    let mut holder = hold_catalogue_events(&shop).await;
    reprice(&shop, &name, PRICE + 1).await;
    reprice(&shop, &name, PRICE + 2).await;
    assert_eq!(order(&shop, &name, 1, eur(PRICE + 2)).await.unwrap().total, eur(PRICE + 2));
    holder.execute("commit").await.unwrap();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_catalogue_that_is_too_old_is_not_sold_from() {
    let mut shop = Shop::open(|settings| {
        settings.order.catalogue_age_max_ms = 2_000;
        settings.order.catalogue_check_interval_ms = 100;
    })
    .await;
    let (name, other) = (shop.customer("aged", STOCK, MONEY).await, shop.customer("stuck", STOCK, MONEY).await);
    for sku in [&name, &other] {
        order(&shop, sku, 1, None).await.unwrap();
    }
    // The order service's consumer stands still at the news of the other product.
    let mut holder = PgConnection::connect_with(&shop.database("order").await.connect_options()).await.unwrap();
    let lock = format!("begin; select from catalog_item where sku = '{other}' for update");
    holder.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
    reprice(&shop, &other, PRICE + 1).await;
    // Behind it in its topic, or in time: nothing of the service is read meanwhile.
    reprice(&shop, &name, PRICE + 1).await;
    eventually("the product service is asked", BOUND, || async {
        let sold = order(&shop, &name, 1, None).await.unwrap();
        (sold.total == eur(PRICE + 1)).then_some(())
    })
    .await;
    shop.stop(Role::Product).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let refused = order(&shop, &name, 1, None).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    // Once the copy is young again, nobody is asked.
    holder.execute("rollback").await.unwrap();
    eventually("sold from the copy", BOUND, || async { order(&shop, &name, 1, None).await.ok() }).await;
    shop.start(Role::Product).await;
    shop.close().await;
}
