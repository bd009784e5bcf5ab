//! Every legitimate "no" of the inventory. A reservation that is refused for want of stock is a fact that is committed;
//! only its caller is answered with a rejection.

use openorder_types::{Rejection, Sku};
use uuid::Uuid;

use crate::domain::{QUANTITY_MAX, StockLevel};

/// The SKU has no level, and the catalogue does not know it.
pub fn unknown_sku(sku: &Sku) -> Rejection {
    Rejection::not_found("UNKNOWN_SKU", "there is no such SKU").with("sku", sku)
}

/// The level would hold more than [`QUANTITY_MAX`] pieces.
pub fn stock_limit_exceeded(sku: &Sku) -> Rejection {
    let text = format!("a stock holds at most {QUANTITY_MAX} pieces");
    Rejection::out_of_range("STOCK_LIMIT_EXCEEDED", text).with("sku", sku)
}

/// More would go than is available.
pub fn out_of_stock(level: &StockLevel) -> Rejection {
    let text = format!("only {} pieces are available", level.available_quantity());
    Rejection::failed_precondition("OUT_OF_STOCK", text)
        .with("sku", &level.sku)
        .with("available_quantity", level.available_quantity())
}

/// The order has a reservation with other lines.
pub fn reservation_exists(order_id: Uuid) -> Rejection {
    let text = "this order has a reservation with other lines";
    Rejection::already_exists("RESERVATION_ALREADY_EXISTS", text).with("order_id", order_id)
}

/// The pieces cannot be given back.
pub fn reservation_shipped(order_id: Uuid) -> Rejection {
    let text = "the pieces of this order have left the warehouse";
    Rejection::failed_precondition("RESERVATION_SHIPPED", text).with("order_id", order_id)
}

pub fn reservation_not_found(order_id: Uuid) -> Rejection {
    Rejection::not_found("RESERVATION_NOT_FOUND", "nothing is held for this order").with("order_id", order_id)
}

/// The order's reservation was shipped, released or rejected.
pub fn reservation_not_held(order_id: Uuid) -> Rejection {
    let text = "nothing is held for this order any more";
    Rejection::failed_precondition("RESERVATION_NOT_HELD", text).with("order_id", order_id)
}

/// The reservation that a timer or the reconciler wanted to give back is not held any more, or is kept.
pub fn reservation_not_due(order_id: Uuid) -> Rejection {
    Rejection::failed_precondition("RESERVATION_NOT_DUE", "there is nothing to give back").with("order_id", order_id)
}

/// The answer to a caller of ReserveStock whose reservation was rejected for this reason.
pub fn reservation_rejected(order_id: &str, reason: &str) -> Rejection {
    let rejection = match reason {
        "UNKNOWN_SKU" => Rejection::failed_precondition("UNKNOWN_SKU", "there is no such SKU"),
        _ => Rejection::failed_precondition("OUT_OF_STOCK", "fewer pieces are available than were asked for"),
    };
    rejection.with("order_id", order_id)
}

/// The answer to a caller of ReserveStock whose reservation was released.
pub fn reservation_released(order_id: &str) -> Rejection {
    Rejection::failed_precondition("RESERVATION_RELEASED", "the order was called off").with("order_id", order_id)
}
