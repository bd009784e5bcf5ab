//! A cart is ordered: once, whatever is tried.

use std::time::Duration;

use openorder_proto::{
    cart::v1::CheckoutRequest,
    google::r#type::PostalAddress,
    order::v1::{PaymentMode, ReservationMode},
};
use openorder_rpc::{CallContext, status::metadata_of};
use openorder_types::Rejection;
use tonic::Code;
use uuid::Uuid;

use crate::world::{
    Bench, add, checkout, customer, euros, get, is, lines, operator, ordering, pieces, refusal, remove, stranger,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_asks_for_an_order_of_the_carts_lines_in_the_customers_name() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada) = (&instance.client, customer("ada"));
    add(client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    let cart = add(client, &ada, pieces("ada", "CUP", 1)).await.unwrap();
    let request = CheckoutRequest {
        expected_version: cart.version,
        expected_total: cart.total.clone(),
        issued_coupon_id: Uuid::nil().to_string(),
        reservation_mode: ReservationMode::Immediate.into(),
        payment_mode: PaymentMode::Automatic.into(),
        customer_email: "ada@example.com".to_owned(),
        shipping_address: Some(PostalAddress { region_code: "DE".to_owned(), ..PostalAddress::default() }),
        ..ordering("r-1", "ada")
    };
    let order = checkout(client, &ada, request.clone()).await.unwrap();
    let made = bench.orders.made();
    assert_eq!((made.len(), &made[0].1), (1, &order));
    let asked = &made[0].0;
    let of_lines: Vec<_> = asked.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
    assert_eq!(of_lines, [("TEA", 2), ("CUP", 1)]);
    assert_eq!((asked.request_id.as_str(), asked.customer_id.as_str()), ("r-1", "ada"));
    assert_eq!((&asked.expected_total, &asked.shipping_address), (&cart.total, &request.shipping_address));
    assert_eq!((&asked.issued_coupon_id, &asked.customer_email), (&request.issued_coupon_id, &request.customer_email));
    assert_eq!((asked.reservation_mode(), asked.payment_mode()), (ReservationMode::Immediate, PaymentMode::Automatic));
    let row = format!(
        "select (cart_id = '{}' and cart_version = 2 and customer_id = 'ada')::text from checkout where checkout_id = '{}'",
        cart.cart_id, asked.checkout_id
    );
    assert_eq!(bench.one(&row).await, "true");
    assert_eq!(
        lines(&get(client, &ada, "ada").await.unwrap()),
        [("TEA", 2), ("CUP", 1)],
        "until the order is heard of"
    );
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_at_once_are_one_order_though_the_cart_changes_and_the_order_service_is_slow() {
    let bench = Bench::start().await;
    let (first, second) = (bench.instance().await, bench.instance().await);
    let ada = customer("ada");
    add(&first.client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    bench.orders.delay(Duration::from_millis(300), Duration::from_millis(300));
    let callers = (0..20).map(|number| {
        let client = if number % 2 == 0 { &first.client } else { &second.client };
        let ada = ada.clone();
        async move {
            // Some while others are under way, and after the cart has changed.
            tokio::time::sleep(Duration::from_millis(number * 40)).await;
            checkout(client, &ada, ordering("r-1", "ada")).await.unwrap().order_id
        }
    });
    let changes = async {
        for number in 1..=10 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            add(&second.client, &ada, pieces("ada", if number % 2 == 0 { "TEA" } else { "CUP" }, number))
                .await
                .unwrap();
        }
        remove(&second.client, &ada, "ada", "TEA").await.unwrap();
    };
    let (orders, ()) = tokio::join!(futures::future::join_all(callers), changes);
    let made = bench.orders.made();
    assert_eq!(made.len(), 1);
    assert!(orders.iter().all(|order_id| *order_id == made[0].1.order_id), "{orders:?}");
    let asked: Vec<_> = made[0].0.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
    assert_eq!(asked[0].0, "TEA");
    assert_eq!(bench.one("select count(*)::text from checkout").await, "1");
    // A new request orders what there is now.
    let other = checkout(&first.client, &ada, ordering("r-2", "ada")).await.unwrap();
    assert_ne!(other.order_id, made[0].1.order_id);
    bench.close([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_in_time_is_asked_for_again_and_is_the_same_order() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada) = (instance.client.clone(), customer("ada"));
    add(&client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    // The order is made, and its answer lost.
    bench.orders.delay(Duration::ZERO, Duration::from_secs(2));
    let hurried = CallContext { deadline: None, ..customer("ada") }.within(Duration::from_millis(500));
    let lost = checkout(&client, &hurried, ordering("r-1", "ada")).await;
    assert_eq!(lost.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(bench.orders.made().len(), 1);
    bench.orders.delay(Duration::ZERO, Duration::ZERO);
    // The service ends, the cart is lost with Redis, and what was ordered stands.
    instance.kill();
    bench.empty_redis().await;
    let next = bench.instance().await;
    add(&next.client, &ada, pieces("ada", "CUP", 7)).await.unwrap();
    let order = checkout(&next.client, &ada, ordering("r-1", "ada")).await.unwrap();
    assert_eq!((bench.orders.made().len(), order.order_id), (1, bench.orders.made()[0].1.order_id.clone()));
    bench.close([next]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_ends_between_the_fixing_and_the_order_and_goes_on_by_its_request_id() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let ada = customer("ada");
    add(&instance.client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    // Killed while the order service has not made anything yet.
    bench.orders.delay(Duration::from_secs(3_600), Duration::ZERO);
    let (client, call) = (instance.client.clone(), ada.clone());
    let asking = tokio::spawn(async move { checkout(&client, &call, ordering("r-1", "ada")).await });
    while bench.orders.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    instance.kill();
    asking.abort();
    assert_eq!(bench.orders.made().len(), 0);
    bench.orders.delay(Duration::ZERO, Duration::ZERO);
    let next = bench.instance().await;
    add(&next.client, &ada, pieces("ada", "TEA", 5)).await.unwrap();
    checkout(&next.client, &ada, ordering("r-1", "ada")).await.unwrap();
    let made = bench.orders.made();
    assert_eq!((made.len(), made[0].0.lines[0].quantity), (1, 2), "what the cart had when it was asked for first");
    bench.close([next]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_passed_on_and_the_same_request_may_expect_another_total() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada) = (&instance.client, customer("ada"));
    add(client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    let changed = Rejection::failed_precondition("PRICE_CHANGED", "the order costs 8.00 EUR, not 7.00 EUR")
        .with("expected_total", "7.00 EUR")
        .with("total", "8.00 EUR");
    bench.orders.refuse(changed);
    let request = CheckoutRequest { expected_total: Some(euros(7, 0)), ..ordering("r-1", "ada") };
    let refused = checkout(client, &ada, request.clone()).await.unwrap_err();
    assert_eq!(metadata_of(&refused, "expected_total").as_deref(), Some("7.00 EUR"));
    assert_eq!(metadata_of(&refused, "total").as_deref(), Some("8.00 EUR"));
    assert_eq!(refusal::<()>(Err(refused)), is(Code::FailedPrecondition, "PRICE_CHANGED"));
    let agreed = CheckoutRequest { expected_total: Some(euros(8, 0)), ..request.clone() };
    let order = checkout(client, &ada, agreed.clone()).await.unwrap();
    assert_eq!(checkout(client, &ada, agreed).await.unwrap().order_id, order.order_id);
    let other = checkout(client, &ada, request).await;
    assert_eq!(refusal(other), is(Code::AlreadyExists, "REQUEST_ID_REUSED"), "there is an order of another total");
    assert_eq!(bench.orders.made().len(), 1);
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ordered_of_an_empty_cart_of_another_version_or_of_somebody_else() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada) = (&instance.client, customer("ada"));
    let empty = is(Code::FailedPrecondition, "CART_EMPTY");
    assert_eq!(refusal(checkout(client, &ada, ordering("r-1", "ada")).await), empty);
    add(client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    let stale = CheckoutRequest { expected_version: 7, ..ordering("r-2", "ada") };
    assert_eq!(refusal(checkout(client, &ada, stale).await), is(Code::Aborted, "CART_VERSION_MISMATCH"));
    for call in [customer("bob"), stranger()] {
        let foreign = checkout(client, &call, ordering("r-3", "ada")).await;
        assert_eq!(refusal(foreign), is(Code::PermissionDenied, "CUSTOMER_MISMATCH"));
    }
    let wrong = checkout(client, &operator(), CheckoutRequest::default()).await;
    assert_eq!(refusal(wrong), is(Code::InvalidArgument, "INVALID_ARGUMENT"));
    remove(client, &ada, "ada", "TEA").await.unwrap();
    assert_eq!(refusal(checkout(client, &ada, ordering("r-4", "ada")).await), empty);
    assert_eq!(bench.orders.calls(), 0);
    // A refusal by the cart itself fixes nothing.
    add(client, &ada, pieces("ada", "CUP", 1)).await.unwrap();
    checkout(client, &operator(), ordering("r-1", "ada")).await.unwrap();
    checkout(client, &ada, ordering("r-1", "ada")).await.unwrap();
    assert_eq!(bench.orders.made().len(), 2, "request ids are the caller's own");
    bench.close([instance]).await;
}
