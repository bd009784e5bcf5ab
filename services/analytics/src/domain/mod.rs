//! The rules of counting, pure: no I/O, no clock, no protobuf. A [`Fact`] is what an event says of an order, [`Deltas`] are
//! what a batch of them changes.

mod command;
mod fact;
mod period;
mod product;
mod rebuild;
mod rejection;
mod sums;
mod window;

pub use command::Command;
pub use fact::{Change, Fact, OrderStatus, Origin, Reason, Sale, SoldLine, Trade};
pub use period::{Granularity, Hour};
pub use product::{Amounts, ProductSales};
pub use rebuild::{Failure, Rebuild, RebuildState};
pub use rejection::{rebuild_not_found, rebuild_under_way, summary_too_large};
pub use sums::{Base, Deltas, ProductDelta, ProductKey, SalesSums};
pub use window::{BEFORE_ALL_DAYS, DAYS_KEPT, Window};
