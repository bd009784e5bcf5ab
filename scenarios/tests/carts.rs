//! SIGKILL in the middle of checkouts: each is one order, and of each cart what was ordered leaves, once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::HashSet, time::Duration};

use futures::future::join_all;
use openorder_proto::cart::v1::{AddItemRequest, CheckoutRequest, GetCartRequest};
use openorder_scenarios::{Deployment, Shop, eur, id};
use sqlx::{Connection, Executor, PgConnection};
use tonic::Code;

const CUSTOMERS: usize = 40;

/// Puts pieces into a customer's cart.
async fn add(shop: &Shop, customer: &str, sku: &str, quantity: i32) {
    let request = AddItemRequest {
        request_id: id("add"),
        customer_id: customer.to_owned(),
        sku: sku.to_owned(),
        quantity,
        ..AddItemRequest::default()
    };
    shop.carts.clone().add_item(request).await.expect("a cart");
}

/// Pieces in a customer's cart.
async fn pieces(shop: &Shop, customer: &str) -> Option<i32> {
    let request = GetCartRequest { customer_id: customer.to_owned(), ..GetCartRequest::default() };
    let cart = shop.carts.clone().get_cart(request).await.ok()?.into_inner().cart?;
    Some(cart.lines.iter().map(|line| line.quantity).sum())
}

/// Tries the same request id until it has an answer.
async fn checkout(shop: Shop, customer: String) -> String {
    let request = CheckoutRequest {
        request_id: format!("checkout-{customer}"),
        customer_id: customer,
        ..CheckoutRequest::default()
    };
    loop {
        let mut carts = shop.carts.clone();
        let answer = carts.checkout(request.clone());
        match tokio::time::timeout(Duration::from_secs(5), answer).await {
            Ok(Ok(answer)) => return answer.into_inner().order.expect("an order").order_id,
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
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_process_is_killed_in_the_middle_of_checkouts_and_each_is_one_order_that_leaves_its_cart_once() {
    let mut system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, run) = (id("mug"), id("carla"));
    shop.product(&sku, eur(1, 0), 1_000).await;
    let customers: Vec<String> = (0..CUSTOMERS).map(|number| format!("{run}-{number}")).collect();
    for customer in &customers {
        shop.charge(customer, eur(100, 0)).await;
        add(&shop, customer, &sku, 2).await;
    }
    let callers: Vec<_> = customers
        .iter()
        .enumerate()
        .map(|(number, customer)| {
            let (shop, customer) = (shop.clone(), customer.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(number as u64 * 10)).await;
                checkout(shop, customer).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    system.kill().await;
    system.launch();
    system.ready().await;
    let ids: HashSet<String> = join_all(callers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), CUSTOMERS);
    let mut orders = PgConnection::connect(system.world.database_url("order").expose()).await.unwrap();
    let made: i64 = sqlx::query_scalar("select count(*) from orders where customer_id like $1")
        .bind(format!("{run}-%"))
        .fetch_one(&mut orders)
        .await
        .unwrap();
    assert_eq!(usize::try_from(made).unwrap(), CUSTOMERS, "no order that nobody was told of");
    for customer in &customers {
        system
            .eventually("what was ordered has left the cart", || async {
                (pieces(&shop, customer).await? == 0).then_some(())
            })
            .await;
        add(&shop, customer, &sku, 1).await;
    }
    // The group loses what it knew and hears of every order again: nothing is taken out that was not ordered.
    let mut carts = PgConnection::connect(system.world.database_url("cart").expose()).await.unwrap();
    carts.execute("truncate inbox_position").await.unwrap();
    let replay = ["replay", "--from", "order", "--to", "cart", "--reason", "to be sure", "--yes", "-o", "json"];
    let replayed = system.command(&replay).await;
    assert_eq!(replayed.code, 0, "{replayed:?}");
    assert!(replayed.json()["delivered"].as_u64().unwrap() >= CUSTOMERS as u64, "{replayed:?}");
    let lag = system.command(&["lag", "--group", "cart"]).await;
    assert!(lag.code == 0 && lag.out.contains("cart"), "{lag:?}");
    let parked = system.command(&["parked", "--group", "cart"]).await;
    assert_eq!(parked.code, 0, "{parked:?}");
    for customer in &customers {
        assert_eq!(pieces(&shop, customer).await, Some(1), "{customer}");
    }
    let verified = system.verify(&["--settle", "5s"]).await;
    assert_eq!(verified.code, 0, "{:#}", verified.report);
    system.close().await;
}
