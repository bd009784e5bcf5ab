//! Orders through the gateway, to their end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder_proto::{
    inventory::v1::{AdjustStockRequest, ListReservationsRequest, ReservationState},
    notification::v1::ListNotificationsRequest,
    order::v1::{
        CancelOrderRequest, CreateOrderRequest, GetOrderTimelineRequest, ListOrdersRequest, OrderStatus, RequestedLine,
        ReservationMode, UpdateOrderStatusRequest, WatchOrderRequest,
    },
    payment::v1::ListPaymentsRequest,
};
use openorder_scenarios::{Deployment, Shop, eur, id};
use sqlx::{Connection, Executor, PgConnection};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt;

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_goes_the_whole_way_and_everybody_agrees() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, customer) = (id("chair"), id("anna"));
    shop.product(&sku, eur(19, 99), 10).await;
    shop.charge(&customer, eur(100, 0)).await;
    // A product made a millisecond ago can be ordered.
    let order = shop.create(Shop::request(&customer, &sku, 3)).await.unwrap();
    assert_eq!(order.status(), OrderStatus::Pending);
    assert_eq!(order.version, 1);
    assert_eq!(order.total, Some(eur(59, 97)));
    assert_eq!(order.lines[0].display_name, format!("The {sku}"));
    assert_eq!(order.lines[0].line_total, Some(eur(59, 97)));
    assert_eq!(order.trace_id.len(), 32);
    let done = shop.until(&order.order_id, OrderStatus::Preparing).await;
    assert_eq!(done.version, 4);
    shop.stock_is(&sku, 10, 3).await;
    assert_eq!(shop.balance(&customer).await, eur(40, 3));
    let list = ListNotificationsRequest { order_id: order.order_id.clone(), ..Default::default() };
    let notifications = system
        .eventually("a message to the customer", || async {
            let list = list.clone();
            let found = shop.notifications.clone().list_notifications(list).await.ok()?.into_inner().notifications;
            (!found.is_empty()).then_some(found)
        })
        .await;
    assert_eq!(notifications.len(), 1);
    assert_eq!(notifications[0].user_id, customer);
    assert!(!notifications[0].subject.is_empty());
    assert_eq!(notifications[0].trace_id, order.trace_id);
    let timeline = GetOrderTimelineRequest { order_id: order.order_id.clone(), ..Default::default() };
    let events = shop.orders.clone().get_order_timeline(timeline).await.unwrap().into_inner().events;
    let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
    let expected = ["created", "confirmed", "paid", "preparing"].map(|action| format!("order.lifecycle.{action}"));
    assert_eq!(types, expected);
    assert!(events.iter().all(|event| event.trace_id == order.trace_id));
    // An operator moves it on; a wrong belief is refused, never passed over.
    let status = |previous: OrderStatus, current: OrderStatus| UpdateOrderStatusRequest {
        request_id: id("status"),
        order_id: order.order_id.clone(),
        previous_status: previous.into(),
        current_status: current.into(),
    };
    let mut orders = shop.orders.clone();
    let wrong = orders.update_order_status(status(OrderStatus::Shipped, OrderStatus::Delivered)).await.unwrap_err();
    assert_eq!((wrong.code(), reason(&wrong).as_str()), (Code::FailedPrecondition, "ORDER_STATUS_MISMATCH"));
    let wrong = orders.update_order_status(status(OrderStatus::Preparing, OrderStatus::Delivered)).await.unwrap_err();
    assert_eq!(reason(&wrong), "ORDER_TRANSITION_NOT_ALLOWED");
    orders.update_order_status(status(OrderStatus::Preparing, OrderStatus::Shipped)).await.unwrap();
    shop.stock_is(&sku, 7, 0).await;
    let delivered = orders.update_order_status(status(OrderStatus::Shipped, OrderStatus::Delivered)).await.unwrap();
    assert_eq!(delivered.into_inner().order.unwrap().status(), OrderStatus::Delivered);
    let mut system = system;
    assert!(system.terminate().await, "SIGTERM drains and ends with 0");
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_cannot_be_fulfilled_or_paid_end_and_hold_nothing() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, rich, poor) = (id("table"), id("rich"), id("poor"));
    shop.product(&sku, eur(10, 0), 5).await;
    shop.charge(&rich, eur(1_000, 0)).await;
    shop.charge(&poor, eur(15, 0)).await;
    let too_many = shop.create(Shop::request(&rich, &sku, 6)).await.unwrap();
    let rejected = shop.until(&too_many.order_id, OrderStatus::Rejected).await;
    assert_eq!(rejected.status_reason, "OUT_OF_STOCK");
    let too_dear = shop.create(Shop::request(&poor, &sku, 2)).await.unwrap();
    let cancelled = shop.until(&too_dear.order_id, OrderStatus::Cancelled).await;
    assert_eq!(cancelled.status_reason, "INSUFFICIENT_BALANCE");
    // The stock was given back before the order said that it is cancelled.
    let stock = shop.stock(&sku).await.unwrap();
    assert_eq!((stock.on_hand_quantity, stock.reserved_quantity), (5, 0));
    assert_eq!(shop.balance(&poor).await, eur(15, 0));
    let nobody = shop.create(Shop::request(&id("nobody"), &sku, 1)).await.unwrap();
    assert_eq!(shop.until(&nobody.order_id, OrderStatus::Cancelled).await.status_reason, "WALLET_NOT_FOUND");
    let unknown = shop.create(Shop::request(&rich, &id("nothing"), 1)).await.unwrap();
    assert_eq!(shop.until(&unknown.order_id, OrderStatus::Rejected).await.status_reason, "UNKNOWN_SKU");
    let half = CreateOrderRequest {
        lines: vec![RequestedLine { sku: sku.clone(), quantity: 1 }, RequestedLine { sku: id("nothing"), quantity: 1 }],
        ..Shop::request(&rich, &sku, 1)
    };
    let half = shop.create(half).await.unwrap();
    shop.until(&half.order_id, OrderStatus::Rejected).await;
    shop.stock_is(&sku, 5, 0).await;
    let payments = ListPaymentsRequest { user_id: rich.clone(), ..Default::default() };
    assert!(shop.payments.clone().list_payments(payments).await.unwrap().into_inner().payments.is_empty());
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn immediate_reservation_holds_the_stock_before_it_answers_and_never_oversells() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, customer) = (id("lamp"), id("carl"));
    shop.product(&sku, eur(1, 0), 10).await;
    shop.charge(&customer, eur(1_000, 0)).await;
    let immediate = |quantity| CreateOrderRequest {
        reservation_mode: ReservationMode::Immediate.into(),
        ..Shop::request(&customer, &sku, quantity)
    };
    let order = shop.create(immediate(4)).await.unwrap();
    assert!(order.status() >= OrderStatus::Confirmed, "{order:?}");
    assert_eq!(shop.stock(&sku).await.unwrap().reserved_quantity, 4);
    let request = immediate(7);
    let refused = shop.create(request.clone()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "OUT_OF_STOCK"));
    // The same request again is the same answer.
    assert_eq!(reason(&shop.create(request).await.unwrap_err()), "OUT_OF_STOCK");
    // Many at once, in both modes, on what is left.
    let orders = futures::future::join_all((0..30).map(|number| {
        let request = if number % 2 == 0 { immediate(1) } else { Shop::request(&customer, &sku, 1) };
        let shop = shop.clone();
        async move { shop.create(request).await }
    }))
    .await;
    let mut sold = 0;
    for order in orders {
        match order {
            Err(status) => assert_eq!(reason(&status), "OUT_OF_STOCK"),
            Ok(order) => {
                let settled = system
                    .eventually("settled", || async {
                        let order = shop.order(&order.order_id).await;
                        matches!(order.status(), OrderStatus::Preparing | OrderStatus::Rejected).then_some(order)
                    })
                    .await;
                sold += i32::from(settled.status() == OrderStatus::Preparing);
            }
        }
    }
    assert_eq!(sold, 6);
    shop.stock_is(&sku, 10, 10).await;
    assert_eq!(shop.balance(&customer).await, eur(990, 0));
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_at_any_moment_gives_everything_back() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, customer) = (id("shelf"), id("dora"));
    shop.product(&sku, eur(2, 0), 1_000).await;
    shop.charge(&customer, eur(1_000, 0)).await;
    let mut kept = 0;
    let mut kept_orders = Vec::new();
    for round in 0..24_u64 {
        let order = shop.create(Shop::request(&customer, &sku, 1)).await.unwrap();
        if round % 4 == 3 {
            kept += 1;
            kept_orders.push(order.order_id);
            continue;
        }
        // From at once to after the payment.
        tokio::time::sleep(std::time::Duration::from_millis(round * 6)).await;
        let request =
            CancelOrderRequest { request_id: id("cancel"), order_id: order.order_id.clone(), reason: "no".into() };
        let answer = shop.orders.clone().cancel_order(request.clone()).await.unwrap().into_inner().order.unwrap();
        assert_eq!(answer.status(), OrderStatus::Cancelled);
        let again = shop.orders.clone().cancel_order(request).await.unwrap().into_inner().order.unwrap();
        assert_eq!(again, answer, "the same request id answers the same");
        let other =
            CancelOrderRequest { request_id: id("cancel"), order_id: order.order_id.clone(), reason: String::new() };
        let refused = shop.orders.clone().cancel_order(other).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "ORDER_NOT_CANCELLABLE"));
    }
    // First the orders that stay: a sum could be right by chance while one is on its way.
    for order_id in &kept_orders {
        shop.until(order_id, OrderStatus::Preparing).await;
    }
    shop.stock_is(&sku, 1_000, kept).await;
    system
        .eventually("the money is back", || async {
            (shop.balance(&customer).await == eur(1_000 - 2 * i64::from(kept), 0)).then_some(())
        })
        .await;
    let held = ListReservationsRequest { sku, state: ReservationState::Held.into(), ..Default::default() };
    let held = shop.inventory.clone().list_reservations(held).await.unwrap().into_inner().reservations;
    assert_eq!(i32::try_from(held.len()).unwrap(), kept);
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_step_is_compensated_at_its_deadline() {
    let mut system = Deployment::prepare(&[("order", "saga_step_timeout_ms = 3000\nsaga_timer_interval_ms = 50")]);
    system.launch();
    system.ready().await;
    let shop = system.shop();
    let (sku, customer) = (id("slow"), id("emil"));
    shop.product(&sku, eur(1, 0), 10).await;
    shop.charge(&customer, eur(10, 0)).await;
    // Somebody holds the wallet for longer than the step may take: the late answer has to be given back.
    let mut holder = PgConnection::connect(system.world.database_url("payment").expose()).await.unwrap();
    holder.execute("begin; select from wallet for update").await.unwrap();
    let release = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        holder.execute("commit").await.unwrap();
    });
    let order = shop.create(Shop::request(&customer, &sku, 1)).await.unwrap();
    let cancelled = shop.until(&order.order_id, OrderStatus::Cancelled).await;
    assert_eq!(cancelled.status_reason, "PAYMENT_TIMED_OUT");
    let stock = shop.stock(&sku).await.unwrap();
    assert_eq!((stock.on_hand_quantity, stock.reserved_quantity), (10, 0));
    release.await.unwrap();
    system
        .eventually("the money is back", || async { (shop.balance(&customer).await == eur(10, 0)).then_some(()) })
        .await;
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_watched_to_its_end_and_listed_page_by_page() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, customer) = (id("desk"), id("frida"));
    shop.product(&sku, eur(1, 0), 100).await;
    shop.charge(&customer, eur(100, 0)).await;
    let order = shop.create(Shop::request(&customer, &sku, 1)).await.unwrap();
    let watch = WatchOrderRequest { order_id: order.order_id.clone(), ..Default::default() };
    let mut stream = shop.orders.clone().watch_order(watch).await.unwrap().into_inner();
    let mut versions = Vec::new();
    while let Some(message) = stream.next().await {
        let seen = message.unwrap().order.unwrap();
        versions.push(seen.version);
        if seen.status() == OrderStatus::Preparing {
            let cancel = CancelOrderRequest {
                request_id: id("cancel"),
                order_id: order.order_id.clone(),
                reason: String::new(),
            };
            shop.orders.clone().cancel_order(cancel).await.unwrap();
        }
    }
    assert!(versions.is_sorted() && versions.last() == Some(&5), "{versions:?}");
    for _ in 0..7 {
        shop.create(Shop::request(&customer, &sku, 1)).await.unwrap();
    }
    let mut list = ListOrdersRequest { customer_id: customer.clone(), page_size: 3, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = shop.orders.clone().list_orders(list.clone()).await.unwrap().into_inner();
        assert!(page.orders.len() <= 3);
        seen.extend(page.orders.into_iter().map(|order| order.order_id));
        if page.next_page_token.is_empty() {
            break;
        }
        list.page_token = page.next_page_token;
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.is_sorted_by(|a, b| a > b), "the newest first");
    // The token is of another list.
    let other =
        ListOrdersRequest { customer_id: id("other"), page_token: list.page_token.clone(), ..Default::default() };
    let refused = shop.orders.clone().list_orders(other).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "PAGE_TOKEN_INVALID"));
    let adjust =
        AdjustStockRequest { request_id: id("adjust"), sku: sku.clone(), delta: -1_000, reason: String::new() };
    let refused = shop.inventory.clone().adjust_stock(adjust).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "OUT_OF_STOCK"));
    system.close().await;
}
