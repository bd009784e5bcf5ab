//! The use of an issued coupon for one order.

use openorder_types::{Money, Timestamp, UserId, numbered};
use uuid::Uuid;

use crate::domain::Line;

numbered! {
    /// Where the use of a coupon stands.
    pub enum UseState {
        /// It is kept for the order.
        Held = 1 "HELD",
        /// The order was paid.
        Redeemed = 2 "REDEEMED",
        /// Given back, or called off before it was held.
        Released = 3 "RELEASED",
        /// It cannot be used for the order.
        Refused = 4 "REFUSED",
    }
}

numbered! {
    /// Why a coupon cannot be used for an order; numbered as `openorder.promotion.v1.CouponRejectionReason`.
    pub enum RefusalReason {
        CouponNotFound = 1 "COUPON_NOT_FOUND",
        NotYourCoupon = 2 "NOT_YOUR_COUPON",
        CouponAlreadyUsed = 3 "COUPON_ALREADY_USED",
        CouponNotValidYet = 4 "COUPON_NOT_VALID_YET",
        CouponExpired = 5 "COUPON_EXPIRED",
        CouponNotApplicable = 6 "COUPON_NOT_APPLICABLE",
        CouponMinimumNotReached = 7 "COUPON_MINIMUM_NOT_REACHED",
    }
}

/// What an order wants of a coupon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseRequest {
    pub order_id: Uuid,
    /// The order's customer.
    pub user_id: UserId,
    pub issued_coupon_id: Uuid,
}

/// There is one at most for an order, for ever: what is decided once stays decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CouponUse {
    pub order_id: Uuid,
    pub user_id: UserId,
    /// What the order asked for.
    pub issued_coupon_id: Uuid,
    pub state: UseState,
    /// Why it was refused.
    pub reason: Option<RefusalReason>,
    /// What it takes off each line of the order, in their order; empty where it was never held.
    pub line_discounts: Vec<Money>,
    /// How many events it has of its own: those that move no coupon. The others are of the issued coupon.
    pub version: i64,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

impl CouponUse {
    pub(crate) fn new(request: &UseRequest, state: UseState, now: Timestamp) -> Self {
        Self {
            order_id: request.order_id,
            user_id: request.user_id.clone(),
            issued_coupon_id: request.issued_coupon_id,
            state,
            reason: None,
            line_discounts: Vec::new(),
            version: 0,
            create_time: now,
            update_time: now,
        }
    }

    /// What it takes off in all; none where it was never held.
    pub fn discount(&self) -> Option<Money> {
        let mut parts = self.line_discounts.iter().copied();
        let first = parts.next()?;
        parts.try_fold(first, |sum, part| sum.checked_add(part)).ok()
    }
}

/// A coupon wanted for an order with these lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRequest {
    pub request: UseRequest,
    /// 1 to 100, each SKU once.
    pub lines: Vec<Line>,
}
