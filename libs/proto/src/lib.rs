//! The contract of OpenOrder, generated from `proto/`: messages, service clients and servers, and events.
//!
//! - a module for each bounded context, such as [`order`], with `v1` in it; the comments are those of the `.proto` files;
//! - [`internal`]: what OpenOrder's own processes alone ask of each other;
//! - [`event`]: the option that makes a message an event;
//! - [`google`]: vendored common types; the well-known types are those of `prost_types`;
//! - [`events`]: which message, type and topic belong together;
//! - [`lists`]: requests for lists with pages;
//! - [`reasons`]: the stable words behind the enums that say why;
//! - [`secrets`]: the fields that nobody is to see.

pub mod events;
pub mod lists;
pub mod reasons;
pub mod secrets;

#[allow(missing_docs, clippy::all, unreachable_pub, rustdoc::all)]
mod contract {
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}

pub use contract::google;
pub use contract::openorder::*;
pub use events::{EventMessage, by_type, event_types, topics};
pub use lists::ListRequest;
pub use secrets::secret_fields;

/// The whole contract with its comments and imports, an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// [`FILE_DESCRIPTOR_SET`] without the packages below `openorder.internal`: what the gateway routes by, and what its
/// reflection answers from.
pub const PUBLIC_FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public_descriptors.bin"));
