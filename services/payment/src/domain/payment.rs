//! The payment of one order.

use openorder_types::{Fault, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{Amount, Wallet};

/// Why no money was taken; numbered as `openorder.payment.v1.PaymentFailureReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    /// There is less in the wallet than is to be paid.
    InsufficientBalance = 1,
    /// The user has no wallet.
    WalletNotFound = 2,
    /// The wallet holds another currency.
    CurrencyMismatch = 3,
    /// The order was called off before it was paid.
    Voided = 4,
}

impl FailureReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::InsufficientBalance, Self::WalletNotFound, Self::CurrencyMismatch, Self::Voided];

    /// From its number.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as i16 == number)
    }

    /// For people to read; names nobody and no amount.
    pub const fn text(self) -> &'static str {
        match self {
            Self::InsufficientBalance => "there is less in the wallet than the order costs",
            Self::WalletNotFound => "the customer has no wallet",
            Self::CurrencyMismatch => "the wallet holds another currency than the order's",
            Self::Voided => "the order was called off before it was paid",
        }
    }
}

/// Why money is given back; numbered as `openorder.payment.v1.PaymentRefundReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundReason {
    /// For a reason that this version does not know.
    Other = 0,
    /// The order was called off.
    OrderCancelled = 1,
    /// The saga of the order gave up waiting.
    StepTimedOut = 2,
}

impl RefundReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Other, Self::OrderCancelled, Self::StepTimedOut];

    /// From its number.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as i16 == number)
    }
}

/// Where a payment stands. It is decided at once: nothing is ever on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentState {
    /// The money was taken.
    Completed {
        /// What was taken.
        amount: Amount,
    },
    /// Final: no money was taken.
    Failed {
        /// What was to be taken, where it is known.
        amount: Option<Amount>,
        /// Why it was not.
        reason: FailureReason,
    },
    /// Final: the money was given back.
    Refunded {
        /// What was taken and given back.
        amount: Amount,
        /// Why.
        reason: RefundReason,
    },
}

/// What is to be paid, by whom, for which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// UUID v7 of the payment to be.
    pub payment_id: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// Who pays.
    pub user_id: UserId,
    /// What is to be paid.
    pub amount: Amount,
}

/// The payment of one order. There is one at most for an order, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// UUID v7.
    pub payment_id: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// Who pays.
    pub user_id: UserId,
    /// Where it stands.
    pub state: PaymentState,
    /// One more for every event of the payment.
    pub version: i64,
    /// When it was asked for.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
}

impl Payment {
    /// Takes the money out of the payer's wallet, or says why not.
    pub fn decide(bill: Bill, wallet: Option<&mut Wallet>, now: Timestamp) -> Self {
        let Bill { payment_id, order_id, user_id, amount } = bill;
        let taken = wallet.map_or(Err(FailureReason::WalletNotFound), |wallet| wallet.debit(amount, now));
        let state = match taken {
            Ok(()) => PaymentState::Completed { amount },
            Err(reason) => PaymentState::Failed { amount: Some(amount), reason },
        };
        Self { payment_id, order_id, user_id, state, version: 1, create_time: now, update_time: now }
    }

    /// An order that was called off before it was paid: it will never be charged.
    pub fn tombstone(
        payment_id: Uuid,
        order_id: Uuid,
        user_id: UserId,
        amount: Option<Amount>,
        now: Timestamp,
    ) -> Self {
        let state = PaymentState::Failed { amount, reason: FailureReason::Voided };
        Self { payment_id, order_id, user_id, state, version: 1, create_time: now, update_time: now }
    }

    /// Whether something is left to give back.
    pub const fn is_refundable(&self) -> bool {
        matches!(self.state, PaymentState::Completed { .. })
    }

    /// Gives back what was taken, once, and returns it. A payment of which nothing is left to give back stays as it
    /// is; the answer given again is a version.
    ///
    /// # Errors
    /// A permanent fault when the wallet that was debited is missing or cannot hold the money.
    pub fn refund(
        &mut self,
        reason: RefundReason,
        wallet: Option<&mut Wallet>,
        now: Timestamp,
    ) -> Result<Option<Amount>, Fault> {
        let given_back = match self.state {
            PaymentState::Completed { amount } => {
                let wallet = wallet.ok_or_else(|| Fault::permanent("the wallet of a completed payment is missing"))?;
                wallet.credit(amount, now).map_err(Fault::permanent)?;
                self.state = PaymentState::Refunded { amount, reason };
                Some(amount)
            }
            PaymentState::Failed { .. } | PaymentState::Refunded { .. } => None,
        };
        self.version += 1;
        self.update_time = now;
        Ok(given_back)
    }

    /// What was or was to be taken, where it is known.
    pub fn amount(&self) -> Option<Amount> {
        match self.state {
            PaymentState::Completed { amount } | PaymentState::Refunded { amount, .. } => Some(amount),
            PaymentState::Failed { amount, .. } => amount,
        }
    }
}

#[cfg(test)]
mod tests {
    use openorder_types::{Currency, Money};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn amount(minor_units: i64, currency: &str) -> Amount {
        Amount::parse(Money::new(minor_units, Currency::parse(currency).unwrap())).unwrap()
    }

    fn wallet(minor_units: i64) -> Wallet {
        let balance = Money::new(minor_units, Currency::parse("EUR").unwrap());
        Wallet { user_id: UserId::parse("ada").unwrap(), balance, version: 1, update_time: at(0) }
    }

    fn bill(amount: Amount) -> Bill {
        let (payment_id, order_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        Bill { payment_id, order_id, user_id: UserId::parse("ada").unwrap(), amount }
    }

    #[test]
    fn money_that_is_there_is_taken() {
        let mut wallet = wallet(100);
        let payment = Payment::decide(bill(amount(60, "EUR")), Some(&mut wallet), at(1));
        assert_eq!(payment.state, PaymentState::Completed { amount: amount(60, "EUR") });
        assert_eq!((payment.version, payment.create_time, payment.update_time), (1, at(1), at(1)));
        assert_eq!((wallet.balance.minor_units(), wallet.version), (40, 2));
    }

    #[test]
    fn money_that_is_not_there_fails_the_payment_and_leaves_the_wallet() {
        let cases = [
            (Some(wallet(59)), amount(60, "EUR"), FailureReason::InsufficientBalance),
            (Some(wallet(60)), amount(60, "USD"), FailureReason::CurrencyMismatch),
            (None, amount(60, "EUR"), FailureReason::WalletNotFound),
        ];
        for (mut wallet, amount, reason) in cases {
            let before = wallet.clone();
            let payment = Payment::decide(bill(amount), wallet.as_mut(), at(1));
            assert_eq!(payment.state, PaymentState::Failed { amount: Some(amount), reason });
            assert_eq!(wallet, before);
        }
    }

    #[test]
    fn money_is_given_back_once_and_the_first_reason_stays() {
        let mut wallet = wallet(100);
        let mut payment = Payment::decide(bill(amount(60, "EUR")), Some(&mut wallet), at(1));
        let given_back = payment.refund(RefundReason::OrderCancelled, Some(&mut wallet), at(2)).unwrap();
        assert_eq!((given_back, wallet.balance.minor_units(), wallet.version), (Some(amount(60, "EUR")), 100, 3));
        let again = payment.refund(RefundReason::StepTimedOut, Some(&mut wallet), at(3)).unwrap();
        assert_eq!((again, wallet.balance.minor_units(), wallet.version), (None, 100, 3));
        let refunded = PaymentState::Refunded { amount: amount(60, "EUR"), reason: RefundReason::OrderCancelled };
        assert_eq!((payment.state, payment.version, payment.update_time), (refunded, 3, at(3)));
    }

    #[test]
    fn what_failed_stays_failed_and_is_answered() {
        let mut payment = Payment::decide(bill(amount(60, "EUR")), None, at(1));
        let failed = payment.state;
        assert_eq!(payment.refund(RefundReason::OrderCancelled, None, at(2)), Ok(None));
        assert_eq!((payment.state, payment.version, payment.update_time), (failed, 2, at(2)));
        let user_id = UserId::parse("ada").unwrap();
        let mut void = Payment::tombstone(Uuid::from_u128(1), Uuid::from_u128(2), user_id, None, at(1));
        assert_eq!(void.state, PaymentState::Failed { amount: None, reason: FailureReason::Voided });
        assert_eq!(void.refund(RefundReason::OrderCancelled, None, at(2)), Ok(None));
        assert_eq!(void.version, 2);
    }

    #[test]
    fn a_refund_without_its_wallet_is_a_fault_and_changes_nothing() {
        let mut wallet = wallet(100);
        let mut payment = Payment::decide(bill(amount(60, "EUR")), Some(&mut wallet), at(1));
        let before = payment.clone();
        let fault = payment.refund(RefundReason::OrderCancelled, None, at(2));
        assert!(matches!(fault, Err(Fault::Permanent { .. })));
        wallet.balance = Money::new(i64::MAX, wallet.balance.currency());
        let fault = payment.refund(RefundReason::OrderCancelled, Some(&mut wallet), at(2));
        assert!(matches!(fault, Err(Fault::Permanent { .. })));
        assert_eq!(payment, before);
    }

    #[test]
    fn numbers_go_both_ways() {
        for reason in FailureReason::ALL {
            assert_eq!(FailureReason::from_number(reason as i16), Some(reason));
        }
        for reason in RefundReason::ALL {
            assert_eq!(RefundReason::from_number(reason as i16), Some(reason));
        }
        assert_eq!((FailureReason::from_number(0), FailureReason::from_number(5)), (None, None));
    }
}
