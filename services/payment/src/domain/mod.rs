//! The rules of wallets and payments, pure: no I/O, no clock, no protobuf. Ids and times arrive as data.
//! [`decide`] makes events of commands, [`evolve`] applies them.

mod amount;
mod command;
mod decide;
mod event;
mod payment;
mod rejection;
mod wallet;

pub use amount::{Amount, CHARGE_MINOR_UNITS_MAX};
pub use command::Command;
pub use decide::{Decision, State, decide, evolve};
pub use event::{Event, Movement};
pub use payment::{FailureReason, Payment, PaymentState, RefundReason};
pub use rejection::{
    already_decided, currency_mismatch, modification_under_way, not_your_wallet, order_already_paid, order_not_found,
    order_not_payable, payment_not_found, payment_not_manual, wallet_limit, wallet_not_found,
};
pub use wallet::{BALANCE_MINOR_UNITS_MAX, Wallet};
