//! The commands that a newcomer types, against a running system: what they print, and what they say when they are wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, time::Duration};

use openorder_proto::{
    event_types,
    order::v1::{OrderStatus, UpdateOrderStatusRequest, WatchOrderRequest},
    topics,
};
use openorder_scenarios::{Deployment, Shop, eur, id};
use openorder_testing::{RawRecord, send_raw};
use serde_json::Value;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt;

/// How long a stream may take that is to end by itself.
const SOON: Duration = Duration::from_secs(60);

/// Topics that an order which is paid and then called off has events on: by its own key, and by its customer's.
const STORY: [&str; 4] =
    [topics::ORDER_LIFECYCLE, topics::INVENTORY_STOCK, topics::PAYMENT_TRANSACTION, topics::PAYMENT_WALLET];

/// A system with something to buy and somebody who can pay: its SKU and its customer.
async fn start(settings: &[(&str, &str)]) -> (Deployment, Shop, String, String) {
    let system = Deployment::start(settings).await;
    let shop = system.shop();
    let (sku, customer) = (id("chair"), id("anna"));
    shop.product(&sku, eur(19, 0), 10).await;
    shop.charge(&customer, eur(500, 0)).await;
    (system, shop, sku, customer)
}

/// A JSON document a line.
fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_made_watched_shown_and_listed_and_its_events_are_read() {
    let (system, _, sku, customer) = start(&[]).await;
    let line = format!("{sku}=2");
    let create = ["order", "create", "--customer", &customer, "--line", &line, "--watch", "--timeout", "2m"];
    let made = system.command(&[&create[..], &["-o", "json"]].concat()).await;
    let order = made.json();
    assert_eq!((made.code, &order["status"]), (0, &Value::from("ORDER_STATUS_PREPARING")), "{made:?}");
    assert!(made.err.contains("PENDING") && made.err.contains("PREPARING"), "progress: {}", made.err);
    let order_id = order["order_id"].as_str().unwrap();

    // More than there is: made, and at its end at once.
    let line = format!("{sku}=100");
    let refused = system
        .command(&[
            "order",
            "create",
            "--customer",
            &customer,
            "--line",
            &line,
            "--until",
            "preparing",
            "--timeout",
            "2m",
        ])
        .await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("REJECTED, OUT_OF_STOCK") && refused.out.contains(&sku), "{}", refused.out);

    let shown = system.command(&["order", "get", order_id, "--timeline"]).await;
    assert_eq!(shown.code, 0);
    for part in [order_id, "38.00 EUR", "PREPARING", "order.lifecycle.paid", &sku] {
        assert!(shown.out.contains(part), "{part} is missing: {}", shown.out);
    }
    let watched = system.command(&["order", "watch", order_id, "--until", "PAID", "-o", "json"]).await;
    assert_eq!((watched.code, documents(&watched.out).len()), (0, 1), "it stands behind that: {watched:?}");
    let waited = system.command(&["order", "watch", order_id, "--timeout", "200ms"]).await;
    assert_eq!(waited.code, 1, "nobody ships it: {waited:?}");
    let listed =
        system.command(&["order", "list", "--customer", &customer, "--status", "preparing", "-o", "json"]).await;
    assert_eq!(listed.json()["orders"].as_array().unwrap().len(), 1);
    let missing = system.command(&["order", "get", "01900000-0000-7000-8000-000000000000"]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("ORDER_NOT_FOUND"), "{missing:?}");

    let tail = ["topic", "tail", topics::ORDER_LIFECYCLE, "--key", order_id, "-o", "json"];
    let events = documents(&system.command(&tail).await.out);
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        event_types::ORDER_CREATED,
        event_types::ORDER_CONFIRMED,
        event_types::ORDER_PAID,
        event_types::ORDER_PREPARING,
    ];
    assert_eq!(types, expected);
    assert!(events.iter().all(|event| event["key"] == order_id && event["error"].is_null()), "{events:?}");
    let first =
        system.command(&["topic", "tail", topics::ORDER_LIFECYCLE, "--follow", "--from", "beginning", "-n", "1"]).await;
    assert!(first.code == 0 && first.out.contains("order.lifecycle.created  key "), "{first:?}");
    let nowhere = system.command(&["topic", "tail", "orders"]).await;
    assert!(nowhere.code == 1 && nowhere.err.contains(topics::ORDER_LIFECYCLE), "{nowhere:?}");
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_made_at_the_expected_total_alone_cancelled_and_found_page_by_page() {
    let (system, shop, sku, customer) = start(&[]).await;
    let create = async |total: &str| {
        let line = format!("{sku}=2");
        let create =
            ["order", "create", "--customer", &customer, "--line", &line, "--expect-total", total, "-o", "json"];
        system.command(&create).await
    };
    let refused = create("37.99 EUR").await;
    assert!(refused.code == 1 && refused.err.contains("PRICE_CHANGED"), "{refused:?}");
    assert!(refused.err.contains("--expect-total takes the new total"), "what to do is said: {refused:?}");
    let wrong = create("38").await;
    assert!(wrong.code == 2 && wrong.err.contains("12.34 EUR"), "{wrong:?}");
    let (first, second) = (create("38.00 EUR").await.json(), create("38EUR").await.json());

    let page = async |token: &str| {
        let list = ["order", "list", "--customer", &customer, "-n", "1", "--page-token", token, "-o", "json"];
        system.command(&list).await.json()
    };
    let newest = page("").await;
    assert_eq!((&newest["orders"][0]["order_id"], &newest["more"]), (&second["order_id"], &Value::Bool(true)));
    let older = page(newest["next_page_token"].as_str().unwrap()).await;
    assert_eq!(older["orders"][0]["order_id"], first["order_id"]);

    let order_id = first["order_id"].as_str().unwrap();
    let without_reason = system.command(&["order", "cancel", order_id]).await;
    assert!(without_reason.code == 2 && without_reason.err.contains("--reason"), "{without_reason:?}");
    let cancel = ["order", "cancel", order_id, "--reason", "ordered twice", "--request-id", "cancel-first"];
    let cancelled = system.command(&cancel).await;
    assert!(cancelled.code == 0 && cancelled.out.contains("CANCELLED"), "{cancelled:?}");
    assert!(cancelled.out.contains("ordered twice"), "{cancelled:?}");
    let again = system.command(&[&cancel[..], &["-o", "json"]].concat()).await;
    assert_eq!((again.code, &again.json()["status"]), (0, &Value::from("ORDER_STATUS_CANCELLED")), "{again:?}");

    // What was shipped is not called off any more.
    let order_id = second["order_id"].as_str().unwrap();
    let prepared = system.command(&["order", "watch", order_id, "--until", "preparing", "--timeout", "2m"]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let ship = UpdateOrderStatusRequest {
        request_id: "ship-second".to_owned(),
        order_id: order_id.to_owned(),
        previous_status: OrderStatus::Preparing.into(),
        current_status: OrderStatus::Shipped.into(),
    };
    shop.orders.clone().update_order_status(ship).await.unwrap();
    let late = system.command(&["order", "cancel", order_id, "--reason", "too late"]).await;
    assert!(late.code == 1 && late.err.contains("ORDER_NOT_CANCELLABLE"), "{late:?}");
    assert!(late.err.contains("openorder order get"), "what to do is said: {late:?}");
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_paid_by_hand_or_called_off_when_its_time_is_over() {
    let (system, _, sku, customer) = start(&[("order", "payment_deadline_ms = 30000")]).await;
    let line = format!("{sku}=2");
    let create = ["order", "create", "--customer", &customer, "--line", &line, "--pay", "manual"];
    let create = [&create[..], &["--until", "confirmed", "--timeout", "2m", "-o", "json"]].concat();
    let waiting = system.command(&create).await;
    assert_eq!(waiting.code, 0, "{waiting:?}");
    let waiting = waiting.json();
    assert_eq!(waiting["payment_mode"], "PAYMENT_MODE_MANUAL");
    assert!(waiting["payment_deadline"].is_string(), "{waiting}");
    let order_id = waiting["order_id"].as_str().unwrap();
    let pay = ["order", "pay", order_id, "--request-id", "pay-first"];
    let paid = system.command(&pay).await;
    assert!(paid.code == 0 && paid.out.contains("COMPLETED") && paid.out.contains("38.00 EUR"), "{paid:?}");
    let again = system.command(&[&pay[..], &["-o", "json"]].concat()).await;
    assert_eq!((again.code, &again.json()["state"]), (0, &Value::from("PAYMENT_STATE_COMPLETED")), "{again:?}");
    let prepared = system.command(&["order", "watch", order_id, "--until", "preparing", "--timeout", "2m"]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let twice = system.command(&["order", "pay", order_id]).await;
    assert!(twice.code == 1 && twice.err.contains("ORDER_ALREADY_PAID"), "{twice:?}");
    assert!(twice.err.contains("openorder order get"), "what to do is said: {twice:?}");

    let left = system.command(&create).await.json();
    let left_id = left["order_id"].as_str().unwrap();
    let shown = system.command(&["order", "get", left_id]).await;
    assert!(shown.out.contains("to be paid until"), "{shown:?}");
    let ended = system.command(&["order", "watch", left_id, "--timeout", "2m", "-o", "json"]).await;
    let last = documents(&ended.out).pop().unwrap();
    assert_eq!(
        (&last["status"], &last["status_reason"]),
        (&Value::from("ORDER_STATUS_CANCELLED"), &Value::from("PAYMENT_DEADLINE_EXCEEDED")),
        "{ended:?}"
    );
    // What is left waits beside what is judged.
    let open = system.command(&create).await;
    assert_eq!(open.code, 0, "{open:?}");
    let verified = system.verify(&["--settle", "3s"]).await;
    assert!(verified.holds(), "{:#}", verified.report);
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_an_order_are_changed_or_kept_and_everything_agrees_about_them() {
    let (system, shop, sku, customer) = start(&[]).await;
    let other = id("desk");
    shop.product(&other, eur(7, 50), 3).await;
    let line = format!("{sku}=2");
    let create = ["order", "create", "--customer", &customer, "--line", &line, "--pay", "manual"];
    let create = [&create[..], &["--until", "confirmed", "--timeout", "2m", "-o", "json"]].concat();
    let made = system.command(&create).await.json();
    let order_id = made["order_id"].as_str().unwrap();
    let (one, two) = (format!("{sku}=1"), format!("{other}=2"));
    let modify = ["order", "modify", order_id, "--line", &one, "--line", &two, "--expect-total", "34.00 EUR"];
    let changed = system.command(&[&modify[..], &["--timeout", "2m", "-o", "json"]].concat()).await;
    let order = changed.json();
    assert_eq!((changed.code, &order["modification"]["state"]), (0, &Value::from("ORDER_MODIFICATION_STATE_ACCEPTED")));
    assert_eq!(order["lines"].as_array().unwrap().len(), 2, "{order}");
    let version = made["version"].as_str().map_or_else(|| made["version"].to_string(), str::to_owned);
    let stale = system.command(&["order", "modify", order_id, "--line", &one, "--expected-version", &version]).await;
    assert!(stale.code == 1 && stale.err.contains("ORDER_VERSION_MISMATCH"), "{stale:?}");
    let much = format!("{other}=4");
    let kept = system.command(&["order", "modify", order_id, "--line", &much, "--timeout", "2m"]).await;
    assert!(kept.code == 1 && kept.err.contains("OUT_OF_STOCK"), "{kept:?}");
    assert!(kept.out.contains("REJECTED, OUT_OF_STOCK") && kept.out.contains("34.00 EUR"), "{kept:?}");
    let paid = system.command(&["order", "pay", order_id]).await;
    assert!(paid.code == 0 && paid.out.contains("34.00 EUR"), "{paid:?}");
    let prepared = system.command(&["order", "watch", order_id, "--until", "preparing", "--timeout", "2m"]).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let shown = system.command(&["order", "get", order_id, "--timeline"]).await;
    for part in [event_types::ORDER_MODIFIED, event_types::ORDER_MODIFICATION_REJECTED, "OUT_OF_STOCK"] {
        assert!(shown.out.contains(part), "{part} is missing: {}", shown.out);
    }
    // One that is changed and called off, and one whose change is left with it.
    for pieces in ["1", "9"] {
        let order_id = system.command(&create).await.json()["order_id"].as_str().unwrap().to_owned();
        let line = format!("{other}={pieces}");
        system.command(&["order", "modify", &order_id, "--line", &line, "--timeout", "2m"]).await;
        let cancelled = system.command(&["order", "cancel", &order_id, "--reason", "changed my mind"]).await;
        assert_eq!(cancelled.code, 0, "{cancelled:?}");
    }
    shop.stock_is(&sku, 10, 1).await;
    shop.stock_is(&other, 3, 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let verified = system.verify(&["--settle", "3s"]).await;
    assert!(verified.holds(), "{:#}", verified.report);
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_one_order_are_read_from_all_topics_whatever_stands_between_them() {
    let (system, _, sku, customer) = start(&[]).await;
    let line = format!("{sku}=2");
    let create =
        ["order", "create", "--customer", &customer, "--line", &line, "--watch", "--timeout", "2m", "-o", "json"];
    let made = system.command(&create).await;
    assert_eq!(made.code, 0, "{made:?}");
    let (order, other) = (made.json(), system.command(&create).await.json());
    let order_id = order["order_id"].as_str().unwrap();
    let cancelled = system.command(&["order", "cancel", order_id, "--reason", "ordered twice"]).await;
    assert_eq!(cancelled.code, 0, "{cancelled:?}");

    // A stranger's record under the order's key: no event of ours, with a type that would clear the screen.
    let record = RawRecord { key: Some(order_id.as_bytes().to_vec()), payload: Some(vec![0xff]), headers: Vec::new() };
    let record = record.header("ce_type", "\u{1b}[2J\u{202e}odd");
    send_raw(&system.world.kafka(), topics::ORDER_LIFECYCLE, 0, &[record]).await;

    let tail = ["topic", "tail", "--order", order_id, "--from", "1h"];
    // What the services add to an order's story is published a little later than the order itself.
    let events = system
        .eventually("the order's events", async || {
            let events = documents(&system.command(&[&tail[..], &["-o", "json"]].concat()).await.out);
            let topics: BTreeSet<&str> = events.iter().map(|event| event["topic"].as_str().unwrap()).collect();
            STORY.iter().all(|topic| topics.contains(topic)).then_some(events)
        })
        .await;
    let other_id = other["order_id"].as_str().unwrap();
    assert!(events.iter().all(|event| !event.to_string().contains(other_id)), "no other order's: {events:?}");
    let created = events.iter().find(|event| event["type"] == event_types::ORDER_CREATED).unwrap();
    assert_eq!(created["trace_id"], order["trace_id"]);
    let odd: Vec<&Value> = events.iter().filter(|event| !event["error"].is_null()).collect();
    assert!(odd.len() == 1 && odd[0]["type"] == "\u{1b}[2J\u{202e}odd", "{odd:?}");

    let shown = system.command(&tail).await;
    assert!(shown.code == 0 && shown.out.contains("1 bytes that cannot be shown"), "{shown:?}");
    assert!(!shown.out.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    let taken = system.command(&[&tail[..], &["--type", event_types::ORDER_PAID, "-n", "1"]].concat()).await;
    assert!(taken.out.contains("order.lifecycle.paid") && taken.out.lines().count() == 2, "{taken:?}");
    let nobody = system.command(&["topic", "tail", "--for", "1s", "--key", "nobody"]).await;
    assert_eq!((nobody.code, nobody.out.as_str()), (0, ""), "it ends by itself: {nobody:?}");
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_at_the_status_that_it_waits_for() {
    let (system, shop, sku, customer) = start(&[]).await;
    let order = shop.create(Shop::request(&customer, &sku, 1)).await.unwrap();
    let watched = async |order_id: &str, until: i32| {
        let request = WatchOrderRequest { order_id: order_id.to_owned(), until };
        let mut stream = shop.orders.clone().watch_order(request).await?.into_inner();
        let mut last = OrderStatus::Unspecified;
        while let Some(message) = stream.next().await {
            last = message?.order.unwrap().status();
        }
        Ok::<_, tonic::Status>(last)
    };
    let soon = async |order_id: &str, until: OrderStatus| {
        tokio::time::timeout(SOON, watched(order_id, until.into())).await.expect("the stream ends").unwrap()
    };
    assert_eq!(soon(&order.order_id, OrderStatus::Preparing).await, OrderStatus::Preparing);
    assert_eq!(soon(&order.order_id, OrderStatus::Confirmed).await, OrderStatus::Preparing, "it is past that");
    let rejected = shop.create(Shop::request(&customer, &sku, 100)).await.unwrap();
    assert_eq!(soon(&rejected.order_id, OrderStatus::Paid).await, OrderStatus::Rejected, "any end is one");
    let refused = watched(&order.order_id, 21).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.get_details_error_info().unwrap().reason.as_str()),
        (Code::InvalidArgument, "STATUS_UNKNOWN")
    );
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_learns_from_the_server_and_says_who_is_no_gateway() {
    let system = Deployment::start(&[("gateway", "default_timeout_ms = 9876")]).await;
    let (gateway, admin) = (system.gateway.to_string(), format!("admin.listen_address={}", system.admin));

    // A shell that knows nothing but where the server's admin port is.
    let bare = async |arguments: &[&str]| system.without_settings(&[arguments, &["--set", &admin]].concat()).await;
    let running = bare(&["config", "--server", "-o", "json"]).await;
    let settings = running.json();
    let timeout = settings.as_array().unwrap().iter().find(|one| one["key"] == "gateway.default_timeout_ms").unwrap();
    assert_eq!(timeout["value"], "9876");
    assert!(timeout["source"].as_str().unwrap().starts_with("file "), "{timeout}");
    let here = bare(&["config"]).await;
    assert!(here.out.contains("default_timeout_ms") && !here.out.contains("9876"));
    assert!(here.err.contains("openorder config --server"), "{}", here.err);
    let log = bare(&["logs", "order", "-n", "5"]).await;
    assert!(log.code == 0 && !log.out.is_empty(), "{log:?}");

    let listed = bare(&["order", "list", "--gateway", &gateway]).await;
    assert_eq!((listed.code, listed.out.as_str()), (0, "no orders\n"), "{listed:?}");
    let service = settings.as_array().unwrap().iter().find(|one| one["key"] == "payment.listen_address").unwrap();
    let strangers = [
        (system.admin.to_string(), "admin port"),
        (service["value"].as_str().unwrap().to_owned(), "payment service"),
        (openorder_testing::brokers(), "Kafka broker"),
        (format!("https://{gateway}"), "TLS"),
    ];
    for (address, who) in strangers {
        let told = bare(&["order", "list", "--gateway", &address]).await;
        assert!(told.code == 1 && told.err.contains(who) && told.err.contains("8080"), "{address}: {told:?}");
    }
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_is_told_what_to_do_and_the_demo_makes_users_who_sign_in() {
    let system = Deployment::start(&[("gateway", "anonymous = \"none\"")]).await;
    let home = system.folder().join("home");
    let operator = home.join("demo-operator");
    std::fs::create_dir(&home).unwrap();
    let run = async |arguments: &[&str], typed: &str| system.command_of(&home, arguments, typed).await;

    for command in [&["order", "list"][..], &["health"], &["user", "list"], &["load", "--duration", "1s"]] {
        let told = run(command, "").await;
        assert!(told.code == 1 && told.err.contains("TOKEN_MISSING"), "{told:?}");
        assert!(told.err.contains("openorder login") && told.err.contains("OPENORDER_TOKEN"), "{told:?}");
    }
    assert!(run(&["token"], "").await.err.contains("openorder login"));

    let demo = ["demo", "--sign-in", "--jaeger", "http://127.0.0.1:9", "--operator-file", operator.to_str().unwrap()];
    let first = run(&demo, "").await;
    assert_eq!(first.code, 0, "{first:?}");
    let kept = std::fs::read_to_string(&operator).unwrap();
    let (password, email) = kept.trim_end().split_once('\n').unwrap();
    assert!(!first.out.contains(password) && first.out.contains(email), "{}", first.out);
    let again = run(&demo, "").await;
    assert!(again.code == 0 && again.out.contains(&format!("operator {email}: signs in")), "{again:?}");
    assert_eq!(std::fs::read_to_string(&operator).unwrap(), kept, "the same operator");

    // The key of the lines that are printed is the customer's.
    let printed = again.out.lines().find(|line| line.trim_start().starts_with("grpcurl ")).unwrap();
    let key = printed.split("Bearer ").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let placed = again.out.lines().find(|line| line.trim_start().starts_with("curl ")).unwrap();
    let request: Value = serde_json::from_str(placed.rsplit("-d '").next().unwrap().trim_end_matches('\'')).unwrap();
    let customer = request["customer_id"].as_str().unwrap();
    let line = format!("{}=1", request["lines"][0]["sku"].as_str().unwrap());
    let create = ["order", "create", "--customer", customer, "--line", &line, "--token", key, "-o", "json"];
    let made = run(&create, "").await;
    assert_eq!((made.code, &made.json()["customer_id"]), (0, &Value::from(customer)), "{made:?}");
    let refused = run(&["health", "--token", key], "").await;
    assert!(refused.code == 1 && refused.err.contains("ROLE_REQUIRED"), "{refused:?}");

    // Who is signed in is the operator, until it signs out, and again by the password that is kept.
    assert_eq!(run(&["user", "list"], "").await.code, 0);
    assert_eq!(run(&["token"], "").await.out.trim_end().split('.').count(), 3, "a JWT");
    assert_eq!(run(&["logout"], "").await.code, 0);
    assert!(run(&["user", "list"], "").await.err.contains("TOKEN_MISSING"));
    let signed_in = run(&["login", "--email", email], &kept).await;
    assert_eq!(signed_in.code, 0, "{signed_in:?}");
    let asked = run(&["user", "erase", customer], "").await;
    assert!(asked.code == 1 && asked.err.contains("--yes"), "nobody is there to be asked: {asked:?}");
    let erased = run(&["user", "erase", customer, "--yes", "-o", "json"], "").await;
    assert_eq!((erased.code, &erased.json()["state"]), (0, &Value::from("USER_STATE_ERASED")), "{erased:?}");
    system.close().await;
}
