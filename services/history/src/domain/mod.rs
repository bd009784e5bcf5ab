//! The rules, pure: a document is a merge of parts, each of which its own later events replace.

mod fact;
mod latest;
mod message;
mod order;
mod payment;
mod rebuild;
pub mod rejection;
mod shipment;
mod view;
mod words;

pub use fact::{Fact, Said};
pub use latest::{Latest, Stamp};
pub use message::{Message, Messages};
pub use order::{Compensation, Created, Ending, Head, Line, OrderPart, OrderSaid};
pub use payment::{Failure, PaymentHead, PaymentPart, PaymentSaid, Refund};
pub use rebuild::{Half, Halves, Rebuild, RebuildState, Source};
pub use shipment::{CarrierEvent, Parcel, ShipmentPart, ShipmentSaid};
pub use view::View;
pub use words::{Words, words_of};
