//! What an order pays with a coupon, and what becomes of the coupon when the order does not go its way.

use openorder::Role;
use openorder_proto::{
    google::r#type::Money,
    order::v1::{CancelOrderRequest, CreateOrderRequest, Order, OrderStatus, ReservationMode},
    promotion::v1::{
        CouponTerms, CreateCouponRequest, IssueCouponRequest, IssuedCoupon, IssuedCouponState,
        ListIssuedCouponsRequest, coupon_terms, issue_coupon_request,
    },
};
use openorder_rpc::reason_of;
use openorder_testing::eventually;
use prost_types::Timestamp;
use tonic::Status;

use crate::shop::{BOUND, MONEY, PRICE, STOCK, Shop, call, id};

fn eur(units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), units, nanos: 0 })
}

fn off(units: i64) -> CouponTerms {
    CouponTerms { value: eur(units).map(coupon_terms::Value::FixedAmount), ..CouponTerms::default() }
}

/// A coupon with these terms until this time, issued to a user.
async fn issued(shop: &Shop, user_id: &str, terms: CouponTerms, until: i64) -> String {
    let code = format!("C-{}", &id()[..12].to_uppercase());
    let request = CreateCouponRequest {
        request_id: id(),
        code: code.clone(),
        display_name: "Some off".to_owned(),
        terms: Some(terms),
        valid_from_time: None,
        valid_until_time: Some(Timestamp { seconds: until, nanos: 0 }),
        issue_limit: 10,
        issue_limit_per_user: 10,
    };
    shop.promotion.clone().create_coupon(call().request(request)).await.unwrap();
    let key = Some(issue_coupon_request::Key::Code(code));
    let request = IssueCouponRequest { request_id: id(), key, user_id: user_id.to_owned() };
    let answer = shop.promotion.clone().issue_coupon(call().request(request)).await.unwrap();
    answer.into_inner().issued_coupon.unwrap().issued_coupon_id
}

const LONG: i64 = 4_000_000_000;

async fn order_with(shop: &Shop, name: &str, issued_coupon_id: &str) -> Order {
    ask(shop, CreateOrderRequest { issued_coupon_id: issued_coupon_id.to_owned(), ..shop.request(name, name) })
        .await
        .unwrap()
}

async fn ask(shop: &Shop, request: CreateOrderRequest) -> Result<Order, Status> {
    let answer = shop.orders.clone().create_order(call().request(request)).await?;
    Ok(answer.into_inner().order.unwrap())
}

async fn coupon_is(shop: &Shop, user_id: &str, issued_coupon_id: &str, state: IssuedCouponState) -> IssuedCoupon {
    eventually(&format!("{issued_coupon_id} is {}", state.as_str_name()), BOUND, || async {
        let request = ListIssuedCouponsRequest { user_id: user_id.to_owned(), ..Default::default() };
        let answer = shop.promotion.clone().list_issued_coupons(call().request(request)).await.unwrap().into_inner();
        let found = answer.issued_coupons.into_iter().find(|one| one.issued_coupon_id == issued_coupon_id).unwrap();
        (found.state() == state).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_coupon_leaves_is_paid_and_nothing_where_it_leaves_nothing() {
    let shop = Shop::open(|_| {}).await;
    let name = shop.customer("coupon", STOCK, MONEY).await;
    let part = issued(&shop, &name, off(4), LONG).await;
    let made = order_with(&shop, &name, &part).await;
    assert_eq!((made.status(), made.total.clone(), made.discount.clone()), (OrderStatus::Pending, eur(PRICE), None));
    let order = shop.until(&made.order_id, OrderStatus::Preparing).await;
    assert_eq!((order.total.clone(), order.discount.clone()), (eur(PRICE - 4), eur(4)));
    assert_eq!((order.lines[0].discount.clone(), order.lines[0].line_total.clone()), (eur(4), eur(PRICE)));
    assert_eq!(shop.balance(&name).await, MONEY - PRICE + 4);
    let used = coupon_is(&shop, &name, &part, IssuedCouponState::Redeemed).await;
    assert_eq!(used.order_id, made.order_id);

    let whole = issued(&shop, &name, off(1_000), LONG).await;
    let made = order_with(&shop, &name, &whole).await;
    let order = shop.until(&made.order_id, OrderStatus::Preparing).await;
    assert_eq!((order.total.clone(), order.discount.clone()), (eur(0), eur(PRICE)));
    assert_eq!(shop.balance(&name).await, MONEY - PRICE + 4, "nothing was to be paid");
    coupon_is(&shop, &name, &whole, IssuedCouponState::Redeemed).await;
    // Called off: what was taken goes back, and the coupons can be used again.
    for order_id in [&used.order_id, &made.order_id] {
        shop.cancel(&name, order_id).await;
    }
    for coupon in [&part, &whole] {
        coupon_is(&shop, &name, coupon, IssuedCouponState::Issued).await;
    }
    shop.stock_until(&name, STOCK, 0).await;
    eventually("the money is back", BOUND, || async { (shop.balance(&name).await == MONEY).then_some(()) }).await;
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_that_cannot_be_used_rejects_the_order_with_its_reason_and_gives_the_stock_back() {
    let shop = Shop::open(|_| {}).await;
    let (name, other) = (shop.customer("wrong", STOCK, MONEY).await, shop.customer("other", STOCK, MONEY).await);
    let soon = chrono::Utc::now().timestamp() + 2;
    let expiring = issued(&shop, &name, off(1), soon).await;
    let used = issued(&shop, &name, off(1), LONG).await;
    let first = order_with(&shop, &name, &used).await;
    shop.until(&first.order_id, OrderStatus::Preparing).await;
    let for_others = CouponTerms { skus: vec![other.clone()], ..off(1) };
    let for_larger = CouponTerms { minimum_total: eur(PRICE + 1), ..off(1) };
    let cases = [
        (used, "COUPON_ALREADY_USED"),
        (issued(&shop, &other, off(1), LONG).await, "COUPON_NOT_FOUND"),
        (issued(&shop, &name, for_others, LONG).await, "COUPON_NOT_APPLICABLE"),
        (issued(&shop, &name, for_larger, LONG).await, "COUPON_MINIMUM_NOT_REACHED"),
        (uuid::Uuid::now_v7().to_string(), "COUPON_NOT_FOUND"),
        (expiring, "COUPON_EXPIRED"),
    ];
    eventually("its time is over", BOUND, || async { (chrono::Utc::now().timestamp() > soon).then_some(()) }).await;
    for (coupon, reason) in &cases {
        let made = order_with(&shop, &name, coupon).await;
        let order = shop.until(&made.order_id, OrderStatus::Rejected).await;
        assert_eq!((order.status_reason.as_str(), order.discount), (*reason, None));
    }
    // One is held for the order that has used its coupon.
    shop.stock_until(&name, STOCK, 1).await;
    assert_eq!(shop.balance(&name).await, MONEY - PRICE + 1);
    // The same, answered at once.
    let mut request = shop.request(&name, &name);
    request.reservation_mode = ReservationMode::Immediate.into();
    request.issued_coupon_id.clone_from(&cases[0].0);
    let refused = ask(&shop, request.clone()).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("COUPON_ALREADY_USED"));
    request.request_id = id();
    request.issued_coupon_id = issued(&shop, &name, off(3), LONG).await;
    let order = ask(&shop, request.clone()).await.unwrap();
    assert!(order.status() >= OrderStatus::Confirmed, "{order:?}");
    assert_eq!((order.total.clone(), order.discount.clone()), (eur(PRICE - 3), eur(3)));
    assert_eq!(ask(&shop, request).await.unwrap().order_id, order.order_id, "asked again");
    shop.stock_until(&name, STOCK, 2).await;
    shop.check_versions().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_fails_gives_the_coupon_back_and_one_that_is_away_is_waited_for() {
    let mut shop = Shop::open(|_| {}).await;
    let name = shop.customer("poor", STOCK, 3).await;
    let coupon = issued(&shop, &name, off(4), LONG).await;
    let made = order_with(&shop, &name, &coupon).await;
    let order = shop.until(&made.order_id, OrderStatus::Cancelled).await;
    assert_eq!(order.status_reason, "INSUFFICIENT_BALANCE");
    shop.stock_until(&name, STOCK, 0).await;
    coupon_is(&shop, &name, &coupon, IssuedCouponState::Issued).await;
    shop.stop(Role::Promotion).await;
    let made = made_while_promotion_is_away(&mut shop, &name).await;
    let order = shop.until(&made.order_id, OrderStatus::Preparing).await;
    assert_eq!((order.total.clone(), order.discount.clone()), (eur(PRICE - 9), eur(9)));
    assert_eq!(shop.balance(&name).await, 3 - PRICE + 9);
    shop.check_versions().await;
    shop.close().await;
}

/// An order with a coupon that is made while the promotion service is away, which then comes back.
async fn made_while_promotion_is_away(shop: &mut Shop, name: &str) -> Order {
    shop.start(Role::Promotion).await;
    let coupon = issued(shop, name, off(9), LONG).await;
    shop.stop(Role::Promotion).await;
    let made = order_with(shop, name, &coupon).await;
    shop.stock_until(name, STOCK, 1).await;
    assert_eq!(shop.get(&made.order_id).await.status(), OrderStatus::Pending, "the coupon is waited for");
    shop.start(Role::Promotion).await;
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_their_way_though_another_instance_leaves_coupons_and_parcels_out() {
    const PIECES: i32 = 30;
    let shop = Shop::open(|_| {}).await;
    // As newer instances are started beside those of a version that knows neither.
    let (without, orders) = shop.order_beside(|settings| settings.order.steps.clear()).await;
    let name = shop.customer("beside", PIECES, 5 * MONEY).await;
    let coupon = issued(&shop, &name, off(4), LONG).await;
    let request = CreateOrderRequest { issued_coupon_id: coupon.clone(), ..shop.request(&name, &name) };
    let refused = orders.clone().create_order(call().request(request)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("COUPONS_NOT_SUPPORTED"));
    let mut made = vec![order_with(&shop, &name, &coupon).await.order_id];
    for number in 0..10 {
        let client = if number % 2 == 0 { &orders } else { &shop.orders };
        let answer = client.clone().create_order(call().request(shop.request(&name, &name))).await.unwrap();
        made.push(answer.into_inner().order.unwrap().order_id);
    }
    // Whichever of them heard of what the others said.
    for order_id in &made {
        shop.until(order_id, OrderStatus::Preparing).await;
    }
    coupon_is(&shop, &name, &coupon, IssuedCouponState::Redeemed).await;
    assert_eq!(shop.balance(&name).await, 5 * MONEY - 11 * PRICE + 4);
    shop.cancel(&name, &made[1]).await;
    let off = CancelOrderRequest { request_id: id(), order_id: made[2].clone(), ..CancelOrderRequest::default() };
    orders.clone().cancel_order(call().request(off)).await.unwrap();
    for order_id in &made[1..=2] {
        shop.until(order_id, OrderStatus::Cancelled).await;
    }
    shop.stock_until(&name, PIECES, 9).await;
    eventually("the money is back", BOUND, || async {
        (shop.balance(&name).await == 5 * MONEY - 9 * PRICE + 4).then_some(())
    })
    .await;

    // Afterwards all instances have all steps.
    assert!(without.stop().await.is_clean());
    let last = shop.order(&name, &name).await;
    shop.until(&last, OrderStatus::Preparing).await;
    shop.check_versions().await;
    shop.close().await;
}
