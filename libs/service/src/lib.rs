//! What the services of OpenOrder have in common; knows no business.
//!
//! - [`Commands`]: a call becomes a command with its request id, and its answer one of its kind.

mod commands;

pub use commands::{Commands, request_key};
