//! The money that one user can pay from.

use openorder_types::{Currency, Money, MoneyError, Rejection, Timestamp, UserId};

use crate::domain::{Amount, FailureReason, currency_mismatch, wallet_limit};

/// What a wallet can be charged to, in minor units of its currency. Only a refund may pass it: money that was
/// taken is always given back.
pub const BALANCE_MINOR_UNITS_MAX: i64 = 1_000_000_000_000_000;

/// A wallet: one currency, never less than nothing in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet {
    pub user_id: UserId,
    pub balance: Money,
    /// One more for every change, each of which one event tells; 0 before the first charge.
    pub version: i64,
    pub update_time: Timestamp,
}

impl Wallet {
    /// The wallet that a user's first charge opens, before that charge.
    pub(crate) fn unopened(user_id: UserId, currency: Currency, now: Timestamp) -> Self {
        Self { user_id, balance: Money::zero(currency), version: 0, update_time: now }
    }

    /// The balance after money is put in.
    ///
    /// # Errors
    /// `CURRENCY_MISMATCH`; `WALLET_LIMIT_EXCEEDED` above [`BALANCE_MINOR_UNITS_MAX`].
    pub fn charged(&self, amount: Amount) -> Result<Money, Rejection> {
        let balance = self.credited(amount)?;
        if balance.minor_units() > BALANCE_MINOR_UNITS_MAX { Err(wallet_limit()) } else { Ok(balance) }
    }

    /// The balance after money is taken out, all of it or nothing.
    ///
    /// # Errors
    /// Why the money cannot be taken.
    pub fn debited(&self, amount: Amount) -> Result<Money, FailureReason> {
        match self.balance.checked_sub(amount.money()) {
            Ok(balance) if !balance.is_negative() => Ok(balance),
            Err(MoneyError::CurrencyMismatch { .. }) => Err(FailureReason::CurrencyMismatch),
            Ok(_) | Err(_) => Err(FailureReason::InsufficientBalance),
        }
    }

    /// The balance after money that was taken out is given back; it may pass the limit of a charge.
    ///
    /// # Errors
    /// `CURRENCY_MISMATCH`; `WALLET_LIMIT_EXCEEDED` above 64 bits of minor units.
    pub fn credited(&self, amount: Amount) -> Result<Money, Rejection> {
        self.balance.checked_add(amount.money()).map_err(|error| match error {
            MoneyError::CurrencyMismatch { .. } => currency_mismatch(self.balance.currency(), amount),
            _ => wallet_limit(),
        })
    }

    /// Takes over a balance, which makes a version.
    pub(crate) fn change(&mut self, balance: Money, now: Timestamp) {
        self.balance = balance;
        self.version += 1;
        self.update_time = now;
    }
}

#[cfg(test)]
mod tests {
    use openorder_types::Currency;

    use super::*;

    fn amount(minor_units: i64, currency: &str) -> Amount {
        Amount::parse(Money::new(minor_units, Currency::parse(currency).unwrap())).unwrap()
    }

    fn wallet(minor_units: i64, currency: &str) -> Wallet {
        let balance = Money::new(minor_units, Currency::parse(currency).unwrap());
        let user_id = UserId::parse("ada").unwrap();
        Wallet { user_id, balance, version: 3, update_time: Timestamp::UNIX_EPOCH }
    }

    /// Currencies with no, two and three decimals.
    const CURRENCIES: [&str; 3] = ["KRW", "EUR", "KWD"];

    #[test]
    fn a_charge_stops_at_the_limit() {
        for currency in CURRENCIES {
            let full = wallet(BALANCE_MINOR_UNITS_MAX - 1, currency);
            assert_eq!(full.charged(amount(1, currency)).unwrap().minor_units(), BALANCE_MINOR_UNITS_MAX);
            for over in [2, i64::MAX] {
                assert_eq!(full.charged(amount(over, currency)).unwrap_err().reason, "WALLET_LIMIT_EXCEEDED");
            }
            assert_eq!(full.charged(amount(1, "USD")).unwrap_err().reason, "CURRENCY_MISMATCH");
        }
    }

    #[test]
    fn a_debit_takes_all_or_nothing() {
        for currency in CURRENCIES {
            let some = wallet(100, currency);
            assert_eq!(some.debited(amount(101, currency)), Err(FailureReason::InsufficientBalance));
            assert_eq!(some.debited(amount(i64::MAX, currency)), Err(FailureReason::InsufficientBalance));
            assert_eq!(some.debited(amount(1, "USD")), Err(FailureReason::CurrencyMismatch));
            assert_eq!(some.debited(amount(100, currency)).map(|balance| balance.minor_units()), Ok(0));
        }
    }

    #[test]
    fn a_refund_passes_the_limit_but_not_64_bits() {
        for currency in CURRENCIES {
            let full = wallet(BALANCE_MINOR_UNITS_MAX, currency);
            let balance = full.credited(amount(1, currency)).unwrap();
            assert_eq!(balance.minor_units(), BALANCE_MINOR_UNITS_MAX + 1);
            assert_eq!(full.credited(amount(i64::MAX, currency)).unwrap_err().reason, "WALLET_LIMIT_EXCEEDED");
            assert_eq!(full.credited(amount(1, "USD")).unwrap_err().reason, "CURRENCY_MISMATCH");
        }
    }
}
