//! SIGKILL in the middle of orders: none is lost, none is doubled, stock and money are conserved.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::HashSet, time::Duration};

use futures::future::join_all;
use openorder_proto::order::v1::{ListOrdersRequest, OrderStatus};
use openorder_scenarios::{Deployment, Shop, eur, id};
use tonic::Code;

const ORDERS: usize = 300;
const STOCK: i32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_process_is_killed_in_the_middle_of_300_orders_and_none_is_lost_or_doubled() {
    let mut system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, customer) = (id("kill"), id("kira"));
    shop.product(&sku, eur(1, 0), STOCK).await;
    shop.charge(&customer, eur(150, 0)).await;
    // Callers that try the same request id until they have an answer.
    let callers = (0..ORDERS).map(|number| {
        let (shop, request) = (shop.clone(), Shop::request(&customer, &sku, 1));
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number as u64 * 5)).await;
            loop {
                match tokio::time::timeout(Duration::from_secs(5), shop.create(request.clone())).await {
                    Ok(Ok(order)) => return order.order_id,
                    Ok(Err(status))
                        if matches!(
                            status.code(),
                            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
                        ) => {}
                    Ok(Err(status)) => panic!("{status:?}"),
                    Err(_) => {}
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    tokio::time::sleep(Duration::from_millis(800)).await;
    system.kill().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    system.launch();
    system.ready().await;
    let ids: Vec<String> = join_all(callers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ORDERS, "one order a request id");
    let mut paid = 0;
    for order_id in &ids {
        let order = system
            .eventually("a final status", || async {
                let order = shop.order(order_id).await;
                let settled =
                    [OrderStatus::Preparing, OrderStatus::Rejected, OrderStatus::Cancelled].contains(&order.status());
                settled.then_some(order)
            })
            .await;
        paid += i32::from(order.status() == OrderStatus::Preparing);
    }
    // None that nobody asked for, none doubled.
    let list = ListOrdersRequest { customer_id: customer.clone(), page_size: 500, ..Default::default() };
    let listed = shop.orders.clone().list_orders(list).await.unwrap().into_inner().orders;
    assert_eq!(listed.len(), ORDERS);
    // Money for 150, stock for 200.
    assert_eq!(paid, 150);
    shop.stock_is(&sku, STOCK, paid).await;
    assert_eq!(shop.balance(&customer).await, eur(0, 0));
    system.close().await;
}
