//! Wallets and payments by gRPC: commands once, and everybody sees their own.

use openorder_messaging::CommitterSettings;
use openorder_proto::{
    google::r#type::Money,
    payment::v1::{GetPaymentRequest, GetWalletRequest, ListPaymentsRequest, PaymentState, get_payment_request::Key},
};
use openorder_rpc::{CallContext, reason_of};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::{Bench, Order, as_customer, as_operator, as_service, charge_request, eur, order};

/// Code and reason of a refusal.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn a_charge_counts_once_for_each_request_id() {
    let bench = Bench::start().await;
    let ada = as_customer("ada");
    let charge = |context: CallContext, id: &'static str, euros| {
        let mut client = bench.client();
        async move {
            let answer = client.charge_wallet(context.request(charge_request(id, "ada", euros))).await;
            answer.map(|answer| answer.into_inner().wallet.unwrap())
        }
    };
    let first = charge(ada.clone(), "r-1", 10).await.unwrap();
    assert_eq!((first.user_id.as_str(), first.balance.clone(), first.version), ("ada", Some(eur(10)), 1));
    charge(ada.clone(), "r-2", 5).await.unwrap();
    // Again: the answer of then, although the wallet has moved on.
    assert_eq!(charge(ada.clone(), "r-1", 10).await.unwrap(), first);
    assert_eq!(refused(charge(ada.clone(), "r-1", 11).await), is(Code::AlreadyExists, "REQUEST_ID_REUSED"));
    // Another caller's id of the same name is another id.
    charge(as_operator(), "r-1", 1).await.unwrap();
    let (one, two) = tokio::join!(charge(ada.clone(), "r-3", 4), charge(ada.clone(), "r-3", 4));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(bench.balance("ada").await, 20);
    bench.observer.movements("ada", 4).await;
    bench.close().await;
}

#[tokio::test]
async fn a_charge_that_may_not_be_is_refused_with_its_reason() {
    let bench = Bench::start().await;
    bench.charge("ada", 10).await;
    let mut client = bench.client();
    let wrong = charge_request("not an id", "not a user", 0);
    let (code, reason) = refused(client.charge_wallet(as_service().request(wrong)).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "INVALID_ARGUMENT"));
    let foreign = charge_request("r", "bob", 1);
    let denied = refused(client.charge_wallet(as_customer("ada").request(foreign)).await);
    assert_eq!(denied, is(Code::PermissionDenied, "NOT_YOUR_WALLET"));
    let mut yen = charge_request("r", "ada", 1);
    yen.amount = Some(Money { currency_code: "JPY".to_owned(), units: 1, nanos: 0 });
    let mismatch = refused(client.charge_wallet(as_customer("ada").request(yen)).await);
    assert_eq!(mismatch, is(Code::FailedPrecondition, "CURRENCY_MISMATCH"));
    let nobody = refused(client.charge_wallet(charge_request("r", "ada", 1)).await);
    assert_eq!(nobody, is(Code::Unauthenticated, "CALLER_MISSING"));
    assert_eq!(bench.balance("ada").await, 10);
    bench.close().await;
}

#[tokio::test]
async fn a_thousand_charges_at_once_fill_a_wallet_to_its_limit_and_no_further() {
    let bench = Bench::start().await;
    let largest = 10_000_000_000;
    let charges = (0..1_010).map(|number| {
        let mut client = bench.client();
        async move {
            let message = charge_request(&format!("r-{number}"), "max", largest);
            client.charge_wallet(as_operator().request(message)).await.map(|answer| answer.into_inner().wallet.unwrap())
        }
    });
    let running: Vec<_> = charges.map(tokio::spawn).collect();
    let (mut versions, mut full) = (Vec::new(), 0);
    for answer in running {
        match answer.await.unwrap() {
            Ok(wallet) => {
                assert_eq!(wallet.balance, Some(eur(largest * wallet.version)), "each caller sees its own step");
                versions.push(wallet.version);
            }
            Err(status) => {
                assert_eq!(refused(Err::<(), _>(status)), is(Code::OutOfRange, "WALLET_LIMIT_EXCEEDED"));
                full += 1;
            }
        }
    }
    versions.sort_unstable();
    assert_eq!((versions, full), ((1..=1_000).collect(), 10));
    bench.close().await;
}

/// A paid order and one that failed for ada, a paid one for bob.
async fn three_payments(bench: &Bench) -> [Order; 3] {
    bench.charge("ada", 100).await;
    bench.charge("bob", 100).await;
    let orders = [order("ada", 10), order("ada", 500), order("bob", 10)];
    for order in &orders {
        bench.confirm(order).await;
        bench.observer.answers(order.order_id, 1).await;
    }
    orders
}

#[tokio::test]
async fn customers_see_their_own_wallet_and_payments_alone() {
    let bench = Bench::start().await;
    let orders = three_payments(&bench).await;
    let mut client = bench.client();
    let wallet = |user: &str| GetWalletRequest { user_id: user.to_owned() };
    let own = client.get_wallet(as_customer("bob").request(wallet("bob"))).await.unwrap();
    assert_eq!(own.into_inner().wallet.unwrap().balance, Some(eur(90)));
    for (context, user) in [(as_customer("ada"), "bob"), (as_operator(), "nobody"), (as_customer("eve"), "eve")] {
        let missing = refused(client.get_wallet(context.request(wallet(user))).await);
        assert_eq!(missing, is(Code::NotFound, "WALLET_NOT_FOUND"), "{user}");
    }
    let by_order = |order: &Order| GetPaymentRequest { key: Some(Key::OrderId(order.order_id.to_string())) };
    assert!(client.get_payment(as_customer("ada").request(by_order(&orders[0]))).await.is_ok());
    let foreign = refused(client.get_payment(as_customer("ada").request(by_order(&orders[2]))).await);
    assert_eq!(foreign, is(Code::NotFound, "PAYMENT_NOT_FOUND"));
    let unknown = GetPaymentRequest { key: Some(Key::PaymentId(Uuid::now_v7().to_string())) };
    let unknown = refused(client.get_payment(as_operator().request(unknown)).await);
    assert_eq!(unknown, is(Code::NotFound, "PAYMENT_NOT_FOUND"));
    bench.close().await;
}

async fn listed(bench: &Bench, context: CallContext, request: ListPaymentsRequest) -> (Vec<String>, String) {
    let answer = bench.client().list_payments(context.request(request)).await.unwrap().into_inner();
    (answer.payments.into_iter().map(|payment| payment.order_id).collect(), answer.next_page_token)
}

#[tokio::test]
async fn lists_show_what_the_caller_may_see_and_asked_for() {
    let bench = Bench::start().await;
    let ids = three_payments(&bench).await.map(|order| order.order_id.to_string());
    let [paid, failed, bobs] = ids.each_ref().map(String::as_str);
    let all = ListPaymentsRequest::default;
    let of_bob = || ListPaymentsRequest { user_id: "bob".to_owned(), ..all() };
    let listed = |context, request| listed(&bench, context, request);
    // The newest first.
    assert_eq!(listed(as_operator(), all()).await.0, [bobs, failed, paid]);
    assert_eq!(listed(as_customer("ada"), all()).await.0, [failed, paid]);
    assert_eq!(listed(as_operator(), of_bob()).await.0, [bobs]);
    assert_eq!(listed(as_customer("ada"), of_bob()).await.0, Vec::<String>::new());
    let in_state = |state: PaymentState| ListPaymentsRequest { state: state.into(), ..all() };
    assert_eq!(listed(as_operator(), in_state(PaymentState::Failed)).await.0, [failed]);
    assert_eq!(listed(as_customer("ada"), in_state(PaymentState::Completed)).await.0, [paid]);
    assert_eq!(listed(as_operator(), in_state(PaymentState::Initiated)).await.0, Vec::<String>::new());
    let of_order = ListPaymentsRequest { order_id: bobs.to_owned(), ..all() };
    assert_eq!(listed(as_service(), of_order.clone()).await.0, [bobs]);
    assert_eq!(listed(as_customer("ada"), of_order).await.0, Vec::<String>::new());
    bench.close().await;
}

#[tokio::test]
async fn pages_join_without_gaps_and_their_tokens_fit_one_caller_and_one_list() {
    let bench = Bench::start().await;
    let ids = three_payments(&bench).await.map(|order| order.order_id.to_string());
    let [paid, failed, bobs] = ids.each_ref().map(String::as_str);
    let page = |token: &str| ListPaymentsRequest {
        page_size: 2,
        page_token: token.to_owned(),
        ..ListPaymentsRequest::default()
    };
    let (first, token) = listed(&bench, as_operator(), page("")).await;
    assert_eq!(first, [bobs, failed]);
    let (second, end) = listed(&bench, as_operator(), page(&token)).await;
    assert_eq!(second, [paid]);
    assert_eq!(end, "");
    let other_list = ListPaymentsRequest { state: PaymentState::Failed.into(), ..page(&token) };
    for (context, request) in
        [(as_customer("ada"), page(&token)), (as_operator(), other_list), (as_operator(), page("x"))]
    {
        let answer = bench.client().list_payments(context.request(request)).await;
        assert_eq!(refused(answer), is(Code::InvalidArgument, "PAGE_TOKEN_INVALID"));
    }
    bench.close().await;
}

#[tokio::test]
async fn batches_at_once_over_the_same_wallets_never_wait_for_each_other_in_a_circle() {
    const WALLETS: usize = 6;
    const CHARGES: usize = 120;
    let committer =
        CommitterSettings { batch_max: 4, batches_at_once: 6, linger_ms: 0, linger_min_ms: 0, ..Default::default() };
    let bench = Bench::start_with(committer).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..CHARGES {
        let mut client = bench.client();
        // The first ones open the wallets; forwards and backwards by turns.
        let wallet =
            if (number / WALLETS).is_multiple_of(2) { number % WALLETS } else { WALLETS - 1 - number % WALLETS };
        let request = charge_request(&format!("r-{number}"), &format!("user-{wallet}"), 1);
        calls.spawn(async move { client.charge_wallet(as_operator().request(request)).await });
    }
    for answer in calls.join_all().await {
        answer.unwrap();
    }
    for wallet in 0..WALLETS {
        assert_eq!(bench.balance(&format!("user-{wallet}")).await, i64::try_from(CHARGES / WALLETS).unwrap());
    }
    assert_eq!(bench.world.deadlocks("payment").await, 0);
    bench.close().await;
}
