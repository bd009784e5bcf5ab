//! What the payment service tells of an order's payment.

use openorder_types::Money;

use crate::domain::{Latest, Stamp};

/// Where the payment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentHead {
    pub payment_id: String,
    /// Number of the state.
    pub state: i32,
}

/// Why no money was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Number of the reason.
    pub reason: i32,
    /// For people.
    pub detail: String,
}

/// What was given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    pub amount: Option<Money>,
    /// Number of the reason.
    pub reason: i32,
}

/// What one event of a payment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentSaid {
    pub head: PaymentHead,
    /// What is to be paid; none of an event that says nothing of it.
    pub amount: Option<Option<Money>>,
    /// How it was paid, of the event that the money was taken; empty: not known.
    pub completed: Option<String>,
    pub failed: Option<Failure>,
    pub refunded: Option<Refund>,
}

/// What the events of a payment have said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentPart {
    pub head: Latest<PaymentHead>,
    pub amount: Latest<Option<Money>>,
    /// How it was paid.
    pub completed: Latest<String>,
    pub failed: Latest<Failure>,
    pub refunded: Latest<Refund>,
}

impl PaymentPart {
    pub(super) fn hear(&mut self, stamp: Stamp, said: &PaymentSaid) {
        self.head.hear(stamp, said.head.clone());
        if let Some(amount) = said.amount {
            self.amount.hear(stamp, amount);
        }
        if let Some(method) = &said.completed {
            self.completed.hear(stamp, method.clone());
        }
        if let Some(failed) = &said.failed {
            self.failed.hear(stamp, failed.clone());
        }
        if let Some(refunded) = &said.refunded {
            self.refunded.hear(stamp, refunded.clone());
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.head.merge(other.head);
        self.amount.merge(other.amount);
        self.completed.merge(other.completed);
        self.failed.merge(other.failed);
        self.refunded.merge(other.refunded);
    }
}
