//! What followers of the catalogue may rely on, over real PostgreSQL and Kafka.

use std::time::Duration;

use openorder_messaging::KafkaSettings;
use openorder_proto::{
    event_types,
    product::v1::{
        DeleteProductRequest, Product, ProductCreated, ProductDeleted, ProductUpdated, UpdateProductRequest,
        delete_product_request,
    },
    topics,
};
use openorder_testing::{Cut, Message, Tail, World, header};
use prost_types::FieldMask;

use crate::world::{Follower, as_operator, create, euros, start, start_with};

#[tokio::test]
async fn the_life_of_a_product_is_told_in_order() {
    let world = World::new();
    let mut client = start(&world);
    let follower = Follower::start(&world).await;
    let created = create(&mut client, "r1", "KB-1").await;
    let product_id = created.product_id.clone();
    let update = |request_id: &str| UpdateProductRequest {
        request_id: request_id.to_owned(),
        product: Some(Product { product_id: product_id.clone(), price: euros(12), ..created.clone() }),
        update_mask: Some(FieldMask { paths: vec!["display_name".to_owned(), "price".to_owned()] }),
        expected_version: 0,
    };
    let updated = client.update_product(as_operator(update("r2"))).await.unwrap().into_inner().product;
    // The same values under a new request id: no change, so no event.
    assert_eq!(client.update_product(as_operator(update("r3"))).await.unwrap().into_inner().product, updated);
    let key = Some(delete_product_request::Key::ProductId(product_id.clone()));
    let delete = DeleteProductRequest { request_id: "r4".to_owned(), key };
    let deleted = client.delete_product(as_operator(delete)).await.unwrap().into_inner().product.unwrap();

    let events = follower.events_of(&product_id, 3).await;
    let types: Vec<&str> = events.iter().map(|event| &*event.event_type).collect();
    assert_eq!(types, [event_types::PRODUCT_CREATED, event_types::PRODUCT_UPDATED, event_types::PRODUCT_DELETED]);
    assert!(events.iter().all(|event| event.source() == "product"));
    assert_eq!(events[0].decode::<ProductCreated>().unwrap().product, Some(created.clone()));
    let told: ProductUpdated = events[1].decode().unwrap();
    assert_eq!(told.product, updated);
    assert_eq!(told.update_mask.unwrap().paths, ["price"], "only what has another value");
    let told: ProductDeleted = events[2].decode().unwrap();
    assert_eq!((told.sku.as_str(), told.version, told.delete_time), ("KB-1", 3, deleted.delete_time));
    world.close().await;
}

#[tokio::test]
async fn an_event_carries_the_headers_of_cloudevents() {
    let world = World::new();
    let mut client = start(&world);
    let created = create(&mut client, "r1", "KB-1").await;
    let message = Tail::new(&world, topics::PRODUCT_CATALOG).take(1, Duration::from_secs(30)).await.remove(0);
    let value = |name| header(&message, name).unwrap_or_else(|| panic!("no header {name}"));
    assert_eq!(value("ce_type"), event_types::PRODUCT_CREATED);
    assert_eq!(value("ce_source"), "/openorder/product");
    assert_eq!(message.key(), Some(created.product_id.as_bytes()));
    assert_eq!(value("ce_sequence"), "1", "the first in the log");
    assert_eq!(value("ce_specversion"), "1.0");
    assert_eq!(value("traceparent").len(), 55);
    world.close().await;
}

/// Kafka is away: the command is accepted, and its event goes out once Kafka can be reached.
#[tokio::test]
async fn a_missing_broker_fails_no_command_and_loses_no_event() {
    let world = World::new();
    let cable = Cut::to(&world.kafka().brokers).await;
    cable.cut();
    let away = KafkaSettings { brokers: cable.address(), ..world.kafka() };
    let mut client = start_with(world.role("product"), world.database_url("product"), away, &world);
    let created = create(&mut client, "r1", "KB-1").await;
    let waiting = world.readiness().snapshot();
    assert!(!world.readiness().is_ready(), "{waiting:?}");
    cable.mend();
    let follower = Follower::start(&world).await;
    let events = follower.events_of(&created.product_id, 1).await;
    assert_eq!(events[0].decode::<ProductCreated>().unwrap().product, Some(created));
    world.close().await;
}
