//! All work of the service: calls, signals, timers and news of the catalogue.

use uuid::Uuid;

use crate::{
    domain::{CatalogItem, NewOrder, OrderCommand, ShipmentFact},
    saga::Signal,
};

/// A command; facts of other services and deadlines arrive as commands too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A customer orders.
    Create(Box<NewOrder>),
    /// An order that exists is concerned.
    Order {
        order_id: Uuid,
        /// What is wanted of it, or was learned about it.
        command: OrderCommand,
    },
    /// A product changed.
    Catalogue(Box<CatalogItem>),
}

impl Command {
    /// Something that the saga of this order waits for, or did not expect.
    pub(crate) fn signal(order_id: Uuid, signal: Signal) -> Self {
        Self::Order { order_id, command: OrderCommand::Signal(signal) }
    }

    /// What the shipping service has published of this order's parcel.
    pub(crate) fn shipment(order_id: Uuid, fact: ShipmentFact) -> Self {
        Self::Order { order_id, command: OrderCommand::Shipment(fact) }
    }

    /// The order to be locked; none for one that is yet to be made.
    pub(crate) fn order_id(&self) -> Option<Uuid> {
        match self {
            Self::Order { order_id, .. } => Some(*order_id),
            Self::Create(_) | Self::Catalogue(_) => None,
        }
    }

    /// The SKUs whose prices are needed.
    pub(crate) fn skus(&self) -> impl Iterator<Item = &str> {
        let lines = match self {
            Self::Create(new) => new.lines.as_slice(),
            Self::Order { command: OrderCommand::Modify(wanted), .. } => wanted.lines.as_slice(),
            Self::Order { .. } | Self::Catalogue(_) => &[],
        };
        lines.iter().map(|line| line.sku.as_str())
    }
}
