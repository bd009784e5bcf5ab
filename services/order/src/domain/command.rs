//! Everything that the service can be asked or told.

use std::collections::BTreeMap;

use openorder_types::{EmailAddress, Money, Quantity, Sku, UserId};
use uuid::Uuid;

use crate::{
    domain::{CancellationCause, OrderStatus, PaymentMode, ReservationMode},
    saga::{OpenSince, Signal},
};

/// What is wanted of one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedLine {
    /// Stock keeping unit.
    pub sku: Sku,
    /// Pieces.
    pub quantity: Quantity,
}

/// An order to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// UUID v7, drawn by the handler.
    pub order_id: Uuid,
    /// Who buys.
    pub customer_id: UserId,
    /// Where mail goes; none, no mail.
    pub customer_email: Option<EmailAddress>,
    /// 1 to 100, each SKU once.
    pub lines: Vec<RequestedLine>,
    /// When the stock is held.
    pub reservation_mode: ReservationMode,
    /// Who starts the payment.
    pub payment_mode: PaymentMode,
    /// What the customer was shown; another total is refused.
    pub expected_total: Option<Money>,
    /// What the product service said while this request waited: nothing for SKUs that the copy of the catalogue was
    /// enough for.
    pub asked: Asked,
}

/// SKUs that the product service was asked about, each with whether it can be ordered.
pub type Asked = BTreeMap<Sku, bool>;

/// A product as orders need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogItem {
    /// Stock keeping unit.
    pub sku: Sku,
    /// Of the product that has this SKU now.
    pub product_id: Uuid,
    /// Version of the product: an older one never replaces a newer one.
    pub product_version: i64,
    /// Of two products with one SKU, the one with the higher number is the newer one; 0: not known.
    pub product_number: i64,
    /// Name that customers see.
    pub display_name: String,
    /// Price of one piece.
    pub unit_price: Money,
    /// Whether it can no longer be ordered.
    pub deleted: bool,
}

impl CatalogItem {
    /// Of two items of one SKU, the one for which this is greater holds.
    pub fn age(&self) -> (i64, Uuid, i64) {
        (self.product_number, self.product_id, self.product_version)
    }
}

/// What an operator wants of a compensation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompensationRequest {
    /// Ask again for what was not given back.
    Retry,
    /// It was put right by hand.
    Settle,
}

/// A command; facts of other services and deadlines arrive as commands too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A customer orders.
    Create(Box<NewOrder>),
    /// The customer or an operator calls the order off.
    Cancel {
        /// The order.
        order_id: Uuid,
        /// Who.
        cause: CancellationCause,
        /// In the caller's words.
        detail: String,
        /// Whom the order has to belong to for the caller to see it; none, any.
        owner: Option<UserId>,
    },
    /// Compare and set: SHIPPED or DELIVERED.
    UpdateStatus {
        /// The order.
        order_id: Uuid,
        /// Where the caller believes it to be.
        previous: OrderStatus,
        /// Where it is to go.
        current: OrderStatus,
    },
    /// An operator has a failed compensation tried again, or has put it right by hand.
    Compensation {
        /// The order.
        order_id: Uuid,
        /// Which of the two.
        request: CompensationRequest,
        /// Who.
        operator: String,
        /// In their words.
        reason: String,
    },
    /// Something that the saga waits for, or that it did not expect.
    Signal {
        /// The order.
        order_id: Uuid,
        /// What happened.
        signal: Signal,
    },
    /// A deadline may have passed.
    CheckDeadline {
        /// The order.
        order_id: Uuid,
        /// Since when the ways that the order may wait on have been open.
        open: OpenSince,
    },
    /// The catalogue changed.
    Catalogue(Box<CatalogItem>),
}
