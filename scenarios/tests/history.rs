//! Orders are looked up in a running system, and all documents are built anew while orders flow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder_proto::{
    history::v1::{GetOrderViewRequest, OrderView, SearchOrdersRequest},
    notification::v1::NotificationStatus,
    order::v1::{Order, OrderStatus},
    payment::v1::PaymentState,
};
use openorder_scenarios::{Deployment, Shop, eur, id};
use openorder_testing::eventually;
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(90);

async fn view(shop: &Shop, order_id: &str, min_version: i64) -> OrderView {
    let request = GetOrderViewRequest { order_id: order_id.to_owned(), min_version };
    let found = || async {
        let answer = shop.history.clone().get_order_view(request.clone()).await.ok()?;
        answer.into_inner().order_view
    };
    eventually("the document has the version", BOUND, found).await
}

async fn order(shop: &Shop, customer: &str, sku: &str, quantity: i32) -> Order {
    shop.create(Shop::request(customer, sku, quantity)).await.expect("an order")
}

async fn found(shop: &Shop, request: SearchOrdersRequest) -> Vec<String> {
    let answer = shop.history.clone().search_orders(request).await.expect("an answer").into_inner();
    answer.order_views.into_iter().map(|view| view.order_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_found_with_all_that_became_of_them_also_while_documents_are_built_anew() {
    // Slow enough to be watched.
    let slow = ("history", "rebuild_page_size = 20\nrebuild_events_per_second_max = 100");
    let system = Deployment::start(&[slow]).await;
    let shop = system.shop();
    let (sku, customer) = (id("chair"), id("anna"));
    shop.product(&sku, eur(19, 0), 100).await;
    shop.charge(&customer, eur(1_000, 0)).await;
    let made = order(&shop, &customer, &sku, 2).await;
    // What one has made one sees.
    assert_eq!(view(&shop, &made.order_id, made.version).await.customer_id, customer);
    let whole = || async {
        let seen = view(&shop, &made.order_id, 4).await;
        let is_paid = seen.payment.as_ref().is_some_and(|payment| payment.state() == PaymentState::Completed);
        let is_told = seen.messages.iter().any(|message| message.status == NotificationStatus::Sent as i32);
        (seen.status() == OrderStatus::Preparing && is_paid && is_told && seen.shipment.is_some()).then_some(seen)
    };
    let seen = eventually("everything is in the document", BOUND, whole).await;
    assert_eq!((seen.total.clone(), seen.trace_id.len()), (Some(eur(38, 0)), 32));

    let by_sku = SearchOrdersRequest { sku: sku.clone(), ..SearchOrdersRequest::default() };
    assert_eq!(found(&shop, by_sku.clone()).await, [made.order_id.as_str()]);
    let by_word = SearchOrdersRequest { query: made.order_id.clone(), ..SearchOrdersRequest::default() };
    assert_eq!(found(&shop, by_word).await, [made.order_id.as_str()]);

    let rebuilding = system.command(&["rebuild", "history", "--reason", "a test of it", "-o", "json"]);
    let ordering = async {
        let mut ids = vec![made.order_id.clone()];
        for _ in 0..20 {
            ids.push(order(&shop, &customer, &sku, 1).await.order_id);
            assert!(!found(&shop, by_sku.clone()).await.is_empty(), "queries go on");
        }
        ids
    };
    let (rebuilt, ids) = tokio::join!(rebuilding, ordering);
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    let document = rebuilt.json();
    assert_eq!(document["state"], Value::from("REBUILD_STATE_COMPLETED"));
    assert!(document["sources"].as_array().unwrap().iter().all(|source| source["is_read"] == true));
    for order_id in &ids {
        view(&shop, order_id, 4).await;
    }
    let same = || async {
        let now = view(&shop, &made.order_id, 4).await;
        (now == seen).then_some(())
    };
    eventually("the first order is as it was", BOUND, same).await;
    let status = system.command(&["rebuild", "history", "--status"]).await;
    assert!(status.code == 0 && status.out.contains("COMPLETED"), "{status:?}");
    let rebuild_id = document["rebuild_id"].as_str().unwrap();
    let too_late = system.command(&["rebuild", "history", "--cancel", rebuild_id]).await;
    assert!(too_late.code == 1 && too_late.out.contains("COMPLETED"), "{too_late:?}");
    let verified = system.command(&["verify", "--only", "agreement", "--settle", "5s"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
}
