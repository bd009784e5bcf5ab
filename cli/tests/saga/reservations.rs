//! What is held for too long, and what contradicts its order.

use std::time::Duration;

use openorder::Role;
use openorder_proto::{
    event_types,
    inventory::v1::{
        ListReservationMismatchesRequest, ReservationMismatch, ReservationMismatchKind, ReservationState,
        ReserveStockRequest, StockLine,
    },
    order::v1::{OrderStatus, UpdateOrderStatusRequest},
};
use openorder_testing::eventually;
use uuid::Uuid;

use crate::shop::{BOUND, MONEY, PRICE, STOCK, Shop, call, id};

async fn open(ttl_ms: u64) -> Shop {
    Shop::open(|settings| {
        settings.inventory.reservation_ttl_ms = ttl_ms;
        settings.inventory.reservation_look_again_ms = 200;
        settings.inventory.reconcile_grace_ms = 300;
    })
    .await
}

async fn mismatches(shop: &Shop) -> Vec<ReservationMismatch> {
    let request = call().request(ListReservationMismatchesRequest::default());
    shop.inventory.clone().list_reservation_mismatches(request).await.unwrap().into_inner().mismatches
}

async fn mismatch(shop: &Shop, order_id: &str, kind: ReservationMismatchKind) -> ReservationMismatch {
    eventually(&format!("{order_id} is listed as {}", kind.as_str_name()), BOUND, || async {
        let found = mismatches(shop).await.into_iter();
        found
            .filter(|found| found.kind() == kind)
            .find(|found| found.reservation.as_ref().unwrap().order_id == order_id)
    })
    .await
}

async fn expire_time_is_cleared(shop: &Shop, order_id: &str) {
    eventually("it is held for good", BOUND, || async {
        shop.reservation(order_id).await.unwrap().expire_time.is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_open_for_too_long_keeps_its_stock_and_is_listed_until_it_goes_on() {
    let mut shop = open(800).await;
    let name = shop.customer("slow", STOCK, MONEY).await;
    shop.stop(Role::Payment).await;
    let order_id = shop.order(&name, &name).await;
    shop.until(&order_id, OrderStatus::Confirmed).await;
    let held = shop.reservation(&order_id).await.unwrap();
    assert_eq!(held.state(), ReservationState::Held);
    let (made, expires) = (held.create_time.unwrap(), held.expire_time.unwrap());
    assert_eq!((expires.seconds - made.seconds) * 1_000 + i64::from(expires.nanos - made.nanos) / 1_000_000, 800);

    let found = mismatch(&shop, &order_id, ReservationMismatchKind::OpenButExpired).await;
    assert_eq!(found.order_status(), OrderStatus::Confirmed);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(shop.stock(&name).await, Some((STOCK, 1)), "the order may still need it");
    let again = mismatch(&shop, &order_id, ReservationMismatchKind::OpenButExpired).await;
    assert_eq!(again.detect_time, found.detect_time, "found once");

    shop.start(Role::Payment).await;
    shop.until(&order_id, OrderStatus::Preparing).await;
    expire_time_is_cleared(&shop, &order_id).await;
    eventually("it is put right", BOUND, || async { mismatches(&shop).await.is_empty().then_some(()) }).await;
    assert_eq!(shop.stock(&name).await, Some((STOCK, 1)));
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_keeps_its_stock_for_good() {
    let shop = open(5_000).await;
    let name = shop.customer("paid", STOCK, MONEY).await;
    let order_id = shop.order(&name, &name).await;
    shop.until(&order_id, OrderStatus::Preparing).await;
    assert!(shop.reservation(&order_id).await.unwrap().expire_time.is_some(), "nothing more is done for it before");
    expire_time_is_cleared(&shop, &order_id).await;
    eventually("its timer is forgotten", BOUND, || async {
        let timers: i64 = sqlx::query_scalar("select count(*) from reservation_timer")
            .fetch_one(&shop.database("inventory").await)
            .await
            .unwrap();
        (timers == 0).then_some(())
    })
    .await;
    assert_eq!(shop.stock(&name).await, Some((STOCK, 1)));
    assert_eq!(shop.get(&order_id).await.status(), OrderStatus::Preparing);
    assert!(mismatches(&shop).await.is_empty());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_back_while_the_order_service_cannot_be_asked() {
    let mut shop = open(500).await;
    let name = shop.customer("unknown", STOCK, MONEY).await;
    shop.stop(Role::Order).await;
    // Of an order that nobody will ever have heard of.
    let order_id = Uuid::now_v7().to_string();
    let lines = vec![StockLine { sku: name.clone(), quantity: 2, product_number: 0 }];
    let request = ReserveStockRequest { request_id: id(), order_id: order_id.clone(), lines };
    shop.inventory.clone().reserve_stock(call().request(request)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(shop.stock(&name).await, Some((STOCK, 2)));
    shop.start(Role::Order).await;
    shop.stock_until(&name, STOCK, 0).await;
    let released = shop.reservation(&order_id).await.unwrap();
    assert_eq!((released.state(), released.reason.as_str()), (ReservationState::Released, "EXPIRED"));
    assert!(released.expire_time.is_none());
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_a_cancelled_order_still_holds_is_given_back_and_a_shipped_one_s_is_listed() {
    let shop = open(60_000).await;
    let cancelled = shop.customer("cancelled", STOCK, MONEY).await;
    let cancelled_id = shop.order(&cancelled, &cancelled).await;
    shop.until(&cancelled_id, OrderStatus::Preparing).await;
    shop.cancel(&cancelled, &cancelled_id).await;
    shop.stock_until(&cancelled, STOCK, 0).await;
    let shipped = shop.customer("shipped", STOCK, MONEY).await;
    let shipped_id = shop.order(&shipped, &shipped).await;
    shop.until(&shipped_id, OrderStatus::Preparing).await;
    let request = UpdateOrderStatusRequest {
        request_id: id(),
        order_id: shipped_id.clone(),
        previous_status: OrderStatus::Preparing.into(),
        current_status: OrderStatus::Shipped.into(),
    };
    shop.orders.clone().update_order_status(call().request(request)).await.unwrap();
    shop.stock_until(&shipped, STOCK - 1, 0).await;
    let paid = shop.customer("released", STOCK, MONEY).await;
    let paid_id = shop.order(&paid, &paid).await;
    shop.until(&paid_id, OrderStatus::Preparing).await;
    eventually("nothing is listed", BOUND, || async { mismatches(&shop).await.is_empty().then_some(()) }).await;

    // As if the requests had been lost: both are held again. And as if nobody had told of a release.
    let database = shop.database("inventory").await;
    for (sku, order_id) in [(&cancelled, &cancelled_id), (&shipped, &shipped_id)] {
        let mut transaction = database.begin().await.unwrap();
        sqlx::query("update reservation set state = 1, reason = '', update_time = now() where order_id = $1")
            .bind(Uuid::parse_str(order_id).unwrap())
            .execute(&mut *transaction)
            .await
            .unwrap();
        sqlx::query("update stock_level set reserved_quantity = reserved_quantity + 1 where sku = $1")
            .bind(sku)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }
    sqlx::query("update reservation set state = 3, reason = 'EXPIRED', update_time = now() where order_id = $1")
        .bind(Uuid::parse_str(&paid_id).unwrap())
        .execute(&database)
        .await
        .unwrap();
    shop.stock_until(&cancelled, STOCK, 0).await;
    let healed = shop.reservation(&cancelled_id).await.unwrap();
    assert_eq!((healed.state(), healed.reason.as_str()), (ReservationState::Released, "RECONCILED"));
    let released = shop.logged("inventory", &cancelled_id, &[event_types::STOCK_RELEASED]).await;
    assert_eq!(released, 2, "asked for by the order, and healed, each with its event");
    mismatch(&shop, &shipped_id, ReservationMismatchKind::ShippedButHeld).await;
    mismatch(&shop, &paid_id, ReservationMismatchKind::PaidButReleased).await;
    assert_eq!(shop.stock(&shipped).await, Some((STOCK - 1, 1)), "a person has to look");
    assert_eq!(shop.balance(&cancelled).await, MONEY);
    assert_eq!(shop.balance(&shipped).await, MONEY - PRICE);
    shop.check_versions().await;
    shop.close().await;
}
