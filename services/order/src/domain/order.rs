//! The order aggregate: its state is the fold of its events.

use std::time::Duration;

use openorder_types::{EmailAddress, Money, Quantity, Rejection, Sku, Timestamp, UserId, numbered};
use uuid::Uuid;

use crate::domain::{Modification, NewOrder, OrderEvent, PricedLines, ShippingAddress, rejection};

numbered! {
    /// Status of an order; numbered as `openorder.order.v1.OrderStatus`.
    pub enum OrderStatus {
        /// Accepted and durable; stock is not decided.
        Pending = 5 "PENDING",
        /// The stock is held.
        Confirmed = 10 "CONFIRMED",
        /// The payment was taken.
        Paid = 15 "PAID",
        /// Being made ready for the carrier.
        Preparing = 20 "PREPARING",
        /// With the carrier.
        Shipped = 25 "SHIPPED",
        /// With the customer.
        Delivered = 80 "DELIVERED",
        /// Called off.
        Cancelled = 90 "CANCELLED",
        /// Could not be fulfilled.
        Rejected = 95 "REJECTED",
    }
}

impl OrderStatus {
    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Cancelled | Self::Rejected)
    }

    /// Whether the order may be called off.
    pub const fn is_cancellable(self) -> bool {
        matches!(self, Self::Pending | Self::Confirmed | Self::Paid | Self::Preparing)
    }
}

numbered! {
    /// When the stock is held; numbered as in the contract.
    pub enum ReservationMode {
        /// Before the call answers.
        Immediate = 1 "IMMEDIATE",
        /// After the call answered.
        Deferred = 2 "DEFERRED",
    }
}

numbered! {
    /// Who starts the payment; numbered as in the contract.
    pub enum PaymentMode {
        /// The saga.
        Automatic = 1 "AUTOMATIC",
        /// A caller.
        Manual = 2 "MANUAL",
    }
}

/// One position, with the price that was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    pub sku: Sku,
    /// Name when the order was made; empty for an unknown SKU.
    pub display_name: String,
    /// Pieces.
    pub quantity: Quantity,
    /// Of one piece and of all; none for an unknown SKU.
    pub price: Option<(Money, Money)>,
    /// Which of the products that had this SKU it is; 0: not known, or none.
    pub product_number: i64,
    /// What the coupon takes off it; none, nothing.
    pub discount: Option<Money>,
}

/// An order as its events have made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// UUID v7.
    pub order_id: Uuid,
    pub customer_id: UserId,
    /// Where mail goes.
    pub customer_email: Option<EmailAddress>,
    pub status: OrderStatus,
    /// One a fact, from 1.
    pub version: i64,
    pub lines: Vec<OrderLine>,
    /// What it costs, less what the coupon takes off; none when a SKU was unknown.
    pub total: Option<Money>,
    pub reservation_mode: ReservationMode,
    pub payment_mode: PaymentMode,
    /// How long it waits for a caller to pay it, once it is CONFIRMED; none in automatic mode.
    pub payment_window: Option<Duration>,
    /// Why it is rejected or cancelled; else empty.
    pub status_reason: String,
    /// The same for people.
    pub status_detail: String,
    /// Of the payment service; empty before it paid.
    pub payment_id: String,
    /// The coupon that it uses, as it was issued to the customer.
    pub issued_coupon_id: Option<Uuid>,
    /// The last change of its lines that was asked for.
    pub modification: Option<Box<Modification>>,
    /// Where it is sent.
    pub shipping_address: Option<Box<ShippingAddress>>,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

impl Order {
    /// A new order, as [`OrderEvent::Created`] describes it. One that a caller pays may take so long about that.
    pub fn created(new: &NewOrder, priced: PricedLines, payment_window: Duration, now: Timestamp) -> Self {
        Self {
            order_id: new.order_id,
            customer_id: new.customer_id.clone(),
            customer_email: new.customer_email.clone(),
            status: OrderStatus::Pending,
            version: 1,
            lines: priced.lines,
            total: priced.total,
            reservation_mode: new.reservation_mode,
            payment_mode: new.payment_mode,
            payment_window: (new.payment_mode == PaymentMode::Manual).then_some(payment_window),
            status_reason: String::new(),
            status_detail: String::new(),
            payment_id: String::new(),
            issued_coupon_id: new.issued_coupon_id,
            modification: None,
            shipping_address: new.shipping_address.clone().map(Box::new),
            create_time: now,
            update_time: now,
        }
    }

    /// The order after one more event.
    pub fn evolve(&mut self, event: &OrderEvent, now: Timestamp) {
        self.status = match event {
            OrderEvent::Created { .. } => OrderStatus::Pending,
            OrderEvent::Confirmed { line_discounts } => {
                self.apply_discounts(line_discounts);
                OrderStatus::Confirmed
            }
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
                self.reject_modification(reason, detail);
                OrderStatus::Cancelled
            }
            OrderEvent::Rejected { reason, detail } => {
                self.status_reason.clone_from(reason);
                self.status_detail.clone_from(detail);
                self.reject_modification(reason, detail);
                OrderStatus::Rejected
            }
            OrderEvent::ModificationRequested { lines, total } => {
                self.modification = Some(Box::new(Modification::requested(self.version + 1, lines, *total)));
                self.status
            }
            OrderEvent::Modified => {
                self.take_over_modification();
                self.status
            }
            OrderEvent::ModificationRejected { reason, detail } => {
                self.reject_modification(reason, detail);
                self.status
            }
            OrderEvent::CompensationFailed { .. }
            | OrderEvent::CompensationRetried { .. }
            | OrderEvent::CompensationSettled { .. } => self.status,
        };
        self.version += 1;
        self.update_time = now;
    }

    /// Takes what the coupon takes off each line off the lines and the total. They were checked when they came.
    pub fn apply_discounts(&mut self, line_discounts: &[Money]) {
        for (line, discount) in self.lines.iter_mut().zip(line_discounts) {
            line.discount = Some(*discount).filter(Money::is_positive);
            self.total = self.total.and_then(|total| total.checked_sub(*discount).ok());
        }
    }

    /// What it costs before the coupon; none when a SKU was unknown.
    pub fn total_before_discount(&self) -> Option<Money> {
        let total = self.total?;
        self.discount().map_or(Some(total), |discount| total.checked_add(discount).ok())
    }

    /// Whether this is what a coupon can take off: for each line not more than the line, and of one currency.
    ///
    /// # Errors
    /// `DISCOUNT_MALFORMED`.
    pub fn check_discounts(&self, line_discounts: &[Money]) -> Result<(), Rejection> {
        let fits = |(line, discount): (&OrderLine, &Money)| {
            line.price.is_some_and(|(_, total)| {
                total.currency() == discount.currency() && (0..=total.minor_units()).contains(&discount.minor_units())
            })
        };
        let is_whole = self.lines.len() == line_discounts.len();
        if is_whole && self.lines.iter().zip(line_discounts).all(fits) {
            return Ok(());
        }
        Err(rejection::discount_malformed(self.order_id))
    }

    /// What the coupon takes off in all; none, nothing.
    pub fn discount(&self) -> Option<Money> {
        let mut discounts = self.lines.iter().filter_map(|line| line.discount);
        let first = discounts.next()?;
        discounts.try_fold(first, |sum, discount| sum.checked_add(discount)).ok()
    }

    /// Whether the order may be called off by `owner`; none, by anyone.
    ///
    /// # Errors
    /// `ORDER_NOT_FOUND` when it belongs to somebody else; `ORDER_NOT_CANCELLABLE`.
    pub fn check_cancellable(&self, owner: Option<&UserId>) -> Result<(), Rejection> {
        if owner.is_some_and(|owner| self.customer_id != *owner) {
            return Err(rejection::order_not_found(self.order_id));
        }
        if !self.status.is_cancellable() {
            return Err(rejection::not_cancellable(self.order_id, self.status));
        }
        Ok(())
    }

    /// Decides on a move that an operator asks for: compare and set, 20 → 25 → 80 only.
    ///
    /// # Errors
    /// `ORDER_TRANSITION_NOT_ALLOWED`; `ORDER_STATUS_MISMATCH`.
    pub fn update_status(&self, previous: OrderStatus, current: OrderStatus) -> Result<OrderEvent, Rejection> {
        let event = match (previous, current) {
            (OrderStatus::Preparing, OrderStatus::Shipped) => OrderEvent::Shipped,
            (OrderStatus::Shipped, OrderStatus::Delivered) => OrderEvent::Delivered,
            _ => return Err(rejection::transition_not_allowed(previous, current)),
        };
        if self.status != previous {
            return Err(rejection::status_mismatch(self.order_id, previous, self.status));
        }
        Ok(event)
    }
}
