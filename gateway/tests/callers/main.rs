//! Callers: what each may take, who it is, and what it may do.
//!
//! - `shares`: callers that take more than their part, beside one that does not;
//! - `tokens`: who a caller is by its token, in every protocol, and until when;
//! - `keys`: API keys, and tokens of other issuers;
//! - `rates`: how often a caller may call; `proxies`: callers that come by a proxy;
//! - `roles`: each method with each role, as the documents have the table;
//! - `world`: a user service that the tests write, and services that tell who called.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod keys;
mod proxies;
mod rates;
mod roles;
mod shares;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod world;
