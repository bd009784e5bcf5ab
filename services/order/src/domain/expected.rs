//! The steps that nearly every order takes: what is asked for is answered with yes.
//!
//! They lead from one known place to another, whatever the order is, so that an order can be moved before it was read.
//! They say nothing that [`decide`](super::decide) does not: a test takes each from it.

use openorder_types::Timestamp;

use crate::{
    domain::{Order, OrderStatus},
    saga::{Participant, Saga, Step},
};

/// Where an order is on which nothing went wrong, and that uses no coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub status: OrderStatus,
    pub step: Step,
    pub stock: Participant,
    pub payment: Participant,
    pub shipment: Participant,
}

/// A step from one place to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedStep {
    pub from: Place,
    pub to: Place,
    /// How many versions of the order it makes.
    pub versions: i64,
}

const PENDING: Place = Place {
    status: OrderStatus::Pending,
    step: Step::Reserving,
    stock: Participant::Asked,
    payment: Participant::Idle,
    shipment: Participant::Idle,
};
const CONFIRMED: Place = Place {
    status: OrderStatus::Confirmed,
    step: Step::Paying,
    stock: Participant::Done,
    payment: Participant::Asked,
    shipment: Participant::Idle,
};
/// Paid; where there is a shipping service, its shipment is asked for by that.
const PAID: Place = Place {
    status: OrderStatus::Paid,
    step: Step::Completed,
    stock: Participant::Done,
    payment: Participant::Done,
    shipment: Participant::Asked,
};
const SHIPMENT_MADE: Place = Place { status: OrderStatus::Preparing, shipment: Participant::Done, ..PAID };
const PREPARING_ALONE: Place = Place { status: OrderStatus::Preparing, shipment: Participant::Idle, ..PAID };

impl Place {
    /// The saga of an order that stands here, since this time.
    pub fn saga(&self, step_time: Timestamp) -> Saga {
        let Self { step, stock, payment, shipment, .. } = *self;
        Saga { step, stock, payment, shipment, ..Saga::begin(step_time) }
    }
}

/// The stock of all lines is held.
pub static CONFIRMING: ExpectedStep = ExpectedStep { from: PENDING, to: CONFIRMED, versions: 1 };
/// The total was taken, and there is no shipping service: PAID, and PREPARING.
pub static PAYING: ExpectedStep = ExpectedStep { from: CONFIRMED, to: PREPARING_ALONE, versions: 2 };
/// The total was taken: PAID.
pub static PAYING_TO_SHIP: ExpectedStep = ExpectedStep { from: CONFIRMED, to: PAID, versions: 1 };
/// There is a shipment: PREPARING.
pub static PREPARING: ExpectedStep = ExpectedStep { from: PAID, to: SHIPMENT_MADE, versions: 1 };

impl ExpectedStep {
    /// Whether this is the order after the step, taken at `now` to this version.
    pub fn led_to(&self, order: &Order, saga: &Saga, version: i64, now: Timestamp) -> bool {
        (order.status, order.version) == (self.to.status, version) && *saga == self.to.saga(now)
    }
}
