//! What services tell of an order.

use chrono::Utc;
use openorder_proto::{
    google::r#type::Money,
    notification::v1::{NotificationChannel, NotificationKind, NotificationRequested, NotificationSent},
    order::v1::{
        CancellationCause, OrderCancelled, OrderCompensationFailed, OrderCompensationSettled, OrderConfirmed,
        OrderCreated, OrderLine, OrderModificationRejected, OrderModificationRequested, OrderModified, OrderPaid,
        OrderPreparing, OrderStatus,
    },
    payment::v1::{PaymentCompleted, PaymentRefundReason, PaymentRefunded},
    shipping::v1::{Shipment, ShipmentEvent, ShipmentEventType, ShipmentProgressed, ShipmentShipped, ShipmentState},
};
use openorder_service::{Aggregate, NewEvents};
use uuid::Uuid;

use crate::world::Append;

/// An order, told event by event.
#[derive(Clone, Debug)]
pub struct Story {
    pub order_id: String,
    pub customer: String,
    pub sku: String,
    pub name: String,
    pub units: i64,
    pub payment_id: String,
    pub notification_id: String,
    pub created: prost_types::Timestamp,
    /// Empty: none.
    pub issued_coupon_id: String,
}

pub fn eur(units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), units, nanos: 0 })
}

impl Story {
    pub fn of(customer: &str, sku: &str) -> Self {
        let now = Utc::now();
        Self {
            order_id: Uuid::now_v7().to_string(),
            customer: customer.to_owned(),
            sku: sku.to_owned(),
            name: format!("The {sku}"),
            units: 10,
            payment_id: Uuid::now_v7().to_string(),
            notification_id: Uuid::now_v7().to_string(),
            issued_coupon_id: String::new(),
            created: prost_types::Timestamp {
                seconds: now.timestamp(),
                nanos: now.timestamp_subsec_micros().cast_signed() * 1_000,
            },
        }
    }

    pub fn costing(self, units: i64) -> Self {
        Self { units, ..self }
    }

    fn line(&self) -> OrderLine {
        OrderLine {
            sku: self.sku.clone(),
            display_name: self.name.clone(),
            quantity: 2,
            unit_price: eur(self.units / 2),
            line_total: eur(self.units),
            ..OrderLine::default()
        }
    }

    fn order(&self, version: i64) -> Aggregate {
        Aggregate::new("order", self.order_id.as_str(), version)
    }

    pub fn created_message(&self) -> OrderCreated {
        OrderCreated {
            order_id: self.order_id.clone(),
            customer_id: self.customer.clone(),
            version: 1,
            status: OrderStatus::Pending.into(),
            customer_email: format!("{}@example.com", self.customer),
            total: eur(self.units),
            lines: vec![self.line()],
            create_time: Some(self.created),
            issued_coupon_id: self.issued_coupon_id.clone(),
            ..OrderCreated::default()
        }
    }

    pub fn created(&self) -> Append {
        let told = self.clone();
        Box::new(move |events: &mut NewEvents| events.append(&told.created_message(), told.order(1)))
    }

    pub fn confirmed(&self) -> Append {
        let told = self.clone();
        Box::new(move |events: &mut NewEvents| {
            let message = OrderConfirmed {
                order_id: told.order_id.clone(),
                customer_id: told.customer.clone(),
                version: 2,
                status: OrderStatus::Confirmed.into(),
                total: eur(told.units),
                ..OrderConfirmed::default()
            };
            let with_coupon = OrderConfirmed {
                total: eur(told.units - 1),
                discount: eur(1),
                lines: vec![OrderLine { discount: eur(1), ..told.line() }],
                ..message.clone()
            };
            let message = if told.issued_coupon_id.is_empty() { message } else { with_coupon };
            events.append(&message, told.order(2));
        })
    }

    /// Ten pieces more are asked for, which there are not, and then two more, which there are.
    pub fn modified(&self) -> Append {
        let told = self.clone();
        Box::new(move |events: &mut NewEvents| {
            let of = |version: i64, pieces: i32| OrderModificationRequested {
                order_id: told.order_id.clone(),
                customer_id: told.customer.clone(),
                version,
                status: OrderStatus::Confirmed.into(),
                total: eur(told.units),
                requested_lines: vec![OrderLine { quantity: pieces, ..told.line() }],
                ..OrderModificationRequested::default()
            };
            events.append(&of(3, 12), told.order(3));
            let rejected = OrderModificationRejected {
                order_id: told.order_id.clone(),
                customer_id: told.customer.clone(),
                version: 4,
                status: OrderStatus::Confirmed.into(),
                total: eur(told.units),
                reason: "OUT_OF_STOCK".to_owned(),
                ..OrderModificationRejected::default()
            };
            events.append(&rejected, told.order(4));
            events.append(&of(5, 4), told.order(5));
            let modified = OrderModified {
                order_id: told.order_id.clone(),
                customer_id: told.customer.clone(),
                version: 6,
                status: OrderStatus::Confirmed.into(),
                total: eur(told.units * 2),
                lines: vec![OrderLine { quantity: 4, line_total: eur(told.units * 2), ..told.line() }],
                ..OrderModified::default()
            };
            events.append(&modified, told.order(6));
        })
    }

    pub fn paid(&self) -> Append {
        let told = self.clone();
        Box::new(move |events: &mut NewEvents| {
            let message = OrderPaid {
                order_id: told.order_id.clone(),
                customer_id: told.customer.clone(),
                version: 3,
                status: OrderStatus::Paid.into(),
                total: eur(told.units),
                lines: vec![told.line()],
                payment_id: told.payment_id.clone(),
                ..OrderPaid::default()
            };
            events.append(&message, told.order(3));
        })
    }

    pub fn preparing(&self) -> Append {
        let told = self.clone();
        Box::new(move |events: &mut NewEvents| {
            let message = OrderPreparing {
                order_id: told.order_id.clone(),
                customer_id: told.customer.clone(),
                version: 4,
                status: OrderStatus::Preparing.into(),
                total: eur(told.units),
                ..OrderPreparing::default()
            };
            events.append(&message, told.order(4));
        })
    }

    pub fn cancelled(&self, version: i64, reason: &str) -> Append {
        let (told, reason) = (self.clone(), reason.to_owned());
        Box::new(move |events: &mut NewEvents| {
            let message = OrderCancelled {
                order_id: told.order_id.clone(),
                customer_id: told.customer.clone(),
                version,
                status: OrderStatus::Cancelled.into(),
                total: eur(told.units),
                lines: vec![told.line()],
                cause: CancellationCause::Customer.into(),
                status_reason: reason.clone(),
                status_detail: "my neighbour Zebulon has one".to_owned(),
                ..OrderCancelled::default()
            };
            events.append(&message, told.order(version));
        })
    }

    /// Giving back failed, and an operator put it right.
    pub fn trouble(&self, version: i64) -> Append {
        let told = self.clone();
        Box::new(move |events: &mut NewEvents| {
            let failed = OrderCompensationFailed {
                order_id: told.order_id.clone(),
                customer_id: told.customer.clone(),
                version,
                status: OrderStatus::Cancelled.into(),
                total: eur(told.units),
                payment_open: true,
                undo_attempts: 10,
                ..OrderCompensationFailed::default()
            };
            events.append(&failed, told.order(version));
            let settled = OrderCompensationSettled {
                order_id: told.order_id.clone(),
                customer_id: told.customer.clone(),
                version: version + 1,
                status: OrderStatus::Cancelled.into(),
                total: eur(told.units),
                operator: "root".to_owned(),
                reason: "paid back by hand".to_owned(),
                payment_settled: true,
                ..OrderCompensationSettled::default()
            };
            events.append(&settled, told.order(version + 1));
        })
    }

    pub fn payment_completed(&self) -> Append {
        let told = self.clone();
        Box::new(move |events: &mut NewEvents| {
            let message = PaymentCompleted {
                payment_id: told.payment_id.clone(),
                order_id: told.order_id.clone(),
                user_id: told.customer.clone(),
                amount: eur(told.units),
                version: 1,
                wallet_balance: eur(5),
                wallet_version: 2,
            };
            events.append(&message, Aggregate::new("payment", told.order_id.as_str(), 1));
        })
    }

    pub fn payment_refunded(&self) -> Append {
        let told = self.clone();
        Box::new(move |events: &mut NewEvents| {
            let message = PaymentRefunded {
                payment_id: told.payment_id.clone(),
                order_id: told.order_id.clone(),
                user_id: told.customer.clone(),
                amount: eur(told.units),
                version: 2,
                reason: PaymentRefundReason::OrderCancelled.into(),
            };
            events.append(&message, Aggregate::new("payment", told.order_id.as_str(), 2));
        })
    }

    pub fn shipped(&self, tracking_number: &str) -> Append {
        let (told, tracking_number) = (self.clone(), tracking_number.to_owned());
        Box::new(move |events: &mut NewEvents| {
            let shipment = Shipment {
                shipment_id: told.payment_id.clone(),
                order_id: told.order_id.clone(),
                customer_id: told.customer.clone(),
                state: ShipmentState::Created.into(),
                carrier: "post".to_owned(),
                tracking_number: tracking_number.clone(),
                version: 1,
                create_time: Some(told.created),
                ..Shipment::default()
            };
            let event = ShipmentEvent {
                shipment_event_id: told.notification_id.clone(),
                r#type: ShipmentEventType::PickedUp.into(),
                event_time: Some(told.created),
                location: "Ulm".to_owned(),
                ..ShipmentEvent::default()
            };
            let aggregate = |version| Aggregate::new("shipment", told.order_id.as_str(), version);
            let progressed = ShipmentProgressed { shipment: Some(shipment.clone()), event: Some(event) };
            events.append(&progressed, aggregate(1));
            let shipment = Shipment { state: ShipmentState::Shipped.into(), version: 2, ..shipment };
            events.append(&ShipmentShipped { shipment: Some(shipment) }, aggregate(2));
        })
    }

    pub fn customer_told(&self) -> Append {
        let told = self.clone();
        Box::new(move |events: &mut NewEvents| {
            let (channel, kind) = (NotificationChannel::Email.into(), NotificationKind::OrderPaid.into());
            let aggregate = |version| {
                Aggregate::new("notification", told.notification_id.as_str(), version).keyed_by(told.order_id.as_str())
            };
            let requested = NotificationRequested {
                notification_id: told.notification_id.clone(),
                user_id: told.customer.clone(),
                order_id: told.order_id.clone(),
                channel,
                kind,
                version: 1,
            };
            events.append(&requested, aggregate(1));
            let sent = NotificationSent {
                notification_id: told.notification_id.clone(),
                user_id: told.customer.clone(),
                order_id: told.order_id.clone(),
                channel,
                kind,
                version: 2,
                attempts: 1,
            };
            events.append(&sent, aggregate(2));
        })
    }

    /// From its making to its preparation, with its payment and what the customer is told.
    pub fn whole(&self) -> Vec<Append> {
        vec![
            self.created(),
            self.confirmed(),
            self.payment_completed(),
            self.paid(),
            self.customer_told(),
            self.preparing(),
        ]
    }
}
