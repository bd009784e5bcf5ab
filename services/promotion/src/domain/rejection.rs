//! Every legitimate "no" of the service.

use openorder_types::{Rejection, UserId};
use uuid::Uuid;

use crate::domain::{Coupon, CouponKey, IssueLimit, RefusalReason};

/// There is no such coupon.
pub fn not_found(key: &CouponKey) -> Rejection {
    let rejection = Rejection::not_found("COUPON_NOT_FOUND", "there is no such coupon");
    match key {
        CouponKey::Id(id) => rejection.with("coupon_id", id),
        CouponKey::Code(code) => rejection.with("code", code),
    }
}

/// Another coupon has the code.
pub fn code_taken(holder: &Coupon) -> Rejection {
    Rejection::already_exists("COUPON_CODE_ALREADY_EXISTS", "another coupon has this code")
        .with("code", &holder.code)
        .with("coupon_id", holder.coupon_id)
}

/// The coupon has another version than the caller expects.
pub fn version_mismatch(coupon: &Coupon) -> Rejection {
    Rejection::aborted("COUPON_VERSION_MISMATCH", "the coupon has changed since it was read")
        .with("coupon_id", coupon.coupon_id)
        .with("version", coupon.version)
}

/// More have been issued than the new limit allows.
pub fn limit_below_issued(coupon: &Coupon, limit: IssueLimit) -> Rejection {
    let text = format!("{} have been issued, which is more than {}", coupon.issued_count, limit.get());
    Rejection::failed_precondition("ISSUE_LIMIT_BELOW_ISSUED", text).with("issued_count", coupon.issued_count)
}

/// With the change, the coupon would end before it begins.
pub fn validity_empty() -> Rejection {
    Rejection::failed_precondition("VALIDITY_EMPTY", "the coupon would end before it begins")
}

/// As many have been issued as may be.
pub fn sold_out(coupon: &Coupon) -> Rejection {
    Rejection::failed_precondition("COUPON_SOLD_OUT", "all of this coupon have been issued")
        .with("coupon_id", coupon.coupon_id)
        .with("issue_limit", coupon.issue_limit.get())
}

/// The user has been issued as many as one user may be.
pub fn limit_reached(coupon: &Coupon, user_id: &UserId) -> Rejection {
    Rejection::failed_precondition("COUPON_LIMIT_REACHED", "the user has as many of this coupon as one user may have")
        .with("coupon_id", coupon.coupon_id)
        .with("user_id", user_id)
        .with("issue_limit_per_user", coupon.issue_limit_per_user.get())
}

/// The coupon cannot be issued yet.
pub fn not_valid_yet(coupon: &Coupon) -> Rejection {
    Rejection::failed_precondition("COUPON_NOT_VALID_YET", "the coupon cannot be issued yet")
        .with("coupon_id", coupon.coupon_id)
        .with("valid_from_time", coupon.validity.from.to_rfc3339())
}

/// The coupon's time is over.
pub fn expired(coupon: &Coupon) -> Rejection {
    Rejection::failed_precondition("COUPON_EXPIRED", "the coupon's time is over")
        .with("coupon_id", coupon.coupon_id)
        .with("valid_until_time", coupon.validity.until.to_rfc3339())
}

/// No coupon is held for the order.
pub fn not_held(order_id: Uuid) -> Rejection {
    Rejection::failed_precondition("COUPON_NOT_HELD", "no coupon is held for the order").with("order_id", order_id)
}

/// The order has asked the coupon back before: it is not held for it any more.
pub fn released(order_id: Uuid) -> Rejection {
    let text = "the order has given the coupon back";
    Rejection::failed_precondition("COUPON_RELEASED", text).with("order_id", order_id)
}

/// The coupon cannot be used for the order.
pub fn refused(order_id: Uuid, reason: RefusalReason) -> Rejection {
    Rejection::failed_precondition(reason.as_str(), "the coupon cannot be used for this order")
        .with("order_id", order_id)
}

/// A customer wants a coupon for somebody else.
pub fn not_your_coupon(user_id: &UserId) -> Rejection {
    Rejection::permission_denied("NOT_YOUR_COUPON", "customers are issued coupons for themselves only")
        .with("user_id", user_id)
}
