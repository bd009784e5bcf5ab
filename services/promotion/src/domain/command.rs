//! What the rules of coupons decide on.

use openorder_types::{Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{
    Code, Coupon, DisplayName, Field, HoldRequest, IssueLimit, IssueLimitPerUser, Terms, UseRequest, Validity,
};

/// How a caller names a coupon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CouponKey {
    Id(Uuid),
    Code(Code),
}

/// A coupon to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCoupon {
    /// UUID version 7, drawn by whoever makes the command.
    pub coupon_id: Uuid,
    pub code: Code,
    pub display_name: DisplayName,
    pub terms: Terms,
    pub validity: Validity,
    pub issue_limit: IssueLimit,
    pub issue_limit_per_user: IssueLimitPerUser,
}

/// The fields to change, each with its new value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    pub display_name: Option<DisplayName>,
    pub valid_from: Option<Timestamp>,
    pub valid_until: Option<Timestamp>,
    pub issue_limit: Option<IssueLimit>,
    pub issue_limit_per_user: Option<IssueLimitPerUser>,
}

impl Changes {
    /// Those that are not the coupon's present values.
    pub(crate) fn that_change(&self, coupon: &Coupon) -> Self {
        Self {
            display_name: self.display_name.clone().filter(|name| *name != coupon.display_name),
            valid_from: self.valid_from.filter(|time| *time != coupon.validity.from),
            valid_until: self.valid_until.filter(|time| *time != coupon.validity.until),
            issue_limit: self.issue_limit.filter(|limit| *limit != coupon.issue_limit),
            issue_limit_per_user: self.issue_limit_per_user.filter(|limit| *limit != coupon.issue_limit_per_user),
        }
    }

    /// The fields that have a new value, in the contract's order.
    pub fn fields(&self) -> Vec<Field> {
        let given = [
            self.display_name.is_some().then_some(Field::DisplayName),
            self.valid_from.is_some().then_some(Field::ValidFromTime),
            self.valid_until.is_some().then_some(Field::ValidUntilTime),
            self.issue_limit.is_some().then_some(Field::IssueLimit),
            self.issue_limit_per_user.is_some().then_some(Field::IssueLimitPerUser),
        ];
        given.into_iter().flatten().collect()
    }
}

/// A command of a caller, or of another service's event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Create(NewCoupon),
    Update {
        key: CouponKey,
        changes: Changes,
        /// Only if it has this version.
        expected_version: Option<i64>,
    },
    /// Issues a coupon to a user.
    Issue {
        /// UUID version 7 of what the user will have, drawn by whoever makes the command.
        issued_coupon_id: Uuid,
        key: CouponKey,
        user_id: UserId,
    },
    /// An issued coupon is to be held for an order.
    Hold(HoldRequest),
    /// The order was paid.
    Redeem(UseRequest),
    /// The order does not need it any more.
    Release {
        request: UseRequest,
        /// Whether the event is published even if it was before.
        answer_again: bool,
    },
}

impl Command {
    /// The coupon that is made, changed or issued; none where an issued one is used.
    pub fn key(&self) -> Option<CouponKey> {
        match self {
            Self::Create(new) => Some(CouponKey::Code(new.code.clone())),
            Self::Update { key, .. } | Self::Issue { key, .. } => Some(key.clone()),
            Self::Hold(_) | Self::Redeem(_) | Self::Release { .. } => None,
        }
    }

    /// The use of an issued coupon for an order.
    pub fn coupon_use(&self) -> Option<&UseRequest> {
        match self {
            Self::Hold(hold) => Some(&hold.request),
            Self::Redeem(request) | Self::Release { request, .. } => Some(request),
            Self::Create(_) | Self::Update { .. } | Self::Issue { .. } => None,
        }
    }
}
