//! Facts that the rules of coupons decide; all are published.

use openorder_types::Timestamp;
use uuid::Uuid;

use crate::domain::{Changes, Coupon, IssuedCoupon};

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
}
