//! `payment.transaction.v1`: the payment of the order. That the order service asks for a refund is no fact of the payment.

use openorder_proto::payment::v1::{PaymentCompleted, PaymentFailed, PaymentInitiated, PaymentRefunded, PaymentState};
use openorder_types::{ValueError, parse_uuid};

use crate::{
    consumers::{money, version},
    domain::{Fact, Failure, PaymentHead, PaymentSaid, Refund, Said},
};

/// Paid from the customer's wallet.
const WALLET: &str = "WALLET";

/// What all events of a payment say in the same fields.
macro_rules! said {
    ($event:ident, $state:ident $(, $field:ident: $value:expr)* $(,)?) => {{
        let head = PaymentHead { payment_id: $event.payment_id, state: PaymentState::$state.into() };
        let nothing = PaymentSaid { head, amount: None, completed: None, failed: None, refunded: None };
        let said = Said::Payment(Box::new(PaymentSaid { $($field: Some($value),)* ..nothing }));
        Ok(Fact::new(parse_uuid(&$event.order_id, "ORDER_ID_MALFORMED")?, version($event.version)?, said))
    }};
}

pub(super) fn initiated(event: PaymentInitiated) -> Result<Fact, ValueError> {
    said!(event, Initiated, amount: money(event.amount.as_ref()))
}

pub(super) fn completed(event: PaymentCompleted) -> Result<Fact, ValueError> {
    let from_wallet = event.wallet_balance.is_some();
    let method = if from_wallet { WALLET.to_owned() } else { String::new() };
    said!(event, Completed, amount: money(event.amount.as_ref()), completed: method)
}

pub(super) fn failed(event: PaymentFailed) -> Result<Fact, ValueError> {
    let failure = Failure { reason: event.reason, detail: event.detail };
    said!(event, Failed, amount: money(event.amount.as_ref()), failed: failure)
}

pub(super) fn refunded(event: PaymentRefunded) -> Result<Fact, ValueError> {
    let refund = Refund { amount: money(event.amount.as_ref()), reason: event.reason };
    said!(event, Refunded, refunded: refund)
}
