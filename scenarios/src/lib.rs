//! Whole-system stories: the program as its users run it, a process of its own, driven through the gateway.
//!
//! - [`Deployment`] is a running `openorder serve …` with databases and topics of its own, that can be killed;
//! - [`Shop`] is a client that sells: products, wallets, orders, followed to their end.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod deployment;
mod shop;

pub use deployment::Deployment;
pub use shop::{Shop, eur, id};
