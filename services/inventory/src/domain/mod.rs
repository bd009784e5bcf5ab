//! The rules of stock, pure: no I/O, no clock, no protobuf. [`decide`] makes events of commands, [`evolve`] applies them.

mod command;
mod comparison;
mod decide;
mod event;
mod evolve;
mod level;
pub mod rejection;
mod reservation;

pub use command::{Command, SeedSource};
pub use comparison::{MismatchKind, OrderPhase, OrderState, ReservationCheck, check_expired, check_reservation};
pub use decide::{Decision, State, decide};
pub use event::Event;
pub use evolve::evolve;
pub use level::{QUANTITY_MAX, StockLevel};
pub use reservation::{Line, Reservation, ReservationState, Shortfall, ShortfallReason};
