//! The rules of stock, pure: no I/O, no clock, no protobuf.

mod command;
mod comparison;
mod level;
mod reservation;

pub use command::Command;
pub use comparison::{MismatchKind, OrderState, Standing, Verdict, judge, judge_expired};
pub use level::{QUANTITY_MAX, StockLevel};
pub use reservation::{Line, Reservation, ReservationState, Shortfall, ShortfallReason};
