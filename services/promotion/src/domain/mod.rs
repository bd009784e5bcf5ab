//! The rules of coupons, pure: no I/O, no clock, no protobuf. [`decide`] makes events of commands, [`evolve`] applies them.

mod command;
mod coupon;
mod decide;
mod event;
mod issued;
mod rejection;
mod value;

pub use openorder_types::DisplayName;

pub use command::{Changes, Command, CouponKey, NewCoupon};
pub use coupon::{Coupon, Field};
pub use decide::{Decision, State, decide, evolve};
pub use event::Event;
pub use issued::{IssuedCoupon, IssuedCouponState};
pub use rejection::{not_found, not_your_coupon};
pub use value::{Code, IssueLimit, IssueLimitPerUser, Terms, Validity, Value};
