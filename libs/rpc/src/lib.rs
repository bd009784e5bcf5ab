//! gRPC for every service of OpenOrder. No other crate names a gRPC code.
//!
//! Reading guide:
//!
//! * a handler parses its request with [`Violations`] (`violations.rs`, `values.rs`), asks [`CallContext`] who calls
//!   (`caller.rs`), and answers a failure with [`status()`] (`status.rs`);
//! * the methods of a service are a table, [`calls!`] (`calls.rs`), which also says who may call;
//! * lists use [`PageTokens`], which [open](PageTokens::open) their [`List`]s, and [`page_size`] (`page.rs`), commands with a request id [`RequestFingerprint`];
//! * [`listen`] and [`serve`] are the server (`server/`), [`channel`] makes the channels of clients (`client/`);
//!   calls may travel together (`batch.rs`); an [`Upstream`] may find a service of its own process without a socket (`local.rs`);
//! * [`tls`] protects a port, and the connections to one; [`vouching`] is who of the roles may say who calls.

mod batch;
pub mod caller;
pub mod calls;
mod client;
mod fingerprint;
mod health;
mod local;
mod page;
mod parts;
pub mod server;
mod settings;
pub mod status;
pub mod timeout;
pub mod tls;
mod values;
mod violations;
pub mod vouching;

pub use caller::{CallContext, caller_of};
pub use client::{
    Outbound, Resend, Resolver, Resume, Upstream, UpstreamBody, UpstreamChannel, UpstreamUrlError, channel,
    channel_to_role,
};
pub use fingerprint::RequestFingerprint;
pub use health::with_health;
pub use page::{List, PageBytes, PageTokens, fill, page_size};
pub use parts::ask_in_parts;
pub use server::{ListenError, listen, listen_for_roles, serve, serve_roles};
pub use settings::{
    BatchSettings, ConnectionSettings, IncomingTrace, RolesTlsSettings, RpcClientSettings, RpcServerSettings,
    TlsServerSettings,
};
pub use status::{Refusal, fault_of, passed_on, query_failed, reason_of, rejection, status};
pub use values::{
    canonical_mask, masked_fields, money, money_from_proto, money_to_proto, timestamp, timestamp_to_proto,
};
pub use violations::{Violation, Violations};
