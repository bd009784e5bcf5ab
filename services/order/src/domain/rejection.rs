//! Every legitimate "no" of the order service.

use openorder_types::{Money, Rejection, Sku};
use uuid::Uuid;

use crate::{domain::OrderStatus, saga::Step};

/// Reason of [`catalogue_in_doubt`].
pub const CATALOGUE_IN_DOUBT: &str = "CATALOGUE_IN_DOUBT";

/// Reason of [`shipment_in_doubt`].
pub const SHIPMENT_IN_DOUBT: &str = "SHIPMENT_IN_DOUBT";

/// No such order, or none that the caller may see.
pub fn order_not_found(order_id: Uuid) -> Rejection {
    Rejection::not_found("ORDER_NOT_FOUND", "there is no such order").with("order_id", order_id)
}

/// The order can no longer be called off.
pub fn not_cancellable(order_id: Uuid, status: OrderStatus) -> Rejection {
    let text = format!("an order that is {status} cannot be cancelled");
    Rejection::failed_precondition("ORDER_NOT_CANCELLABLE", text).with("order_id", order_id).with("status", status)
}

/// The lines of the order are fixed.
pub fn not_modifiable(order_id: Uuid, status: OrderStatus) -> Rejection {
    let text = format!("the lines of an order that is {status} cannot be changed, unless it waits to be paid by hand");
    Rejection::failed_precondition("ORDER_NOT_MODIFIABLE", text).with("order_id", order_id).with("status", status)
}

/// Other lines were asked for, and it is not decided whether the order gets them.
pub fn modification_under_way(order_id: Uuid) -> Rejection {
    Rejection::failed_precondition("MODIFICATION_UNDER_WAY", "a modification of the order is under way")
        .with("order_id", order_id)
}

/// The discount is of the lines that the coupon is held for.
pub fn order_has_coupon(order_id: Uuid) -> Rejection {
    Rejection::failed_precondition("ORDER_HAS_COUPON", "the lines of an order with a coupon cannot be changed")
        .with("order_id", order_id)
}

/// The order changed since the caller has seen it.
pub fn order_version_mismatch(order_id: Uuid, expected: i64, version: i64) -> Rejection {
    Rejection::aborted("ORDER_VERSION_MISMATCH", format!("the order is at version {version}, not {expected}"))
        .with("order_id", order_id)
        .with("version", version)
}

/// The order stands elsewhere than the caller believes.
pub fn status_mismatch(order_id: Uuid, believed: OrderStatus, status: OrderStatus) -> Rejection {
    let text = format!("the order is {status}, not {believed}");
    Rejection::failed_precondition("ORDER_STATUS_MISMATCH", text).with("order_id", order_id).with("status", status)
}

/// Not a move that may be asked for.
pub fn transition_not_allowed(from: OrderStatus, to: OrderStatus) -> Rejection {
    let text = format!("{from} to {to} is not allowed; PREPARING to SHIPPED and SHIPPED to DELIVERED are");
    Rejection::failed_precondition("ORDER_TRANSITION_NOT_ALLOWED", text)
}

/// The products of one order are priced in different currencies.
pub fn currency_mismatch() -> Rejection {
    Rejection::failed_precondition("CURRENCY_MISMATCH", "the products are priced in different currencies")
}

/// The copy of the catalogue would refuse the order, and may be behind: the product service has to be asked first. No
/// caller is given this.
pub fn catalogue_in_doubt() -> Rejection {
    Rejection::failed_precondition(CATALOGUE_IN_DOUBT, "the copy of the catalogue is in doubt")
}

/// The order costs something else than the customer was shown.
pub fn price_changed(expected: Money, total: Money) -> Rejection {
    Rejection::failed_precondition("PRICE_CHANGED", format!("the order costs {total}, not {expected}"))
        .with("expected_total", expected)
        .with("total", total)
}

/// The sum is more than an amount can hold.
pub fn total_too_large() -> Rejection {
    Rejection::out_of_range("TOTAL_TOO_LARGE", "the total of the order is larger than an amount can be")
}

/// The shipping service has the parcel and decides whether it leaves: it has to be asked first. No caller is given this.
pub fn shipment_in_doubt() -> Rejection {
    Rejection::failed_precondition(SHIPMENT_IN_DOUBT, "the shipment is in doubt")
}

/// What the promotion service takes off does not fit the order.
pub fn discount_malformed(order_id: Uuid) -> Rejection {
    Rejection::failed_precondition("DISCOUNT_MALFORMED", "the discount does not fit the lines of the order")
        .with("order_id", order_id)
}

/// There is no promotion service here, so that no coupon can be used.
pub fn coupons_not_supported() -> Rejection {
    Rejection::failed_precondition(
        "COUPONS_NOT_SUPPORTED",
        "no coupons can be used here: there is no promotion service",
    )
}

/// No order is paid by a caller here.
pub fn manual_payment_not_supported() -> Rejection {
    Rejection::invalid_field("payment_mode", "PAYMENT_MODE_UNSUPPORTED", "orders are not paid by hand here")
}

/// Immediate reservation was asked for and the coupon cannot be used.
pub fn coupon_rejected(order_id: Uuid, reason: &'static str) -> Rejection {
    Rejection::failed_precondition(reason, "the coupon cannot be used for this order").with("order_id", order_id)
}

/// Immediate reservation was asked for and there is too little.
pub fn out_of_stock(order_id: Uuid) -> Rejection {
    Rejection::failed_precondition("OUT_OF_STOCK", "fewer pieces are available than were asked for")
        .with("order_id", order_id)
}

/// Immediate reservation was asked for and there is too little of this product: no order was made.
pub fn sold_out(sku: &Sku) -> Rejection {
    Rejection::failed_precondition("OUT_OF_STOCK", "fewer pieces are available than were asked for").with("sku", sku)
}

/// Immediate reservation was asked for and a SKU does not exist.
pub fn unknown_sku(order_id: Uuid) -> Rejection {
    Rejection::failed_precondition("UNKNOWN_SKU", "there is no such SKU").with("order_id", order_id)
}

/// A signal that has no effect where the order stands: late, doubled or overtaken.
pub fn no_effect(order_id: Uuid) -> Rejection {
    Rejection::failed_precondition("SIGNAL_WITHOUT_EFFECT", "the order has moved on").with("order_id", order_id)
}

/// There is no failed compensation to try again or to settle.
pub fn compensation_not_failed(order_id: Uuid, step: Step) -> Rejection {
    let text = format!("the saga of the order is at {}, not at COMPENSATION_FAILED", step.as_str());
    Rejection::failed_precondition("COMPENSATION_NOT_FAILED", text)
        .with("order_id", order_id)
        .with("step", step.as_str())
}
