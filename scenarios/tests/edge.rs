//! What bad input and missing parts get: the right code, one reason, the fields at fault, no internals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder_proto::{
    google::r#type::Money,
    inventory::v1::GetStockRequest,
    order::v1::{CreateOrderRequest, GetOrderRequest, ListOrdersRequest, RequestedLine},
    payment::v1::ChargeWalletRequest,
    product::v1::CreateProductRequest,
};
use openorder_scenarios::{Deployment, Shop, eur, id};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Code, reason and fields; every refusal carries exactly one ErrorInfo of ours.
fn seen(status: &Status) -> (Code, String, Vec<String>) {
    let infos = status
        .get_error_details_vec()
        .iter()
        .filter(|detail| matches!(detail, tonic_types::ErrorDetail::ErrorInfo(_)))
        .count();
    assert_eq!(infos, 1, "{status:?}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.domain, "openorder");
    for internal in ["sqlx", "postgres", "panicked", "127.0.0.1", "src/"] {
        assert!(!status.message().contains(internal), "{}", status.message());
    }
    let fields = status
        .get_details_bad_request()
        .map(|bad| bad.field_violations.into_iter().map(|violation| violation.field).collect());
    (status.code(), info.reason, fields.unwrap_or_default())
}

fn lines(lines: &[(&str, i32)]) -> Vec<RequestedLine> {
    lines.iter().map(|(sku, quantity)| RequestedLine { sku: (*sku).to_owned(), quantity: *quantity }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_the_field_at_fault_and_leaves_nothing_behind() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let good = || Shop::request("anna", "chair", 1);
    let refused = [
        (CreateOrderRequest { lines: vec![], ..good() }, "LINES_EMPTY", "lines"),
        (CreateOrderRequest { lines: lines(&[("a", 1), ("a", 2)]), ..good() }, "SKU_DOUBLED", "lines[1].sku"),
        (CreateOrderRequest { lines: lines(&[("a", 0)]), ..good() }, "QUANTITY_OUT_OF_RANGE", "lines[0].quantity"),
        (CreateOrderRequest { lines: lines(&[("a", -5)]), ..good() }, "QUANTITY_OUT_OF_RANGE", "lines[0].quantity"),
        (
            CreateOrderRequest { lines: lines(&[("a", i32::MAX)]), ..good() },
            "QUANTITY_OUT_OF_RANGE",
            "lines[0].quantity",
        ),
        (CreateOrderRequest { customer_id: "an na".to_owned(), ..good() }, "USER_ID_MALFORMED", "customer_id"),
        (CreateOrderRequest { customer_email: "anna".to_owned(), ..good() }, "EMAIL_MALFORMED", "customer_email"),
        (CreateOrderRequest { request_id: String::new(), ..good() }, "REQUEST_ID_MALFORMED", "request_id"),
    ];
    for (request, reason, field) in refused {
        let status = shop.create(request).await.unwrap_err();
        let (code, seen_reason, fields) = seen(&status);
        assert_eq!((code, fields), (Code::InvalidArgument, vec![field.to_owned()]), "{reason}");
        assert_eq!(seen_reason, reason);
    }
    let many = CreateOrderRequest {
        request_id: String::new(),
        customer_id: String::new(),
        lines: lines(&[("a", 0)]),
        ..good()
    };
    let (_, reason, fields) = seen(&shop.create(many).await.unwrap_err());
    assert_eq!((reason.as_str(), fields.len()), ("INVALID_ARGUMENT", 3));
    let mut payments = shop.payments.clone();
    for amount in [
        eur(-5, 0),
        eur(0, 0),
        Money { currency_code: "EURO".to_owned(), units: 1, nanos: 0 },
        Money { nanos: 1, ..eur(1, 0) },
    ] {
        let request =
            ChargeWalletRequest { request_id: id("charge"), user_id: "anna".to_owned(), amount: Some(amount.clone()) };
        let (code, _, fields) = seen(&payments.charge_wallet(request).await.unwrap_err());
        assert_eq!(code, Code::InvalidArgument, "{amount:?}");
        assert!(fields[0].starts_with("amount"), "{fields:?}");
    }
    let product = CreateProductRequest {
        request_id: id("p"),
        sku: "bad sku".to_owned(),
        price: Some(eur(-1, 0)),
        initial_stock: -1,
        ..Default::default()
    };
    let (_, _, fields) = seen(&shop.products.clone().create_product(product).await.unwrap_err());
    assert_eq!(fields.len(), 4, "{fields:?}");
    // Unknown ids.
    let unknown = uuid::Uuid::now_v7().to_string();
    let status = shop.orders.clone().get_order(GetOrderRequest { order_id: unknown }).await.unwrap_err();
    assert_eq!(seen(&status).0, Code::NotFound);
    let status = shop.orders.clone().get_order(GetOrderRequest { order_id: "17".to_owned() }).await.unwrap_err();
    assert_eq!(seen(&status), (Code::InvalidArgument, "ORDER_ID_MALFORMED".to_owned(), vec!["order_id".to_owned()]));
    let status = shop.inventory.clone().get_stock(GetStockRequest { sku: id("none") }).await.unwrap_err();
    assert_eq!(seen(&status).0, Code::NotFound);
    // A body over the limit.
    let huge = CreateOrderRequest { customer_email: "x".repeat(3 << 20), ..good() };
    let (code, reason, _) = seen(&shop.create(huge).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "REQUEST_TOO_LARGE"));
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_one_intent() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let sku = id("once");
    shop.product(&sku, eur(1, 0), 10).await;
    let request = Shop::request("anna", &sku, 1);
    let first = shop.create(request.clone()).await.unwrap();
    let again = futures::future::join_all((0..10).map(|_| shop.create(request.clone()))).await;
    // The one order, as it stands by then.
    assert!(again.iter().all(|order| order.as_ref().unwrap().order_id == first.order_id));
    let other = CreateOrderRequest { lines: lines(&[(&sku, 2)]), ..request };
    let (code, reason, _) = seen(&shop.create(other).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_its_database_is_away_a_service_is_unavailable_and_the_same_request_id_finds_one_order_afterwards() {
    let system = Deployment::start(&[]).await;
    let shop = system.shop();
    let (sku, customer) = (id("away"), id("alma"));
    shop.product(&sku, eur(1, 0), 10).await;
    let before = shop.create(Shop::request(&customer, &sku, 1)).await.unwrap();
    // Inventory has heard of both.
    shop.stock_is(&sku, 10, 1).await;
    let request = Shop::request(&customer, &sku, 1);
    system.world.database_accepts("order", false).await;
    let status = shop.create(request.clone()).await.unwrap_err();
    assert_eq!(seen(&status).0, Code::Unavailable, "{status:?}");
    assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    // Queries too, and a SKU that has to be looked up first.
    let status =
        shop.orders.clone().get_order(GetOrderRequest { order_id: before.order_id.clone() }).await.unwrap_err();
    assert_eq!(seen(&status).0, Code::Unavailable, "{status:?}");
    let status = shop.create(Shop::request(&customer, &id("new"), 1)).await.unwrap_err();
    assert_eq!(seen(&status).0, Code::Unavailable, "{status:?}");
    // The other services go on.
    assert!(shop.stock(&sku).await.is_some());
    system.world.database_accepts("order", true).await;
    let order = system.eventually("accepted", || async { shop.create(request.clone()).await.ok() }).await;
    // As it stands by then.
    assert_eq!(shop.create(request).await.unwrap().order_id, order.order_id);
    let list = ListOrdersRequest { customer_id: customer, ..Default::default() };
    let listed = shop.orders.clone().list_orders(list).await.unwrap().into_inner().orders;
    assert_eq!(listed.len(), 2);
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_lists_its_services_and_tells_their_health() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let system = Deployment::start(&[]).await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(system.channel())
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    assert!(!names.iter().any(|name| name.starts_with("openorder.internal.")), "{names:?}");
    for context in [
        "order.v1.Order",
        "product.v1.Product",
        "inventory.v1.Inventory",
        "payment.v1.Payment",
        "notification.v1.Notification",
        "operations.v1.Operations",
    ] {
        let name = format!("openorder.{context}Service");
        assert!(names.contains(&name), "{name} in {names:?}");
        let mut health = HealthClient::new(system.channel());
        system
            .eventually("serving", || {
                let (mut health, name) = (health.clone(), name.clone());
                async move {
                    let answer = health.check(HealthCheckRequest { service: name }).await.ok()?.into_inner();
                    (answer.status == 1).then_some(())
                }
            })
            .await;
        assert!(health.check(HealthCheckRequest { service: "openorder.nothing".to_owned() }).await.is_err());
    }
    let ready = system.admin_get("/readyz").await;
    for dependency in ["postgres", "kafka"] {
        assert!(ready.contains(&format!("\"name\":\"{dependency}\"")), "{ready}");
    }
    assert!(system.admin_get("/livez").await.starts_with("HTTP/1.1 200"));
    // Instruments show once something was counted.
    system.shop().product(&id("metrics"), eur(1, 0), 1).await;
    let metrics = system.admin_get("/metrics").await;
    for name in ["rpc_server_call_duration", "openorder_batch_size", "openorder_event_log_publish_lag"] {
        assert!(metrics.contains(name), "{name}");
    }
    system.close().await;
}
