//! An order is called off while its parcel is handed to the carrier.

use std::time::Duration;

use openorder_proto::shipping::v1::{ShipmentEventType, ShipmentState};
use tonic::Code;
use uuid::Uuid;

use crate::support::{Bench, Instance, as_operator, cancel, is, move_to, paid, refusal, said};

const ORDERS: usize = 50;

/// Whether the caller was told that the parcel has left; the other answer is that it must not.
async fn hand_over(bench: &Bench, other: &Instance, number: usize, order_id: Uuid) -> bool {
    let request_id = format!("ship-{number}");
    let answer = if number.is_multiple_of(2) {
        bench.update(&as_operator(), move_to(order_id, &request_id, ShipmentState::Shipped)).await.map(drop)
    } else {
        let picked_up = said(order_id, &request_id, ShipmentEventType::PickedUp, "e-1", 0);
        other.client.clone().add_shipment_event(as_operator().request(picked_up)).await.map(drop)
    };
    match answer {
        Ok(()) => true,
        refused => {
            assert_eq!(refusal(refused), is(Code::FailedPrecondition, "SHIPMENT_CANCELLED"));
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_leaves_or_is_called_off_and_the_answer_says_what_the_row_says() {
    let bench = Bench::start().await;
    let other = Instance::start(&bench.world).await;
    let orders: Vec<Uuid> = (0..ORDERS).map(|_| Uuid::now_v7()).collect();
    for order_id in &orders {
        bench.publish(*order_id, &paid(*order_id, "ada")).await;
    }
    for order_id in &orders {
        bench.told(*order_id, 1).await;
    }
    // Some callers come before the request, some after its answer, most at the same time.
    let races = orders.iter().enumerate().map(async |(number, order_id)| {
        let ask = async || match bench.cancel(cancel(*order_id, "ada")).await {
            Ok(shipment) => shipment.state() == ShipmentState::Cancelled,
            refused => {
                assert_eq!(refusal(refused), is(Code::FailedPrecondition, "SHIPMENT_ALREADY_SHIPPED"));
                false
            }
        };
        let call = async || hand_over(&bench, &other, number, *order_id).await;
        match number % 10 {
            8 => {
                let left = call().await;
                (left, ask().await)
            }
            9 => {
                let off = ask().await;
                (call().await, off)
            }
            tenth => {
                let late = async {
                    tokio::time::sleep(Duration::from_millis(tenth as u64)).await;
                    call().await
                };
                tokio::join!(late, ask())
            }
        }
    });
    let answers = futures::future::join_all(races).await;
    assert!(answers.iter().all(|(left, off)| left != off), "never both, and never neither: {answers:?}");
    let left: Vec<bool> = answers.into_iter().map(|(left, _)| left).collect();
    assert!(left[8] && !left[9], "{left:?}");
    for (number, (order_id, left)) in orders.iter().zip(&left).enumerate() {
        let expected: &[&str] = match (left, number.is_multiple_of(2)) {
            (false, _) => &["created", "cancelled"],
            (true, true) => &["created", "shipped"],
            (true, false) => &["created", "progressed", "shipped"],
        };
        assert_eq!(bench.words(*order_id, expected.len()).await, expected);
        let told = bench.told_of(*order_id).pop().unwrap();
        let stands = bench.shipment(*order_id).await;
        let state = if *left { ShipmentState::Shipped } else { ShipmentState::Cancelled };
        assert_eq!(stands.state(), state);
        assert_eq!(stands, told.shipment, "the answer and the row");
    }
    other.kill();
    bench.close().await;
}
