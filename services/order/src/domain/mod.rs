//! The rules of orders, pure: no I/O, no clock, no randomness, no protobuf.

mod address;
mod command;
mod decide;
mod event;
mod expected;
mod modification;
mod order;
mod price;
pub mod rejection;
mod shipment;

pub use address::ShippingAddress;
pub use command::{CompensationRequest, ModifyRequest, NewOrder, OrderCommand, RequestedLine, ShipmentFact};
pub use decide::{Context, Creation, State, create, decide, evolve};
pub use event::{CancellationCause, Event, OrderEvent};
pub use expected::{CONFIRMING, ExpectedStep, PAYING, PAYING_TO_SHIP, PREPARING, Place};
pub use modification::{Modification, ModificationState};
pub use order::{Order, OrderLine, OrderStatus, PaymentMode, ReservationMode};
pub use price::{CatalogItem, PricedLines, ProductAnswers, check_prices, price};
