//! What the shop sold, as its operators see it through the gateway, in `openorder verify`, and after a rebuild.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use openorder_proto::{
    analytics::v1::{
        OrderStatsRequest, RankingSource, RankingWindow, SalesSummaryRequest, TopProductsRequest, TopProductsResponse,
    },
    order::v1::{CancelOrderRequest, CreateOrderRequest, OrderStatus},
};
use openorder_scenarios::{Deployment, Shop, eur, id};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

const SETTLE: &[&str] = &["--only", "sales", "--settle", "3s"];

async fn top(shop: &Shop) -> TopProductsResponse {
    let request = TopProductsRequest { window: RankingWindow::AllTime.into(), ..Default::default() };
    shop.analytics.clone().top_products(request).await.unwrap().into_inner()
}

/// Waits until the ranking in Redis has these SKUs with so many pieces, and nothing else.
async fn ranked(system: &Deployment, shop: &Shop, expected: &[(&str, i64)]) -> TopProductsResponse {
    system
        .eventually("the ranking", || async {
            let answer = top(shop).await;
            let seen: Vec<(&str, i64)> =
                answer.products.iter().map(|product| (product.sku.as_str(), product.quantity)).collect();
            (answer.source() == RankingSource::Redis && seen == expected).then_some(answer)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sold_is_ranked_verified_and_counted_anew() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (chair, lamp, customer) = (id("chair"), id("lamp"), id("anna"));
    shop.product(&chair, eur(20, 0), 100).await;
    shop.product(&lamp, eur(30, 0), 100).await;
    shop.charge(&customer, eur(1_000, 0)).await;
    shop.coupon("SALES-10", 10, 1).await;
    let issued_coupon_id = shop.issue("SALES-10", &customer).await.unwrap().issued_coupon_id;
    let order = async |request: CreateOrderRequest, status| {
        let order_id = shop.create(request).await.unwrap().order_id;
        shop.until(&order_id, status).await;
        order_id
    };
    order(Shop::request(&customer, &chair, 3), OrderStatus::Preparing).await;
    // Ten percent of two lamps.
    let with_coupon = CreateOrderRequest { issued_coupon_id, ..Shop::request(&customer, &lamp, 2) };
    order(with_coupon, OrderStatus::Preparing).await;
    let given_back = order(Shop::request(&customer, &lamp, 5), OrderStatus::Preparing).await;
    let cancel = CancelOrderRequest { request_id: id("cancel"), order_id: given_back.clone(), ..Default::default() };
    shop.orders.clone().cancel_order(cancel).await.unwrap();
    shop.until(&given_back, OrderStatus::Cancelled).await;
    order(Shop::request(&customer, &chair, 500), OrderStatus::Rejected).await;

    let expected = [(chair.as_str(), 3), (lamp.as_str(), 2)];
    let answer = ranked(&system, &shop, &expected).await;
    let revenue: Vec<_> = answer.products.iter().map(|product| product.revenue.clone()).collect();
    assert_eq!(revenue, [vec![eur(60, 0)], vec![eur(54, 0)]]);
    let from_time = Some(prost_types::Timestamp { seconds: 1_704_067_200, nanos: 0 });
    let request = SalesSummaryRequest { from_time, ..Default::default() };
    let refused = shop.analytics.clone().sales_summary(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "a thousand days and more");
    let request = SalesSummaryRequest { from_time, granularity: 3, ..Default::default() };
    let rows = shop.analytics.clone().sales_summary(request).await.unwrap().into_inner().rows;
    let net = |row: &openorder_proto::analytics::v1::SalesRow| row.net.as_ref().map_or(0, |money| money.units);
    assert_eq!(rows.iter().map(|row| (row.orders, net(row))).collect::<Vec<_>>(), [(3, 60 + 54 + 150)]);
    assert_eq!((rows[0].discount.clone(), rows[0].refunded.clone()), (Some(eur(6, 0)), Some(eur(150, 0))));
    let stats = OrderStatsRequest { from_time, until_time: None };
    let stats = shop.analytics.clone().order_stats(stats).await.unwrap().into_inner();
    let counts: Vec<(&str, i64)> =
        stats.counts.iter().map(|count| (count.status_reason.as_str(), count.orders)).collect();
    assert_eq!(counts, [("", 2), ("CANCELLED_BY_OPERATOR", 1), ("OUT_OF_STOCK", 1)]);

    let sound = system.verify(SETTLE).await;
    assert!(sound.holds(), "{:#}", sound.report);
    let spoil = "update product_sales set quantity = quantity + 1; update sales set orders = orders + 2; \
                 update order_count set orders = orders * 2";
    let mut database = PgConnection::connect(system.world.database_url("analytics").expose()).await.unwrap();
    database.execute(AssertSqlSafe(spoil)).await.unwrap();
    let told: Vec<String> = system.verify(SETTLE).await.violations().into_iter().map(|(_, reason, _)| reason).collect();
    for reason in ["ORDER_COUNT_DIFFERS", "SALES_DIFFER", "PRODUCTS_DIFFER"] {
        assert!(told.iter().any(|told| told == reason), "{told:?}");
    }
    let rebuild = ["rebuild", "analytics", "--from-events", "--reason", "spoilt by a test", "-o", "json"];
    let rebuilt = system.command(&rebuild).await;
    assert_eq!((rebuilt.code, rebuilt.json()["state"].as_str()), (0, Some("REBUILD_STATE_DONE")), "{rebuilt:?}");
    let mended = system.verify(SETTLE).await;
    assert!(mended.holds(), "{:#}", mended.report);
    ranked(&system, &shop, &expected).await;

    let again = system.command(&["rebuild", "analytics", "--reason", "to be sure"]).await;
    assert!(again.code == 0 && again.out.contains("DONE: 2 products ranked"), "{again:?}");
    let unknown = ["rebuild", "analytics", "--cancel", "01900000-0000-7000-8000-000000000000"];
    let unknown = system.command(&unknown).await;
    assert!(unknown.code == 1 && unknown.err.contains("REBUILD_NOT_FOUND"), "{unknown:?}");
    database.close().await.unwrap();
    system.close().await;
}
