//! What other services' events mean to this one: a file a topic.

mod promotion_coupon;

use openorder_proto::promotion::v1::{CouponHoldRequested, CouponRedeemRequested, CouponReleaseRequested};
use openorder_service::subscription;

use crate::domain::Command;

subscription! {
    /// What the promotion service follows.
    pub fn subscription() -> Subscription<Command> {
        PROMOTION_COUPON {
            CouponHoldRequested => promotion_coupon::hold_requested,
            CouponRedeemRequested => promotion_coupon::redeem_requested,
            CouponReleaseRequested => promotion_coupon::release_requested,
        }
    }
}
