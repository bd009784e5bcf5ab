//! The order aggregate: its state is the fold of its events.

use std::{collections::HashMap, fmt};

use openorder_types::{EmailAddress, Money, Quantity, Rejection, Sku, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{Asked, CatalogItem, OrderEvent, RequestedLine, reject};

/// Where an order stands; numbered as `openorder.order.v1.OrderStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrderStatus {
    /// Accepted and durable; stock is not decided.
    Pending = 5,
    /// The stock is held.
    Confirmed = 10,
    /// The payment was taken.
    Paid = 15,
    /// Being made ready for the carrier.
    Preparing = 20,
    /// With the carrier.
    Shipped = 25,
    /// With the customer.
    Delivered = 80,
    /// Called off.
    Cancelled = 90,
    /// Could not be fulfilled.
    Rejected = 95,
}

impl OrderStatus {
    const ALL: [Self; 8] = [
        Self::Pending,
        Self::Confirmed,
        Self::Paid,
        Self::Preparing,
        Self::Shipped,
        Self::Delivered,
        Self::Cancelled,
        Self::Rejected,
    ];

    /// From its number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i32 == number)
    }

    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Cancelled | Self::Rejected)
    }

    /// Whether the order may be called off.
    pub const fn is_cancellable(self) -> bool {
        matches!(self, Self::Pending | Self::Confirmed | Self::Paid | Self::Preparing)
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "PENDING",
            Self::Confirmed => "CONFIRMED",
            Self::Paid => "PAID",
            Self::Preparing => "PREPARING",
            Self::Shipped => "SHIPPED",
            Self::Delivered => "DELIVERED",
            Self::Cancelled => "CANCELLED",
            Self::Rejected => "REJECTED",
        })
    }
}

/// When the stock is held; numbered as in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationMode {
    /// Before the call answers.
    Immediate = 1,
    /// After the call answered.
    Deferred = 2,
}

/// Who starts the payment; numbered as in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentMode {
    /// The saga.
    Automatic = 1,
    /// A caller.
    Manual = 2,
}

/// One position, with the price that was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// Stock keeping unit.
    pub sku: Sku,
    /// Name when the order was made; empty for an unknown SKU.
    pub display_name: String,
    /// Pieces.
    pub quantity: Quantity,
    /// Of one piece and of all; none for an unknown SKU.
    pub price: Option<(Money, Money)>,
    /// Which of the products that had this SKU it is; 0: not known, or none.
    pub product_number: i64,
}

/// Lines with their prices, and their sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedLines {
    /// In the order of the request.
    pub lines: Vec<OrderLine>,
    /// None when a SKU is unknown.
    pub total: Option<Money>,
}

/// Puts the catalogue's prices to the lines.
///
/// # Errors
/// `CURRENCY_MISMATCH`; `TOTAL_TOO_LARGE`. An unknown SKU is no error here: the order is rejected, and says so.
pub fn price(
    requested: &[RequestedLine],
    catalogue: &HashMap<Sku, CatalogItem>,
    asked: &Asked,
) -> Result<PricedLines, Rejection> {
    let mut lines = Vec::with_capacity(requested.len());
    let mut total: Option<Money> = None;
    let mut complete = true;
    for line in requested {
        // What the product service has just said it does not sell is not sold, whatever the copy says.
        let item = catalogue.get(&line.sku).filter(|item| !item.deleted && asked.get(&line.sku) != Some(&false));
        let (display_name, price) = match item {
            None => {
                complete = false;
                (String::new(), None)
            }
            Some(item) => {
                let line_total =
                    item.unit_price.checked_mul(line.quantity.get()).map_err(|_| reject::total_too_large())?;
                total = Some(match total {
                    None => line_total,
                    Some(sum) if sum.currency() != line_total.currency() => return Err(reject::currency_mismatch()),
                    Some(sum) => sum.checked_add(line_total).map_err(|_| reject::total_too_large())?,
                });
                (item.display_name.clone(), Some((item.unit_price, line_total)))
            }
        };
        let product_number = item.map_or(0, |item| item.product_number);
        let sku = line.sku.clone();
        lines.push(OrderLine { sku, display_name, quantity: line.quantity, price, product_number });
    }
    Ok(PricedLines { lines, total: total.filter(|_| complete) })
}

/// An order as its events have made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// UUID v7.
    pub order_id: Uuid,
    /// Who buys.
    pub customer_id: UserId,
    /// Where mail goes.
    pub customer_email: Option<EmailAddress>,
    /// Where it stands.
    pub status: OrderStatus,
    /// One a fact, from 1.
    pub version: i64,
    /// What was ordered.
    pub lines: Vec<OrderLine>,
    /// What it costs; none when a SKU was unknown.
    pub total: Option<Money>,
    /// When the stock is held.
    pub reservation_mode: ReservationMode,
    /// Who starts the payment.
    pub payment_mode: PaymentMode,
    /// Why it is rejected or cancelled; else empty.
    pub status_reason: String,
    /// The same for people.
    pub status_detail: String,
    /// Of the payment service; empty before it paid.
    pub payment_id: String,
    /// When it was accepted.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
}

impl Order {
    /// The order that its first event makes. `None` when `event` is not [`OrderEvent::Created`].
    pub fn created(order_id: Uuid, event: &OrderEvent, now: Timestamp) -> Option<Self> {
        let OrderEvent::Created { customer_id, customer_email, lines, total, reservation_mode, payment_mode } = event
        else {
            return None;
        };
        Some(Self {
            order_id,
            customer_id: customer_id.clone(),
            customer_email: customer_email.clone(),
            status: OrderStatus::Pending,
            version: 1,
            lines: lines.clone(),
            total: *total,
            reservation_mode: *reservation_mode,
            payment_mode: *payment_mode,
            status_reason: String::new(),
            status_detail: String::new(),
            payment_id: String::new(),
            create_time: now,
            update_time: now,
        })
    }

    /// The order after one more event.
    pub fn evolve(&mut self, event: &OrderEvent, now: Timestamp) {
        self.status = match event {
            OrderEvent::Created { .. } => OrderStatus::Pending,
            OrderEvent::Confirmed => OrderStatus::Confirmed,
            OrderEvent::Paid { payment_id } => {
                self.payment_id.clone_from(payment_id);
                OrderStatus::Paid
            }
            OrderEvent::Preparing => OrderStatus::Preparing,
            OrderEvent::Shipped => OrderStatus::Shipped,
            OrderEvent::Delivered => OrderStatus::Delivered,
            OrderEvent::Cancelled { reason, detail, .. } => {
                self.status_reason.clone_from(reason);
                self.status_detail.clone_from(detail);
                OrderStatus::Cancelled
            }
            OrderEvent::Rejected { reason, detail } => {
                self.status_reason.clone_from(reason);
                self.status_detail.clone_from(detail);
                OrderStatus::Rejected
            }
            OrderEvent::CompensationFailed { .. }
            | OrderEvent::CompensationRetried { .. }
            | OrderEvent::CompensationSettled { .. } => self.status,
        };
        self.version += 1;
        self.update_time = now;
    }

    /// Decides on a move that an operator asks for: compare and set, 20 → 25 → 80 only.
    ///
    /// # Errors
    /// `ORDER_TRANSITION_NOT_ALLOWED`; `ORDER_STATUS_MISMATCH`.
    pub fn update_status(&self, previous: OrderStatus, current: OrderStatus) -> Result<OrderEvent, Rejection> {
        let event = match (previous, current) {
            (OrderStatus::Preparing, OrderStatus::Shipped) => OrderEvent::Shipped,
            (OrderStatus::Shipped, OrderStatus::Delivered) => OrderEvent::Delivered,
            _ => return Err(reject::transition_not_allowed(previous, current)),
        };
        if self.status != previous {
            return Err(reject::status_mismatch(self.order_id, previous, self.status));
        }
        Ok(event)
    }
}
