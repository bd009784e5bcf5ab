//! `payment.transaction.v1`: the answers of the pay step and of its compensation.

use openorder_messaging::{DecodeError, Received};
use openorder_proto::{event_types, payment::v1 as payment, reasons::Word};

use crate::{
    application::Command,
    consumers::{others, signal},
    saga::Signal,
};

pub(super) fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    match message.event_type.as_str() {
        event_types::PAYMENT_COMPLETED => {
            let completed: payment::PaymentCompleted = message.decode()?;
            let taken = Signal::PaymentCompleted { payment_id: completed.payment_id };
            signal(message, &completed.order_id, taken)
        }
        event_types::PAYMENT_FAILED => {
            let failed: payment::PaymentFailed = message.decode()?;
            let reason = failed.reason().word().to_owned();
            signal(message, &failed.order_id, Signal::PaymentFailed { reason })
        }
        event_types::PAYMENT_REFUNDED => {
            let refunded: payment::PaymentRefunded = message.decode()?;
            signal(message, &refunded.order_id, Signal::PaymentRefunded)
        }
        _ => others(message),
    }
}
