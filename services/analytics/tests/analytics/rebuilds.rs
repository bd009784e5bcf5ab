//! What is wrong is made right: the ranking alone, or all sums, while orders flow.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use openorder_proto::analytics::v1::{
    CancelRebuildRequest, GetRebuildRequest, RankingWindow, Rebuild, RebuildState, StartRebuildRequest,
};
use openorder_testing::eventually;
use tonic::{Code, Status};

use crate::{
    orders::{Order, OrderService, Way},
    world::{
        BOUND, Bench, Client, Counted, as_operator, ended, rebuild, redis, refusal, top, until_counted, until_ranked,
    },
};

async fn start(client: &Client, request_id: &str, from_events: bool) -> Result<Rebuild, Status> {
    let request = StartRebuildRequest { request_id: request_id.to_owned(), from_events, reason: "a test".to_owned() };
    client.clone().start_rebuild(as_operator(request)).await.map(|answer| answer.into_inner().rebuild.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ranking_is_written_anew_when_an_operator_asks_for_it() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let client = &instance.client;
    let orders: Vec<Order> = (0..60).map(Order::numbered).collect();
    bench.orders.tell_all(&orders).await;
    until_ranked(client, &orders).await;
    // Nothing is missing, and it is wrong.
    let key = bench.keys().await.into_iter().find(|key| key.ends_with(":all:*")).unwrap();
    let _: i64 =
        redis::cmd("ZADD").arg(&key).arg(1_000_000).arg("SOME-5").query_async(&mut redis().await).await.unwrap();
    assert_eq!(top(client, RankingWindow::AllTime, "").await.products[0].sku, "SOME-5");
    let begun = start(client, "ranking", false).await.unwrap();
    assert_eq!((begun.state(), begun.requested_by.as_str(), begun.from_events), (RebuildState::Ranking, "olga", false));
    let ended = ended(client, &begun.rebuild_id).await;
    assert_eq!((ended.state(), ended.products_ranked), (RebuildState::Done, 21));
    assert!(ended.end_time.is_some());
    until_ranked(client, &orders).await;
    assert_eq!(start(client, "ranking", false).await.unwrap().rebuild_id, begun.rebuild_id, "the same request");
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_orders_are_counted_anew_while_orders_flow() {
    let bench = Bench::start().await;
    // Small pages, so that there are many.
    let small = |settings: &mut openorder_analytics::AnalyticsSettings| {
        settings.rebuild.events_batch_max = 50;
        settings.upkeep_interval_ms = 100;
    };
    let (first, second) = (bench.instance_with(small).await, bench.instance_with(small).await);
    let before: Vec<Order> = (0..400).map(Order::numbered).collect();
    bench.orders.tell_all(&before).await;
    until_counted(&first.client, &before).await;
    let spoil = "update sales set orders = orders + 7, net_minor = net_minor + 1; \
                 update order_count set orders = orders * 2; \
                 delete from product_sales where sku = 'HOT'; \
                 update product_sales set quantity = quantity + 3";
    bench.run("analytics", spoil).await;
    assert_ne!(Counted::by(&first.client).await, Counted::of(&before));

    let (is_over, mut flowing) = (AtomicBool::new(false), Vec::new());
    let flow = async {
        let mut number = before.len();
        while !is_over.load(Ordering::Relaxed) {
            let order = Order::numbered(number);
            bench.orders.tell(&order).await;
            flowing.push(order);
            number += 1;
        }
    };
    let count = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = start(&first.client, "anew", true).await.unwrap();
        assert_eq!(begun.state(), RebuildState::Counting);
        let refused = start(&second.client, "another", false).await;
        assert_eq!(refusal(refused), (Code::FailedPrecondition, "REBUILD_UNDER_WAY".to_owned()));
        let ended = ended(&second.client, &begun.rebuild_id).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        is_over.store(true, Ordering::Relaxed);
        ended
    };
    let ((), ended) = tokio::join!(flow, count);
    assert_eq!((ended.state(), ended.failure_reason.as_str()), (RebuildState::Done, ""));
    let all: Vec<Order> = before.into_iter().chain(flowing).collect();
    assert!(ended.events_read >= 400 && ended.events_unreadable == 0, "{ended:?}");
    until_counted(&second.client, &all).await;
    until_ranked(&first.client, &all).await;
    eventually("the sums of before are gone", BOUND, || async {
        let generations = bench.one("analytics", "select string_agg(state::text, ' ') from generation").await;
        (generations == "1").then_some(())
    })
    .await;
    let old = "select count(*)::text from sales where generation <> (select generation from generation)";
    assert_eq!(bench.one("analytics", old).await, "0");
    // A second time, and by a request that comes again after it.
    let again = start(&first.client, "once-more", true).await.unwrap();
    assert_eq!(ended_state(&first.client, &again).await, RebuildState::Done);
    until_counted(&first.client, &all).await;
    bench.close([first, second]).await;
}

async fn ended_state(client: &Client, rebuild: &Rebuild) -> RebuildState {
    ended(client, &rebuild.rebuild_id).await.state()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_waits_for_the_order_service_and_can_be_called_off() {
    let world = openorder_testing::World::new();
    let (role, address) = (world.separate_role("order"), openorder_testing::free_address().to_string());
    let orders_role = role.clone();
    let orders = OrderService::start_as(&world, role, &address).await;
    let bench = Bench::of(world, orders, address.clone());
    let instance = bench.instance_with(|settings| settings.rebuild.outage_delay_max_ms = 200).await;
    let client = &instance.client;
    let all: Vec<Order> = (0..40).map(Order::numbered).collect();
    bench.orders.tell_all(&all).await;
    until_counted(client, &all).await;
    orders_role.shutdown.trigger();
    orders_role.tasks.drain(BOUND).await;
    let begun = start(client, "waits", true).await.unwrap();
    eventually("it says what it waits for", BOUND, || async {
        let found = rebuild(client, &begun.rebuild_id).await;
        (found.state() == RebuildState::Counting && found.waiting_for.starts_with("order")).then_some(())
    })
    .await;
    let cancel = CancelRebuildRequest { request_id: "off".to_owned(), rebuild_id: begun.rebuild_id.clone() };
    let cancelled = client.clone().cancel_rebuild(as_operator(cancel)).await.unwrap().into_inner().rebuild.unwrap();
    assert_eq!(cancelled.state(), RebuildState::Cancelled);
    assert_eq!(Counted::by(client).await, Counted::of(&all), "the sums are those of before");
    let unknown = GetRebuildRequest { rebuild_id: uuid::Uuid::nil().to_string() };
    let refused = client.clone().get_rebuild(as_operator(unknown)).await;
    assert_eq!(refusal(refused), (Code::NotFound, "REBUILD_NOT_FOUND".to_owned()));

    let begun = start(client, "comes-back", true).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again = OrderService::start(&bench.world, &address).await;
    assert_eq!(ended_state(client, &begun).await, RebuildState::Done);
    let more = Order::new(Way::Prepared, "EUR", &[("LATE", 2, 100)]);
    again.tell(&more).await;
    let all: Vec<Order> = all.into_iter().chain([more]).collect();
    until_counted(client, &all).await;

    // A log that no longer goes back to the first order is no log to count from.
    bench.run("order", "update event_log_floor set position = 1, kept_from = now()").await;
    let begun = start(client, "pruned", true).await.unwrap();
    let failed = ended(client, &begun.rebuild_id).await;
    assert_eq!((failed.state(), failed.failure_reason.as_str()), (RebuildState::Failed, "EVENTS_PRUNED"));
    assert_eq!(Counted::by(client).await, Counted::of(&all));
    bench.close([instance]).await;
}
