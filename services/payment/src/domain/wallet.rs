//! The money that one user can pay from.

use openorder_types::{Currency, Money, MoneyError, Rejection, Timestamp, UserId};

use crate::domain::{Amount, FailureReason, currency_mismatch, wallet_limit};

/// What a wallet can be charged to, in minor units of its currency. Only a refund may pass it: money that was
/// taken is always given back.
pub const BALANCE_MINOR_UNITS_MAX: i64 = 1_000_000_000_000_000;

/// A wallet: one currency, never less than nothing in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet {
    /// Its owner.
    pub user_id: UserId,
    /// What is in it.
    pub balance: Money,
    /// One more for every change, each of which is one event; 0 before the first charge.
    pub version: i64,
    /// When the balance last changed.
    pub update_time: Timestamp,
}

impl Wallet {
    /// The wallet that a user's first charge opens, before that charge.
    pub fn unopened(user_id: UserId, currency: Currency, now: Timestamp) -> Self {
        Self { user_id, balance: Money::zero(currency), version: 0, update_time: now }
    }

    /// Puts money in.
    ///
    /// # Errors
    /// `CURRENCY_MISMATCH`; `WALLET_LIMIT_EXCEEDED` above [`BALANCE_MINOR_UNITS_MAX`].
    pub fn charge(&mut self, amount: Amount, now: Timestamp) -> Result<(), Rejection> {
        match self.balance.checked_add(amount.money()) {
            Ok(balance) if balance.minor_units() <= BALANCE_MINOR_UNITS_MAX => {
                self.change(balance, now);
                Ok(())
            }
            Err(MoneyError::CurrencyMismatch { .. }) => Err(currency_mismatch(self.balance.currency(), amount)),
            Ok(_) | Err(_) => Err(wallet_limit()),
        }
    }

    /// Takes money out, all of it or nothing.
    ///
    /// # Errors
    /// Why the money cannot be taken; then the wallet is as it was.
    pub fn debit(&mut self, amount: Amount, now: Timestamp) -> Result<(), FailureReason> {
        match self.balance.checked_sub(amount.money()) {
            Ok(balance) if !balance.is_negative() => {
                self.change(balance, now);
                Ok(())
            }
            Err(MoneyError::CurrencyMismatch { .. }) => Err(FailureReason::CurrencyMismatch),
            Ok(_) | Err(_) => Err(FailureReason::InsufficientBalance),
        }
    }

    /// Gives back what was taken out before.
    ///
    /// # Errors
    /// Another currency than was taken, or more than 64 bits of minor units: neither can come of a debit.
    pub(crate) fn credit(&mut self, amount: Amount, now: Timestamp) -> Result<(), MoneyError> {
        let balance = self.balance.checked_add(amount.money())?;
        self.change(balance, now);
        Ok(())
    }

    fn change(&mut self, balance: Money, now: Timestamp) {
        self.balance = balance;
        self.version += 1;
        self.update_time = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn amount(minor_units: i64, currency: &str) -> Amount {
        Amount::parse(Money::new(minor_units, Currency::parse(currency).unwrap())).unwrap()
    }

    fn wallet(minor_units: i64) -> Wallet {
        let currency = Currency::parse("EUR").unwrap();
        let balance = Money::new(minor_units, currency);
        Wallet { user_id: UserId::parse("ada").unwrap(), balance, version: 3, update_time: at(1) }
    }

    #[test]
    fn the_first_charge_fixes_the_currency() {
        let mut wallet = Wallet::unopened(UserId::parse("ada").unwrap(), Currency::parse("KRW").unwrap(), at(1));
        wallet.charge(amount(500, "KRW"), at(2)).unwrap();
        assert_eq!((wallet.balance, wallet.version, wallet.update_time), (amount(500, "KRW").money(), 1, at(2)));
        let before = wallet.clone();
        let refused = wallet.charge(amount(1, "EUR"), at(3)).unwrap_err();
        assert_eq!((refused.reason, wallet), ("CURRENCY_MISMATCH", before));
    }

    #[test]
    fn a_charge_stops_at_the_limit() {
        let mut full = wallet(BALANCE_MINOR_UNITS_MAX - 1);
        full.charge(amount(1, "EUR"), at(2)).unwrap();
        let before = full.clone();
        assert_eq!(full.charge(amount(1, "EUR"), at(3)).unwrap_err().reason, "WALLET_LIMIT_EXCEEDED");
        assert_eq!(full.charge(amount(i64::MAX, "EUR"), at(3)).unwrap_err().reason, "WALLET_LIMIT_EXCEEDED");
        assert_eq!(full, before);
    }

    #[test]
    fn a_debit_takes_all_or_nothing() {
        let mut some = wallet(100);
        let before = some.clone();
        assert_eq!(some.debit(amount(101, "EUR"), at(2)), Err(FailureReason::InsufficientBalance));
        assert_eq!(some.debit(amount(i64::MAX, "EUR"), at(2)), Err(FailureReason::InsufficientBalance));
        assert_eq!(some.debit(amount(1, "USD"), at(2)), Err(FailureReason::CurrencyMismatch));
        assert_eq!(some, before);
        assert_eq!(some.debit(amount(100, "EUR"), at(2)), Ok(()));
        assert_eq!((some.balance.minor_units(), some.version, some.update_time), (0, 4, at(2)));
    }

    #[test]
    fn a_refund_passes_the_limit_but_not_64_bits() {
        let mut full = wallet(BALANCE_MINOR_UNITS_MAX);
        full.credit(amount(1, "EUR"), at(2)).unwrap();
        assert_eq!((full.balance.minor_units(), full.version), (BALANCE_MINOR_UNITS_MAX + 1, 4));
        assert_eq!(full.credit(amount(i64::MAX, "EUR"), at(3)), Err(MoneyError::Overflow));
        assert_eq!(full.version, 4);
    }
}
