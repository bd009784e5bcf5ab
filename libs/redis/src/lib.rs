//! Redis, as every service uses it. What is right never rests on it: where it is away, empty or wrong, work is slower, or
//! waits.
//!
//! - [`Connection`]: never hangs, is replaced when it falls silent, and is left alone for a while after it failed;
//! - [`Hints`]: what an instance saw a moment ago and tells the others, so that they ask before they work.

mod connection;
mod hints;
mod recent;

pub use connection::Connection;
pub use hints::{HintLimits, Hints};

/// Name of the dependency.
pub const REDIS: &str = "redis";
