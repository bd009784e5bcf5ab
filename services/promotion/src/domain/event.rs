//! Facts that the rules of coupons decide; all are published.

use openorder_types::Timestamp;
use uuid::Uuid;

use crate::domain::{Changes, Coupon, CouponUse, IssuedCoupon};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is a new coupon.
    Created(Coupon),
    /// Fields of a coupon have other values now.
    Updated {
        coupon_id: Uuid,
        /// The new values; none is the field's former value.
        changes: Changes,
        time: Timestamp,
    },
    /// A user was issued a coupon.
    Issued(IssuedCoupon),
    /// A coupon is held for an order.
    Held(CouponUse),
    /// A coupon cannot be used for an order.
    Refused(CouponUse),
    /// An order that was paid has used what was held for it.
    Redeemed { order_id: Uuid, time: Timestamp },
    /// What was held for an order was given back; or nothing was, or it was before, and that is answered.
    Restored {
        order_id: Uuid,
        /// Whether its coupon is free again by this.
        was_held: bool,
        time: Timestamp,
    },
    /// An order asks back what was never asked for: nothing will be held for it.
    CalledOff(CouponUse),
}
