//! What happened counts in its period, and a refund in the period of the cancellation.

use chrono::{Days, NaiveTime, TimeDelta, Utc};
use openorder_proto::{
    analytics::v1::{
        OrderStatsRequest, RankingWindow, SalesGranularity, SalesRow, SalesSummaryRequest, TopProductsRequest,
    },
    order::v1::{OrderCreated, OrderStatus},
};
use openorder_rpc::timestamp_to_proto;
use openorder_testing::{TestProducer, eventually};
use openorder_types::{Caller, Role, Timestamp};
use tonic::Code;

use crate::{
    orders::{Order, Way, money},
    world::{BOUND, Bench, Client, as_caller, as_operator, id_of, refusal, shown, top},
};

/// Noon of a day so long ago.
fn noon(days_ago: u64) -> Timestamp {
    let date = Utc::now().date_naive() - Days::new(days_ago);
    date.and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(12)
}

/// An order that was made, paid and perhaps called off at these times.
async fn told(producer: &TestProducer, order: &Order, paid: Timestamp, cancelled: Option<Timestamp>) {
    let key = order.id.to_string();
    let created = OrderCreated { order_id: key.clone(), ..Default::default() };
    producer.publish_as(&key, &created, id_of(paid - TimeDelta::seconds(2))).await;
    producer.publish_as(&key, &order.paid(), id_of(paid)).await;
    if let Some(cancelled) = cancelled {
        producer.publish_as(&key, &order.cancelled(OrderStatus::Paid), id_of(cancelled)).await;
    }
}

fn order(made: Timestamp, currency: &'static str, lines: &[(&str, i32, i64)]) -> Order {
    Order { id: id_of(made), ..Order::new(Way::GivenBack, currency, lines) }
}

async fn summary(client: &Client, granularity: SalesGranularity, from: Timestamp, currency: &str) -> Vec<SalesRow> {
    let request = SalesSummaryRequest {
        from_time: Some(timestamp_to_proto(&from)),
        until_time: None,
        granularity: granularity.into(),
        currency_code: currency.to_owned(),
    };
    client.clone().sales_summary(as_operator(request)).await.unwrap().into_inner().rows
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_counts_in_its_period_and_currencies_stay_apart() {
    let bench = Bench::start().await;
    let (instance, producer) = (bench.instance().await, TestProducer::new(&bench.world));
    let client = &instance.client;
    let (long_ago, last_week, today) = (noon(30), noon(3), Utc::now());
    let old = order(long_ago, "EUR", &[("TEA", 10, 100)]);
    let young = order(last_week, "EUR", &[("TEA", 3, 100), ("MUG", 1, 500)]);
    let other = order(today, "USD", &[("TEA", 2, 100)]);
    told(&producer, &old, long_ago, None).await;
    // Called off two days later.
    told(&producer, &young, last_week, Some(noon(1))).await;
    told(&producer, &other, today, None).await;

    let midnight = |time: Timestamp| time.date_naive().and_time(NaiveTime::MIN).and_utc();
    let rows = eventually("all are counted", BOUND, || async {
        let rows = summary(client, SalesGranularity::Day, midnight(long_ago), "").await;
        (rows.len() == 4).then_some(rows)
    })
    .await;
    let seen = |row: &SalesRow| {
        let days = row.period_start_time.unwrap().seconds;
        (days, row.currency_code.clone(), row.orders, row.quantity, row.refunded_orders, row.refunded_quantity)
    };
    let at = |time: Timestamp| midnight(time).timestamp();
    let expected = [
        (at(long_ago), "EUR".to_owned(), 1, 10, 0, 0),
        (at(last_week), "EUR".to_owned(), 1, 4, 0, 0),
        (at(noon(1)), "EUR".to_owned(), 0, 0, 1, 4),
        (at(today), "USD".to_owned(), 1, 2, 0, 0),
    ];
    assert_eq!(rows.iter().map(seen).collect::<Vec<_>>(), expected);
    assert_eq!(rows[1].net, Some(money("EUR", 800)));
    assert_eq!((rows[2].net.clone(), rows[2].refunded.clone()), (Some(money("EUR", 0)), Some(money("EUR", 800))));
    assert_eq!(summary(client, SalesGranularity::Day, midnight(long_ago), "USD").await.len(), 1);
    let of_hours = summary(client, SalesGranularity::Hour, midnight(today), "").await;
    let hours: Vec<i64> = of_hours.iter().map(|row| row.period_start_time.unwrap().seconds).collect();
    assert_eq!(hours, [today.timestamp() / 3_600 * 3_600]);
    let month = "2020-01-01T00:00:00Z".parse().unwrap();
    let of_months = summary(client, SalesGranularity::Month, month, "EUR").await;
    assert_eq!(of_months.iter().map(|row| row.orders).sum::<i64>(), 2);

    let stats = OrderStatsRequest {
        from_time: Some(timestamp_to_proto(&midnight(last_week))),
        until_time: Some(timestamp_to_proto(&midnight(today))),
    };
    let stats = client.clone().order_stats(as_operator(stats)).await.unwrap().into_inner();
    assert_eq!((stats.orders, stats.open_orders), (1, 0), "the one that was made then");

    // Ten long ago, three of this week that were given back, two today.
    for (window, expected) in [(RankingWindow::Day, 2), (RankingWindow::Week, 2), (RankingWindow::AllTime, 12)] {
        eventually("the ranking follows", BOUND, || async {
            let products = shown(&top(client, window, "").await);
            (products.len() == 1 && products[0].1 == expected).then_some(())
        })
        .await;
    }
    assert_eq!(top(client, RankingWindow::Day, "EUR").await.products, []);

    // Rows of old days are added up, and nothing else changes.
    let folding = bench.instance_with(|settings| settings.upkeep_interval_ms = 100).await;
    bench.run("analytics", "update product_sales set day = day - 40 where day > '1970-01-01'").await;
    eventually("old days are added up", BOUND, || async {
        let days = bench.one("analytics", "select count(distinct day)::text from product_sales").await;
        (days == "1").then_some(())
    })
    .await;
    bench.run("analytics", "update ranking set epoch = epoch + 1").await;
    eventually("all time is as it was", BOUND, || async {
        let products = shown(&top(client, RankingWindow::AllTime, "").await);
        let day = top(client, RankingWindow::Day, "").await.products;
        (products.len() == 1 && products[0].1 == 12 && day.is_empty()).then_some(())
    })
    .await;
    bench.close([instance, folding]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_amiss_is_told_what_is_wrong() {
    let bench = Bench::start().await;
    let instance = bench.instance_with(|settings| settings.summary_rows_max = 1).await;
    let client = &instance.client;
    let as_customer = |message| as_caller(Caller::new("ada", [Role::Customer]), message);
    let refused = client.clone().top_products(as_customer(TopProductsRequest::default())).await;
    assert_eq!(refusal(refused), (Code::PermissionDenied, "ROLE_REQUIRED".to_owned()));
    let half_past = Some(timestamp_to_proto(&(noon(1) + TimeDelta::minutes(30))));
    let stats = OrderStatsRequest { from_time: half_past, until_time: None };
    let refused = client.clone().order_stats(as_operator(stats)).await;
    assert_eq!(refusal(refused), (Code::InvalidArgument, "TIME_NOT_ALIGNED".to_owned()));
    let producer = TestProducer::new(&bench.world);
    for days in 1..3 {
        told(&producer, &order(noon(days), "EUR", &[("TEA", 1, 100)]), noon(days), None).await;
    }
    eventually("there are too many rows", BOUND, || async {
        let request = SalesSummaryRequest {
            from_time: Some(timestamp_to_proto(&(noon(5) - TimeDelta::hours(12)))),
            ..Default::default()
        };
        let refused = client.clone().sales_summary(as_operator(request)).await.err()?;
        assert_eq!(refusal::<()>(Err(refused)), (Code::FailedPrecondition, "SUMMARY_TOO_LARGE".to_owned()));
        Some(())
    })
    .await;
    bench.close([instance]).await;
}
