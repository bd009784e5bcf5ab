//! The rules of orders, pure: no I/O, no clock, no randomness, no protobuf.

mod command;
mod event;
mod order;
pub mod reject;

pub use command::{Asked, CatalogItem, Command, CompensationRequest, NewOrder, RequestedLine};
pub use event::{CancellationCause, OrderEvent};
pub use order::{Order, OrderLine, OrderStatus, PaymentMode, PricedLines, ReservationMode, price};
