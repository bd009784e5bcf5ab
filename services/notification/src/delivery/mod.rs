//! Mail that leaves the machine. An effect outside the database: each one is claimed, attempted and recorded.
//!
//! - [`worker`]: takes what is due in bounded batches, one of an order at a time, and records each attempt;
//! - [`claim`]: who may send a notification now, and that it was sent, in Redis;
//! - [`mailer`]: SMTP, and what its errors mean.
//!
//! A message reaches the mail server at least once. It reaches it twice only when a process dies, or the server's
//! answer is lost, between the server's "250" and the note of it in Redis; both copies then have one Message-ID.

mod claim;
mod mailer;
mod worker;

pub(crate) use claim::{Claims, REDIS};
pub(crate) use mailer::{Mailer, SMTP};
pub(crate) use worker::Worker;
