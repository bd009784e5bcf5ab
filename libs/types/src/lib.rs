//! The pure values and the one error table of OpenOrder.
//!
//! Nothing here does I/O, reads a clock or draws a random number. Reading guide:
//!
//! - [`money`], [`currency`]: amounts in minor units with their currency, checked arithmetic only;
//! - [`value`]: text that has been parsed once and is valid from then on ([`Sku`], [`UserId`], …);
//! - [`text`]: what people write for people ([`FreeText`]), without what a terminal would obey;
//! - [`caller`]: who asks, and for whom they may act;
//! - [`id`]: ids of aggregates, which are UUIDs or texts;
//! - [`numbered!`]: enums whose values are stored as numbers;
//! - [`error`]: a [`Rejection`] is the caller's doing, a [`Fault`] is ours, a [`CallError`] is what a
//!   submitted command may end in. Only `openorder-rpc` turns them into gRPC codes;
//! - `database`, with the feature `sqlx`: what an error of PostgreSQL is as a [`Fault`].

pub mod caller;
pub mod currency;
#[cfg(feature = "sqlx")]
pub mod database;
pub mod error;
pub mod id;
pub mod money;
mod numbered;
pub mod text;
pub mod value;

pub use caller::{Caller, Role};
pub use currency::Currency;
pub use error::{CallError, Fault, FieldViolation, Rejection, RejectionKind};
pub use id::{AggregateId, IdText};
pub use money::{Money, MoneyError};
pub use text::{DisplayName, FreeText, TextRule, is_unprintable};
pub use value::{EmailAddress, Quantity, RequestId, Sku, UserId, ValueError, parse_uuid};

/// An instant in UTC. PostgreSQL keeps microseconds of it.
pub type Timestamp = chrono::DateTime<chrono::Utc>;
