//! Calls of other protocols than gRPC, made into calls of gRPC and back.
//!
//! * `contract.rs`: methods and messages, read from the descriptors when the gateway starts, and `comments.rs`;
//! * `path.rs`, `rest.rs`: which method a path calls, and which fields stand in it; `query.rs`: those in the query;
//! * `json.rs`: messages in JSON; `request.rs`: the message of a request, out of path, query and body;
//! * `error.rs`: refusals; `frames.rs`: the messages in an answer; `stream.rs`: an answer that comes bit by bit.

#[cfg(test)]
pub(crate) mod arbitrary;
pub(crate) mod comments;
pub(crate) mod contract;
pub(crate) mod error;
pub(crate) mod frames;
pub(crate) mod json;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod rest;
pub(crate) mod stream;
