//! `openorder verify` on a real system: silent while all is well, also under load, and each invariant told when a row of
//! it is broken by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder_proto::{
    cart::v1::{AddItemRequest, CheckoutRequest},
    order::v1::{CancelOrderRequest, OrderStatus, UpdateOrderStatusRequest},
};
use openorder_scenarios::{Deployment, Shop, eur, id};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Longer than what follows from an order takes here; a deadline of the saga is much further.
const SETTLE: &[&str] = &["--settle", "3s"];
const AT_ONCE: &[&str] = &["--settle", "500ms"];

/// Orders of every ending.
struct Orders {
    sku: String,
    customer: String,
    prepared: String,
}

async fn orders(shop: &Shop) -> Orders {
    let (sku, customer) = (id("sku"), id("vera"));
    shop.product(&sku, eur(10, 0), 20).await;
    shop.charge(&customer, eur(100, 0)).await;
    let order = async |quantity: i32| shop.create(Shop::request(&customer, &sku, quantity)).await.unwrap().order_id;
    let prepared = order(1).await;
    shop.until(&prepared, OrderStatus::Preparing).await;
    let cancelled = order(2).await;
    shop.until(&cancelled, OrderStatus::Preparing).await;
    let cancel = CancelOrderRequest { request_id: id("cancel"), order_id: cancelled.clone(), ..Default::default() };
    shop.orders.clone().cancel_order(cancel).await.unwrap();
    shop.until(&cancelled, OrderStatus::Cancelled).await;
    let shipped = order(3).await;
    shop.until(&shipped, OrderStatus::Preparing).await;
    ship(shop, &shipped).await;
    // Too dear, too many, and a SKU that nobody has.
    let dear = order(15).await;
    shop.until(&dear, OrderStatus::Cancelled).await;
    let many = order(50).await;
    shop.until(&many, OrderStatus::Rejected).await;
    let unknown = shop.create(Shop::request(&customer, &id("nothing"), 1)).await.unwrap().order_id;
    shop.until(&unknown, OrderStatus::Rejected).await;
    shop.stock_is(&sku, 17, 1).await;
    Orders { sku, customer, prepared }
}

async fn ship(shop: &Shop, order_id: &str) {
    let ship = UpdateOrderStatusRequest {
        request_id: id("ship"),
        order_id: order_id.to_owned(),
        previous_status: OrderStatus::Preparing.into(),
        current_status: OrderStatus::Shipped.into(),
    };
    shop.orders.clone().update_order_status(ship).await.unwrap();
}

/// Orders a cart: the checkout, and its order.
async fn checkout(system: &Deployment, shop: &Shop) -> (String, String) {
    let (sku, customer) = (id("vase"), id("cora"));
    shop.product(&sku, eur(1, 0), 10).await;
    shop.charge(&customer, eur(10, 0)).await;
    let add = AddItemRequest {
        request_id: id("add"),
        customer_id: customer.clone(),
        sku,
        quantity: 2,
        ..AddItemRequest::default()
    };
    shop.carts.clone().add_item(add).await.unwrap();
    let request = CheckoutRequest { request_id: id("cart"), customer_id: customer, ..CheckoutRequest::default() };
    let order = shop.carts.clone().checkout(request).await.unwrap().into_inner().order.unwrap();
    shop.until(&order.order_id, OrderStatus::Preparing).await;
    let of = format!("where order_id = '{}'", order.order_id);
    system
        .eventually("the cart service has heard of it", || async {
            let known = one(system, "cart", &format!("select count(*)::text from checkout {of}")).await;
            (known == "1").then_some(())
        })
        .await;
    (one(system, "cart", &format!("select checkout_id::text from checkout {of}")).await, order.order_id)
}

async fn run(system: &Deployment, service: &str, sql: &str) {
    let url = system.world.database_url(service);
    let mut connection = PgConnection::connect(url.expose()).await.unwrap();
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.close().await.unwrap();
}

async fn one(system: &Deployment, service: &str, sql: &str) -> String {
    let url = system.world.database_url(service);
    let mut connection = PgConnection::connect(url.expose()).await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.unwrap()
}

/// The service, what is broken, how it is mended, and what is told of which id.
type Break<'a> = (&'a str, String, String, &'a str, &'a str, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn each_invariant_is_told_when_a_row_of_it_is_broken_and_no_other() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let Orders { sku, customer, prepared } = orders(&shop).await;
    let coupon = shop.coupon("VERA-10", 1, 1).await.coupon_id;
    let issued = shop.issue("VERA-10", &customer).await.unwrap().issued_coupon_id;
    assert!(shop.issue("VERA-10", "eve").await.is_err(), "there is one");
    let (checkout_id, ordered) = checkout(&system, &shop).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sound = system.verify(SETTLE).await;
    assert!(sound.holds(), "{:#}", sound.report);
    assert_eq!((sound.number("orders", "checked"), sound.number("checkouts", "checked")), (7, 1));
    assert!(sound.number("versions", "messages consumed") > 20, "{:#}", sound.report);

    let created =
        format!("from event_log where aggregate_id = '{prepared}' and event_type = 'order.lifecycle.created'");
    let event = one(&system, "order", &format!("select event_id::text {created}")).await;
    let position = one(&system, "order", &format!("select position::text {created}")).await;
    let taken_over = |bit: i32| {
        format!(
            "update inbox_position set taken = set_bit(taken, ({position} % 1024)::integer, {bit}) \
             where topic = 'order.lifecycle.v1' and source = 'order' and chunk = {position} / 1024"
        )
    };
    let told = one(
        &system,
        "notification",
        &format!("select notification_id::text from notification where order_id = '{prepared}' limit 1"),
    )
    .await;
    let of = format!("where order_id = '{prepared}'");
    let id = format!("uuid_send('{prepared}')");
    let first_charge = format!("where topic = 'payment.wallet.v1' and aggregate_id = '{customer}'");
    // Those of a group are broken together, and each invariant is left whole in one group at least.
    let groups: Vec<Vec<Break<'_>>> = vec![
        vec![
            (
                "order",
                format!(
                    "create table kept as select * from command_result where position({id} in reply) > 0; \
                     delete from command_result where position({id} in reply) > 0"
                ),
                "insert into command_result select * from kept".to_owned(),
                "orders",
                "ORDER_DOUBLED",
                &prepared,
            ),
            (
                "inventory",
                format!("update stock_level set on_hand_quantity = on_hand_quantity + 1 where sku = '{sku}'"),
                format!("update stock_level set on_hand_quantity = on_hand_quantity - 1 where sku = '{sku}'"),
                "stock",
                "ON_HAND_DIFFERS",
                &sku,
            ),
            (
                "payment",
                format!("update wallet set balance_minor_units = balance_minor_units + 5 where user_id = '{customer}'"),
                format!("update wallet set balance_minor_units = balance_minor_units - 5 where user_id = '{customer}'"),
                "money",
                "BALANCE_DIFFERS",
                &customer,
            ),
            ("inventory", taken_over(0), taken_over(1), "versions", "NOT_IN_INBOX", &event),
        ],
        vec![
            (
                "order",
                format!(
                    "create table timers as select * from saga_timer; delete from saga_timer; \
                     update orders set saga_step = 1 {of}"
                ),
                format!("update orders set saga_step = 3 {of}"),
                "orders",
                "NEVER_SETTLED",
                &prepared,
            ),
            (
                "inventory",
                format!("update stock_level set reserved_quantity = reserved_quantity - 1 where sku = '{sku}'"),
                format!("update stock_level set reserved_quantity = reserved_quantity + 1 where sku = '{sku}'"),
                "stock",
                "RESERVED_DIFFERS",
                &sku,
            ),
            (
                "notification",
                format!("update event_log set aggregate_version = 7 where aggregate_id = '{told}'"),
                format!("update event_log set aggregate_version = 1 where aggregate_id = '{told}'"),
                "versions",
                "LOG_GAP",
                &told,
            ),
            (
                "promotion",
                "update coupon set issued_count = 0".to_owned(),
                "update coupon set issued_count = 1".to_owned(),
                "state",
                "ISSUED_COUNT_DIFFERS",
                &coupon,
            ),
        ],
        vec![
            (
                "order",
                format!("update orders set status_detail = 'so' {of}"),
                format!("update orders set status_detail = '' {of}"),
                "state",
                "STATE_DIFFERS",
                &prepared,
            ),
            (
                "notification",
                format!("create table kept as select * from notification {of}; delete from notification {of}"),
                "insert into notification select * from kept".to_owned(),
                "agreement",
                "NOTIFICATION_MISSING",
                &prepared,
            ),
            (
                "analytics",
                "update sales set orders = orders + 1".to_owned(),
                "update sales set orders = orders - 1".to_owned(),
                "sales",
                "SALES_DIFFER",
                "EUR",
            ),
            (
                "cart",
                "create table kept as select * from checkout; delete from checkout".to_owned(),
                "insert into checkout select * from kept".to_owned(),
                "checkouts",
                "CHECKOUT_MISSING",
                &checkout_id,
            ),
        ],
        vec![
            (
                "payment",
                format!("update event_log set aggregate_version = 0 {first_charge} and aggregate_version = 1"),
                format!("update event_log set aggregate_version = 1 {first_charge} and aggregate_version = 0"),
                "versions",
                "LOG_GAP",
                &customer,
            ),
            (
                "payment",
                format!("update payment set version = version + 1 {of}"),
                format!("update payment set version = version - 1 {of}"),
                "state",
                "STATE_DIFFERS",
                &prepared,
            ),
            (
                "promotion",
                "update issued_coupon set user_id = 'eve'".to_owned(),
                format!("update issued_coupon set user_id = '{customer}'"),
                "state",
                "STATE_DIFFERS",
                &issued,
            ),
            (
                "shipping",
                format!("update shipment set tracking_number = 'T-1' {of}"),
                format!("update shipment set tracking_number = '' {of}"),
                "state",
                "STATE_DIFFERS",
                &prepared,
            ),
            (
                "cart",
                "update checkout set order_id = null, order_time = null".to_owned(),
                format!("update checkout set order_id = '{ordered}', order_time = now()"),
                "checkouts",
                "CHECKOUT_NOT_NOTED",
                &checkout_id,
            ),
        ],
    ];
    for group in groups {
        for (service, sql, ..) in &group {
            run(&system, service, sql).await;
        }
        let told = system.verify(AT_ONCE).await;
        let violations = told.violations();
        assert_eq!(told.code, 1, "{:#}", told.report);
        for (_, sql, _, invariant, reason, broken) in &group {
            let expected = ((*invariant).to_owned(), (*reason).to_owned(), (*broken).to_owned());
            assert!(violations.contains(&expected), "{sql}: {violations:?}");
        }
        let is_broken = |told: &String| group.iter().any(|(_, _, _, invariant, ..)| told == invariant);
        assert!(violations.iter().all(|(told, ..)| is_broken(told)), "{violations:?}");
        for (service, _, mend, ..) in &group {
            run(&system, service, mend).await;
        }
    }
    let mended = system.verify(AT_ONCE).await;
    assert!(mended.holds(), "{:#}", mended.report);

    let nobody = "inventory.database_url=postgres://postgres@127.0.0.1:1/nothing";
    let blind = system.verify(&["--only", "stock,money", "--set", nobody]).await;
    assert_eq!(blind.code, 2, "{:#}", blind.report);
    assert_eq!(blind.report["invariants"][1]["outcome"], "holds", "the others are checked all the same");
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_while_orders_flow() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, customer) = (id("flow"), id("fay"));
    shop.product(&sku, eur(1, 0), 1_000_000).await;
    shop.charge(&customer, eur(1_000, 0)).await;
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (shop, sku, customer) = (shop.clone(), sku.clone(), customer.clone());
            tokio::spawn(async move {
                loop {
                    shop.create(Shop::request(&customer, &sku, 1)).await.unwrap();
                }
            })
        })
        .collect();
    let mut checked = 0;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let verified = system.verify(SETTLE).await;
        assert!(verified.holds(), "{:#}", verified.report);
        assert!(verified.number("orders", "in_flight") > 0 || verified.number("agreement", "in_flight") > 0);
        checked = verified.number("agreement", "checked");
    }
    assert!(checked > 100, "{checked} orders judged");
    callers.into_iter().for_each(|caller| caller.abort());
    system.close().await;
}

/// Prunes about the first two thirds of a service's log, between two transactions, as its maintenance does; what is left is
/// taken for an hour younger than it is, so that the orders of this test are as old as what is pruned.
const PRUNE: &str = "with log as (select position, occurred_at, lead(occurred_at) over (order by position) as next, \
                                         count(*) over () as events, row_number() over (order by position) as number \
                                  from event_log) \
                     update event_log_floor set kept_from = now() + interval '1 hour', position = \
                       (select max(position) from log where number * 3 <= events * 2 and occurred_at <> next); \
                     delete from event_log where position <= (select position from event_log_floor)";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_is_said_to_be_and_what_is_left_is_judged() {
    let system = Deployment::start(&[]).await;
    let Orders { sku, customer, .. } = orders(&system.shop()).await;
    // The last order: of it, of its customer and of its SKU the last events are there, and not the first ones.
    let shop = system.shop();
    let last = shop.create(Shop::request(&customer, &sku, 1)).await.unwrap().order_id;
    shop.until(&last, OrderStatus::Preparing).await;
    ship(&shop, &last).await;
    shop.stock_is(&sku, 16, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for service in ["order", "inventory", "payment"] {
        run(&system, service, PRUNE).await;
    }
    let pruned = system.verify(SETTLE).await;
    assert!(pruned.holds(), "{:#}", pruned.report);
    for (invariant, service) in [(1, "inventory"), (2, "payment"), (3, "order"), (4, "order")] {
        let notes = &pruned.report["invariants"][invariant]["notes"].to_string();
        let said = format!("log of {service}: events up to position");
        assert!(notes.contains(&said) && notes.contains("are pruned"), "{invariant}: {notes}");
    }
    assert!(pruned.number("state", "orders whose events are pruned") > 0, "{:#}", pruned.report);
    assert!(pruned.number("versions", "messages whose events are pruned") > 0, "{:#}", pruned.report);

    let of_last = format!("where order_id = '{last}'");
    let breaks = [
        ("order", format!("update orders set status = 30 {of_last}"), "state", "STATE_DIFFERS", &last),
        (
            "inventory",
            format!("update stock_level set on_hand_quantity = on_hand_quantity + 1 where sku = '{sku}'"),
            "stock",
            "ON_HAND_DIFFERS",
            &sku,
        ),
        (
            "payment",
            format!("update wallet set balance_minor_units = balance_minor_units + 5 where user_id = '{customer}'"),
            "money",
            "BALANCE_DIFFERS",
            &customer,
        ),
    ];
    for (service, sql, ..) in &breaks {
        run(&system, service, sql).await;
    }
    let told = system.verify(AT_ONCE).await.violations();
    for (_, sql, invariant, reason, broken) in breaks {
        let expected = (invariant.to_owned(), reason.to_owned(), broken.clone());
        assert!(told.contains(&expected), "{sql}: {told:?}");
    }
    system.close().await;
}
