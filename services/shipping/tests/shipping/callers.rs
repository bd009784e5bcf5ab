//! Operators move shipments on; customers see their own.

use openorder_proto::shipping::v1::{ListShipmentsRequest, Shipment, ShipmentState, UpdateShipmentRequest};
use openorder_rpc::CallContext;
use tonic::Code;
use uuid::Uuid;

use crate::support::{Bench, as_customer, as_operator, by_order, is, move_to, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_says_who_carries_the_parcel_and_moves_it_on() {
    let bench = Bench::start().await;
    let order_id = bench.order("ada").await;
    let operator = as_operator();
    let named = UpdateShipmentRequest {
        request_id: "r-1".to_owned(),
        order_id: order_id.to_string(),
        expected_version: 1,
        carrier: "DHL".to_owned(),
        tracking_number: "00340434161094042557".to_owned(),
        ..UpdateShipmentRequest::default()
    };
    let updated = bench.update(&operator, named.clone()).await.unwrap();
    assert_eq!((updated.version, updated.carrier.as_str(), updated.state()), (2, "DHL", ShipmentState::Created));
    assert_eq!(bench.update(&operator, named.clone()).await.unwrap(), updated, "the same request, the same answer");
    let other = UpdateShipmentRequest { carrier: "UPS".to_owned(), ..named.clone() };
    assert_eq!(refusal(bench.update(&operator, other).await), is(Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let stale = UpdateShipmentRequest { request_id: "r-2".to_owned(), ..named };
    assert_eq!(refusal(bench.update(&operator, stale).await), is(Code::Aborted, "SHIPMENT_VERSION_MISMATCH"));
    let early = bench.update(&operator, move_to(order_id, "r-3", ShipmentState::Delivered)).await;
    assert_eq!(refusal(early), is(Code::FailedPrecondition, "SHIPMENT_NOT_SHIPPED"));

    let both =
        UpdateShipmentRequest { tracking_number: "T-2".to_owned(), ..move_to(order_id, "r-4", ShipmentState::Shipped) };
    let shipped = bench.update(&operator, both).await.unwrap();
    assert_eq!(
        (shipped.version, shipped.state(), shipped.tracking_number.as_str()),
        (4, ShipmentState::Shipped, "T-2")
    );
    assert_eq!(shipped.carrier, "DHL");
    bench.update(&operator, move_to(order_id, "r-5", ShipmentState::Delivered)).await.unwrap();
    let beyond = bench.update(&operator, move_to(order_id, "r-6", ShipmentState::Shipped)).await.unwrap();
    assert_eq!((beyond.state(), beyond.version), (ShipmentState::Delivered, 5));
    let told = bench.told(order_id, 5).await;
    let words: Vec<_> = told.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(words, ["created", "updated", "updated", "shipped", "delivered"]);
    assert_eq!((&told[3].shipment, &told[4].shipment), (&shipped, &beyond));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_its_own_and_changes_nothing() {
    let bench = Bench::start().await;
    let order_id = bench.order("ada").await;
    assert!(bench.get(&as_customer("ada"), by_order(order_id)).await.is_ok());
    let foreign = bench.get(&as_customer("bob"), by_order(order_id)).await;
    let missing = bench.get(&as_customer("bob"), by_order(Uuid::now_v7())).await;
    assert_eq!(refusal(foreign), is(Code::NotFound, "SHIPMENT_NOT_FOUND"));
    assert_eq!(refusal(missing), is(Code::NotFound, "SHIPMENT_NOT_FOUND"));
    let change = bench.update(&as_customer("ada"), move_to(order_id, "r", ShipmentState::Shipped)).await;
    assert_eq!(refusal(change), is(Code::PermissionDenied, "ROLE_REQUIRED"));
    let nobody = bench.update(&as_operator(), move_to(Uuid::now_v7(), "r", ShipmentState::Shipped)).await;
    assert_eq!(refusal(nobody), is(Code::NotFound, "SHIPMENT_NOT_FOUND"));
    let wrong = bench.update(&as_operator(), UpdateShipmentRequest::default()).await;
    assert_eq!(refusal(wrong), is(Code::InvalidArgument, "INVALID_ARGUMENT"));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shipments_are_listed_by_customer_state_and_order_the_newest_first() {
    let bench = Bench::start().await;
    let mut orders = Vec::new();
    for customer in ["ada", "bob", "ada", "ada"] {
        orders.push(bench.order(customer).await);
    }
    for (order_id, request_id) in [(orders[0], "r-0"), (orders[1], "r-1")] {
        bench.update(&as_operator(), move_to(order_id, request_id, ShipmentState::Shipped)).await.unwrap();
    }
    let list = async |call: CallContext, request: ListShipmentsRequest| {
        let page = bench.client.clone().list_shipments(call.request(request)).await.unwrap().into_inner();
        let orders = page.shipments.iter().map(|shipment: &Shipment| shipment.order_id.clone());
        (orders.collect::<Vec<_>>(), page.next_page_token)
    };
    let ids = |numbers: &[usize]| numbers.iter().map(|number| orders[*number].to_string()).collect::<Vec<_>>();
    let all = ListShipmentsRequest::default;
    assert_eq!(list(as_operator(), all()).await.0, ids(&[3, 2, 1, 0]));
    let of_bob = ListShipmentsRequest { customer_id: "bob".to_owned(), ..all() };
    assert_eq!(list(as_operator(), of_bob.clone()).await.0, ids(&[1]));
    assert_eq!(list(as_customer("ada"), of_bob).await.0, ids(&[]));
    assert_eq!(list(as_customer("ada"), all()).await.0, ids(&[3, 2, 0]));
    let gone = ListShipmentsRequest { state: ShipmentState::Shipped.into(), ..all() };
    assert_eq!(list(as_operator(), gone.clone()).await.0, ids(&[1, 0]));
    assert_eq!(list(as_customer("ada"), gone).await.0, ids(&[0]));
    let one = ListShipmentsRequest { order_id: orders[1].to_string(), ..all() };
    assert_eq!(list(as_operator(), one.clone()).await.0, ids(&[1]));
    assert_eq!(list(as_customer("ada"), one).await.0, ids(&[]));
    let ready = ListShipmentsRequest { state: ShipmentState::Created.into(), page_size: 1, ..all() };
    let (page, next) = list(as_operator(), ready.clone()).await;
    assert_eq!(page, ids(&[3]));
    let page = list(as_operator(), ListShipmentsRequest { page_token: next, ..ready }).await;
    assert_eq!(page, (ids(&[2]), String::new()));
    bench.close().await;
}
