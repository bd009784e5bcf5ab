//! What other services' events mean to this one: a file a topic.

mod inventory_stock;
mod order_lifecycle;
mod product_catalog;

use openorder_proto::{
    inventory::v1::{StockModificationRequested, StockReleaseRequested},
    order::v1::{OrderCreated, OrderShipped},
    product::v1::ProductCreated,
};
use openorder_service::subscription;

use crate::domain::Command;

subscription! {
    /// What the inventory service follows.
    pub fn subscription() -> Subscription<Command>, injects = asks_to_fail {
        ORDER_LIFECYCLE {
            OrderCreated => order_lifecycle::created,
            OrderShipped => order_lifecycle::shipped,
        }
        INVENTORY_STOCK {
            StockReleaseRequested => inventory_stock::release_requested,
            StockModificationRequested => inventory_stock::modification_requested,
        }
        PRODUCT_CATALOG {
            ProductCreated => product_catalog::created,
        }
    }
}

/// With fault injection, the stock of an order with this SKU cannot be handled.
const FAILING_SKU: &str = "FAIL";

fn asks_to_fail(command: &Command) -> bool {
    matches!(command, Command::Reserve { lines, .. } if lines.iter().any(|line| line.sku.as_str() == FAILING_SKU))
}

#[cfg(test)]
mod tests {
    use openorder_types::{Quantity, Sku};

    use super::*;
    use crate::domain::Line;

    #[test]
    fn only_an_order_with_the_failing_sku_asks_to_fail() {
        let reserve = |sku: &str| Command::Reserve {
            order_id: uuid::Uuid::nil(),
            lines: vec![Line {
                sku: Sku::parse(sku).unwrap(),
                quantity: Quantity::parse(1_u32).unwrap(),
                product_number: 0,
            }],
        };
        assert!(asks_to_fail(&reserve("FAIL")));
        assert!(!asks_to_fail(&reserve("FAIL-2")));
        assert!(!asks_to_fail(&Command::Ship { order_id: uuid::Uuid::nil() }));
    }
}
