//! The client side: connections to the services that this one calls.
//!
//! * `connection.rs` holds one HTTP/2 connection, made when it is needed and made anew when it broke;
//! * `addresses.rs` has those of all addresses of a name, and chooses among them;
//! * `upstream.rs` sends a call over one of them, and retries where that is safe: nowhere else are calls retried;
//! * `batch.rs` sends calls together with others over it, `answer.rs` is an answer that came so;
//! * `body.rs` is the answer as it arrives;
//! * `channel.rs` is what generated clients take;
//! * `resume.rs` opens a stream again that broke off.
//!
//! It stands on `h2` itself rather than on tonic's channel: a call costs no task and no queue of its own, and it is
//! known for certain whether a request left the process, which decides whether it may be sent again.

mod addresses;
mod answer;
mod batch;
mod body;
mod channel;
mod connection;
mod resume;
mod upstream;

pub use addresses::Resolver;
pub use body::UpstreamBody;
pub use channel::UpstreamChannel;
pub use resume::Resume;
pub use upstream::{Outbound, Resend, Upstream, UpstreamUrlError};

use std::sync::Arc;

use openorder_telemetry::RoleTelemetry;

use crate::settings::RpcClientSettings;
use crate::tls::RoleTls;

/// The channel of `role` to the service at `url` (`http://host:port`), for generated clients. It connects when it is
/// first used. Make it once and clone it.
///
/// # Errors
///
/// An `url` that is none, or not `http`.
pub fn channel(
    role: &RoleTelemetry,
    url: &str,
    settings: &RpcClientSettings,
) -> Result<UpstreamChannel, UpstreamUrlError> {
    Ok(UpstreamChannel::new(role.clone(), Arc::new(Upstream::new(url, settings)?)))
}

/// As [`channel`], to a service that has to prove to be the role `service`; over TLS (`https://host:port`) where there is a
/// certificate to be shown.
///
/// # Errors
///
/// An `url` that is none, or has the other scheme.
pub fn channel_to_role(
    role: &RoleTelemetry,
    service: &str,
    url: &str,
    settings: &RpcClientSettings,
    tls: Option<&RoleTls>,
) -> Result<UpstreamChannel, UpstreamUrlError> {
    Ok(UpstreamChannel::new(role.clone(), Arc::new(Upstream::to_role(service, url, settings, None, tls)?)))
}
