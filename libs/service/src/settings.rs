//! The settings that every service has.

use openorder_config::{Secret, Settings};
use openorder_messaging::{CommitterSettings, ConsumerSettings, DatabaseSettings, RelaySettings};
use openorder_rpc::RpcServerSettings;

/// What the settings of every role with a database say.
pub trait HostSettings: Settings + Send + Sync + 'static {
    /// Where the service answers by default, `http://host:port`.
    const URL: &'static str;
    /// Whether it calls other services, and so passes its callers on to them.
    const CALLS_OTHERS: bool;

    /// Address that the gRPC server listens on, `host:port`.
    fn listen_address(&self) -> &str;
    /// URL of its own database.
    fn database_url(&self) -> &Secret;
    /// Use of the database.
    fn database(&self) -> &DatabaseSettings;
    /// Limits of the gRPC server.
    fn server(&self) -> &RpcServerSettings;
}

/// What the settings of every service say that has commands and publishes events.
pub trait ServiceSettings: HostSettings {
    /// Group commit for gRPC callers.
    fn committer(&self) -> &CommitterSettings;
    /// Publishing of its events.
    fn relay(&self) -> &RelaySettings;
}

/// What the settings of a service say that follows the events of others.
pub trait ConsumingSettings: ServiceSettings {
    /// Batches from Kafka.
    fn consumer(&self) -> &ConsumerSettings;
}

/// Declares the settings of a service: its own ones, and those that every service has.
///
/// ```
/// openorder_service::service_settings! {
///     /// Shipping service.
///     pub struct ShippingSettings(8107, "shipping", consumer, client) {
///         /// Shipments that may be watched at a time.
///         watchers_max: usize = 1_000, 1..=1_000_000;
///     }
/// }
/// let settings = ShippingSettings::default();
/// assert_eq!((settings.listen_address.as_str(), settings.watchers_max), ("127.0.0.1:8107", 1_000));
/// ```
///
/// In brackets stand the port that it listens on unless told otherwise, and the name of its role, which its database is
/// named after; then `consumer` for one that follows the events of others, and `client` for one that calls others. All
/// else is as in [`openorder_config::settings!`], `keeps` too.
#[macro_export]
macro_rules! service_settings {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident($port:literal, $role:literal $(, $part:ident)*) { $($own:tt)* }
        $($keeps:tt)*
    ) => {
        $crate::__service_settings! {
            [$($part)*]
            consumer {}
            client {}
            head { $(#[$meta])* $visibility struct $name }
            at { $port, $role }
            own { $($own)* }
            keeps { $($keeps)* }
        }

        impl $crate::HostSettings for $name {
            const URL: &'static str = concat!("http://127.0.0.1:", $port);
            const CALLS_OTHERS: bool = $crate::__calls_others!($($part)*);

            fn listen_address(&self) -> &str {
                &self.listen_address
            }

            fn database_url(&self) -> &$crate::parts::Secret {
                &self.database_url
            }

            fn database(&self) -> &$crate::parts::DatabaseSettings {
                &self.database
            }

            fn server(&self) -> &$crate::parts::RpcServerSettings {
                &self.server
            }
        }

        impl $crate::ServiceSettings for $name {
            fn committer(&self) -> &$crate::parts::CommitterSettings {
                &self.committer
            }

            fn relay(&self) -> &$crate::parts::RelaySettings {
                &self.relay
            }
        }

        $($crate::__service_part! { $part $name })*
    };
}

/// The parts that not every service has, one after the other; then the settings in their order.
#[doc(hidden)]
#[macro_export]
macro_rules! __service_settings {
    ([consumer $($more:ident)*] consumer {} $($rest:tt)*) => {
        $crate::__service_settings! {
            [$($more)*]
            consumer {
                /// Batches from Kafka.
                consumer: $crate::parts::ConsumerSettings;
            }
            $($rest)*
        }
    };
    ([client $($more:ident)*] consumer $consumer:tt client {} $($rest:tt)*) => {
        $crate::__service_settings! {
            [$($more)*]
            consumer $consumer
            client {
                /// Calls to other services.
                client: $crate::parts::RpcClientSettings;
            }
            $($rest)*
        }
    };
    (
        []
        consumer { $($consumer:tt)* }
        client { $($client:tt)* }
        head { $($head:tt)* }
        at { $port:literal, $role:literal }
        own { $($own:tt)* }
        keeps { $($keeps:tt)* }
    ) => {
        $crate::parts::settings! {
            $($head)* {
                /// Address that the gRPC server listens on.
                listen_address: String = concat!("127.0.0.1:", $port);
                $($own)*
                /// URL of its own database, `postgres://user:password@host:port/database`.
                database_url: $crate::parts::Secret = concat!("postgres://postgres@127.0.0.1:15432/openorder_", $role);
                /// Use of the database.
                database: $crate::parts::DatabaseSettings;
                /// Group commit for gRPC callers.
                committer: $crate::parts::CommitterSettings;
                $($consumer)*
                /// Publishing of its events.
                relay: $crate::parts::RelaySettings;
                /// Limits of the gRPC server.
                server: $crate::parts::RpcServerSettings;
                $($client)*
            }
            $($keeps)*
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __calls_others {
    () => {
        false
    };
    (client $($more:ident)*) => {
        true
    };
    ($other:ident $($more:ident)*) => {
        $crate::__calls_others!($($more)*)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __service_part {
    (consumer $name:ident) => {
        impl $crate::ConsumingSettings for $name {
            fn consumer(&self) -> &$crate::parts::ConsumerSettings {
                &self.consumer
            }
        }
    };
    (client $name:ident) => {};
}

#[cfg(test)]
mod tests {
    use openorder_config::{Settings, settings::Leaf, settings::Visitor};

    use super::HostSettings;

    service_settings! {
        /// Of a test.
        pub(crate) struct Plain(1, "plain") {}
    }

    service_settings! {
        /// Of a test.
        pub(crate) struct Full(2, "full", consumer, client) {
            /// A bound.
            first_max: usize = 1, 0..=9;
            /// Another one.
            second_max: usize = 2, 0..=9;
        }
        keeps {
            first_max <= second_max;
        }
    }

    /// The settings themselves, without those within them.
    struct Names(Vec<String>);

    impl Visitor for Names {
        fn setting(&mut self, key: &str, doc: &[&'static str], _: &mut dyn Leaf) {
            assert!(!doc.is_empty(), "{key} says what it is");
            let name = key.split('.').next().unwrap_or_default().to_owned();
            if self.0.last() != Some(&name) {
                self.0.push(name);
            }
        }
    }

    fn names<S: Settings>() -> Vec<String> {
        let mut names = Names(Vec::new());
        S::default().visit("", &mut names);
        names.0
    }

    #[test]
    fn every_service_has_the_same_settings_around_its_own() {
        assert_eq!(names::<Plain>(), ["listen_address", "database_url", "database", "committer", "relay", "server"]);
        let full = "listen_address first_max second_max database_url database committer consumer relay server client";
        assert_eq!(names::<Full>().join(" "), full);
        assert_eq!(Full::default().listen_address, "127.0.0.1:2");
        assert_eq!((Plain::CALLS_OTHERS, Full::CALLS_OTHERS), (false, true));
        let url = "postgres://postgres@127.0.0.1:15432/openorder_full";
        assert_eq!(Full::default().database_url.expose(), url);
    }
}
