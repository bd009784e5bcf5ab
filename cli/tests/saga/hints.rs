//! What the instances of the order service tell each other spares the databases work, and decides nothing: with Redis, and
//! with one that is gone, empty or wrong.

use std::time::{Duration, Instant};

use futures::future::join_all;
use openorder::Role;
use openorder_proto::{
    inventory::v1::AdjustStockRequest,
    order::v1::{CreateOrderRequest, Order, OrderStatus, ReservationMode},
};
use openorder_rpc::{RequestFingerprint, reason_of, status::metadata_of};
use openorder_testing::{eventually, free_address, redis_url};
use sqlx::PgPool;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::shop::{BOUND, PRICE, Shop, call, id};

/// As long as instances and Redis take to tell each other, and more.
const TELLING: Duration = Duration::from_secs(1);

/// A shop whose inventory service may be slow to say how much there is.
async fn open() -> Shop {
    Shop::open(|settings| settings.order.hints.stock_timeout_ms = 10_000).await
}

fn at_once(shop: &Shop, name: &str, sku: &str) -> CreateOrderRequest {
    CreateOrderRequest { reservation_mode: ReservationMode::Immediate.into(), ..shop.request(name, sku) }
}

async fn create(shop: &Shop, request: CreateOrderRequest, within: Duration) -> Result<Order, Status> {
    let answer = shop.orders.clone().create_order(call().within(within).request(request)).await?;
    Ok(answer.into_inner().order.unwrap())
}

/// Asks for one piece at once, of a product that is sold out. Whether an order was made for that.
async fn refused(shop: &Shop, name: &str, sku: &str) -> bool {
    let status = create(shop, at_once(shop, name, sku), BOUND).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::FailedPrecondition, Some("OUT_OF_STOCK")));
    let of_product = metadata_of(&status, "sku").is_some_and(|named| named == sku);
    let is_made = metadata_of(&status, "order_id").is_some();
    assert_ne!(of_product, is_made, "{status:?}");
    is_made
}

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

async fn ask<T: redis::FromRedisValue>(command: &redis::Cmd) -> T {
    let client = redis::Client::open(redis_url()).unwrap();
    command.query_async(&mut client.get_multiplexed_async_connection().await.unwrap()).await.unwrap()
}

async fn key(pool: &PgPool, kind: &str) -> String {
    let store_id: Uuid = sqlx::query_scalar("select store_id from hint_store").fetch_one(pool).await.unwrap();
    format!("openorder:order:{{{store_id}}}:{kind}")
}

async fn another_instance(shop: &mut Shop) {
    tokio::time::sleep(TELLING).await;
    shop.stop(Role::Order).await;
    shop.start(Role::Order).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_at_a_product_that_is_sold_out_makes_no_orders_and_stock_that_comes_is_sold_at_once() {
    let mut shop = open().await;
    let name = shop.customer("flood", 1, 10 * PRICE).await;
    let other = shop.customer("other", 10, 0).await;
    let (orders, stock) = (shop.database("order").await, shop.database("inventory").await);
    let last = at_once(&shop, &name, &name);
    let made = create(&shop, last.clone(), BOUND).await.unwrap();
    // The saga may be faster than the call, and then nobody has looked.
    eventually("somebody has found out", BOUND, || async { (!refused(&shop, &name, &name).await).then_some(()) }).await;
    let counts = || async {
        let reservations = "select count(*) from reservation";
        (count(&orders, "select count(*) from orders").await, count(&stock, reservations).await)
    };
    let before = counts().await;
    let flood = (0..50).map(|_| refused(&shop, &name, &name));
    assert_eq!(join_all(flood).await, [false; 50]);
    assert_eq!(create(&shop, last, BOUND).await.unwrap().order_id, made.order_id, "who has the last piece is told so");

    // Another instance was told.
    another_instance(&mut shop).await;
    create(&shop, at_once(&shop, &name, &other), BOUND).await.unwrap();
    tokio::time::sleep(TELLING).await;
    assert!(!refused(&shop, &name, &name).await);
    assert_eq!(counts().await, (before.0 + 1, before.1 + 1), "the one of the other product alone");

    let more = AdjustStockRequest { request_id: id(), sku: name.clone(), delta: 1, reason: String::new() };
    shop.inventory.clone().adjust_stock(call().request(more)).await.unwrap();
    let sold = create(&shop, at_once(&shop, &name, &name), BOUND).await.unwrap();
    assert_eq!(shop.until(&sold.order_id, OrderStatus::Preparing).await.lines.len(), 1);
    for pool in [orders, stock] {
        pool.close().await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_asked_for_again_is_answered_though_no_batch_can_be_committed() {
    let mut shop = open().await;
    let name = shop.customer("repeated", 10, 10 * PRICE).await;
    let orders = shop.database("order").await;
    let request = shop.request(&name, &name);
    let made = create(&shop, request.clone(), BOUND).await.unwrap();
    // Results can be read and not be written.
    let lock = "lock table command_result in exclusive mode";
    let mut blocking = orders.begin().await.unwrap();
    sqlx::query(lock).execute(&mut *blocking).await.unwrap();
    let again = join_all((0..50).map(|_| create(&shop, request.clone(), BOUND))).await;
    assert!(again.iter().all(|again| again.as_ref().unwrap().order_id == made.order_id));
    // One that is new needs a batch; its caller leaves without an answer, and it is made after all.
    let left = shop.request(&name, &name);
    let unanswered = create(&shop, left.clone(), Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(unanswered.code(), Code::DeadlineExceeded);
    blocking.rollback().await.unwrap();
    eventually("it is made", BOUND, || async {
        (count(&orders, "select count(*) from orders").await == 2).then_some(())
    })
    .await;

    // Another instance was told of that one, and not of the one that was answered.
    another_instance(&mut shop).await;
    create(&shop, shop.request(&name, &name), BOUND).await.unwrap();
    tokio::time::sleep(TELLING).await;
    let mut blocking = orders.begin().await.unwrap();
    sqlx::query(lock).execute(&mut *blocking).await.unwrap();
    create(&shop, left, BOUND).await.unwrap();
    let untold = create(&shop, request.clone(), Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(untold.code(), Code::DeadlineExceeded);
    blocking.rollback().await.unwrap();
    assert_eq!(create(&shop, request, BOUND).await.unwrap().order_id, made.order_id);
    assert_eq!(count(&orders, "select count(*) from orders").await, 3);
    orders.close().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_that_are_wrong_or_gone_change_no_answer() {
    let mut shop = open().await;
    let name = shop.customer("wrong", 10, 10 * PRICE).await;
    let orders = shop.database("order").await;
    let (requests, sold_out) = (key(&orders, "requests").await, key(&orders, "sold-out").await);
    // It is said to be sold out, and to have been done.
    let fresh = at_once(&shop, &name, &name);
    let seen = RequestFingerprint::of("CreateOrder", &fresh).meaning;
    ask::<()>(redis::cmd("ZADD").arg(&requests).arg("+inf").arg(&seen[..16])).await;
    ask::<()>(redis::cmd("ZADD").arg(&sold_out).arg("+inf").arg(&name)).await;
    create(&shop, at_once(&shop, &name, &name), BOUND).await.unwrap();
    tokio::time::sleep(TELLING).await;
    let made = create(&shop, fresh.clone(), BOUND).await.unwrap();
    assert_eq!(create(&shop, fresh.clone(), BOUND).await.unwrap().order_id, made.order_id);
    eventually("what is wrong is told", BOUND, || async {
        let score: Option<f64> = ask(redis::cmd("ZSCORE").arg(&sold_out).arg(&name)).await;
        score.is_none().then_some(())
    })
    .await;

    // Something else stands there, and nothing.
    ask::<()>(redis::cmd("SET").arg(&sold_out).arg("x")).await;
    ask::<()>(redis::cmd("DEL").arg(&requests)).await;
    create(&shop, at_once(&shop, &name, &name), BOUND).await.unwrap();
    assert_eq!(create(&shop, fresh.clone(), BOUND).await.unwrap().order_id, made.order_id);
    ask::<()>(redis::cmd("DEL").arg(&sold_out)).await;

    // There is no Redis at all.
    shop.settings.order.redis_url = format!("redis://{}", free_address()).as_str().into();
    shop.stop(Role::Order).await;
    shop.start(Role::Order).await;
    let empty = shop.customer("empty", 1, 0).await;
    create(&shop, at_once(&shop, &name, &empty), BOUND).await.unwrap();
    let began = Instant::now();
    eventually("it goes by what it has seen", BOUND, || async { (!refused(&shop, &name, &empty).await).then_some(()) })
        .await;
    assert_eq!(create(&shop, fresh, BOUND).await.unwrap().order_id, made.order_id);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    orders.close().await;
    shop.close().await;
}
