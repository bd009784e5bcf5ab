//! Each step fails, each undo runs twice, and stock and money are as before.

use std::time::Duration;

use openorder::Role;
use openorder_proto::{event_types, inventory::v1::ReleaseStockRequest, order::v1::OrderStatus};
use openorder_testing::eventually;

use crate::shop::{BOUND, MONEY, STOCK, Shop, call, id};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    OutOfStock,
    UnknownSku,
    NoMoney,
    CancelledAtOnce,
    CancelledWhenPaid,
    ReleasedWhenPaid,
    PaymentSilent,
    InventorySilent,
}

const FAULTS: [Fault; 8] = [
    Fault::OutOfStock,
    Fault::UnknownSku,
    Fault::NoMoney,
    Fault::CancelledAtOnce,
    Fault::CancelledWhenPaid,
    Fault::ReleasedWhenPaid,
    Fault::PaymentSilent,
    Fault::InventorySilent,
];

impl Fault {
    fn status(self) -> OrderStatus {
        match self {
            Self::OutOfStock | Self::UnknownSku => OrderStatus::Rejected,
            _ => OrderStatus::Cancelled,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::UnknownSku => "UNKNOWN_SKU",
            Self::NoMoney => "WALLET_NOT_FOUND",
            Self::CancelledAtOnce | Self::CancelledWhenPaid => "CANCELLED_BY_CUSTOMER",
            Self::ReleasedWhenPaid => "RESERVATION_RELEASED",
            Self::PaymentSilent => "PAYMENT_TIMED_OUT",
            Self::InventorySilent => "RESERVATION_TIMED_OUT",
        }
    }

    fn silent(self) -> Option<Role> {
        match self {
            Self::PaymentSilent => Some(Role::Payment),
            Self::InventorySilent => Some(Role::Inventory),
            _ => None,
        }
    }
}

/// Places an order that fails in this way, and waits until it has.
async fn fail(shop: &mut Shop, fault: Fault, name: &str) -> String {
    if let Some(role) = fault.silent() {
        shop.stop(role).await;
        shop.stop(Role::Order).await;
        shop.settings.order.completion_max_ms = 700;
        shop.start(Role::Order).await;
    }
    let sku = if fault == Fault::UnknownSku { "nothing-of-that-name" } else { name };
    let order_id = shop.order(name, sku).await;
    match fault {
        Fault::CancelledAtOnce => shop.cancel(name, &order_id).await,
        Fault::CancelledWhenPaid => {
            shop.until(&order_id, OrderStatus::Preparing).await;
            shop.cancel(name, &order_id).await;
        }
        Fault::ReleasedWhenPaid => {
            shop.until(&order_id, OrderStatus::Preparing).await;
            let request =
                ReleaseStockRequest { request_id: id(), order_id: order_id.clone(), reason: "by mistake".to_owned() };
            shop.inventory.clone().release_stock(call().request(request)).await.unwrap();
        }
        Fault::PaymentSilent | Fault::InventorySilent => {
            let requests = [event_types::STOCK_RELEASE_REQUESTED, event_types::PAYMENT_REFUND_REQUESTED];
            eventually("the deadline passes", BOUND, || async {
                (shop.logged("order", &order_id, &requests).await > 0).then_some(())
            })
            .await;
        }
        Fault::OutOfStock | Fault::UnknownSku | Fault::NoMoney => {}
    }
    if let Some(role) = fault.silent() {
        shop.start(role).await;
    }
    let order = shop.until(&order_id, fault.status()).await;
    assert_eq!(order.status_reason, fault.reason(), "{fault:?}");
    order_id
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_and_however_often_it_is_undone_stock_and_money_are_as_before() {
    let mut shop = Shop::open(|settings| {
        settings.order.saga_compensation_timeout_ms = 1_000;
        settings.order.saga_compensation_attempts_max = 100;
    })
    .await;
    for fault in FAULTS {
        let (stock, money) =
            (if fault == Fault::OutOfStock { 0 } else { STOCK }, if fault == Fault::NoMoney { 0 } else { MONEY });
        let name = shop.customer(&format!("{fault:?}"), stock, money).await;
        let order_id = fail(&mut shop, fault, &name).await;
        // Given back once, by all that was asked.
        shop.stock_until(&name, stock, 0).await;
        eventually(&format!("{fault:?}: the money"), BOUND, || async {
            (shop.balance(&name).await == money).then_some(())
        })
        .await;
        // And once more: nothing moves, and nothing is published that tells of nothing.
        let answers =
            [event_types::STOCK_RELEASED, event_types::PAYMENT_REFUNDED, event_types::PAYMENT_FAILED].as_slice();
        let mut again = 0;
        for (request, service) in
            [(event_types::STOCK_RELEASE_REQUESTED, "inventory"), (event_types::PAYMENT_REFUND_REQUESTED, "payment")]
        {
            let asked = shop.asked(&order_id, request).await;
            shop.handled(service, &asked).await;
            let before = shop.logged(service, &order_id, answers).await;
            let published = shop.publish_again(&order_id, request).await;
            shop.handled(service, &published).await;
            again += published.len();
            assert_eq!(shop.logged(service, &order_id, answers).await, before, "{fault:?}: {request}");
        }
        let asks = !matches!(fault, Fault::OutOfStock | Fault::UnknownSku | Fault::ReleasedWhenPaid);
        assert!(again > 0 || !asks, "{fault:?}: nothing was asked again");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(shop.stock(&name).await, Some((stock, 0)), "{fault:?}");
        assert_eq!(shop.balance(&name).await, money, "{fault:?}");
        assert_eq!(shop.get(&order_id).await.status(), fault.status(), "{fault:?}");
    }
    shop.check_versions().await;
    shop.close().await;
}
