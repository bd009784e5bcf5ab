//! What a caller gets back, and its stored form.

use openorder_messaging::stored_reply;
use openorder_proto::promotion::v1::{Coupon, CouponUse, IssuedCoupon};

stored_reply! {
    pub enum PromotionReply, noted = 3 {
        1 = Coupon(Coupon),
        2 = Issued(IssuedCoupon),
        4 = Use(CouponUse),
    }
}
