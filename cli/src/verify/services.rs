//! Which service keeps its data where, publishes what and consumes what.

use std::fmt;

use openorder_config::Secret;
use openorder_messaging::{DatabaseSettings, DecodeError, Received, Subscription};

use crate::settings::ProcessSettings;

/// A service with a database of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Order,
    Product,
    Inventory,
    Payment,
    Notification,
}

/// By topic and event type, and by the message itself where those do not tell.
type Takes = dyn Fn(&str, &str, &dyn Fn() -> Received) -> bool;

/// The messages of a topic that a service takes over.
pub(super) struct Consumed {
    topics: Vec<&'static str>,
    takes: Box<Takes>,
}

impl Consumed {
    fn of<C: 'static>(subscription: Subscription<C>) -> Self {
        let topics = subscription.topics.clone();
        let takes = Box::new(move |topic: &str, event_type: &str, received: &dyn Fn() -> Received| {
            // Some events of a type mean something and others do not.
            // One of an unknown type may have been passed over.
            !(subscription.passes_over)(topic, event_type)
                && !matches!(subscription.meaning(&received()), Ok(None) | Err(DecodeError::UnknownType(_)))
        });
        Self { topics, takes }
    }

    pub(super) fn is_of(&self, topic: &str) -> bool {
        self.topics.contains(&topic)
    }

    /// Whether the service takes note of a message; `received` is only asked when it has to be looked into.
    pub(super) fn takes(&self, topic: &str, event_type: &str, received: &dyn Fn() -> Received) -> bool {
        (self.takes)(topic, event_type, received)
    }
}

impl Service {
    pub(super) const ALL: &[Self] = &[Self::Order, Self::Product, Self::Inventory, Self::Payment, Self::Notification];

    /// The name of its role, group and settings.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Product => "product",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::Notification => "notification",
        }
    }

    /// For the message of an error.
    pub(super) fn database(self) -> String {
        format!("the database of {self}")
    }

    pub(super) const fn database_url(self, settings: &ProcessSettings) -> &Secret {
        match self {
            Self::Order => &settings.order.database_url,
            Self::Product => &settings.product.database_url,
            Self::Inventory => &settings.inventory.database_url,
            Self::Payment => &settings.payment.database_url,
            Self::Notification => &settings.notification.database_url,
        }
    }

    pub(super) const fn database_settings(self, settings: &ProcessSettings) -> &DatabaseSettings {
        match self {
            Self::Order => &settings.order.database,
            Self::Product => &settings.product.database,
            Self::Inventory => &settings.inventory.database,
            Self::Payment => &settings.payment.database,
            Self::Notification => &settings.notification.database,
        }
    }

    /// The topics that its relay publishes to.
    pub(super) const fn publishes(self) -> &'static [&'static str] {
        match self {
            Self::Order => openorder_order::SPEC.publishes,
            Self::Product => openorder_product::SPEC.publishes,
            Self::Inventory => openorder_inventory::SPEC.publishes,
            Self::Payment => openorder_payment::SPEC.publishes,
            Self::Notification => openorder_notification::SPEC.publishes,
        }
    }

    /// What it consumes; the product service consumes nothing.
    pub(super) fn consumed(self) -> Option<Consumed> {
        match self {
            Self::Order => Some(Consumed::of(openorder_order::subscription())),
            Self::Product => None,
            Self::Inventory => Some(Consumed::of(openorder_inventory::subscription())),
            Self::Payment => Some(Consumed::of(openorder_payment::subscription())),
            Self::Notification => Some(Consumed::of(openorder_notification::subscription())),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
