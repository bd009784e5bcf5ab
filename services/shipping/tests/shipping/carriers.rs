//! Carriers say things twice, late and out of order.

use openorder_proto::shipping::v1::{AddShipmentEventRequest, ShipmentEventType, ShipmentState};
use tonic::Code;

use crate::support::{Bench, as_operator, by_order, is, refusal, said};

#[tokio::test(flavor = "multi_thread")]
async fn late_and_doubled_events_are_shown_in_the_order_of_time_and_the_state_never_goes_back() {
    use ShipmentEventType::{Delivered, InTransit, LabelPrinted, OutForDelivery, PickedUp};
    let bench = Bench::start().await;
    let order_id = bench.order("ada").await;
    let label = bench.add(said(order_id, "r-1", LabelPrinted, "e-1", 0)).await.unwrap();
    assert_eq!(label.shipment.unwrap().state(), ShipmentState::Created);
    let transit = bench.add(said(order_id, "r-2", InTransit, "e-3", 30)).await.unwrap();
    let moved = transit.shipment.clone().unwrap();
    assert_eq!((moved.state(), moved.version), (ShipmentState::Shipped, 4));
    assert_eq!(moved.ship_time, transit.event.as_ref().unwrap().event_time);
    // By another request, as another of the carrier's callbacks: recorded once, answered as it is.
    let again = bench.add(said(order_id, "r-3", InTransit, "e-3", 30)).await.unwrap();
    assert_eq!(again, transit);
    let other = bench.add(said(order_id, "r-4", InTransit, "e-3", 31)).await;
    assert_eq!(refusal(other), is(Code::AlreadyExists, "CARRIER_EVENT_ID_REUSED"));
    bench.add(said(order_id, "r-5", Delivered, "e-5", 50)).await.unwrap();
    // Both happened before.
    bench.add(said(order_id, "r-6", OutForDelivery, "", 40)).await.unwrap();
    let late = bench.add(said(order_id, "r-7", PickedUp, "e-2", 20)).await.unwrap();
    let late = (late.shipment.unwrap(), late.event.unwrap());
    assert_eq!((late.0.state(), late.1.ordinal), (ShipmentState::Delivered, 5));
    assert_eq!((late.0.ship_time, late.0.deliver_time.unwrap().seconds), (moved.ship_time, 1_767_225_650));

    let shown = bench.get(&as_operator(), by_order(order_id)).await.unwrap();
    let kinds: Vec<_> = shown.events.iter().map(|event| (event.r#type(), event.ordinal)).collect();
    let expected = [(LabelPrinted, 1), (PickedUp, 5), (InTransit, 2), (OutForDelivery, 4), (Delivered, 3)];
    assert_eq!((kinds, shown.shipment), (expected.to_vec(), Some(late.0)));
    let words = bench.words(order_id, 8).await;
    let expected =
        ["created", "progressed", "progressed", "shipped", "progressed", "delivered", "progressed", "progressed"];
    assert_eq!(words, expected);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_that_come_at_once_are_recorded_once() {
    let bench = Bench::start().await;
    let order_id = bench.order("ada").await;
    let calls = (0..40).map(|number| {
        let (request_id, event) = (format!("r-{number}"), format!("e-{}", number % 4));
        bench.add(said(order_id, &request_id, ShipmentEventType::InTransit, &event, number % 4))
    });
    let answers = futures::future::join_all(calls).await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap().event.unwrap().carrier_event_id, format!("e-{}", number % 4));
    }
    let shown = bench.get(&as_operator(), by_order(order_id)).await.unwrap();
    let seen: Vec<_> = shown.events.iter().map(|event| event.carrier_event_id.as_str()).collect();
    assert_eq!(seen, ["e-0", "e-1", "e-2", "e-3"]);
    assert_eq!(bench.told(order_id, 6).await.iter().filter(|one| one.what == "progressed").count(), 4);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let bench = Bench::start().await;
    let order_id = bench.order("ada").await;
    let nothing = bench.add(AddShipmentEventRequest::default()).await;
    assert_eq!(refusal(nothing), is(Code::InvalidArgument, "INVALID_ARGUMENT"));
    let mut ahead = said(order_id, "r-1", ShipmentEventType::Delayed, "", 0);
    ahead.event_time = Some(prost_types::Timestamp { seconds: 10_000_000_000, nanos: 0 });
    assert_eq!(refusal(bench.add(ahead).await), is(Code::FailedPrecondition, "SHIPMENT_EVENT_IN_FUTURE"));
    let elsewhere = said(uuid::Uuid::now_v7(), "r-2", ShipmentEventType::Delayed, "", 0);
    assert_eq!(refusal(bench.add(elsewhere).await), is(Code::NotFound, "SHIPMENT_NOT_FOUND"));
    assert_eq!(bench.shipment(order_id).await.version, 1);
    bench.close().await;
}
