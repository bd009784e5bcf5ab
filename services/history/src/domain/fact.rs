//! An event of another service, as a document takes it.

use uuid::Uuid;

use crate::domain::{Message, OrderSaid, PaymentSaid, ShipmentSaid, Stamp};

/// What an event says, of which part of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Order(Box<OrderSaid>),
    Payment(Box<PaymentSaid>),
    Shipment(Box<ShipmentSaid>),
    Message { notification_id: Uuid, message: Message },
}

/// What an event says of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub order_id: Uuid,
    pub stamp: Stamp,
    pub said: Said,
}

impl Fact {
    /// What the event of this version says; when it was made is known to who received it.
    pub(crate) const fn new(order_id: Uuid, version: i64, said: Said) -> Self {
        Self { order_id, stamp: Stamp { version, at_ms: 0 }, said }
    }

    /// Of an event that was made at this time, in this trace.
    #[must_use]
    pub(crate) fn made(mut self, at_ms: i64, trace_id: impl FnOnce() -> String) -> Self {
        self.stamp.at_ms = at_ms;
        if let Said::Order(said) = &mut self.said
            && let Some(created) = &mut said.created
        {
            created.trace_id = trace_id();
        }
        self
    }
}
