//! Every legitimate "no" of the service.

use std::time::Duration;

use openorder_types::{Rejection, Sku};

/// Others change the cart all the time; it passes.
const BUSY_RETRY_AFTER: Duration = Duration::from_millis(100);

/// The product service knows no such product.
pub fn unknown_sku(sku: &Sku) -> Rejection {
    Rejection::failed_precondition("UNKNOWN_SKU", "there is no such product").with("sku", sku)
}

/// The product is not in the cart.
pub(super) fn line_not_found(sku: &Sku) -> Rejection {
    Rejection::not_found("CART_LINE_NOT_FOUND", "the product is not in the cart").with("sku", sku)
}

/// The cart has as many lines as it may have.
pub(super) fn line_limit_reached(lines_max: usize) -> Rejection {
    Rejection::failed_precondition("CART_LINE_LIMIT_REACHED", "the cart has as many lines as a cart may have")
        .with("lines_max", lines_max)
}

/// The line would have more pieces than it may have.
pub(super) fn quantity_limit_reached(sku: &Sku, quantity_max: i64) -> Rejection {
    Rejection::failed_precondition("CART_QUANTITY_LIMIT_REACHED", "a line may not have so many pieces")
        .with("sku", sku)
        .with("quantity_max", quantity_max)
}

/// The cart has another version than the caller expects.
pub fn version_mismatch(version: i64) -> Rejection {
    Rejection::aborted("CART_VERSION_MISMATCH", "the cart has changed since it was read").with("version", version)
}

/// Others came before, again and again.
pub fn busy() -> Rejection {
    Rejection::aborted("CART_BUSY", "others change the cart at the same time").passing_after(BUSY_RETRY_AFTER)
}

/// There is nothing to order.
pub fn empty() -> Rejection {
    Rejection::failed_precondition("CART_EMPTY", "there is nothing in the cart")
}

/// The caller acts for somebody else.
pub fn not_yours() -> Rejection {
    Rejection::permission_denied("CUSTOMER_MISMATCH", "customers may only see and change carts of their own")
}

/// The same request id stood for something else.
pub fn request_id_reused(request_id: &str) -> Rejection {
    let text = "this request_id was used before with other content; use a new one for a new command";
    Rejection::already_exists("REQUEST_ID_REUSED", text).with("request_id", request_id)
}
