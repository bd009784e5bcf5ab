//! The broker is away for many times the time that a step of the saga has: nothing is cancelled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder_proto::order::v1::OrderStatus;
use openorder_scenarios::{Fleet, Part, Servers, Shop, eur, id};
use openorder_testing::eventually;

/// Short enough that the outage lasts many times as long.
const SETTINGS: &[(&str, &str)] =
    &[("order", "saga_step_timeout_ms = 2000\nsaga_route_behind_max_ms = 1000\nsaga_route_interval_ms = 500")];
/// Clients of a broker that was away find it again within this time, on a busy machine.
const RECOVERY_BOUND: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn orders_outlive_a_broker_that_is_away_longer_than_their_deadlines() {
    let fleet = Fleet::start(Servers::own().await, SETTINGS).await;
    let shop = fleet.shop();
    let (sku, customer) = (id("patient"), id("ada"));
    shop.product(&sku, eur(1, 0), 1_000).await;
    shop.charge(&customer, eur(1_000, 0)).await;
    let order = || async { shop.create(Shop::request(&customer, &sku, 1)).await.unwrap().order_id };
    shop.until(&order().await, OrderStatus::Preparing).await;

    // Some are on their way when it stops, some are made meanwhile, some just before it is back.
    let mut orders = Vec::new();
    for _ in 0..10 {
        orders.push(order().await);
    }
    fleet.servers.stop(Part::Kafka).await;
    for pause in [0, 8] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        for _ in 0..10 {
            orders.push(order().await);
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    fleet.servers.start(Part::Kafka).await;
    for order_id in &orders {
        eventually("an order goes on", RECOVERY_BOUND, || async {
            let order = shop.order(order_id).await;
            assert_ne!(order.status(), OrderStatus::Cancelled, "{order:?}");
            (order.status() == OrderStatus::Preparing).then_some(())
        })
        .await;
    }
    fleet.close().await.close().await;
}
