//! Every legitimate "no" of the service. A payment that fails is not among them: it is a fact that is published.

use openorder_types::{Currency, Rejection, UserId};
use uuid::Uuid;

use crate::domain::{Amount, BALANCE_MINOR_UNITS_MAX, FailureReason};

/// The wallet holds another currency than the one that is put in.
pub fn currency_mismatch(wallet: Currency, amount: Amount) -> Rejection {
    let text = format!("the wallet is in {wallet}, the amount in {}", amount.currency());
    Rejection::failed_precondition("CURRENCY_MISMATCH", text).with("wallet_currency", wallet)
}

/// The wallet would hold more than a wallet may be charged to.
pub fn wallet_limit() -> Rejection {
    let text = "a wallet can be charged to at most 10^15 minor units of its currency";
    Rejection::out_of_range("WALLET_LIMIT_EXCEEDED", text).with("balance_minor_units_max", BALANCE_MINOR_UNITS_MAX)
}

/// A customer wants to charge the wallet of somebody else.
pub fn not_your_wallet(user_id: &UserId) -> Rejection {
    Rejection::permission_denied("NOT_YOUR_WALLET", "customers charge their own wallet only").with("user_id", user_id)
}

/// The user has no wallet, or the caller may not see it.
pub fn wallet_not_found(user_id: &UserId) -> Rejection {
    Rejection::not_found("WALLET_NOT_FOUND", "there is no such wallet").with("user_id", user_id)
}

/// There is no such payment, or the caller may not see it.
pub fn payment_not_found() -> Rejection {
    Rejection::not_found("PAYMENT_NOT_FOUND", "there is no such payment")
}

/// The order was paid, refused or called off before: this changes nothing.
pub fn already_decided(order_id: Uuid) -> Rejection {
    let text = "the payment of this order was decided before";
    Rejection::already_exists("PAYMENT_ALREADY_DECIDED", text).with("order_id", order_id)
}

/// There is no such order, or the caller may not see it.
pub fn order_not_found(order_id: Uuid) -> Rejection {
    Rejection::not_found("ORDER_NOT_FOUND", "there is no such order").with("order_id", order_id)
}

/// The order stands where it cannot be paid.
pub fn order_not_payable(order_id: Uuid, status: &str) -> Rejection {
    let text = format!("an order that is {status} cannot be paid");
    Rejection::failed_precondition("ORDER_NOT_PAYABLE", text).with("order_id", order_id).with("status", status)
}

/// The order was called off, and the payment service heard of it before it was to be paid.
pub fn order_called_off(order_id: Uuid) -> Rejection {
    order_not_payable(order_id, "CANCELLED")
}

/// The lines of the order are being changed, or were since it was asked about.
pub fn modification_under_way(order_id: Uuid) -> Rejection {
    let text = "the lines of the order are being changed: look at it again, then pay";
    Rejection::failed_precondition("MODIFICATION_UNDER_WAY", text).with("order_id", order_id)
}

/// The money for the order was taken before.
pub fn order_already_paid(order_id: Uuid) -> Rejection {
    Rejection::failed_precondition("ORDER_ALREADY_PAID", "the order is paid").with("order_id", order_id)
}

/// The order is paid without its customer's doing.
pub fn payment_not_manual(order_id: Uuid) -> Rejection {
    let text = "this order is not paid by hand: it is once its stock is held";
    Rejection::failed_precondition("PAYMENT_NOT_MANUAL", text).with("order_id", order_id)
}

/// The answer to a caller for whom the money could not be taken: nothing is decided by that.
pub fn not_taken(order_id: Uuid, user_id: &UserId, reason: FailureReason) -> Rejection {
    match reason {
        FailureReason::WalletNotFound => wallet_not_found(user_id),
        FailureReason::InsufficientBalance | FailureReason::CurrencyMismatch => {
            Rejection::failed_precondition(reason.as_str(), reason.text()).with("order_id", order_id)
        }
        FailureReason::Voided => order_called_off(order_id),
    }
}
