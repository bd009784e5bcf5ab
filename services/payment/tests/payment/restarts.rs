//! The service goes and comes back: nothing is lost, nothing is done twice.

use openorder_proto::payment::v1::{PaymentCompleted, PaymentFailed, PaymentFailureReason, PaymentRefunded};

use crate::support::{Bench, as_customer, charge_request, confirmed, eur, message, order};

#[tokio::test]
async fn what_comes_while_the_service_is_away_is_done_once_when_it_is_back() {
    let mut bench = Bench::start().await;
    bench.charge("ada", 100).await;
    let (before, during, voided) = (order("ada", 10), order("ada", 20), order("ada", 40));
    let confirmation = bench.confirm(&before).await;
    bench.observer.answers(before.order_id, 1).await;
    bench.stop().await;

    // Its topics fill up: something new, and something that was done before, once more.
    bench.publish(before.order_id, confirmation, &confirmed(&before)).await;
    bench.confirm(&during).await;
    bench.ask_back(&before).await;
    bench.ask_back(&voided).await;
    bench.start_again().await;

    let answers = bench.observer.answers(before.order_id, 2).await;
    message::<PaymentCompleted>(&answers[0]);
    message::<PaymentRefunded>(&answers[1]);
    message::<PaymentCompleted>(&bench.observer.answers(during.order_id, 1).await[0]);
    let void: PaymentFailed = message(&bench.observer.answers(voided.order_id, 1).await[0]);
    assert_eq!(void.reason(), PaymentFailureReason::Voided);
    bench.confirm(&voided).await;
    bench.wait_behind(&voided).await;
    // Charged, debited twice, given back once.
    bench.observer.movements("ada", 4).await;
    assert_eq!(bench.balance("ada").await, 80);
    bench.close().await;
}

#[tokio::test]
async fn a_request_id_is_remembered_across_a_kill() {
    let mut bench = Bench::start().await;
    let ada = as_customer("ada");
    let request = || ada.request(charge_request("r-1", "ada", 10));
    let first = bench.client().charge_wallet(request()).await.unwrap().into_inner().wallet;
    bench.kill();
    bench.start_again().await;
    let again = bench.client().charge_wallet(request()).await.unwrap().into_inner().wallet;
    assert_eq!(again, first);
    assert_eq!(again.and_then(|wallet| wallet.balance), Some(eur(10)));
    bench.charge("ada", 1).await;
    bench.observer.movements("ada", 2).await;
    bench.close().await;
}
