//! What the services of OpenOrder have in common; knows no business.
//!
//! - [`service_settings!`]: the settings of a service, its own and those that every service has;
//! - [`Host`], [`Service`]: a service as a process runs it, from its [`ServiceSpec`], with the [`ServiceUrls`] of the others;
//! - [`Commands`]: a call becomes a command with its request id, and its answer one of its kind.

mod commands;
mod host;
mod settings;

/// What [`service_settings!`] writes its code with.
#[doc(hidden)]
pub mod parts {
    pub use openorder_config::{Secret, settings};
    pub use openorder_messaging::{CommitterSettings, ConsumerSettings, DatabaseSettings, RelaySettings};
    pub use openorder_rpc::{RpcClientSettings, RpcServerSettings};
}

pub use commands::{Commands, request_key};
pub use host::{Host, Service, ServiceSpec, ServiceUrls};
pub use settings::{ConsumingSettings, HostSettings, ServiceSettings};
