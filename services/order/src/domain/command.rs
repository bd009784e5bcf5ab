//! What is wanted of orders.

use openorder_types::{EmailAddress, Money, Quantity, Sku, UserId};
use uuid::Uuid;

use crate::{
    domain::{CancellationCause, OrderStatus, PaymentMode, ProductAnswers, ReservationMode, ShippingAddress},
    saga::{OpenSince, Signal},
};

/// What is wanted of one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedLine {
    pub sku: Sku,
    /// Pieces.
    pub quantity: Quantity,
}

/// An order to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// UUID v7, drawn where the request is parsed.
    pub order_id: Uuid,
    pub customer_id: UserId,
    /// Where mail goes; none, no mail.
    pub customer_email: Option<EmailAddress>,
    /// 1 to 100, each SKU once.
    pub lines: Vec<RequestedLine>,
    pub reservation_mode: ReservationMode,
    pub payment_mode: PaymentMode,
    /// What the customer was shown; another total is refused. Before the coupon's discount.
    pub expected_total: Option<Money>,
    /// The coupon to use, as it was issued to the customer.
    pub issued_coupon_id: Option<Uuid>,
    /// Where it is to be sent.
    pub shipping_address: Option<ShippingAddress>,
    /// The checkout of a cart that it is made by; the order's first event alone says it.
    pub checkout_id: Option<Uuid>,
    /// What the product service answered while this request waited; empty for SKUs that the copy of the catalogue was
    /// enough for.
    pub product_answers: ProductAnswers,
}

/// Other lines for an order that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModifyRequest {
    /// 1 to 100, each SKU once.
    pub lines: Vec<RequestedLine>,
    /// Where the caller believes the order to be.
    pub expected_version: i64,
    /// What the customer was shown; another total is refused.
    pub expected_total: Option<Money>,
    /// Whom the order has to belong to for the caller to see it; none, any.
    pub owner: Option<UserId>,
    /// As in [`NewOrder`].
    pub product_answers: ProductAnswers,
}

/// What an operator wants of a compensation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompensationRequest {
    /// Ask again for what was not given back.
    Retry,
    /// It was put right by hand.
    Settle,
}

/// What the shipping service has published of the order's parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShipmentFact {
    /// It is made ready.
    Created,
    /// It is with the carrier.
    Shipped,
    /// The customer has it.
    Delivered,
    /// It is not sent.
    Cancelled {
        cause: CancellationCause,
        /// For people.
        detail: String,
    },
}

/// What is wanted of an order that exists, or was learned about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderCommand {
    /// The customer or an operator calls the order off.
    Cancel {
        cause: CancellationCause,
        /// In the caller's words.
        detail: String,
        /// Whom the order has to belong to for the caller to see it; none, any.
        owner: Option<UserId>,
        /// Whether the shipping service has been asked, and sends no parcel.
        is_held_back: bool,
    },
    /// Other lines are wanted.
    Modify(Box<ModifyRequest>),
    /// Compare and set: SHIPPED or DELIVERED.
    UpdateStatus {
        /// Where the caller believes it to be.
        previous: OrderStatus,
        /// Where it is to go.
        current: OrderStatus,
        /// Whether the shipping service has been told, and its shipment stands there.
        is_agreed: bool,
    },
    /// An operator has a failed compensation tried again, or has put it right by hand.
    Compensation { request: CompensationRequest, operator: String, reason: String },
    /// The shipping service has published something of the order's parcel.
    Shipment(ShipmentFact),
    /// An answer or a fact that concerns the saga, expected or not.
    Signal(Signal),
    /// A deadline may have passed; with since when the ways that the order may wait on have been open.
    CheckDeadline(OpenSince),
}
