//! Redis is gone, hangs, or comes back empty.

use std::time::{Duration, Instant};

use openorder_config::Secret;
use openorder_rpc::status::retry_after_of;
use openorder_runtime::Condition;
use openorder_testing::eventually;
use tokio::io::AsyncReadExt;
use tonic::Code;

use crate::{
    orders::order,
    world::{BOUND, Bench, add, checkout, customer, get, id, lines, ordering, pieces, until_lines},
};

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_carts_are_unavailable_repeated_checkouts_are_answered_and_orders_wait_to_leave() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada) = (&instance.client, customer("ada"));
    add(client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    let request = ordering(&id(), "ada");
    let made = checkout(client, &ada, request.clone()).await.unwrap();
    let (second, event) = order(&bench, client, "ada").await;

    bench.redis.cut();
    let readiness = bench.world.readiness();
    eventually("the role tells what is away", BOUND, || async {
        (readiness.condition_of("cart") == Condition::Degraded).then_some(())
    })
    .await;
    for _ in 0..5 {
        let began = Instant::now();
        let refused = get(client, &ada, "ada").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(retry_after_of(&refused).is_some(), "{refused:?}");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    let lost = pieces("ada", "TEA", 5);
    assert_eq!(add(client, &ada, lost.clone()).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(checkout(client, &ada, ordering(&id(), "ada")).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(checkout(client, &ada, request).await.unwrap().order_id, made.order_id, "it needs no cart");
    // The order is heard of, and waits: nothing is parked, nothing counted.
    bench.publish(&second, &event).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.one("select count(order_id)::text from checkout").await, "0");
    assert_eq!(bench.one("select count(*)::text from parked_message").await, "0");

    bench.redis.mend();
    until_lines(client, "ada", &[]).await;
    assert_eq!(bench.one("select count(*)::text from parked_message").await, "0");
    let again = add(client, &ada, lost).await.unwrap();
    assert_eq!(lines(&again), [("TEA", 5)], "the request that was refused is made again");
    eventually("the role is well", BOUND, || async {
        (readiness.condition_of("cart") == Condition::Ready).then_some(())
    })
    .await;
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_says_nothing_is_not_waited_for() {
    let bench = Bench::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Takes connections and everything that is said, and never answers.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut read = [0; 1_024];
                while stream.read(&mut read).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    let answering = bench.instance().await;
    let hanging = bench.silent_instance(Secret::new(format!("redis://{address}"))).await;
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(get(&hanging.client, &customer("ada"), "ada").await.unwrap_err().code(), Code::Unavailable);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    add(&answering.client, &customer("ada"), pieces("ada", "TEA", 1)).await.unwrap();
    bench.close([answering, hanging]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_has_lost_the_carts_once_and_no_order() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada) = (&instance.client, customer("ada"));
    add(client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    let (made, event) = order(&bench, client, "ada").await;
    let mark = "select mark::text from cart_store";
    eventually("the store is known", BOUND, || async {
        let noted = bench.one("select (mark is not null)::text from cart_store").await;
        (noted == "true").then_some(())
    })
    .await;
    let before = bench.one(mark).await;
    bench.empty_redis().await;
    assert!(get(client, &ada, "ada").await.unwrap().lines.is_empty());
    eventually("the loss is noted", BOUND, || async { (bench.one(mark).await != before).then_some(()) }).await;
    let after = bench.one(mark).await;
    // The script is given again to a Redis that has lost it too.
    let _: String = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut crate::world::redis().await).await.unwrap();
    add(client, &ada, pieces("ada", "CUP", 1)).await.unwrap();
    bench.publish(&made, &event).await;
    bench.wait_behind(&made).await;
    assert_eq!(lines(&get(client, &ada, "ada").await.unwrap()), [("CUP", 1)]);
    assert_eq!(bench.one(mark).await, after, "once");
    bench.close([instance]).await;
}
