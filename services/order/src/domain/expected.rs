//! The steps that nearly every order takes: what is asked for is answered with yes.
//!
//! They lead from one known place to another, whatever the order is, so that an order can be moved before it was read.
//! They say nothing that [`decide`](super::decide) does not: a test takes each from it.

use openorder_types::Timestamp;

use crate::{
    domain::{Order, OrderStatus},
    saga::{Participant, Saga, Step},
};

/// Where an order stands on which nothing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub status: OrderStatus,
    pub step: Step,
    pub stock: Participant,
    pub payment: Participant,
}

/// A step from one standing to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedStep {
    pub from: Standing,
    pub to: Standing,
    /// How many versions of the order it makes.
    pub versions: i64,
}

const PENDING: Standing = Standing {
    status: OrderStatus::Pending,
    step: Step::Reserving,
    stock: Participant::Asked,
    payment: Participant::Idle,
};
const CONFIRMED: Standing = Standing {
    status: OrderStatus::Confirmed,
    step: Step::Paying,
    stock: Participant::Done,
    payment: Participant::Asked,
};
const PREPARING: Standing = Standing {
    status: OrderStatus::Preparing,
    step: Step::Completed,
    stock: Participant::Done,
    payment: Participant::Done,
};

impl Standing {
    /// The saga of an order that stands here, since this time.
    pub fn saga(&self, step_time: Timestamp) -> Saga {
        let Self { step, stock, payment, .. } = *self;
        Saga { step, stock, payment, pending: None, undo_attempts: 0, releases: 0, refunds: 0, step_time }
    }
}

/// The stock of all lines is held.
pub static CONFIRMING: ExpectedStep = ExpectedStep { from: PENDING, to: CONFIRMED, versions: 1 };
/// The total was taken: PAID, and PREPARING.
pub static PAYING: ExpectedStep = ExpectedStep { from: CONFIRMED, to: PREPARING, versions: 2 };

impl ExpectedStep {
    /// Whether this is the order after the step, taken at `now` to this version.
    pub fn led_to(&self, order: &Order, saga: &Saga, version: i64, now: Timestamp) -> bool {
        (order.status, order.version) == (self.to.status, version) && *saga == self.to.saga(now)
    }
}
