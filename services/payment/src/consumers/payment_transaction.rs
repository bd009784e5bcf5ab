//! `payment.transaction.v1`: the order service asks here for money to be given back. All else is this service's own.

use openorder_messaging::{DecodeError, Received};
use openorder_proto::{
    event_types,
    payment::v1::{PaymentRefundReason, PaymentRefundRequested},
};
use openorder_types::{UserId, ValueError, parse_uuid};
use uuid::Uuid;

use crate::{
    consumers::{amount, others},
    domain::{Command, RefundReason},
};

pub(super) fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    if message.event_type != event_types::PAYMENT_REFUND_REQUESTED {
        return others(message);
    }
    let request: PaymentRefundRequested = message.decode()?;
    let malformed = |error: ValueError| DecodeError::malformed(message, error);
    let order_id = parse_uuid(&request.order_id, "ORDER_ID_MALFORMED").map_err(malformed)?;
    let user_id = UserId::parse(&request.user_id).map_err(malformed)?;
    let amount = request.amount.as_ref().map(|total| amount(message, total)).transpose()?;
    let reason = match request.reason() {
        PaymentRefundReason::OrderCancelled => RefundReason::OrderCancelled,
        PaymentRefundReason::StepTimedOut => RefundReason::StepTimedOut,
        // A newer asker's reason: the money goes back all the same.
        PaymentRefundReason::Unspecified => RefundReason::Other,
    };
    let (payment_id, answer_again) = (Uuid::now_v7(), request.answer_again);
    Ok(Some(Command::Refund { payment_id, order_id, user_id, amount, reason, answer_again }))
}
