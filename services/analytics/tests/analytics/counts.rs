//! Every event is counted once, whoever crashes and however often it comes.

use std::time::Duration;

use openorder_proto::topics;
use openorder_testing::{Message, Tail, TestProducer, eventually, group_lag, header};

use crate::{
    orders::{Order, events_of},
    world::{BOUND, Bench, Counted, stats, until_counted, until_ranked},
};

/// Waits until the group has read all there is.
async fn until_read(bench: &Bench) {
    let kafka = bench.world.kafka();
    eventually("the group has read its topic", BOUND, || async {
        group_lag(&kafka, "analytics", &[topics::ORDER_LIFECYCLE]).await.filter(|lag| *lag == 0)
    })
    .await;
}

/// Sends all events of the topic once more, as they are.
async fn double(bench: &Bench, count: usize) {
    const HEADERS: [&str; 4] = ["ce_id", "ce_type", "ce_source", "ce_sequence"];
    let producer = TestProducer::new(&bench.world);
    let events = Tail::new(&bench.world, topics::ORDER_LIFECYCLE).take(count, BOUND).await;
    for part in events.chunks(500) {
        let sent = part.iter().map(|event| async {
            let values: Vec<(&str, String)> =
                HEADERS.iter().filter_map(|name| Some((*name, header(event, name)?))).collect();
            let headers: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let key = std::str::from_utf8(event.key().unwrap()).unwrap();
            producer.send(topics::ORDER_LIFECYCLE, key, &headers, event.payload().unwrap()).await;
        });
        futures::future::join_all(sent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_exact_though_an_instance_is_killed_and_every_event_comes_twice() {
    let bench = Bench::start().await;
    let (first, killed) = (bench.instance().await, bench.instance().await);
    let orders: Vec<Order> = (0..2_000).map(Order::numbered).collect();
    let tell = bench.orders.tell_all(&orders);
    let kill = async {
        // In the midst of it.
        eventually("some are counted", BOUND, || async { (stats(&first.client).await.orders > 100).then_some(()) })
            .await;
        killed.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.instance().await
    };
    let ((), second) = tokio::join!(tell, kill);
    until_counted(&first.client, &orders).await;
    double(&bench, events_of(&orders)).await;
    until_read(&bench).await;
    assert_eq!(Counted::by(&second.client).await, Counted::of(&orders), "what comes twice counts once");
    until_ranked(&second.client, &orders).await;
    assert_eq!(bench.world.deadlocks("analytics").await, 0);
    // As large as the catalogue and the hours, whatever the number of orders.
    let rows = "select ((select count(*) from order_count) + (select count(*) from sales) + \
                        (select count(*) from product_sales))::text";
    let rows: i64 = bench.one("analytics", rows).await.parse().unwrap();
    assert!(rows < 1_000, "{rows} rows of sums for 2,000 orders");
    bench.close([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_were_made_before_the_service_first_starts_are_counted() {
    let bench = Bench::start().await;
    let before: Vec<Order> = (0..60).map(Order::numbered).collect();
    bench.orders.tell_all(&before).await;
    Tail::new(&bench.world, topics::ORDER_LIFECYCLE).take(events_of(&before), BOUND).await;
    let instance = bench.instance().await;
    until_counted(&instance.client, &before).await;
    let after = (60..120).map(Order::numbered);
    let all: Vec<Order> = before.into_iter().chain(after).collect();
    bench.orders.tell_all(&all[60..]).await;
    until_counted(&instance.client, &all).await;
    until_ranked(&instance.client, &all).await;
    let told = stats(&instance.client).await;
    let delivered = told.counts.iter().find(|count| count.status_reason.is_empty() && count.orders > 0);
    assert!(told.as_of_time.is_some() && delivered.is_some());
    assert_eq!(told.orders, 120);
    let open: i64 = told.counts.iter().filter(|one| one.status == 20).map(|one| one.orders).sum();
    assert_eq!((told.open_orders, open), (40, 40), "they wait for the carrier");
    bench.close([instance]).await;
}

/// Each of many batches at the same time has rows to itself.
#[tokio::test(flavor = "multi_thread")]
async fn with_fewer_shards_than_batches_one_waits_and_nothing_is_lost() {
    let bench = Bench::start().await;
    let mut instances = Vec::new();
    for _ in 0..3 {
        instances.push(bench.instance_with(|settings| settings.shards = 1).await);
    }
    let orders: Vec<Order> = (0..300).map(Order::numbered).collect();
    bench.orders.tell_all(&orders).await;
    until_counted(&instances[0].client, &orders).await;
    let shards = bench.one("analytics", "select string_agg(distinct shard::text, ' ') from product_sales").await;
    assert_eq!(shards, "0");
    assert_eq!(bench.world.deadlocks("analytics").await, 0);
    bench.close(instances).await;
}
