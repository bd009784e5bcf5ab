//! Shipments are made by paid orders, follow them, and are called off for them.

use openorder_proto::{
    order::v1::OrderStatus,
    shipping::v1::{CancelShipmentRequest, ShipmentState, get_shipment_request::Key},
};
use tonic::Code;
use uuid::Uuid;

use crate::support::{
    Bench, address, as_customer, as_operator, by_order, cancel, cancelled, delivered, is, move_to, paid, refusal,
    shipped,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_paid_twice_has_one_shipment_which_follows_it() {
    let bench = Bench::start().await;
    let (order_id, event_id) = (Uuid::now_v7(), Uuid::now_v7());
    // The same event, as after a crash of its relay; and another one about the same order.
    for id in [event_id, event_id, Uuid::now_v7()] {
        bench.publish_as(order_id, &paid(order_id, "ada"), id).await;
    }
    bench.wait_behind(order_id).await;
    let made = bench.told(order_id, 1).await.remove(0);
    assert_eq!((made.what.as_str(), made.shipment.state()), ("created", ShipmentState::Created));
    let line = &made.shipment.lines[0];
    assert_eq!((line.sku.as_str(), line.display_name.as_str(), line.quantity), ("CHAIR", "A chair", 2));
    assert_eq!((made.shipment.address.clone(), made.shipment.customer_id.as_str()), (Some(address()), "ada"));
    let by_id = Key::ShipmentId(made.shipment.shipment_id.clone());
    let found = bench.get(&as_customer("ada"), by_id).await.unwrap();
    assert_eq!((found.shipment, found.events.len()), (Some(made.shipment), 0));

    // Doubled, and once more after the next.
    for _ in 0..2 {
        bench.publish(order_id, &shipped(order_id)).await;
    }
    bench.publish(order_id, &delivered(order_id)).await;
    bench.publish(order_id, &shipped(order_id)).await;
    bench.wait_behind(order_id).await;
    assert_eq!(bench.words(order_id, 3).await, ["created", "shipped", "delivered"]);
    let come = bench.shipment(order_id).await;
    assert_eq!((come.state(), come.version), (ShipmentState::Delivered, 3));
    assert!(come.ship_time.is_some() && come.deliver_time.is_some());
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_that_has_not_left_is_called_off_once_and_whoever_asks_again_is_told_so() {
    let bench = Bench::start().await;
    let order_id = bench.order("ada").await;
    let off = bench.cancel(cancel(order_id, "ada")).await.unwrap();
    assert_eq!((off.state(), off.cancel_reason.as_str(), off.lines.len()), (ShipmentState::Cancelled, "CUSTOMER", 1));
    assert_eq!(off.cancel_detail, "changed my mind");
    assert_eq!(bench.cancel(cancel(order_id, "ada")).await.unwrap(), off, "the same request");
    let in_other_words = CancelShipmentRequest { detail: "too dear".to_owned(), ..cancel(order_id, "ada") };
    assert_eq!(bench.cancel(in_other_words).await.unwrap(), off, "whoever asked first is quoted");
    let another = CancelShipmentRequest { request_id: "another".to_owned(), ..cancel(order_id, "ada") };
    assert_eq!(bench.cancel(another).await.unwrap(), off);
    // The order's own event changes nothing, and nobody ships it.
    bench.publish(order_id, &cancelled(order_id, OrderStatus::Preparing)).await;
    bench.publish(order_id, &shipped(order_id)).await;
    bench.wait_behind(order_id).await;
    assert_eq!(bench.words(order_id, 2).await, ["created", "cancelled"]);
    let ship = bench.update(&as_operator(), move_to(order_id, "r", ShipmentState::Shipped)).await;
    assert_eq!(refusal(ship), is(Code::FailedPrecondition, "SHIPMENT_CANCELLED"));
    assert_eq!(bench.shipment(order_id).await, off);
    let wrong = CancelShipmentRequest { request_id: "wrong".to_owned(), cause: 0, ..cancel(order_id, "ada") };
    assert_eq!(refusal(bench.cancel(wrong).await), is(Code::InvalidArgument, "FIELD_MISSING"));
    let customer = as_customer("ada").request(cancel(order_id, "ada"));
    assert_eq!(refusal(bench.client.clone().cancel_shipment(customer).await).0, Code::PermissionDenied);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_that_has_left_is_not_called_off() {
    let bench = Bench::start().await;
    let order_id = bench.order("ada").await;
    bench.update(&as_operator(), move_to(order_id, "r", ShipmentState::Shipped)).await.unwrap();
    for _ in 0..2 {
        let refused = bench.cancel(cancel(order_id, "ada")).await;
        assert_eq!(refusal(refused), is(Code::FailedPrecondition, "SHIPMENT_ALREADY_SHIPPED"));
    }
    // The order was cancelled all the same: that is told by nobody here, and found by `openorder verify`.
    bench.publish(order_id, &cancelled(order_id, OrderStatus::Preparing)).await;
    bench.wait_behind(order_id).await;
    assert_eq!(bench.words(order_id, 2).await, ["created", "shipped"]);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_overtakes_the_payment_leaves_no_parcel_to_be_made() {
    let bench = Bench::start().await;
    let order_id = Uuid::now_v7();
    let off = bench.cancel(cancel(order_id, "ada")).await.unwrap();
    assert_eq!((off.state(), off.lines.len()), (ShipmentState::Cancelled, 0));
    for _ in 0..2 {
        bench.publish(order_id, &paid(order_id, "ada")).await;
    }
    bench.wait_behind(order_id).await;
    let stands = bench.shipment(order_id).await;
    assert_eq!((stands.state(), stands.version, stands.address), (ShipmentState::Cancelled, 1, None));
    assert_eq!(bench.words(order_id, 1).await, ["cancelled"]);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_cancelled_without_having_asked_calls_its_parcel_off() {
    let bench = Bench::start().await;
    let order_id = bench.order("ada").await;
    bench.publish(order_id, &cancelled(order_id, OrderStatus::Paid)).await;
    let off = bench.told(order_id, 2).await.remove(1);
    assert_eq!((off.what.as_str(), off.shipment.cancel_reason.as_str()), ("cancelled", "OPERATOR"));
    assert_eq!(bench.cancel(cancel(order_id, "ada")).await.unwrap(), off.shipment, "it is off, whoever asks");
    // Most orders that are cancelled were never paid.
    let unpaid = Uuid::now_v7();
    bench.publish(unpaid, &cancelled(unpaid, OrderStatus::Confirmed)).await;
    bench.wait_behind(unpaid).await;
    let missing = bench.get(&as_operator(), by_order(unpaid)).await;
    assert_eq!(refusal(missing), is(Code::NotFound, "SHIPMENT_NOT_FOUND"));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_paid_order_has_its_shipment_though_the_service_is_killed() {
    const ORDERS: usize = 120;
    let mut bench = Bench::start().await;
    let orders: Vec<Uuid> = (0..ORDERS).map(|_| Uuid::now_v7()).collect();
    for (number, order_id) in orders.iter().enumerate() {
        bench.publish(*order_id, &paid(*order_id, "ada")).await;
        if number == ORDERS / 2 {
            bench.kill();
        }
    }
    bench.start_again().await;
    for order_id in &orders {
        assert_eq!(bench.words(*order_id, 1).await, ["created"]);
        assert_eq!(bench.shipment(*order_id).await.version, 1);
    }
    bench.close().await;
}
