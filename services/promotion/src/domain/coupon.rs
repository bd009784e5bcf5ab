//! A coupon.

use openorder_types::Timestamp;
use uuid::Uuid;

use crate::domain::{Code, DisplayName, IssueLimit, IssueLimitPerUser, NewCoupon, Terms, Validity};

/// A field that can change; its name is the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    DisplayName,
    ValidFromTime,
    ValidUntilTime,
    IssueLimit,
    IssueLimitPerUser,
}

impl Field {
    pub const ALL: [Self; 5] =
        [Self::DisplayName, Self::ValidFromTime, Self::ValidUntilTime, Self::IssueLimit, Self::IssueLimitPerUser];

    /// The field's path in `openorder.promotion.v1.Coupon`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::ValidFromTime => "valid_from_time",
            Self::ValidUntilTime => "valid_until_time",
            Self::IssueLimit => "issue_limit",
            Self::IssueLimitPerUser => "issue_limit_per_user",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coupon {
    pub coupon_id: Uuid,
    /// The name that users type; never changes.
    pub code: Code,
    pub display_name: DisplayName,
    pub terms: Terms,
    pub validity: Validity,
    pub issue_limit: IssueLimit,
    pub issue_limit_per_user: IssueLimitPerUser,
    /// How many have been issued: never more than the limit.
    pub issued_count: i32,
    /// 1, then one more for every change of its fields; each version has one event.
    pub version: i64,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

impl Coupon {
    /// The coupon at its first version.
    pub fn create(new: NewCoupon, now: Timestamp) -> Self {
        Self {
            coupon_id: new.coupon_id,
            code: new.code,
            display_name: new.display_name,
            terms: new.terms,
            validity: new.validity,
            issue_limit: new.issue_limit,
            issue_limit_per_user: new.issue_limit_per_user,
            issued_count: 0,
            version: 1,
            create_time: now,
            update_time: now,
        }
    }
}
