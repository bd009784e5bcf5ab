//! The services that this program has, a line each: their roles, the sections of their settings, and what `verify` looks
//! at are made from it.

use openorder_config::{Secret, settings};
use openorder_gateway::GatewaySettings;
use openorder_inventory::InventorySettings;
use openorder_messaging::{DatabaseSettings, KafkaSettings, RoleContext};
use openorder_notification::NotificationSettings;
use openorder_operations::OperationsSettings;
use openorder_order::OrderSettings;
use openorder_payment::PaymentSettings;
use openorder_product::ProductSettings;
use openorder_rpc::PageTokens;
use openorder_service::Host;
use openorder_telemetry::TelemetrySettings;

use crate::roles::Serving;
use crate::settings::{AdminSettings, RuntimeSettings};
use crate::verify::Consumed;

/// `Role = section: Settings, crate`, and `follows` the function that gives the subscription of one that follows the
/// events of others. The section has the name of the role (a test holds it to that).
macro_rules! services {
    (
        with_events {
            $($(#[doc = $doc:literal])+ $role:ident = $section:ident: $settings:ty, $service:ident
                $(follows $subscription:ident)?;)*
        }
        without_events {
            $($(#[doc = $other_doc:literal])+ $other:ident = $other_section:ident: $other_settings:ty, $other_service:ident;)*
        }
    ) => {
        /// What a process can serve; one process may serve several.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Role {
            /// The one port for callers from outside.
            Gateway,
            $($(#[doc = $doc])+ $role,)*
            $($(#[doc = $other_doc])+ $other,)*
        }

        impl Role {
            /// Every role, the gateway first.
            pub const ALL: &[Self] = &[Self::Gateway, $(Self::$role,)* $(Self::$other,)*];

            /// Its name: on the command line, as the section of its settings, as the service in traces and logs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Gateway => "gateway",
                    $(Self::$role => $service::SPEC.role,)*
                    $(Self::$other => $other_service::SPEC.role,)*
                }
            }

            /// Puts the role together; nothing runs before the future is polled.
            pub(crate) fn serve(
                self,
                context: RoleContext,
                settings: &ProcessSettings,
                page_tokens: PageTokens,
            ) -> Serving {
                let (all, kafka) = (settings.clone(), settings.kafka.clone());
                match self {
                    Self::Gateway => Box::pin(async move {
                        let (telemetry, readiness, shutdown) = (context.telemetry, context.readiness, context.shutdown);
                        openorder_gateway::serve(telemetry, &readiness, all.gateway, &shutdown).await
                    }),
                    $(Self::$role => Box::pin($service::serve(Host::new(context, all.$section, kafka, page_tokens))),)*
                    $(Self::$other => {
                        Box::pin($other_service::serve(Host::new(context, all.$other_section, kafka, page_tokens)))
                    })*
                }
            }
        }

        settings! {
            /// All settings of a process.
            pub struct ProcessSettings {
                /// The process itself.
                process: RuntimeSettings;
                /// The port for operators.
                admin: AdminSettings;
                /// Traces, logs and metrics.
                telemetry: TelemetrySettings;
                /// Kafka, shared by all roles.
                kafka: KafkaSettings;
                /// The gateway.
                gateway: GatewaySettings;
                $($(#[doc = $doc])+ $section: $settings;)*
                $($(#[doc = $other_doc])+ $other_section: $other_settings;)*
            }
        }

        impl ProcessSettings {
            /// Where a role listens.
            #[must_use]
            pub fn listen_address(&self, role: Role) -> &str {
                match role {
                    Role::Gateway => &self.gateway.listen_address,
                    $(Role::$role => &self.$section.listen_address,)*
                    $(Role::$other => &self.$other_section.listen_address,)*
                }
            }
        }

        /// A service that publishes events from a database of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Service {
            $($role,)*
        }

        impl Service {
            pub(crate) const ALL: &[Self] = &[$(Self::$role,)*];

            /// The name of its role, group and settings.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$role => $service::SPEC.role,)*
                }
            }

            pub(crate) const fn database_url(self, settings: &ProcessSettings) -> &Secret {
                match self {
                    $(Self::$role => &settings.$section.database_url,)*
                }
            }

            pub(crate) const fn database_settings(self, settings: &ProcessSettings) -> &DatabaseSettings {
                match self {
                    $(Self::$role => &settings.$section.database,)*
                }
            }

            /// The topics that its relay publishes to.
            pub(crate) const fn publishes(self) -> &'static [&'static str] {
                match self {
                    $(Self::$role => $service::SPEC.publishes,)*
                }
            }

            /// What it consumes, if it follows the events of others.
            pub(crate) fn consumed(self) -> Option<Consumed> {
                match self {
                    $(Self::$role => services!(@consumed $($service $subscription)?),)*
                }
            }
        }
    };
    (@consumed) => {
        None
    };
    (@consumed $service:ident $subscription:ident) => {
        Some(Consumed::of($service::$subscription()))
    };
}

services! {
    with_events {
        /// Orders and their saga.
        Order = order: OrderSettings, openorder_order follows subscription;
        /// The catalogue.
        Product = product: ProductSettings, openorder_product;
        /// Stock levels and reservations.
        Inventory = inventory: InventorySettings, openorder_inventory follows subscription;
        /// Wallets and payments.
        Payment = payment: PaymentSettings, openorder_payment follows subscription;
        /// What customers are told.
        Notification = notification: NotificationSettings, openorder_notification follows subscription;
    }
    without_events {
        /// What operators see and do.
        Operations = operations: OperationsSettings, openorder_operations;
    }
}
