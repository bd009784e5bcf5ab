//! What was ordered leaves the cart: once, in the quantity that was ordered, and nothing else. What was ordered in vain
//! comes back, once.

use openorder_proto::{
    cart::v1::UpdateItemRequest,
    order::v1::{CreateOrderRequest, Order, OrderCreated, OrderLine, OrderRejected, OrderStatus},
};
use uuid::Uuid;

use crate::world::{
    Bench, Client, add, checkout, clear, customer, get, id, lines, ordering, pieces, remove, until_lines, update,
};

/// What the order service publishes of an order.
pub fn created(asked: &CreateOrderRequest, order: &Order) -> OrderCreated {
    let line = |line: &openorder_proto::order::v1::RequestedLine| OrderLine {
        sku: line.sku.clone(),
        quantity: line.quantity,
        ..OrderLine::default()
    };
    OrderCreated {
        order_id: order.order_id.clone(),
        customer_id: order.customer_id.clone(),
        version: 1,
        status: OrderStatus::Pending.into(),
        lines: asked.lines.iter().map(line).collect(),
        checkout_id: asked.checkout_id.clone(),
        ..OrderCreated::default()
    }
}

/// What the order service publishes of an order that cannot be fulfilled.
fn rejected(created: &OrderCreated) -> OrderRejected {
    OrderRejected {
        order_id: created.order_id.clone(),
        customer_id: created.customer_id.clone(),
        version: 2,
        status: OrderStatus::Rejected.into(),
        lines: created.lines.clone(),
        status_reason: "OUT_OF_STOCK".to_owned(),
        ..OrderRejected::default()
    }
}

/// Orders what the customer's cart has: the order, and what is published of it.
pub async fn order(bench: &Bench, client: &Client, customer_id: &str) -> (Order, OrderCreated) {
    let request_id = id();
    let order = checkout(client, &customer(customer_id), ordering(&request_id, customer_id)).await.unwrap();
    let made = bench.orders.made();
    let (asked, _) = made.iter().find(|(asked, _)| asked.request_id == request_id).unwrap();
    let event = created(asked, &order);
    (order, event)
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_lines_leave_in_the_ordered_quantity_and_what_came_since_stays() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada) = (&instance.client, customer("ada"));
    bench.products.sell("POT", 2_000);
    bench.products.sell("BAG", 100);
    for (sku, quantity) in [("TEA", 2), ("CUP", 1), ("POT", 3)] {
        add(client, &ada, pieces("ada", sku, quantity)).await.unwrap();
    }
    let (order, event) = order(&bench, client, "ada").await;
    // Since: more of one, another one, all of one out and in again, less of one and more.
    add(client, &ada, pieces("ada", "TEA", 4)).await.unwrap();
    add(client, &ada, pieces("ada", "BAG", 1)).await.unwrap();
    remove(client, &ada, "ada", "CUP").await.unwrap();
    add(client, &ada, pieces("ada", "CUP", 5)).await.unwrap();
    let fewer = UpdateItemRequest {
        request_id: id(),
        customer_id: "ada".to_owned(),
        sku: "POT".to_owned(),
        quantity: 1,
        ..UpdateItemRequest::default()
    };
    update(client, &ada, fewer).await.unwrap();
    let before = add(client, &ada, pieces("ada", "POT", 2)).await.unwrap();
    bench.publish(&order, &event).await;
    let after = until_lines(client, "ada", &[("TEA", 4), ("POT", 2), ("BAG", 1), ("CUP", 5)]).await;
    assert_eq!((after.version, after.cart_id), (before.version + 1, before.cart_id));
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_heard_of_twice_takes_out_once_also_where_the_database_forgot_it() {
    let bench = Bench::start().await;
    let (first, second) = (bench.instance().await, bench.instance().await);
    let (client, ada) = (&first.client, customer("ada"));
    add(client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    let (order, event) = order(&bench, client, "ada").await;
    let event_id = Uuid::now_v7();
    bench.publish_as(&order, &event, event_id).await;
    until_lines(client, "ada", &[]).await;
    // Pieces that stand for those that were ordered: made older than the checkout by hand.
    let mut redis = crate::world::redis().await;
    let key = bench.keys().await.into_iter().find(|key| key.ends_with(":customer:ada")).unwrap();
    let _: i64 = redis::cmd("HSET").arg(&key).arg("sku:TEA").arg("1:2@1").query_async(&mut redis).await.unwrap();
    // The same event, the same fact as another event, and then as if the effect had come and its transaction had not.
    bench.publish_as(&order, &event, event_id).await;
    bench.publish(&order, &event).await;
    bench.wait_behind(&order).await;
    assert_eq!(lines(&get(client, &ada, "ada").await.unwrap()), [("TEA", 2)]);
    bench.run("update checkout set order_id = null, order_time = null where customer_id = 'ada'").await;
    bench.publish(&order, &event).await;
    bench.wait_behind(&order).await;
    assert_eq!(lines(&get(client, &ada, "ada").await.unwrap()), [("TEA", 2)], "Redis knows that it was done");
    assert_eq!(bench.one("select (order_id is not null)::text from checkout where customer_id = 'ada'").await, "true");
    // The other one alone, where both notes are gone, would take them out: it is the notes that keep them.
    for key in bench.keys().await.iter().filter(|key| key.contains(":taken:")) {
        let _: i64 = redis::cmd("DEL").arg(key).query_async(&mut redis).await.unwrap();
    }
    bench.run("update checkout set order_id = null, order_time = null where customer_id = 'ada'").await;
    bench.publish(&order, &event).await;
    until_lines(client, "ada", &[]).await;
    bench.close([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_orders_and_changes_at_once_leave_exactly_what_was_not_ordered() {
    let bench = Bench::start().await;
    let (first, second) = (bench.instance().await, bench.instance().await);
    let customers: Vec<String> = (0..20).map(|number| format!("ada-{number}")).collect();
    let stories = customers.iter().enumerate().map(|(number, name)| {
        let client = if number % 2 == 0 { &first.client } else { &second.client };
        let bench = &bench;
        async move {
            let own = customer(name);
            add(client, &own, pieces(name, "TEA", 3)).await.unwrap();
            let (made, event) = order(bench, client, name).await;
            let (_, more) = tokio::join!(
                async {
                    bench.publish(&made, &event).await;
                    bench.publish(&made, &event).await;
                },
                add(client, &own, pieces(name, "TEA", 2))
            );
            more.unwrap();
        }
    });
    futures::future::join_all(stories).await;
    for name in &customers {
        until_lines(&first.client, name, &[("TEA", 2)]).await;
    }
    bench.close([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_not_of_this_cart_take_nothing_out() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada) = (&instance.client, customer("ada"));
    add(client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    let (made, event) = order(&bench, client, "ada").await;
    let other = |change: fn(&mut OrderCreated)| {
        let mut event = OrderCreated { order_id: Uuid::now_v7().to_string(), ..event.clone() };
        change(&mut event);
        event
    };
    // Of no cart, of a checkout that there is not, and of one that is somebody else's.
    for event in [
        other(|event| event.checkout_id.clear()),
        other(|event| event.checkout_id = Uuid::now_v7().to_string()),
        other(|event| event.customer_id = "bob".to_owned()),
    ] {
        bench.publish(&made, &event).await;
    }
    bench.wait_behind(&made).await;
    assert_eq!(lines(&get(client, &ada, "ada").await.unwrap()), [("TEA", 2)]);
    // The cart was lost, and the customer has begun another one.
    bench.empty_redis().await;
    add(client, &ada, pieces("ada", "TEA", 9)).await.unwrap();
    bench.publish(&made, &event).await;
    bench.wait_behind(&made).await;
    assert_eq!(lines(&get(client, &ada, "ada").await.unwrap()), [("TEA", 9)]);
    assert_eq!(bench.one("select count(order_id)::text from checkout where customer_id = 'ada'").await, "1");
    clear(client, &ada, "ada").await.unwrap();
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_checkouts_are_deleted_and_their_orders_take_nothing_out() {
    let bench = Bench::start().await;
    let instance = bench.instance_with(|settings| settings.upkeep_interval_ms = 100).await;
    let (client, ada) = (&instance.client, customer("ada"));
    add(client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    let (made, event) = order(&bench, client, "ada").await;
    let rows = "select count(*)::text from checkout";
    assert_eq!(bench.one(rows).await, "1");
    bench.run("update checkout set create_time = now() - interval '31 days'").await;
    openorder_testing::eventually("it is deleted", crate::world::BOUND, || async {
        (bench.one(rows).await == "0").then_some(())
    })
    .await;
    bench.publish(&made, &event).await;
    bench.wait_behind(&made).await;
    assert_eq!(lines(&get(client, &ada, "ada").await.unwrap()), [("TEA", 2)]);
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_ordered_in_vain_comes_back_once_beside_what_came_since() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada) = (&instance.client, customer("ada"));
    add(client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    let (made, event) = order(&bench, client, "ada").await;
    bench.publish(&made, &event).await;
    until_lines(client, "ada", &[]).await;
    add(client, &ada, pieces("ada", "CUP", 1)).await.unwrap();
    add(client, &ada, pieces("ada", "TEA", 3)).await.unwrap();
    let (no, event_id) = (rejected(&event), Uuid::now_v7());
    bench.publish_as(&made, &no, event_id).await;
    let back = until_lines(client, "ada", &[("CUP", 1), ("TEA", 5)]).await;
    // The same event, the same fact as another event, the order once more, and then as if the effect had come and its
    // transaction had not.
    bench.publish_as(&made, &no, event_id).await;
    bench.publish(&made, &no).await;
    bench.publish(&made, &event).await;
    bench.wait_behind(&made).await;
    bench.run("update checkout set put_back_time = null where customer_id = 'ada'").await;
    bench.publish(&made, &no).await;
    bench.wait_behind(&made).await;
    assert_eq!(get(client, &ada, "ada").await.unwrap().version, back.version);
    let noted = "select (put_back_time is not null)::text from checkout where customer_id = 'ada'";
    assert_eq!(bench.one(noted).await, "true");

    // Orders that come of no cart, or of somebody else's, put nothing back.
    for no in [
        OrderRejected { order_id: Uuid::now_v7().to_string(), ..no.clone() },
        OrderRejected { customer_id: "bob".to_owned(), ..no.clone() },
    ] {
        bench.publish(&made, &no).await;
    }
    bench.wait_behind(&made).await;
    assert_eq!(lines(&get(client, &ada, "ada").await.unwrap()), [("CUP", 1), ("TEA", 5)]);
    assert!(lines(&get(client, &customer("bob"), "bob").await.unwrap()).is_empty());
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_made_and_rejected_at_once_leave_the_cart_as_it_was() {
    let bench = Bench::start().await;
    let (first, second) = (bench.instance().await, bench.instance().await);
    let customers: Vec<String> = (0..20).map(|number| format!("ada-{number}")).collect();
    let mut events = Vec::new();
    for name in &customers {
        add(&first.client, &customer(name), pieces(name, "TEA", 3)).await.unwrap();
        events.push(order(&bench, &first.client, name).await);
    }
    // Together, so that both are in one batch of many.
    for (made, event) in &events {
        bench.publish(made, event).await;
        bench.publish(made, &rejected(event)).await;
    }
    let noted = "select count(put_back_time)::text from checkout";
    openorder_testing::eventually("all are back", crate::world::BOUND, || async {
        (bench.one(noted).await == "20").then_some(())
    })
    .await;
    for name in &customers {
        let cart = get(&second.client, &customer(name), name).await.unwrap();
        assert_eq!((lines(&cart), cart.version), (vec![("TEA", 3)], 3), "put in, taken out, put back");
    }
    bench.close([first, second]).await;
}
