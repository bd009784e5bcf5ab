//! `payment.transaction.v1`: the answers of the pay step and of its compensation.

use openorder_proto::{
    payment::v1::{PaymentCompleted, PaymentFailed, PaymentInitiated, PaymentRefunded},
    reasons::Word,
};
use openorder_types::ValueError;

use crate::{application::Command, consumers::signal, saga::Signal};

pub(super) fn completed(event: PaymentCompleted) -> Result<Command, ValueError> {
    signal(&event.order_id, Signal::PaymentCompleted { payment_id: event.payment_id })
}

pub(super) fn failed(event: PaymentFailed) -> Result<Command, ValueError> {
    signal(&event.order_id, Signal::PaymentFailed { reason: event.reason().word().to_owned() })
}

pub(super) fn refunded(event: PaymentRefunded) -> Result<Command, ValueError> {
    signal(&event.order_id, Signal::PaymentRefunded)
}

pub(super) fn initiated(event: PaymentInitiated) -> Result<Command, ValueError> {
    signal(&event.order_id, Signal::PaymentHeldBack { order_version: event.order_version })
}
