//! Lists and questions that do not fit into one answer.

use std::collections::BTreeSet;

use openorder::Role;
use openorder_proto::{
    inventory::v1::{ListReservationMismatchesRequest, ListReservationsRequest},
    order::v1::{BatchGetOrdersRequest, ListOrdersRequest, OrderStatus},
};
use openorder_rpc::reason_of;
use openorder_testing::eventually;
use prost::Message;

use crate::shop::{BOUND, STOCK, Shop, call};

const BYTES_MAX: usize = 1_024;
const ORDERS: usize = 12;

/// Reads a list to its end: the ids of all pages, of which none may be larger than the bound.
macro_rules! all {
    ($client:expr, $list:ident, $request:expr, $items:ident, $id:expr) => {{
        let (mut request, mut ids, mut pages) = ($request, Vec::new(), 0);
        loop {
            let page = $client.clone().$list(call().request(request.clone())).await.unwrap().into_inner();
            assert!(page.encoded_len() <= BYTES_MAX + 200, "{} bytes", page.encoded_len());
            ids.extend(page.$items.iter().map($id));
            pages += 1;
            if page.next_page_token.is_empty() {
                break (ids, pages);
            }
            request.page_token = page.next_page_token;
        }
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_one_answer_comes_in_several() {
    let mut shop = Shop::open(|settings| {
        settings.process.page_bytes_max = BYTES_MAX;
        settings.process.batch_bytes_max = BYTES_MAX;
        settings.inventory.reservation_ttl_ms = 800;
        settings.inventory.reservation_look_again_ms = 200;
        settings.inventory.reconcile_grace_ms = 300;
    })
    .await;
    let name = shop.customer("many", STOCK * 10, 0).await;
    // Their reservations end together, and none of them is paid.
    shop.stop(Role::Payment).await;
    let mut orders = BTreeSet::new();
    for _ in 0..ORDERS {
        orders.insert(shop.order(&name, &name).await);
    }
    for order_id in &orders {
        shop.until(order_id, OrderStatus::Confirmed).await;
    }

    let request = ListOrdersRequest { customer_id: name.clone(), page_size: 500, ..Default::default() };
    let (listed, pages) = all!(shop.orders, list_orders, request, orders, |order| order.order_id.clone());
    assert!(pages > 1 && listed.len() == ORDERS, "{pages} pages, {listed:?}");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), orders);
    let request = ListReservationsRequest { page_size: 500, ..Default::default() };
    let (listed, pages) =
        all!(shop.inventory, list_reservations, request, reservations, |reservation| reservation.order_id.clone());
    assert!(pages > 1 && listed.len() == ORDERS, "{pages} pages, {listed:?}");

    // Who names what it wants gets all of it, or hears that it has to ask for fewer.
    let request = BatchGetOrdersRequest { order_ids: orders.iter().cloned().collect() };
    let refused = shop.orders.clone().batch_get_orders(call().request(request)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("ANSWER_TOO_LARGE"));

    // Inventory asks about all of them, and gets through.
    eventually("all are compared with their orders", BOUND, || async {
        let request = ListReservationMismatchesRequest { page_size: 500, ..Default::default() };
        let order_id = |mismatch: &openorder_proto::inventory::v1::ReservationMismatch| {
            mismatch.reservation.as_ref().unwrap().order_id.clone()
        };
        let (listed, pages) = all!(shop.inventory, list_reservation_mismatches, request, mismatches, order_id);
        (pages > 1 && listed.into_iter().collect::<BTreeSet<_>>() == orders).then_some(())
    })
    .await;
    shop.close().await;
}
