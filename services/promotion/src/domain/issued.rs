//! A coupon that a user has.

use openorder_types::{Timestamp, UserId, numbered};
use uuid::Uuid;

numbered! {
    /// Where an issued coupon stands; numbered as `openorder.promotion.v1.IssuedCouponState`.
    pub enum IssuedCouponState {
        /// Its user has it and can use it.
        Issued = 1 "ISSUED",
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
    pub issue_time: Timestamp,
    pub update_time: Timestamp,
}
