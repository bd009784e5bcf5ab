//! A coupon that a user has.

use openorder_types::{Timestamp, UserId, numbered};
use uuid::Uuid;

numbered! {
    /// Where an issued coupon stands; numbered as `openorder.promotion.v1.IssuedCouponState`.
    pub enum IssuedCouponState {
        /// Its user has it and can use it.
        Issued = 1 "ISSUED",
        /// It is kept for an order that is not paid yet.
        Held = 2 "HELD",
        /// An order that was paid has used it.
        Redeemed = 3 "REDEEMED",
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCoupon {
    pub issued_coupon_id: Uuid,
    pub coupon_id: Uuid,
    pub user_id: UserId,
    /// Its number among those of its coupon: 1, 2, 3 … without gaps.
    pub ordinal: i32,
    pub state: IssuedCouponState,
    /// 1 when it was issued, one more for every change; each version has one event.
    pub version: i64,
    /// The order that it is held for, or was redeemed by; none while `Issued`.
    pub order_id: Option<Uuid>,
    pub issue_time: Timestamp,
    pub update_time: Timestamp,
}
