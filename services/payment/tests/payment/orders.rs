//! Orders are confirmed and called off by events; the payment service answers by events.

use openorder_proto::{
    order::v1::{OrderConfirmed, PaymentMode},
    payment::v1::{
        PaymentCompleted, PaymentFailed, PaymentFailureReason, PaymentRefundReason, PaymentRefunded, PaymentState,
        WalletChargeCause, WalletCharged, get_payment_request::Key,
    },
    topics,
};
use openorder_rpc::reason_of;
use uuid::Uuid;

use crate::support::{Bench, confirmed, eur, message, order, text, traceparent};

#[tokio::test]
async fn a_confirmed_order_is_paid_from_its_customers_wallet() {
    let bench = Bench::start().await;
    bench.charge("ada", 100).await;
    let order = order("ada", 30);
    let event_id = bench.confirm(&order).await;

    let answer = bench.observer.answers(order.order_id, 1).await.remove(0);
    let completed: PaymentCompleted = message(&answer);
    assert_eq!((completed.order_id.as_str(), completed.user_id.as_str()), (&*order.order_id.to_string(), "ada"));
    assert_eq!((completed.amount.clone(), completed.version), (Some(eur(30)), 1));
    // What it says of the wallet, no other event does.
    assert_eq!((completed.wallet_balance, completed.wallet_version), (Some(eur(70)), 2));
    assert_eq!(bench.observer.movements("ada", 2).await[1].event_id, answer.event_id);

    assert_eq!(answer.key, order.order_id.to_string().as_bytes());
    assert_eq!(text(&answer, "ce_source"), "/openorder/payment");
    assert_eq!(text(&answer, "ce_specversion"), "1.0");
    assert_eq!(text(&answer, "ce_id").parse::<Uuid>().unwrap().get_version_num(), 7);
    // The trace of the order goes on.
    assert_eq!(text(&answer, "traceparent")[..35], traceparent(event_id)[..35]);

    assert_eq!(bench.balance("ada").await, 70);
    let by_order = bench.payment(Key::OrderId(order.order_id.to_string())).await.unwrap();
    assert_eq!((by_order.state(), by_order.amount.clone()), (PaymentState::Completed, Some(eur(30))));
    assert_eq!(by_order.failure_reason(), PaymentFailureReason::Unspecified);
    assert_eq!(bench.payment(Key::PaymentId(completed.payment_id)).await.unwrap(), by_order);
    bench.close().await;
}

#[tokio::test]
async fn an_order_that_cannot_be_paid_is_answered_with_the_reason() {
    let bench = Bench::start().await;
    bench.charge("ada", 10).await;
    let mut foreign = order("ada", 5);
    foreign.total.currency_code = "USD".to_owned();
    let cases = [
        (order("ada", 11), PaymentFailureReason::InsufficientBalance),
        (order("bob", 1), PaymentFailureReason::WalletNotFound),
        (foreign, PaymentFailureReason::CurrencyMismatch),
    ];
    for (order, _) in &cases {
        bench.confirm(order).await;
    }
    for (order, reason) in &cases {
        let failed: PaymentFailed = message(&bench.observer.answers(order.order_id, 1).await[0]);
        assert_eq!((failed.reason(), failed.amount), (*reason, Some(order.total.clone())));
        assert!(!failed.detail.is_empty());
        let payment = bench.payment(Key::OrderId(order.order_id.to_string())).await.unwrap();
        assert_eq!((payment.state(), payment.failure_reason()), (PaymentState::Failed, *reason));
    }
    assert_eq!(bench.balance("ada").await, 10);
    bench.close().await;
}

#[tokio::test]
async fn an_order_is_charged_once_however_often_it_is_confirmed() {
    let bench = Bench::start().await;
    bench.charge("ada", 100).await;
    let order = order("ada", 30);
    let event_id = bench.confirm(&order).await;
    // The same event, as after a crash of its relay; and another one about the same order.
    bench.publish(order.order_id, event_id, &confirmed(&order)).await;
    bench.confirm(&order).await;
    bench.wait_behind(&order).await;
    // The answer to a refund would have a later version if anything else had been said.
    bench.ask_back(&order).await;
    let answers = bench.observer.answers(order.order_id, 2).await;
    message::<PaymentCompleted>(&answers[0]);
    message::<PaymentRefunded>(&answers[1]);
    bench.observer.movements("ada", 3).await;
    assert_eq!(bench.balance("ada").await, 100);
    bench.close().await;
}

#[tokio::test]
async fn a_refund_that_overtakes_the_order_voids_its_payment() {
    let bench = Bench::start().await;
    bench.charge("ada", 100).await;
    let order = order("ada", 30);
    bench.ask_back(&order).await;
    let failed: PaymentFailed = message(&bench.observer.answers(order.order_id, 1).await[0]);
    assert_eq!((failed.reason(), failed.amount, failed.version), (PaymentFailureReason::Voided, Some(eur(30)), 1));
    // Late, and doubled.
    bench.confirm(&order).await;
    bench.confirm(&order).await;
    bench.wait_behind(&order).await;
    // Asked again, nothing changes and nothing is said, but to an operator who asks.
    bench.ask_back(&order).await;
    bench.ask_back_again(&order).await;
    let again: PaymentFailed = message(&bench.observer.answers(order.order_id, 2).await[1]);
    assert_eq!((again.reason(), again.payment_id), (PaymentFailureReason::Voided, failed.payment_id));
    assert_eq!(bench.observer.said(topics::PAYMENT_WALLET, "ada").len(), 1, "only the charge moved money");
    assert_eq!(bench.balance("ada").await, 100);
    bench.close().await;
}

#[tokio::test]
async fn what_was_paid_is_given_back_once_and_said_once_unless_an_operator_asks_again() {
    let bench = Bench::start().await;
    bench.charge("ada", 100).await;
    let order = order("ada", 30);
    bench.confirm(&order).await;
    let completed: PaymentCompleted = message(&bench.observer.answers(order.order_id, 1).await[0]);
    for _ in 0..4 {
        bench.ask_back(&order).await;
    }
    bench.ask_back_again(&order).await;
    let answers = bench.observer.answers(order.order_id, 3).await;
    for answer in &answers[1..] {
        let refunded: PaymentRefunded = message(answer);
        assert_eq!((refunded.amount.clone(), refunded.reason()), (Some(eur(30)), PaymentRefundReason::OrderCancelled));
        assert_eq!((refunded.payment_id, refunded.user_id.as_str()), (completed.payment_id.clone(), "ada"));
    }
    let charged: WalletCharged = message(&bench.observer.movements("ada", 3).await[2]);
    assert_eq!((charged.cause(), charged.order_id), (WalletChargeCause::Refund, order.order_id.to_string()));
    assert_eq!(bench.balance("ada").await, 100);
    let payment = bench.payment(Key::OrderId(order.order_id.to_string())).await.unwrap();
    assert_eq!((payment.state(), payment.version), (PaymentState::Refunded, 3));
    bench.close().await;
}

#[tokio::test]
async fn an_order_that_is_paid_otherwise_is_left_alone() {
    let bench = Bench::start().await;
    bench.charge("ada", 100).await;
    let order = order("ada", 30);
    let manual = OrderConfirmed { payment_mode: PaymentMode::Manual.into(), ..confirmed(&order) };
    bench.publish(order.order_id, Uuid::now_v7(), &manual).await;
    bench.wait_behind(&order).await;
    let missing = bench.payment(Key::OrderId(order.order_id.to_string())).await.unwrap_err();
    assert_eq!(reason_of(&missing).as_deref(), Some("PAYMENT_NOT_FOUND"));
    assert_eq!(bench.balance("ada").await, 100);
    bench.close().await;
}

#[tokio::test]
async fn a_message_that_makes_no_sense_stops_its_own_key_alone() {
    let bench = Bench::start().await;
    bench.charge("ada", 100).await;
    let (broken, sound) = (order("ada", 30), order("ada", 30));
    let nonsense = OrderConfirmed { total: None, ..confirmed(&broken) };
    bench.publish(broken.order_id, Uuid::now_v7(), &nonsense).await;
    bench.confirm(&broken).await;
    bench.confirm(&sound).await;
    message::<PaymentCompleted>(&bench.observer.answers(sound.order_id, 1).await[0]);
    let waiting = bench.payment(Key::OrderId(broken.order_id.to_string())).await.unwrap_err();
    assert_eq!(reason_of(&waiting).as_deref(), Some("PAYMENT_NOT_FOUND"), "waits behind the broken one of its key");
    bench.close().await;
}
