//! The service over real PostgreSQL and Kafka, as the others see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder_inventory::{InventorySettings, serve};
use openorder_messaging::CommitterSettings;
use openorder_proto::{
    EventMessage,
    inventory::v1::{
        AdjustStockRequest, BatchGetStockRequest, GetStockRequest, ListReservationsRequest, ReservationState,
        ReserveStockRequest, Stock, StockLine, StockRejected, StockReleaseReason, StockReleaseRequested, StockReleased,
        StockReserved, inventory_service_client::InventoryServiceClient,
    },
    order::v1::{OrderCreated, OrderLine, OrderShipped},
    product::v1::{Product, ProductCreated},
    topics,
};
use openorder_rpc::{CallContext, PageTokens, RpcClientSettings, reason_of};
use openorder_service::Host;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::Message as _;
use openorder_testing::{Tail, TestProducer, World, eventually, free_address, header};
use openorder_types::{Caller, Role};
use prost::Message as _;
use uuid::Uuid;

type Client = InventoryServiceClient<openorder_rpc::UpstreamChannel>;

const BOUND: Duration = Duration::from_secs(30);

struct Service {
    world: World,
    client: Client,
    producer: TestProducer,
}

async fn start() -> Service {
    start_with(CommitterSettings::default()).await
}

async fn start_with(committer: CommitterSettings) -> Service {
    let world = World::new();
    let address = free_address().to_string();
    let settings = InventorySettings {
        listen_address: address.clone(),
        database_url: world.database_url("inventory"),
        database: world.database(),
        committer,
        ..InventorySettings::default()
    };
    let role = world.role("inventory");
    // Nobody is there: these tests bring products by their events, and no reservation lives long enough here.
    let urls = ["product", "order"].map(|role| (role, format!("http://{}", free_address())));
    let host = Host::new(role, settings, world.kafka(), PageTokens::new(b"test")).with_urls(urls.into_iter().collect());
    tokio::spawn(serve(host));
    let telemetry = RoleTelemetry::disabled("test");
    let channel = openorder_rpc::channel(
        &telemetry,
        &format!("http://{address}"),
        &RpcClientSettings { in_memory: false, ..Default::default() },
    )
    .unwrap();
    eventually("ready", BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    Service { client: Client::new(channel), producer: TestProducer::new(&world), world }
}

fn call() -> CallContext {
    CallContext::of_service("order", TraceContext::default())
}

impl Service {
    async fn publish<M: EventMessage>(&self, key: &str, message: &M) {
        self.producer.publish(key, message).await;
    }

    async fn publish_as<M: EventMessage>(&self, key: &str, message: &M, event_id: Uuid) {
        self.producer.publish_as(key, message, event_id).await;
    }

    async fn product(&self, sku: &str, initial_stock: i32) {
        let product = Product {
            product_id: Uuid::now_v7().to_string(),
            sku: sku.to_owned(),
            initial_stock,
            ..Default::default()
        };
        self.publish("p", &ProductCreated { product: Some(product) }).await;
        eventually("a level", BOUND, || async { self.stock(sku).await }).await;
    }

    async fn stock(&self, sku: &str) -> Option<Stock> {
        let request = call().request(GetStockRequest { sku: sku.to_owned() });
        self.client.clone().get_stock(request).await.ok()?.into_inner().stock
    }

    async fn quantities(&self, sku: &str) -> (i32, i32) {
        let stock = self.stock(sku).await.unwrap();
        (stock.on_hand_quantity, stock.reserved_quantity)
    }
}

fn created(order_id: Uuid, lines: &[(&str, i32)]) -> OrderCreated {
    let lines = lines.iter().map(|(sku, quantity)| OrderLine {
        sku: (*sku).to_owned(),
        quantity: *quantity,
        ..Default::default()
    });
    OrderCreated { order_id: order_id.to_string(), lines: lines.collect(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_held_all_or_nothing_answered_by_events_and_given_back() {
    let service = start().await;
    service.product("chair", 5).await;
    service.product("table", 1).await;
    let (held, refused) = (Uuid::now_v7(), Uuid::now_v7());
    let event_id = Uuid::now_v7();
    let order = created(held, &[("chair", 3), ("table", 1)]);
    service.publish_as(&held.to_string(), &order, event_id).await;
    service.publish_as(&held.to_string(), &order, event_id).await;
    // Between two orders there is no order: the second one is published once the first one is held.
    eventually("held", BOUND, || async { (service.quantities("chair").await == (5, 3)).then_some(()) }).await;
    service.publish(&refused.to_string(), &created(refused, &[("chair", 1), ("table", 1)])).await;
    let release = StockReleaseRequested {
        order_id: held.to_string(),
        reason: StockReleaseReason::OrderCancelled.into(),
        order_version: 2,
        answer_again: false,
    };
    // Asked again, it is done already and nothing is published, but for an operator who asks.
    for answer_again in [false, false, true] {
        let release = StockReleaseRequested { answer_again, ..release.clone() };
        service.publish(&held.to_string(), &release).await;
    }
    eventually("given back", BOUND, || async { (service.quantities("chair").await == (5, 0)).then_some(()) }).await;
    assert_eq!(service.quantities("table").await, (1, 0));
    let tail = Tail::new(&service.world, topics::INVENTORY_STOCK);
    let mut seen = Vec::new();
    while let Some(message) = tail.next(Duration::from_secs(3)).await {
        if header(&message, "ce_source").unwrap() != "/openorder/inventory" {
            continue;
        }
        let payload = message.payload().unwrap();
        match header(&message, "ce_type").unwrap().as_str() {
            StockReserved::EVENT_TYPE => {
                let event = StockReserved::decode(payload).unwrap();
                assert_eq!((event.order_id.as_str(), event.lines.len()), (held.to_string().as_str(), 2));
                seen.push("reserved");
            }
            StockRejected::EVENT_TYPE => {
                let event = StockRejected::decode(payload).unwrap();
                assert_eq!(event.shortfalls[0].sku, "table");
                seen.push("rejected");
            }
            StockReleased::EVENT_TYPE => {
                assert_eq!(StockReleased::decode(payload).unwrap().reason(), StockReleaseReason::OrderCancelled);
                seen.push("released");
            }
            _ => {}
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, ["rejected", "released", "released", "reserved"]);
    service.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_overtakes_its_order_holds_for_ever() {
    let service = start().await;
    service.product("chair", 5).await;
    let order = Uuid::now_v7();
    service
        .publish(&order.to_string(), &StockReleaseRequested { order_id: order.to_string(), ..Default::default() })
        .await;
    let list = || call().request(ListReservationsRequest { order_id: order.to_string(), ..Default::default() });
    eventually("a tombstone", BOUND, || async {
        let found = service.client.clone().list_reservations(list()).await.unwrap().into_inner().reservations;
        (found.first()?.state() == ReservationState::Released).then_some(())
    })
    .await;
    service.publish(&order.to_string(), &created(order, &[("chair", 2)])).await;
    // A later order shows that the one before it was handled.
    let later = Uuid::now_v7();
    service.publish(&order.to_string(), &created(later, &[("chair", 1)])).await;
    eventually("the later one", BOUND, || async { (service.quantities("chair").await == (5, 1)).then_some(()) }).await;
    service.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shipped_leaves_the_stock() {
    let service = start().await;
    service.product("chair", 5).await;
    let order = Uuid::now_v7();
    service.publish(&order.to_string(), &created(order, &[("chair", 2)])).await;
    eventually("held", BOUND, || async { (service.quantities("chair").await == (5, 2)).then_some(()) }).await;
    service.publish(&order.to_string(), &OrderShipped { order_id: order.to_string(), ..Default::default() }).await;
    eventually("shipped", BOUND, || async { (service.quantities("chair").await == (3, 0)).then_some(()) }).await;
    service.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_for_the_last_pieces_sell_exactly_those() {
    let service = start().await;
    service.product("hot", 100).await;
    let calls = (0..1_000).map(|_| {
        let (mut client, order_id) = (service.client.clone(), Uuid::now_v7().to_string());
        async move {
            let lines = vec![StockLine { sku: "hot".to_owned(), quantity: 1, product_number: 0 }];
            let request = ReserveStockRequest { request_id: order_id.clone(), order_id, lines };
            match client.reserve_stock(call().request(request)).await {
                Ok(_) => 1,
                Err(status) => {
                    assert_eq!(reason_of(&status).as_deref(), Some("OUT_OF_STOCK"), "{status:?}");
                    0
                }
            }
        }
    });
    let sold: i32 = futures::future::join_all(calls).await.into_iter().sum();
    assert_eq!(sold, 100);
    assert_eq!(service.quantities("hot").await, (100, 100));
    service.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adjusting_is_for_staff_counts_once_and_never_takes_what_is_held() {
    let service = start().await;
    service.product("chair", 5).await;
    let adjust = |request_id: &str, delta| AdjustStockRequest {
        request_id: request_id.to_owned(),
        sku: "chair".to_owned(),
        delta,
        reason: "counted".to_owned(),
    };
    let mut client = service.client.clone();
    for _ in 0..3 {
        let stock = client.adjust_stock(call().request(adjust("a", 10))).await.unwrap().into_inner().stock.unwrap();
        assert_eq!(stock.on_hand_quantity, 15);
    }
    let reused = client.adjust_stock(call().request(adjust("a", 11))).await.unwrap_err();
    assert_eq!(reason_of(&reused).as_deref(), Some("REQUEST_ID_REUSED"));
    let short = client.adjust_stock(call().request(adjust("b", -16))).await.unwrap_err();
    assert_eq!(reason_of(&short).as_deref(), Some("OUT_OF_STOCK"));
    let customer = CallContext { caller: Caller::new("anna", [Role::Customer]), ..call() };
    let refused = client.adjust_stock(customer.request(adjust("c", 1))).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("ROLE_REQUIRED"));
    let batch = BatchGetStockRequest { skus: vec!["chair".to_owned(), "none".to_owned(), "chair".to_owned()] };
    let stocks = client.batch_get_stock(customer.request(batch)).await.unwrap().into_inner().stocks;
    assert_eq!(stocks.len(), 1);
    service.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_of_a_later_product_with_the_same_sku_begins_anew() {
    let service = start().await;
    let made = |product_number: i64, initial_stock: i32| ProductCreated {
        product: Some(Product {
            product_id: Uuid::now_v7().to_string(),
            sku: "lamp".to_owned(),
            initial_stock,
            product_number,
            ..Default::default()
        }),
    };
    let ordered = |order_id: Uuid, quantity: i32, product_number: i64| {
        let mut order = created(order_id, &[("lamp", quantity)]);
        order.lines[0].product_number = product_number;
        order
    };
    let until = async |quantities: (i32, i32)| {
        let what = format!("{quantities:?}");
        let is = || async {
            let stock = service.stock("lamp").await?;
            ((stock.on_hand_quantity, stock.reserved_quantity) == quantities).then_some(())
        };
        eventually(&what, BOUND, is).await;
    };
    service.publish("first", &made(1, 100)).await;
    until((100, 0)).await;
    let (former, late, present) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    service.publish(&former.to_string(), &ordered(former, 10, 1)).await;
    until((100, 10)).await;
    // Of the former product there is only left what is held; its news, come again, changes nothing.
    service.publish("second", &made(2, 5)).await;
    until((15, 10)).await;
    assert_eq!(service.stock("lamp").await.unwrap().available_quantity, 5);
    service.publish("first", &made(1, 100)).await;
    // An order of the former product that comes now holds nothing of the new one.
    service.publish(&late.to_string(), &ordered(late, 1, 1)).await;
    service.publish(&present.to_string(), &ordered(present, 5, 2)).await;
    until((15, 15)).await;
    let request = ListReservationsRequest { order_id: late.to_string(), ..Default::default() };
    let answer = service.client.clone().list_reservations(call().request(request)).await.unwrap();
    let refused = answer.into_inner().reservations.pop().unwrap();
    assert_eq!((refused.state(), refused.reason.as_str()), (ReservationState::Rejected, "UNKNOWN_SKU"));
    // What is given back of the former product is gone, what is given back of the new one is sold again.
    for (order_id, left) in [(former, (5, 5)), (present, (5, 0))] {
        let release = StockReleaseRequested { order_id: order_id.to_string(), ..Default::default() };
        service.publish(&order_id.to_string(), &release).await;
        until(left).await;
    }
    service.world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_at_once_over_the_same_levels_never_wait_for_each_other_in_a_circle() {
    const ORDERS: i32 = 120;
    let committer =
        CommitterSettings { batch_max: 4, batches_at_once: 6, linger_ms: 0, linger_min_ms: 0, ..Default::default() };
    let service = start_with(committer).await;
    let skus: Vec<String> = (0..6).map(|number| format!("sku-{number}")).collect();
    for sku in &skus {
        service.product(sku, 1_000).await;
    }
    let calls = (0..ORDERS).map(|number| {
        let mut client = service.client.clone();
        // Each names the same levels, from another one on, forwards or backwards.
        let mut names = skus.clone();
        names.rotate_left(usize::try_from(number).unwrap() % skus.len());
        if number % 2 == 1 {
            names.reverse();
        }
        let lines = names.into_iter().map(|sku| StockLine { sku, quantity: 1, ..Default::default() }).collect();
        let order_id = Uuid::now_v7().to_string();
        let request = ReserveStockRequest { request_id: order_id.clone(), order_id, lines };
        async move { client.reserve_stock(call().request(request)).await }
    });
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    for sku in &skus {
        assert_eq!(service.quantities(sku).await, (1_000, ORDERS), "{sku}");
    }
    assert_eq!(service.world.deadlocks("inventory").await, 0);
    service.world.close().await;
}
