//! The roles that this program has: one line each in every list below.

use std::fmt;
use std::pin::Pin;

use openorder_messaging::RoleContext;
use openorder_rpc::PageTokens;
use openorder_service::Host;

use crate::settings::ProcessSettings;

/// What a process can serve; one process may serve several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The one port for callers from outside.
    Gateway,
    /// Orders and their saga.
    Order,
    /// The catalogue.
    Product,
    /// Stock levels and reservations.
    Inventory,
    /// Wallets and payments.
    Payment,
    /// What customers are told.
    Notification,
    /// What operators see and do.
    Operations,
}

/// A role at work, until its process stops.
pub(crate) type Serving = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

impl Role {
    /// Every role, the gateway first.
    pub const ALL: &[Self] = &[
        Self::Gateway,
        Self::Order,
        Self::Product,
        Self::Inventory,
        Self::Payment,
        Self::Notification,
        Self::Operations,
    ];

    /// Its name: on the command line, as the section of its settings, as the service in traces and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Order => "order",
            Self::Product => "product",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::Notification => "notification",
            Self::Operations => "operations",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.name() == name)
    }

    /// Puts the role together; nothing runs before the future is polled.
    pub(crate) fn serve(self, context: RoleContext, settings: &ProcessSettings, page_tokens: PageTokens) -> Serving {
        let (all, kafka) = (settings.clone(), settings.kafka.clone());
        match self {
            Self::Gateway => Box::pin(async move {
                openorder_gateway::serve(context.telemetry, &context.readiness, all.gateway, &context.shutdown).await
            }),
            Self::Order => Box::pin(openorder_order::serve(Host::new(context, all.order, kafka, page_tokens))),
            Self::Product => Box::pin(openorder_product::serve(Host::new(context, all.product, kafka, page_tokens))),
            Self::Inventory => {
                Box::pin(openorder_inventory::serve(Host::new(context, all.inventory, kafka, page_tokens)))
            }
            Self::Payment => Box::pin(openorder_payment::serve(Host::new(context, all.payment, kafka, page_tokens))),
            Self::Notification => {
                Box::pin(openorder_notification::serve(Host::new(context, all.notification, kafka, page_tokens)))
            }
            Self::Operations => {
                Box::pin(openorder_operations::serve(Host::new(context, all.operations, kafka, page_tokens)))
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` and not `write_str`: columns of roles line up.
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_role_is_found_by_its_name_and_listens_somewhere_of_its_own() {
        let settings = ProcessSettings::default();
        let addresses: BTreeSet<&str> = Role::ALL.iter().map(|role| settings.listen_address(*role)).collect();
        assert_eq!(addresses.len(), Role::ALL.len());
        for role in Role::ALL {
            assert_eq!(Role::parse(role.name()), Some(*role));
        }
        assert_eq!(Role::parse("all"), None);
    }

    #[test]
    fn every_role_has_a_section_of_settings() {
        let loaded = openorder_config::load::<ProcessSettings>(&openorder_config::Sources::defaults());
        let rows = loaded.map(|loaded| loaded.explain().to_vec()).unwrap_or_default();
        for role in Role::ALL {
            let key = format!("{role}.listen_address");
            assert!(rows.iter().any(|row| row.key == key), "{key}");
        }
    }
}
