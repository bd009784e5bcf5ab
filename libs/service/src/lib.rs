//! What the services of OpenOrder have in common; knows no business.
//!
//! - [`service_settings!`]: the settings of a service, its own and those that every service has;
//! - [`Host`], [`Service`]: a service as a process runs it, from its [`ServiceSpec`], with the [`ServiceUrls`] of the others;
//! - [`subscription!`]: what a service makes of the events of others;
//! - [`NewEvents`]: the events that a batch leads to, each with its [`Aggregate`];
//! - [`Commands`]: a call becomes a command with its request id, and its answer one of its kind.

mod commands;
mod events;
mod host;
mod settings;
mod subscription;

/// What [`service_settings!`] and [`subscription!`] write their code with.
#[doc(hidden)]
pub mod parts {
    pub use openorder_config::{Secret, settings};
    pub use openorder_messaging::{
        CommitterSettings, ConsumerSettings, DatabaseSettings, DecodeError, Interest, Received, RelaySettings,
        Subscription,
    };
    pub use openorder_proto::{EventMessage, topics};
    pub use openorder_rpc::{RpcClientSettings, RpcServerSettings};

    pub use crate::subscription::{is_known, is_of_topic, meaning, without_meaning};
}

pub use commands::{Commands, request_key};
pub use events::{Aggregate, NewEvents};
pub use host::{Host, Service, ServiceSpec, ServiceUrls, Serving};
pub use settings::{ConsumingSettings, HostSettings, ServiceSettings};
