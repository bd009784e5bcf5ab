//! The rules of the catalogue, pure: no I/O, no clock, no protobuf. [`decide`] makes events of commands, [`evolve`] applies
//! them.

mod command;
mod decide;
mod event;
mod product;
mod rejection;
mod value;

pub use openorder_types::DisplayName;

pub use command::{Changes, Command, NewProduct, ProductKey};
pub use decide::{Decision, State, decide, evolve};
pub use event::Event;
pub use product::{Field, Product};
pub use rejection::{not_found, sku_taken};
pub use value::{DESCRIPTION_LENGTH_MAX, Description, InitialStock, Price};
