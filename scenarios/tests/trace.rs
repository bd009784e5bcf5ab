//! One order, one trace: span by span from Jaeger's query API, and message by message from Kafka.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{cell::RefCell, collections::HashMap, time::Duration};

use openorder_proto::{
    cart::v1::{AddItemRequest, CheckoutRequest},
    order::v1::{OrderCreated, OrderStatus},
};
use openorder_scenarios::{Deployment, Shop, eur, id};
use openorder_testing::Message as _;
use openorder_testing::{Tail, get_json, header, header_names, variable};
use prost::Message as _;
use serde_json::Value;
use tokio::time::{sleep, timeout};

struct Span {
    id: String,
    name: String,
    service: String,
    kind: String,
    parent: Option<String>,
    tags: HashMap<String, Value>,
}

async fn spans(trace_id: &str) -> Vec<Span> {
    let jaeger = variable("OPENORDER_JAEGER_URL", "http://127.0.0.1:16686");
    let answer = get_json(&format!("{jaeger}/api/traces/{trace_id}")).await.unwrap_or_default();
    let trace = &answer["data"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let spans = trace["spans"].as_array().cloned().unwrap_or_default();
    spans
        .iter()
        .map(|span| {
            let references = span["references"].as_array().cloned().unwrap_or_default();
            let tags: HashMap<String, Value> = span["tags"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|tag| (text(&tag["key"]), tag["value"].clone()))
                .collect();
            Span {
                id: text(&span["spanID"]),
                name: text(&span["operationName"]),
                service: text(&trace["processes"][text(&span["processID"])]["serviceName"]),
                kind: tags.get("span.kind").map(&text).unwrap_or_default(),
                // A parent that is linked to as well is shown as one reference.
                parent: references.first().map(|one| text(&one["spanID"])),
                tags,
            }
        })
        .collect()
}

/// The span of a service with this name below `parent`; the text says which one is not stored yet.
fn below<'a>(spans: &'a [Span], service: &str, name: &str, parent: &Span) -> Result<&'a Span, String> {
    let found = spans
        .iter()
        .find(|span| span.service == service && span.name == name && span.parent.as_ref() == Some(&parent.id));
    found.ok_or_else(|| format!("no span {service} {name} below {} {}", parent.service, parent.name))
}

/// From the span that created an event: its publishing, its handling by another service, and that one's database batch.
fn handled<'a>(
    spans: &'a [Span],
    created: &Span,
    publisher: &str,
    topic: &str,
    consumer: &str,
) -> Result<&'a Span, String> {
    assert_eq!(created.kind, "producer", "{}", created.name);
    let sent = below(spans, publisher, &format!("send {topic}"), created)?;
    assert_eq!(sent.kind, "client");
    assert_eq!(sent.tags["messaging.system"], "kafka");
    let processed = below(spans, consumer, &format!("process {topic}"), created)?;
    assert_eq!(processed.kind, "consumer");
    for (key, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", topic),
        ("messaging.consumer.group.name", consumer),
    ] {
        assert_eq!(processed.tags[key], value, "{key}");
    }
    for key in [
        "messaging.destination.partition.id",
        "messaging.kafka.offset",
        "messaging.message.id",
        "messaging.message.conversation_id",
    ] {
        assert!(processed.tags.contains_key(key), "{key}");
    }
    let committed = below(spans, consumer, "commit batch", processed)?;
    assert_eq!(committed.tags["db.system.name"], "postgresql");
    Ok(processed)
}

/// Follows an order from the call on the gateway to the mail, each span below the one that caused it.
fn whole_way(spans: &[Span]) -> Result<(), String> {
    let method = "openorder.order.v1.OrderService/CreateOrder";
    let gateway = spans.iter().find(|span| span.service == "gateway" && span.name == method);
    let gateway = gateway.ok_or_else(|| format!("none of {} spans is the gateway's", spans.len()))?;
    assert_eq!((gateway.kind.as_str(), gateway.parent.as_ref()), ("server", None));
    let call = below(spans, "order", method, gateway)?;
    assert_eq!(call.kind, "server");
    assert_eq!(call.tags["rpc.system.name"], "grpc");
    below(spans, "order", "commit batch", call)?;
    let created = below(spans, "order", "create order.lifecycle.created", call)?;
    let reserving = handled(spans, created, "order", "order.lifecycle.v1", "inventory")?;
    let reserved = below(spans, "inventory", "create inventory.stock.reserved", reserving)?;
    let confirming = handled(spans, reserved, "inventory", "inventory.stock.v1", "order")?;
    let confirmed = below(spans, "order", "create order.lifecycle.confirmed", confirming)?;
    let paying = handled(spans, confirmed, "order", "order.lifecycle.v1", "payment")?;
    let paid = below(spans, "payment", "create payment.transaction.completed", paying)?;
    let finishing = handled(spans, paid, "payment", "payment.transaction.v1", "order")?;
    let mut announced = spans
        .iter()
        .filter(|span| span.parent.as_ref() == Some(&finishing.id) && span.name == "create order.lifecycle.paid");
    let announced = announced
        .find(|span| {
            spans.iter().any(|below| below.parent.as_ref() == Some(&span.id) && below.service == "notification")
        })
        .ok_or("no event of the paid order that notification handles")?;
    let telling = handled(spans, announced, "order", "order.lifecycle.v1", "notification")?;
    below(spans, "notification", "deliver email", telling).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_is_one_trace_from_the_call_to_the_mail() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, customer) = (id("trace"), id("tess"));
    shop.product(&sku, eur(1, 0), 10).await;
    shop.charge(&customer, eur(10, 0)).await;
    let order = shop.create(Shop::request(&customer, &sku, 1)).await.unwrap();
    shop.until(&order.order_id, OrderStatus::Preparing).await;
    // The parts of a trace are stored in any order: a span that is missing may still be on its way.
    let missing = RefCell::new(String::new());
    let looked = timeout(Duration::from_secs(60), async {
        while let Err(text) = whole_way(&spans(&order.trace_id).await) {
            *missing.borrow_mut() = text;
            sleep(Duration::from_millis(250)).await;
        }
    });
    assert!(looked.await.is_ok(), "trace {}: {}", order.trace_id, missing.borrow());
    system.close().await;
}

/// Follows a checkout from the call on the gateway by way of the order to the cart that it leaves.
fn way_of_a_cart(spans: &[Span]) -> Result<(), String> {
    let method = "openorder.cart.v1.CartService/Checkout";
    let gateway = spans.iter().find(|span| span.service == "gateway" && span.name == method);
    let gateway = gateway.ok_or_else(|| format!("none of {} spans is the gateway's", spans.len()))?;
    let call = below(spans, "cart", method, gateway)?;
    let loaded = below(spans, "cart", "load carts", call)?;
    assert_eq!((loaded.kind.as_str(), &loaded.tags["db.system.name"]), ("client", &Value::from("redis")));
    below(spans, "cart", "commit batch", call)?;
    let create = "openorder.order.v1.OrderService/CreateOrder";
    let ordered = spans.iter().find(|span| span.service == "order" && span.name == create && span.kind == "server");
    let ordered = ordered.ok_or("no span of the order service")?;
    let created = below(spans, "order", "create order.lifecycle.created", ordered)?;
    handled(spans, created, "order", "order.lifecycle.v1", "cart").map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_and_the_order_that_it_makes_are_one_trace() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, customer) = (id("trace"), id("tess"));
    shop.product(&sku, eur(1, 0), 10).await;
    let request = AddItemRequest {
        request_id: id("add"),
        customer_id: customer.clone(),
        sku,
        quantity: 1,
        ..AddItemRequest::default()
    };
    shop.carts.clone().add_item(request).await.unwrap();
    let request = CheckoutRequest { request_id: id("checkout"), customer_id: customer, ..CheckoutRequest::default() };
    let order = shop.carts.clone().checkout(request).await.unwrap().into_inner().order.unwrap();
    let missing = RefCell::new(String::new());
    let looked = timeout(Duration::from_secs(60), async {
        while let Err(text) = way_of_a_cart(&spans(&order.trace_id).await) {
            *missing.borrow_mut() = text;
            sleep(Duration::from_millis(250)).await;
        }
    });
    assert!(looked.await.is_ok(), "trace {}: {}", order.trace_id, missing.borrow());
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_callers_own_trace_is_continued_and_the_messages_carry_it() {
    let system = Deployment::start(&[("gateway", "incoming_trace = \"trust\"")]).await;
    let shop = system.shop();
    let (sku, customer) = (id("own"), id("olga"));
    shop.product(&sku, eur(1, 0), 10).await;
    shop.charge(&customer, eur(10, 0)).await;
    let trace_id = uuid::Uuid::new_v4().simple().to_string();
    let mut request = tonic::Request::new(Shop::request(&customer, &sku, 1));
    request.metadata_mut().insert("traceparent", format!("00-{trace_id}-00f067aa0ba902b7-01").parse().unwrap());
    let order = shop.orders.clone().create_order(request).await.unwrap().into_inner().order.unwrap();
    assert_eq!(order.trace_id, trace_id);
    let tail = Tail::new(&system.world, "order.lifecycle.v1");
    let messages = tail.take(4, Duration::from_secs(30)).await;
    let types: Vec<String> = messages.iter().map(|message| header(message, "ce_type").unwrap()).collect();
    assert_eq!(types, ["created", "confirmed", "paid", "preparing"].map(|action| format!("order.lifecycle.{action}")));
    let mut last = 0;
    for message in &messages {
        assert_eq!(message.key(), Some(order.order_id.as_bytes()));
        assert!(header(message, "traceparent").unwrap().starts_with(&format!("00-{trace_id}-")));
        assert_eq!(header(message, "ce_source").unwrap(), "/openorder/order");
        let names = ["ce_type", "ce_id", "ce_source", "ce_sequence", "traceparent", "ce_specversion"];
        assert_eq!(header_names(message), names);
        let position: i64 = header(message, "ce_sequence").unwrap().parse().unwrap();
        assert!(position > last, "position {position} after {last}");
        last = position;
    }
    let created = OrderCreated::decode(messages[0].payload().unwrap()).unwrap();
    assert_eq!((created.order_id, created.lines.len()), (order.order_id.clone(), 1));
    assert_eq!(created.total, order.total);
    system.close().await;
}
