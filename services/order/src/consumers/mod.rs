//! What other services' events mean to this one: a file a topic.

mod inventory_stock;
mod payment_transaction;
mod product_catalog;
mod promotion_coupon;
mod shipping_shipment;

use openorder_proto::{
    inventory::v1::{StockModificationRejected, StockModified, StockRejected, StockReleased, StockReserved},
    payment::v1::{PaymentCompleted, PaymentFailed, PaymentInitiated, PaymentRefunded},
    product::v1::{ProductCreated, ProductDeleted, ProductUpdated},
    promotion::v1::{CouponHeld, CouponRejected, CouponRestored},
    shipping::v1::{ShipmentCancelled, ShipmentCreated, ShipmentDelivered, ShipmentShipped},
};
use openorder_service::subscription;
use openorder_types::{ValueError, parse_uuid};

use crate::{application::Command, saga::Signal};

subscription! {
    /// What the order service follows.
    pub fn subscription() -> Subscription<Command> {
        INVENTORY_STOCK {
            StockReserved => inventory_stock::reserved,
            StockRejected => inventory_stock::rejected,
            StockReleased => inventory_stock::released,
            StockModified => inventory_stock::modified,
            StockModificationRejected => inventory_stock::modification_rejected,
        }
        PAYMENT_TRANSACTION {
            PaymentCompleted => payment_transaction::completed,
            PaymentFailed => payment_transaction::failed,
            PaymentRefunded => payment_transaction::refunded,
            PaymentInitiated => payment_transaction::initiated,
        }
        PROMOTION_COUPON {
            CouponHeld => promotion_coupon::held,
            CouponRejected => promotion_coupon::rejected,
            CouponRestored => promotion_coupon::restored,
        }
        SHIPPING_SHIPMENT {
            ShipmentCreated => shipping_shipment::created,
            ShipmentShipped => shipping_shipment::shipped,
            ShipmentDelivered => shipping_shipment::delivered,
            ShipmentCancelled => shipping_shipment::cancelled,
        }
        PRODUCT_CATALOG {
            ProductCreated => product_catalog::created,
            ProductUpdated => product_catalog::updated,
            ProductDeleted => product_catalog::deleted,
        }
    }
}

fn signal(order_id: &str, signal: Signal) -> Result<Command, ValueError> {
    Ok(Command::signal(parse_uuid(order_id, "ORDER_ID_MALFORMED")?, signal))
}
