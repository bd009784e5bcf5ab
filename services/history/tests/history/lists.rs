//! Orders are found by each condition, page by page.

use std::collections::BTreeSet;

use chrono::Utc;
use openorder_proto::{
    google::r#type::Money,
    history::v1::{ListOrderViewsRequest, OrderView, SearchOrdersRequest, SearchOrdersResponse},
    order::v1::OrderStatus,
};
use openorder_rpc::CallContext;
use openorder_testing::eventually;
use tonic::{Code, Status};

use crate::{
    freshness::is_after,
    story::{Story, eur},
    world::{BOUND, Client, Shop, as_customer, as_operator, becomes, is, refusal},
};

async fn search(
    client: &Client,
    call: CallContext,
    request: SearchOrdersRequest,
) -> Result<SearchOrdersResponse, Status> {
    client.clone().search_orders(call.request(request)).await.map(tonic::Response::into_inner)
}

/// The ids that fit, the newest first, over all pages.
async fn found(client: &Client, call: CallContext, request: SearchOrdersRequest) -> Vec<String> {
    let (mut ids, mut request) = (Vec::new(), request);
    loop {
        let page = search(client, call.clone(), request.clone()).await.unwrap();
        ids.extend(page.order_views.into_iter().map(|view| view.order_id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

async fn told(shop: &Shop, client: &Client, stories: &[Story]) {
    for story in stories {
        shop.append(story.created()).await;
    }
    for story in stories {
        becomes(client, &story.order_id, "the order is there", |_| true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_condition_finds_what_fits_and_nothing_else() {
    let (shop, client) = Shop::open().await;
    let stories = [
        Story::of("anna", "CHAIR-RED"),
        Story::of("anna", "TABLE.1").costing(250),
        Story::of("bert", "CHAIR-RED").costing(30),
        Story { name: "Grüner Stuhl aus Buche".to_owned(), ..Story::of("cleo", "X-9") },
    ];
    told(&shop, &client, &stories).await;
    let [chair, table, other, green] = &stories;
    shop.append(table.cancelled(2, "OUT_OF_STOCK")).await;
    shop.append(other.confirmed()).await;
    shop.append(chair.shipped("TRACK-4711")).await;
    becomes(&client, &table.order_id, "it is cancelled", |view| view.order_version == 2).await;
    becomes(&client, &other.order_id, "it is confirmed", |view| view.order_version == 2).await;
    becomes(&client, &chair.order_id, "it is shipped", |view| view.shipment.is_some()).await;

    let all = SearchOrdersRequest::default;
    let krw = |units| Some(Money { currency_code: "KRW".to_owned(), units, nanos: 0 });
    let (cancelled, confirmed) = (OrderStatus::Cancelled.into(), OrderStatus::Confirmed.into());
    let text = str::to_owned;
    let cases: Vec<(SearchOrdersRequest, Vec<&Story>)> = vec![
        (all(), vec![green, other, table, chair]),
        (SearchOrdersRequest { customer_id: text("anna"), ..all() }, vec![table, chair]),
        (SearchOrdersRequest { sku: text("CHAIR-RED"), ..all() }, vec![other, chair]),
        (SearchOrdersRequest { sku: text("CHAIR"), ..all() }, vec![]),
        (SearchOrdersRequest { statuses: vec![cancelled, confirmed], ..all() }, vec![other, table]),
        (SearchOrdersRequest { status_reason: text("OUT_OF_STOCK"), ..all() }, vec![table]),
        (SearchOrdersRequest { create_time_from: Some(other.created), ..all() }, vec![green, other]),
        (SearchOrdersRequest { create_time_until: Some(other.created), ..all() }, vec![table, chair]),
        (SearchOrdersRequest { total_min: eur(30), ..all() }, vec![other, table]),
        (SearchOrdersRequest { total_min: eur(30), total_max: eur(249), ..all() }, vec![other]),
        (SearchOrdersRequest { total_max: eur(10), ..all() }, vec![green, chair]),
        (SearchOrdersRequest { total_max: krw(1_000_000), ..all() }, vec![]),
        (SearchOrdersRequest { query: text("chair"), ..all() }, vec![other, chair]),
        (SearchOrdersRequest { query: text("RED cha"), ..all() }, vec![other, chair]),
        (SearchOrdersRequest { query: text("stuhl GRÜN"), ..all() }, vec![green]),
        (SearchOrdersRequest { query: text("buch chair"), ..all() }, vec![]),
        (SearchOrdersRequest { query: text("out of stock"), ..all() }, vec![table]),
        (SearchOrdersRequest { query: text("track-4711"), ..all() }, vec![chair]),
        (SearchOrdersRequest { query: green.order_id.clone(), ..all() }, vec![green]),
        (SearchOrdersRequest { query: text("zebulon"), ..all() }, vec![]),
        (SearchOrdersRequest { query: text("red"), customer_id: text("bert"), ..all() }, vec![other]),
        (
            SearchOrdersRequest { sku: text("CHAIR-RED"), statuses: vec![confirmed], total_min: eur(1), ..all() },
            vec![other],
        ),
    ];
    for (request, expected) in cases {
        let expected: Vec<&str> = expected.into_iter().map(|story| story.order_id.as_str()).collect();
        assert_eq!(found(&client, as_operator(), request.clone()).await, expected, "{request:?}");
        // Page by page it is the same.
        let paged = SearchOrdersRequest { page_size: 1, ..request.clone() };
        assert_eq!(found(&client, as_operator(), paged).await, expected, "one a page: {request:?}");
    }
    let own = found(&client, as_customer("bert"), SearchOrdersRequest { query: text("chair"), ..all() }).await;
    assert_eq!(own, [other.order_id.as_str()], "customers find their own");
    let foreign = SearchOrdersRequest { customer_id: text("anna"), ..all() };
    let foreign = search(&client, as_customer("bert"), foreign).await;
    assert_eq!(refusal(foreign), is(Code::PermissionDenied, "CUSTOMER_MISMATCH"));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_each_order_once_while_orders_come() {
    let (shop, client) = Shop::open().await;
    let started = Utc::now();
    let stories: Vec<Story> = (0..25).map(|_| Story::of("anna", "CHAIR")).collect();
    told(&shop, &client, &stories).await;
    // Until all partitions were once caught up with, no answer says how fresh it is; from then on each does.
    is_after(&client, started).await;
    let (mut seen, mut request) = (Vec::new(), ListOrderViewsRequest { page_size: 4, ..Default::default() });
    loop {
        let page = client.clone().list_order_views(as_operator().request(request.clone())).await.unwrap().into_inner();
        assert!(page.as_of.is_some());
        seen.extend(page.order_views.into_iter().map(|view| view.order_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        // Newer ones, which are on pages before.
        let newer = Story::of("anna", "CHAIR");
        told(&shop, &client, std::slice::from_ref(&newer)).await;
    }
    let expected: Vec<&str> = stories.iter().rev().map(|story| story.order_id.as_str()).collect();
    assert_eq!(seen, expected);

    let first = ListOrderViewsRequest { page_size: 4, ..Default::default() };
    let page = client.clone().list_order_views(as_operator().request(first.clone())).await.unwrap().into_inner();
    let token = page.next_page_token;
    let other = ListOrderViewsRequest { page_token: token.clone(), customer_id: "anna".to_owned(), ..first.clone() };
    let refused = client.clone().list_order_views(as_operator().request(other)).await;
    assert_eq!(refusal(refused), is(Code::InvalidArgument, "PAGE_TOKEN_INVALID"), "another filter");
    let same = as_customer("anna").request(ListOrderViewsRequest { page_token: token.clone(), ..first });
    let refused = client.clone().list_order_views(same).await;
    assert_eq!(refusal(refused), is(Code::InvalidArgument, "PAGE_TOKEN_INVALID"), "another caller");
    let elsewhere = SearchOrdersRequest { page_token: token, ..Default::default() };
    let refused = search(&client, as_operator(), elsewhere).await;
    assert_eq!(refusal(refused), is(Code::InvalidArgument, "PAGE_TOKEN_INVALID"), "another list");
    shop.close().await;
}

/// Where few orders fit, a page ends after so many were looked at, and the next one goes on behind them. Where more fit what
/// is rare than may be looked at, it is the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_looks_at_a_bounded_number_of_orders() {
    let (shop, client) = Shop::open_with(|settings| settings.list_scan_max = 501).await;
    let stories: Vec<Story> = (0..1_300)
        .map(|number| {
            // Their times differ, and those that fit are the oldest.
            let mut story = Story::of("anna", if number < 700 { "CHAIR" } else { "TABLE" });
            story.created.seconds -= 10_000 - number;
            if number < 3 { story.costing(77) } else { story }
        })
        .collect();
    let told: Vec<_> = stories.iter().map(Story::created).collect();
    shop.append(Box::new(move |events| told.iter().for_each(|append| append(events)))).await;
    let pool = shop.database("history").await;
    eventually("all orders are there", BOUND, || async {
        let count: i64 = sqlx::query_scalar("select count(*) from order_view_a where create_time is not null")
            .fetch_one(&pool)
            .await
            .unwrap();
        (count == 1_300).then_some(())
    })
    .await;
    let request = SearchOrdersRequest { total_min: eur(77), page_size: 2, ..Default::default() };
    let first = search(&client, as_operator(), request.clone()).await.unwrap();
    assert_eq!(first.order_views.len(), 0, "none of the first 501 fits");
    assert!(!first.next_page_token.is_empty());
    let ids = |stories: &[Story]| -> Vec<String> { stories.iter().rev().map(|story| story.order_id.clone()).collect() };
    assert_eq!(found(&client, as_operator(), request).await, ids(&stories[..3]));
    // 700 have the SKU, more than may be looked at; 600 have the other one, as well.
    for (sku, expected) in [("CHAIR", &stories[..700]), ("TABLE", &stories[700..])] {
        let by_sku = SearchOrdersRequest { sku: sku.to_owned(), page_size: 100, ..Default::default() };
        assert_eq!(found(&client, as_operator(), by_sku).await, ids(expected));
        let by_word = SearchOrdersRequest { query: sku.to_lowercase(), page_size: 500, ..Default::default() };
        assert_eq!(found(&client, as_operator(), by_word).await, ids(expected));
    }
    let both = SearchOrdersRequest { sku: "CHAIR".to_owned(), total_min: eur(77), ..Default::default() };
    assert_eq!(found(&client, as_operator(), both).await, ids(&stories[..3]));
    let all = found(&client, as_operator(), SearchOrdersRequest::default()).await;
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 1_300);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_documents_as_a_single_look_does() {
    let (shop, client) = Shop::open().await;
    let story = Story::of("anna", "CHAIR");
    for events in story.whole() {
        shop.append(events).await;
    }
    shop.append(story.trouble(5)).await;
    let whole = |view: &OrderView| view.order_version == 6 && view.messages.iter().any(|message| message.version == 2);
    let view = becomes(&client, &story.order_id, "the story is told", whole).await;
    let listed = client.clone().list_order_views(as_operator().request(ListOrderViewsRequest::default())).await;
    assert_eq!(listed.unwrap().into_inner().order_views, [view]);
    let own = client.clone().list_order_views(as_customer("anna").request(ListOrderViewsRequest::default())).await;
    let own = own.unwrap().into_inner().order_views.remove(0);
    assert!(own.compensations.iter().all(|step| step.operator.is_empty()));
    shop.close().await;
}
