//! The ranking in Redis is right again, whatever happened to Redis; and it is answered without Redis as well.

use std::time::Duration;

use openorder_config::Secret;
use openorder_proto::analytics::v1::{RankingSource, RankingWindow};
use openorder_runtime::Condition;
use openorder_testing::{eventually, free_address};

use crate::{
    orders::Order,
    world::{BOUND, Bench, expected_top, redis, shown, top, until_counted, until_ranked},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_ranking_that_was_lost_is_filled_anew_wholly_or_in_part() {
    let bench = Bench::start().await;
    let (first, second) = (bench.instance().await, bench.instance().await);
    let orders: Vec<Order> = (0..100).map(Order::numbered).collect();
    bench.orders.tell_all(&orders).await;
    until_ranked(&first.client, &orders).await;

    let keys = bench.keys().await;
    assert!(keys.len() > 6, "{keys:?}");
    bench.delete(&keys).await;
    let answer = top(&second.client, RankingWindow::AllTime, "").await;
    assert_eq!(shown(&answer), expected_top(&orders, None), "out of {:?}", answer.source());
    until_ranked(&second.client, &orders).await;

    // An order and the products of another one: what is left is not taken for a ranking.
    let part: Vec<String> =
        bench.keys().await.into_iter().filter(|key| key.ends_with("all:*") || key.ends_with("products")).collect();
    assert!(part.len() > 1, "{part:?}");
    bench.delete(&part).await;
    assert_eq!(shown(&top(&first.client, RankingWindow::AllTime, "").await), expected_top(&orders, None));
    until_ranked(&first.client, &orders).await;

    let mut redis = redis().await;
    for key in bench.keys().await {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.unwrap();
        assert!(left > 0, "{key} would stay for ever");
    }
    // It goes on with what is sold from now on, whoever writes it.
    let more: Vec<Order> = (0..160).map(Order::numbered).collect();
    first.kill();
    let all: Vec<Order> = orders.into_iter().chain(more.into_iter().skip(100)).collect();
    bench.orders.tell_all(&all[100..]).await;
    until_ranked(&second.client, &all).await;
    bench.close([second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_turn_is_over_writes_nothing_and_an_old_ranking_is_not_shown() {
    let bench = Bench::start().await;
    let instance = bench
        .instance_with(|settings| {
            settings.ranking.age_max_ms = 1_000;
        })
        .await;
    let orders: Vec<Order> = (0..30).map(Order::numbered).collect();
    bench.orders.tell_all(&orders).await;
    until_ranked(&instance.client, &orders).await;
    // Somebody with a later turn has written.
    let fence = bench.keys().await.into_iter().find(|key| key.ends_with(":fence")).unwrap();
    let mut redis = redis().await;
    let _: String = redis::cmd("SET").arg(&fence).arg(1_000_000_000).query_async(&mut redis).await.unwrap();
    let all: Vec<Order> = orders.into_iter().chain((30..60).map(Order::numbered)).collect();
    bench.orders.tell_all(&all[30..]).await;
    until_counted(&instance.client, &all).await;
    eventually("the old ranking is not shown any more", BOUND, || async {
        let answer = top(&instance.client, RankingWindow::AllTime, "").await;
        (answer.source() == RankingSource::Postgresql).then_some(())
    })
    .await;
    assert_eq!(shown(&top(&instance.client, RankingWindow::AllTime, "").await), expected_top(&all, None));
    bench.delete(&[fence]).await;
    until_ranked(&instance.client, &all).await;
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_rankings_are_made_of_the_sums_and_what_waits_is_bounded() {
    let bench = Bench::start().await;
    let nobody = Secret::new(format!("redis://{}", free_address()));
    let instance = bench
        .instance_with(|settings| {
            settings.redis_url = nobody;
            settings.ranking.changes_max = 100;
        })
        .await;
    let orders: Vec<Order> = (0..60).map(Order::numbered).collect();
    bench.orders.tell_all(&orders).await;
    until_counted(&instance.client, &orders).await;
    let answer = top(&instance.client, RankingWindow::AllTime, "EUR").await;
    assert_eq!((shown(&answer), answer.source()), (expected_top(&orders, Some("EUR")), RankingSource::Postgresql));
    assert!(answer.as_of_time.is_some());
    let readiness = bench.world.readiness();
    eventually("the role tells what is away", BOUND, || async {
        (readiness.condition_of("analytics") == Condition::Degraded).then_some(())
    })
    .await;
    // All that it answers it answers without.
    tokio::time::timeout(Duration::from_secs(5), readiness.wait_serving()).await.unwrap();

    let epoch = "select epoch::text from ranking";
    let before = bench.one("analytics", epoch).await;
    bench.run("analytics", "insert into ranking_change (skus) select '{HOT}' from generate_series(1, 150)").await;
    eventually("what waits is forgotten", BOUND, || async {
        let waiting = bench.one("analytics", "select count(*)::text from ranking_change").await;
        (waiting.parse::<i64>().unwrap() <= 100).then_some(())
    })
    .await;
    assert_ne!(bench.one("analytics", epoch).await, before, "the ranking will be filled anew");
    // One that reaches Redis does, beside the one that does not.
    let other = bench.instance().await;
    until_ranked(&other.client, &orders).await;
    bench.close([instance, other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_ranking_is_kept_nothing_is_written_to_redis() {
    let bench = Bench::start().await;
    let instance = bench.instance_with(|settings| settings.ranking.in_redis = false).await;
    let orders: Vec<Order> = (0..30).map(Order::numbered).collect();
    bench.orders.tell_all(&orders).await;
    until_counted(&instance.client, &orders).await;
    let answer = top(&instance.client, RankingWindow::Week, "").await;
    assert_eq!((shown(&answer), answer.source()), (expected_top(&orders, None), RankingSource::Postgresql));
    assert_eq!(bench.keys().await, Vec::<String>::new());
    assert_eq!(bench.one("analytics", "select count(*)::text from ranking_change").await, "0");
    assert_eq!(bench.world.readiness().condition_of("analytics"), Condition::Ready);
    bench.close([instance]).await;
}
