//! The document of an order.

use std::collections::BTreeSet;

use crate::domain::{Fact, Messages, OrderPart, PaymentPart, Said, ShipmentPart};

/// An order with everything that became of it. Its parts are told by different services and do not wait for each other:
/// one may be there before the order itself is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub order: OrderPart,
    pub payment: PaymentPart,
    pub shipment: ShipmentPart,
    pub messages: Messages,
}

impl View {
    /// Hears an event. To hear it twice, or late, changes nothing more: documents that have heard the same events are equal.
    pub fn hear(&mut self, fact: &Fact) {
        match &fact.said {
            Said::Order(said) => self.order.hear(fact.stamp, said),
            Said::Payment(said) => self.payment.hear(fact.stamp, said),
            Said::Shipment(said) => self.shipment.hear(fact.stamp, said),
            Said::Message { notification_id, message } => {
                self.messages.hear(*notification_id, fact.stamp, message.clone());
            }
        }
    }

    /// Hears everything that another document of the order has heard.
    pub fn merge(&mut self, other: Self) {
        self.order.merge(other.order);
        self.payment.merge(other.payment);
        self.shipment.merge(other.shipment);
        self.messages.merge(other.messages);
    }

    /// Version of the order; 0 as long as nothing of it is known.
    pub fn order_version(&self) -> i64 {
        self.order.head.version()
    }

    /// Why the order is cancelled or rejected; empty for all others.
    pub fn status_reason(&self) -> &str {
        self.order.ending.value().map_or("", |ending| ending.reason.as_str())
    }

    /// The SKUs of its lines, each once.
    pub fn skus(&self) -> BTreeSet<&str> {
        self.order.lines.value().into_iter().flatten().map(|line| line.sku.as_str()).collect()
    }
}

#[cfg(test)]
mod tests;
