//! What callers of the catalogue may rely on, over real PostgreSQL and Kafka.

use std::time::Duration;

use futures::future::join_all;
use openorder_config::Secret;
use openorder_proto::product::v1::{
    BatchGetProductsRequest, CreateProductRequest, DeleteProductRequest, GetProductRequest, ListProductsRequest,
    Product, UpdateProductRequest, delete_product_request, get_product_request,
};
use openorder_testing::{Cut, World, eventually};
use prost_types::FieldMask;
use tonic::Code;
use tonic_types::StatusExt;

use crate::world::{as_customer, as_operator, create, euros, new_product, reason, start, start_with};

fn by_id(product: &Product) -> GetProductRequest {
    GetProductRequest { key: Some(get_product_request::Key::ProductId(product.product_id.clone())) }
}

fn by_sku(sku: &str) -> GetProductRequest {
    GetProductRequest { key: Some(get_product_request::Key::Sku(sku.to_owned())) }
}

fn delete_sku(request_id: &str, sku: &str) -> DeleteProductRequest {
    DeleteProductRequest {
        request_id: request_id.to_owned(),
        key: Some(delete_product_request::Key::Sku(sku.to_owned())),
    }
}

fn reprice(request_id: &str, product: &Product, units: i64, expected_version: i64) -> UpdateProductRequest {
    UpdateProductRequest {
        request_id: request_id.to_owned(),
        product: Some(Product {
            product_id: product.product_id.clone(),
            // Not in the mask: must not be read.
            display_name: "ignored".to_owned(),
            price: euros(units),
            ..Product::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["price".to_owned()] }),
        expected_version,
    }
}

#[tokio::test]
async fn what_was_answered_is_what_is_read() {
    let world = World::new();
    let mut client = start(&world);
    let created = create(&mut client, "r1", "KB-1").await;
    assert_eq!((created.version, created.initial_stock, created.price.clone()), (1, 5, euros(10)));
    for request in [by_id(&created), by_sku("KB-1")] {
        let read = client.get_product(as_customer(request)).await.unwrap().into_inner().product;
        assert_eq!(read, Some(created.clone()));
    }
    let other = create(&mut client, "r2", "KB-2").await;
    let skus = ["KB-2", "NONE", "KB-1", "KB-1"].map(str::to_owned).to_vec();
    let batch = client.batch_get_products(as_customer(BatchGetProductsRequest { skus })).await.unwrap();
    let mut found = batch.into_inner().products;
    found.sort_by(|one, two| one.sku.cmp(&two.sku));
    assert_eq!(found, [created, other]);
    let unknown = client.get_product(as_customer(by_sku("NONE"))).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "PRODUCT_NOT_FOUND"));
    world.close().await;
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_if_the_version_is_the_expected_one() {
    let world = World::new();
    let mut client = start(&world);
    let created = create(&mut client, "r1", "KB-1").await;
    let updated = client.update_product(as_operator(reprice("r2", &created, 12, 1))).await.unwrap();
    let updated = updated.into_inner().product.unwrap();
    assert_eq!((updated.version, &updated.price, &updated.display_name), (2, &euros(12), &created.display_name));
    let stale = client.update_product(as_operator(reprice("r3", &created, 13, 1))).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "PRODUCT_VERSION_MISMATCH"));
    let read = client.get_product(as_customer(by_sku("KB-1"))).await.unwrap().into_inner().product;
    assert_eq!(read, Some(updated));
    world.close().await;
}

#[tokio::test]
async fn a_deleted_product_frees_its_sku_and_stays_readable_by_its_id() {
    let world = World::new();
    let mut client = start(&world);
    let first = create(&mut client, "r1", "KB-1").await;
    let deleted = client.delete_product(as_operator(delete_sku("r2", "KB-1"))).await.unwrap();
    let deleted = deleted.into_inner().product.unwrap();
    assert!(deleted.delete_time.is_some() && deleted.version == 2);
    assert_eq!(client.get_product(as_customer(by_sku("KB-1"))).await.unwrap_err().code(), Code::NotFound);
    let read = client.get_product(as_customer(by_id(&first))).await.unwrap().into_inner().product;
    assert_eq!(read, Some(deleted));
    let dead = client.update_product(as_operator(reprice("r3", &first, 1, 0))).await.unwrap_err();
    assert_eq!((dead.code(), reason(&dead).as_str()), (Code::FailedPrecondition, "PRODUCT_DELETED"));
    let second = create(&mut client, "r4", "KB-1").await;
    assert_ne!(second.product_id, first.product_id);
    let batch = BatchGetProductsRequest { skus: vec!["KB-1".to_owned()] };
    let found = client.batch_get_products(as_customer(batch)).await.unwrap().into_inner().products;
    assert_eq!(found, [second]);
    world.close().await;
}

#[tokio::test]
async fn a_request_id_gives_its_first_answer_again_and_no_other_content() {
    let world = World::new();
    let mut client = start(&world);
    let first = create(&mut client, "r1", "KB-1").await;
    let update = client.update_product(as_operator(reprice("r2", &first, 12, 0))).await.unwrap();
    assert_eq!(update.into_inner().product.unwrap().version, 2);
    assert_eq!(create(&mut client, "r1", "KB-1").await, first, "as it was answered then, not as it stands");
    let other = client.create_product(as_operator(new_product("r1", "KB-2"))).await.unwrap_err();
    assert_eq!((other.code(), reason(&other).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let taken = client.create_product(as_operator(new_product("r3", "KB-1"))).await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken).as_str()), (Code::AlreadyExists, "SKU_ALREADY_EXISTS"));
    let metadata = taken.get_details_error_info().unwrap().metadata;
    assert_eq!((&metadata["sku"], &metadata["product_id"]), (&"KB-1".to_owned(), &first.product_id));
    world.close().await;
}

#[tokio::test]
async fn of_many_who_want_one_sku_at_two_instances_one_gets_it() {
    let world = World::new();
    let first = start(&world);
    let second = start_with(world.separate_role("product"), world.database_url("product"), world.kafka(), &world);
    let calls = (0..40).map(|number| {
        let mut client = if number % 2 == 0 { first.clone() } else { second.clone() };
        async move { client.create_product(as_operator(new_product(&format!("r{number}"), "KB-1"))).await }
    });
    let answers = join_all(calls).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 39));
    for refused in lost {
        assert_eq!(reason(&refused.unwrap_err()), "SKU_ALREADY_EXISTS");
    }
    let counter = sqlx::PgPool::connect(world.database_url("product").expose()).await.unwrap();
    let rows: (i64, i64) = sqlx::query_as("select (select count(*) from product), (select count(*) from event_log)")
        .fetch_one(&counter)
        .await
        .unwrap();
    assert_eq!(rows, (1, 1), "one product and one event");
    counter.close().await;
    world.close().await;
}

#[tokio::test]
async fn concurrent_updates_count_every_version_once() {
    let world = World::new();
    let mut first = start(&world);
    let second = start_with(world.separate_role("product"), world.database_url("product"), world.kafka(), &world);
    let product = create(&mut first, "r", "KB-1").await;
    let calls = (0..40).map(|number| {
        let mut client = if number % 2 == 0 { first.clone() } else { second.clone() };
        let request = reprice(&format!("r{number}"), &product, 100 + number, 0);
        async move { client.update_product(as_operator(request)).await.unwrap().into_inner().product.unwrap().version }
    });
    let mut versions = join_all(calls).await;
    versions.sort_unstable();
    assert_eq!(versions, (2..=41).collect::<Vec<i64>>());
    world.close().await;
}

#[tokio::test]
async fn only_operators_and_services_change_the_catalogue() {
    let world = World::new();
    let mut client = start(&world);
    let product = create(&mut client, "r1", "KB-1").await;
    let refusals = [
        client.create_product(as_customer(new_product("c1", "KB-2"))).await.unwrap_err(),
        client.update_product(as_customer(reprice("c2", &product, 1, 0))).await.unwrap_err(),
        client.delete_product(as_customer(delete_sku("c3", "KB-1"))).await.unwrap_err(),
        client
            .list_products(as_customer(ListProductsRequest { show_deleted: true, ..ListProductsRequest::default() }))
            .await
            .unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "ROLE_REQUIRED"));
    }
    let unknown = client.get_product(tonic::Request::new(by_sku("KB-1"))).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::Unauthenticated, "CALLER_MISSING"));
    assert_eq!(client.get_product(as_customer(by_id(&product))).await.unwrap().into_inner().product, Some(product));
    world.close().await;
}

#[tokio::test]
async fn every_wrong_field_is_answered_at_once() {
    let world = World::new();
    let mut client = start(&world);
    let wrong = CreateProductRequest { price: euros(0), initial_stock: -1, ..new_product("", "no sku") };
    let refused = client.create_product(as_operator(wrong)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_ARGUMENT"));
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<&str> = violations.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["request_id", "sku", "price", "initial_stock"]);
    world.close().await;
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_and_belong_to_their_caller() {
    let world = World::new();
    let mut client = start(&world);
    for number in 0..8 {
        create(&mut client, &format!("r{number}"), &format!("KB-{number}")).await;
    }
    client.delete_product(as_operator(delete_sku("d", "KB-3"))).await.unwrap();
    let page =
        |token: &str, show_deleted| ListProductsRequest { page_size: 3, page_token: token.to_owned(), show_deleted };
    let mut skus: Vec<String> = Vec::new();
    let (mut token, mut sizes) = (String::new(), Vec::new());
    loop {
        let answer = client.list_products(as_customer(page(&token, false))).await.unwrap().into_inner();
        sizes.push(answer.products.len());
        skus.extend(answer.products.into_iter().map(|product| product.sku));
        token = answer.next_page_token;
        if token.is_empty() || sizes.len() > 3 {
            break;
        }
        let stolen = client.list_products(as_operator(page(&token, false))).await.unwrap_err();
        assert_eq!(reason(&stolen), "PAGE_TOKEN_INVALID");
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(skus, ["KB-0", "KB-1", "KB-2", "KB-4", "KB-5", "KB-6", "KB-7"]);
    let all = ListProductsRequest { show_deleted: true, ..ListProductsRequest::default() };
    let all = client.list_products(as_operator(all)).await.unwrap().into_inner();
    assert_eq!((all.products.len(), all.next_page_token.as_str()), (8, ""));
    let first = client.list_products(as_operator(page("", true))).await.unwrap().into_inner().next_page_token;
    let other_filter = client.list_products(as_operator(page(&first, false))).await.unwrap_err();
    assert_eq!(reason(&other_filter), "PAGE_TOKEN_INVALID");
    world.close().await;
}

/// Host and port of a PostgreSQL URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").unwrap().1;
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    rest.split('/').next().unwrap()
}

/// The database goes while commands come: they are refused as UNAVAILABLE, and the same request id, repeated once
/// the database is back, makes one product.
#[tokio::test]
async fn a_cut_to_the_database_is_unavailable_and_heals() {
    let world = World::new();
    let url = world.database_url("product");
    let server = authority(url.expose());
    let cable = Cut::to(server).await;
    let through = Secret::new(url.expose().replace(server, &cable.address()));
    let mut client = start_with(world.role("product"), through, world.kafka(), &world);
    create(&mut client, "r1", "KB-1").await;
    cable.cut();
    let refused = eventually("UNAVAILABLE", Duration::from_secs(20), || {
        let mut client = client.clone();
        async move { client.create_product(as_operator(new_product("r2", "KB-2"))).await.err() }
    })
    .await;
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()));
    let read = client.get_product(as_customer(by_sku("KB-1"))).await.unwrap_err();
    assert_eq!(read.code(), Code::Unavailable, "{read:?}");
    cable.mend();
    let healed = eventually("the database is back", Duration::from_secs(20), || {
        let mut client = client.clone();
        async move { client.create_product(as_operator(new_product("r2", "KB-2"))).await.ok() }
    })
    .await;
    let again = create(&mut client, "r2", "KB-2").await;
    assert_eq!(healed.into_inner().product, Some(again));
    let all = client.list_products(as_operator(ListProductsRequest::default())).await.unwrap().into_inner();
    assert_eq!(all.products.len(), 2);
    world.close().await;
}
