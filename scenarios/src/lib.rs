//! Whole-system stories: the program as its users run it, processes of its own, driven through the gateway.
//!
//! - [`Deployment`] is a running `openorder serve …` with databases and topics of its own, that can be killed;
//! - [`Fleet`] is every role a process of its own, as many instances as wanted, on [`Servers`] (or a [`Cluster`]) that may be broken too;
//! - [`Shop`] is a client that sells: products, wallets, orders, followed to their end;
//! - [`load`] is many of its orders at once, with a ledger of what was answered;
//! - [`Verified`] is what `openorder verify` said;
//! - [`faults`] is what is broken meanwhile, [`Outcome`] what came of it. `make scenarios` runs all of them.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a story that cannot go on fails")]
#![allow(clippy::indexing_slicing, reason = "a story that cannot go on fails")]

mod clock;
mod cluster;
mod command;
mod deployment;
pub mod faults;
pub mod fleet;
mod hostile;
pub mod load;
mod outcome;
mod roles;
mod servers;
mod shop;
mod signal;
mod verified;

pub use cluster::Cluster;
pub use command::CommandOutput;
pub use deployment::Deployment;
pub use fleet::Fleet;
pub use outcome::Outcome;
pub use servers::{Part, Servers, script};
pub use shop::{Shop, eur, id};
pub use signal::Signal;
pub use verified::Verified;
