//! From the domain to protobuf.

use openorder_proto::{google::r#type::Money as MoneyMessage, payment::v1 as proto};
use openorder_rpc::{money_to_proto, timestamp_to_proto};

use crate::domain::{Amount, FailureReason, Payment, PaymentState, RefundReason, Wallet};

pub(crate) fn amount(amount: Amount) -> MoneyMessage {
    money_to_proto(&amount.money())
}

pub(crate) fn wallet(wallet: &Wallet) -> proto::Wallet {
    proto::Wallet {
        user_id: wallet.user_id.to_string(),
        balance: Some(money_to_proto(&wallet.balance)),
        version: wallet.version,
        update_time: Some(timestamp_to_proto(&wallet.update_time)),
    }
}

pub(crate) fn payment(payment: &Payment) -> proto::Payment {
    let (state, reason) = match payment.state {
        PaymentState::Initiated { .. } => (proto::PaymentState::Initiated, None),
        PaymentState::Completed { .. } => (proto::PaymentState::Completed, None),
        PaymentState::Failed { reason, .. } => (proto::PaymentState::Failed, Some(reason)),
        PaymentState::Refunded { .. } => (proto::PaymentState::Refunded, None),
    };
    proto::Payment {
        payment_id: payment.payment_id.to_string(),
        order_id: payment.order_id.to_string(),
        user_id: payment.user_id.to_string(),
        amount: payment.amount().map(amount),
        state: state.into(),
        failure_reason: reason.map(failure_reason).unwrap_or_default().into(),
        version: payment.version,
        create_time: Some(timestamp_to_proto(&payment.create_time)),
        update_time: Some(timestamp_to_proto(&payment.update_time)),
    }
}

pub(crate) fn failure_reason(reason: FailureReason) -> proto::PaymentFailureReason {
    proto::PaymentFailureReason::try_from(i32::from(reason.number())).unwrap_or_default()
}

pub(crate) fn refund_reason(reason: RefundReason) -> proto::PaymentRefundReason {
    proto::PaymentRefundReason::try_from(i32::from(reason.number())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use openorder_types::assert_numbered_as_in_the_contract;

    use super::*;

    #[test]
    fn stored_numbers_are_those_of_the_contract() {
        assert_numbered_as_in_the_contract! {
            FailureReason = proto::PaymentFailureReason, "PAYMENT_FAILURE_REASON";
            RefundReason = proto::PaymentRefundReason, "PAYMENT_REFUND_REASON";
        }
    }
}
