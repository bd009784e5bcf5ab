//! The parcel of one order.

use openorder_types::{DisplayName, Quantity, Sku, Timestamp, UserId, numbered};
use uuid::Uuid;

use crate::domain::{Address, Carrier, NewShipment, TrackingNumber};

numbered! {
    /// Where a shipment stands; numbered as `openorder.shipping.v1.ShipmentState`.
    pub enum ShipmentState {
        /// The parcel has not left yet.
        Created = 1 "CREATED",
        /// The carrier has the parcel.
        Shipped = 2 "SHIPPED",
        /// Final: the customer has the parcel.
        Delivered = 3 "DELIVERED",
        /// Final: the parcel never left, and never will.
        Cancelled = 4 "CANCELLED",
    }
}

/// Where a shipment can be moved to. The order is that of its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Shipped,
    Delivered,
}

numbered! {
    /// Why a shipment was called off; numbered as `openorder.order.v1.CancellationCause`.
    pub enum CancelReason {
        /// For a cause that this version does not know.
        Other = 0 "UNSPECIFIED",
        /// The customer called the order off.
        Customer = 1 "CUSTOMER",
        /// An operator or another service did.
        Operator = 2 "OPERATOR",
        /// The payment failed.
        PaymentFailed = 3 "PAYMENT_FAILED",
        /// A step of the saga did not answer in time.
        StepTimedOut = 4 "STEP_TIMED_OUT",
        /// The stock was given back without the order having asked for it.
        ReservationExpired = 5 "RESERVATION_EXPIRED",
    }
}

impl CancelReason {
    /// By the number of an `openorder.order.v1.CancellationCause`. One of a newer version calls off all the same.
    pub fn of_cause(cause: i32) -> Self {
        Self::from_number(cause).unwrap_or(Self::Other)
    }
}

/// Pieces of one SKU in a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub sku: Sku,
    /// Name of the product when the order was made.
    pub display_name: DisplayName,
    pub quantity: Quantity,
    /// 0: not known.
    pub product_number: i64,
}

/// The parcel of one order. There is one at most for an order, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// UUID version 7.
    pub shipment_id: Uuid,
    pub order_id: Uuid,
    pub customer_id: UserId,
    /// Empty if the order was called off before they were known.
    pub lines: Vec<Line>,
    pub address: Option<Address>,
    pub state: ShipmentState,
    pub carrier: Option<Carrier>,
    pub tracking_number: Option<TrackingNumber>,
    /// Of a cancelled one.
    pub cancel_reason: Option<CancelReason>,
    /// Of a cancelled one, in words; empty where nothing was said.
    pub cancel_detail: String,
    /// When the carrier took it.
    pub ship_time: Option<Timestamp>,
    /// When the customer got it.
    pub deliver_time: Option<Timestamp>,
    /// How many events of the carrier are recorded.
    pub event_count: i32,
    /// One more for every event of the shipment.
    pub version: i64,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

impl Shipment {
    pub(crate) fn create(new: NewShipment, now: Timestamp) -> Self {
        Self {
            shipment_id: new.shipment_id,
            order_id: new.order_id,
            customer_id: new.customer_id,
            lines: new.lines,
            address: new.address,
            state: ShipmentState::Created,
            carrier: None,
            tracking_number: None,
            cancel_reason: None,
            cancel_detail: String::new(),
            ship_time: None,
            deliver_time: None,
            event_count: 0,
            version: 1,
            create_time: now,
            update_time: now,
        }
    }
}
