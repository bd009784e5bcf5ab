//! `payment.transaction.v1`: the order service requests here that money is given back, or not taken yet. All else is this
//! service's own.

use openorder_proto::payment::v1::{PaymentHoldRequested, PaymentRefundReason, PaymentRefundRequested};
use openorder_types::{UserId, ValueError, parse_uuid};
use uuid::Uuid;

use crate::{
    consumers::amount,
    domain::{Command, RefundReason},
};

pub(super) fn refund_requested(event: PaymentRefundRequested) -> Result<Command, ValueError> {
    let order_id = parse_uuid(&event.order_id, "ORDER_ID_MALFORMED")?;
    let user_id = UserId::parse(&event.user_id)?;
    let amount = event.amount.as_ref().map(amount).transpose()?;
    let reason = match event.reason() {
        PaymentRefundReason::OrderCancelled => RefundReason::OrderCancelled,
        PaymentRefundReason::StepTimedOut => RefundReason::StepTimedOut,
        // A reason of a newer version: the money goes back all the same.
        PaymentRefundReason::Unspecified => RefundReason::Other,
    };
    let (payment_id, answer_again) = (Uuid::now_v7(), event.answer_again);
    Ok(Command::Refund { payment_id, order_id, user_id, amount, reason, answer_again })
}

pub(super) fn hold_requested(event: PaymentHoldRequested) -> Result<Command, ValueError> {
    let order_id = parse_uuid(&event.order_id, "ORDER_ID_MALFORMED")?;
    let user_id = UserId::parse(&event.user_id)?;
    let total = event.amount.as_ref().ok_or_else(|| ValueError::new("AMOUNT_MISSING", "no amount"))?;
    let (payment_id, order_version) = (Uuid::now_v7(), event.order_version);
    Ok(Command::Hold { payment_id, order_id, order_version, user_id, amount: amount(total)? })
}
