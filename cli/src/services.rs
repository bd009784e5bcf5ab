//! The services that this program has, a line each: their roles, the sections of their settings, where they answer, what
//! the gateway routes to, what operators look after and what `verify` looks at are made from it.

use openorder_analytics::AnalyticsSettings;
use openorder_cart::CartSettings;
use openorder_config::{Secret, settings};
use openorder_gateway::{Backend, GatewaySettings};
use openorder_history::HistorySettings;
use openorder_inventory::InventorySettings;
use openorder_messaging::{DatabaseSettings, KafkaSettings, RoleContext};
use openorder_notification::NotificationSettings;
use openorder_operations::OperationsSettings;
use openorder_order::OrderSettings;
use openorder_payment::PaymentSettings;
use openorder_product::ProductSettings;
use openorder_promotion::PromotionSettings;
use openorder_rpc::tls::RoleTls;
use openorder_rpc::{PageTokens, RolesTlsSettings};
use openorder_service::{Host, HostSettings, ServiceSpec, ServiceUrls, Serving};
use openorder_shipping::ShippingSettings;
use openorder_telemetry::TelemetrySettings;
use openorder_user::UserSettings;

use crate::settings::{AdminSettings, RuntimeSettings};
use crate::verify::Consumed;

/// `Role = section: Settings, crate`, and `follows` the function that gives the subscription of one that follows the
/// events of others. The section has the name of the role (a test holds it to that).
macro_rules! services {
    (
        $($(#[doc = $doc:literal])+ $role:ident = $section:ident: $settings:ty, $service:ident
            $(follows $subscription:ident)?;)*
    ) => {
        /// What a process can serve; one process may serve several.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Role {
            /// The one port for callers from outside.
            Gateway,
            $($(#[doc = $doc])+ $role,)*
            /// What operators see and do.
            Operations,
        }

        impl Role {
            /// Every role, the gateway first.
            pub const ALL: &[Self] = &[Self::Gateway, $(Self::$role,)* Self::Operations];

            /// What it is to its process; none for the gateway.
            pub(crate) const fn spec(self) -> Option<&'static ServiceSpec> {
                match self {
                    Self::Gateway => None,
                    $(Self::$role => Some(&$service::SPEC),)*
                    Self::Operations => Some(&openorder_operations::SPEC),
                }
            }

            /// Whether it calls services for callers of its own.
            pub(crate) const fn calls_others(self) -> bool {
                match self {
                    Self::Gateway => true,
                    $(Self::$role => <$settings as HostSettings>::CALLS_OTHERS,)*
                    Self::Operations => <OperationsSettings as HostSettings>::CALLS_OTHERS,
                }
            }

            /// Puts the role together; nothing runs before the future is polled.
            pub(crate) fn serve(
                self,
                context: RoleContext,
                settings: &ProcessSettings,
                page_tokens: PageTokens,
                tls: Option<RoleTls>,
            ) -> Serving {
                let (all, urls) = (settings.clone(), settings.urls());
                match self {
                    Self::Gateway => Box::pin(async move {
                        let (telemetry, readiness, shutdown) = (context.telemetry, context.readiness, context.shutdown);
                        let services = backends(&urls)?;
                        openorder_gateway::serve_with(telemetry, &readiness, all.gateway, services, tls, &shutdown).await
                    }),
                    $(Self::$role => $service::serve(
                        Host::new(context, all.$section, all.kafka, page_tokens).with_urls(urls).with_tls(tls),
                    ),)*
                    Self::Operations => {
                        let host = Host::new(context, all.operations, all.kafka, page_tokens);
                        openorder_operations::serve(host.with_urls(urls).with_tls(tls), &[$($service::SPEC.role,)*])
                    }
                }
            }
        }

        settings! {
            /// Where each service answers, for all who call it: `http://host:port`, or with TLS between the roles (`mtls`)
            /// `https://host:port`.
            pub struct ServicesSettings {
                $(
                    $(#[doc = $doc])+
                    #[doc = " Where its service answers, `http://host:port`; `https://host:port` with TLS between the roles."]
                    $section: String = <$settings as HostSettings>::URL;
                )*
                /// What operators see and do. Where its service answers, `http://host:port`; `https://host:port` with TLS between
                /// the roles.
                operations: String = <OperationsSettings as HostSettings>::URL;
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
                /// Where each service answers.
                services: ServicesSettings;
                /// TLS between the roles.
                mtls: RolesTlsSettings;
                /// The gateway.
                gateway: GatewaySettings;
                $($(#[doc = $doc])+ $section: $settings;)*
                /// What operators see and do.
                operations: OperationsSettings;
            }
        }

        impl ProcessSettings {
            /// Where a role listens.
            #[must_use]
            pub fn listen_address(&self, role: Role) -> &str {
                match role {
                    Role::Gateway => &self.gateway.listen_address,
                    $(Role::$role => &self.$section.listen_address,)*
                    Role::Operations => &self.operations.listen_address,
                }
            }

            fn urls(&self) -> ServiceUrls {
                let operations = (openorder_operations::SPEC.role, self.services.operations.clone());
                let others = [$(($service::SPEC.role, self.services.$section.clone()),)*];
                others.into_iter().chain([operations]).collect()
            }
        }

        /// A service that publishes events from a database of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Service {
            $($role,)*
        }

        impl Service {
            pub(crate) const ALL: &[Self] = &[$(Self::$role,)*];

            const fn spec(self) -> &'static ServiceSpec {
                match self {
                    $(Self::$role => &$service::SPEC,)*
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
    /// Coupons.
    Promotion = promotion: PromotionSettings, openorder_promotion follows subscription;
    /// Parcels.
    Shipping = shipping: ShippingSettings, openorder_shipping follows subscription;
    /// What is sold, and what becomes of orders.
    Analytics = analytics: AnalyticsSettings, openorder_analytics follows subscription;
    /// Orders with everything that became of them, to be found.
    History = history: HistorySettings, openorder_history follows subscription;
    /// What customers and visitors mean to order.
    Cart = cart: CartSettings, openorder_cart follows subscription;
    /// Users, and how they sign in.
    User = user: UserSettings, openorder_user;
}

impl Role {
    /// Its name: on the command line, as the section of its settings, as the service in traces and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.spec() {
            Some(spec) => spec.role,
            None => "gateway",
        }
    }

    /// Full names of the gRPC services that it answers, health and reflection aside; none for the gateway.
    pub(crate) const fn grpc_services(self) -> &'static [&'static str] {
        match self.spec() {
            Some(spec) => spec.grpc_services,
            None => &[],
        }
    }
}

impl Service {
    /// The name of its role, group and settings.
    pub(crate) const fn name(self) -> &'static str {
        self.spec().role
    }

    /// The topics that its relay publishes to.
    pub(crate) const fn publishes(self) -> &'static [&'static str] {
        self.spec().publishes
    }
}

/// What the gateway routes to.
fn backends(urls: &ServiceUrls) -> anyhow::Result<Vec<Backend>> {
    let answers = |spec: &'static ServiceSpec| spec.grpc_services.iter().map(move |service| (spec.role, *service));
    let services = Role::ALL.iter().filter_map(|role| role.spec()).flat_map(answers);
    services.map(|(role, service)| Ok(Backend { role, service, url: urls.of(role)?.to_owned() })).collect()
}
