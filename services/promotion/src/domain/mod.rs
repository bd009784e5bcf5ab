//! The rules of coupons, pure: no I/O, no clock, no protobuf. [`decide`] makes events of commands, [`evolve`] applies them.

mod command;
mod coupon;
mod coupon_use;
mod decide;
mod discount;
mod event;
mod issued;
mod rejection;
mod uses;
mod value;

pub use openorder_types::DisplayName;

pub use command::{Changes, Command, CouponKey, NewCoupon};
pub use coupon::{Coupon, Field};
pub use coupon_use::{CouponUse, HoldRequest, RefusalReason, UseRequest, UseState};
pub use decide::{Decision, State, decide, evolve};
pub use discount::{Line, discounts};
pub use event::Event;
pub use issued::{IssuedCoupon, IssuedCouponState};
pub use rejection::{not_found, not_your_coupon, refused, released};
pub use value::{Code, IssueLimit, IssueLimitPerUser, Terms, Validity, Value};
