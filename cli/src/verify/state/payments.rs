//! Payments and wallets.

use openorder_proto::google::r#type::Money as MoneyMessage;
use openorder_proto::payment::v1::{
    PaymentCompleted, PaymentFailed, PaymentInitiated, PaymentRefunded, PaymentState, WalletCharged, WalletDebited,
};
use openorder_proto::{event_types, topics};
use sqlx::postgres::PgRow;

use super::{Event, Fields, Fold, Row, amount};
use crate::verify::database::column;
use crate::verify::log::money;

/// The payment of an order.
#[derive(Default)]
pub(super) struct Payment {
    payment_id: String,
    user_id: String,
    amount: String,
    state: i32,
    failure_reason: i32,
    refund_reason: i32,
}

impl Fold for Payment {
    const NAME: &'static str = "payments";
    const TOPIC: &'static str = topics::PAYMENT_TRANSACTION;
    const TYPES: &'static [&'static str] = &[];
    const ROWS: &'static str = "select order_id::text as id, version, payment_id::text as payment_id, user_id, \
        currency, amount_minor_units, state, failure_reason, refund_reason from payment order by order_id";

    fn row(row: &PgRow) -> sqlx::Result<Row> {
        let (currency, minor): (Option<String>, Option<i64>) =
            (column(row, "currency")?, column(row, "amount_minor_units")?);
        let payment = Self {
            payment_id: column(row, "payment_id")?,
            user_id: column(row, "user_id")?,
            amount: amount(minor.zip(currency)),
            state: i32::from(column::<i16>(row, "state")?),
            failure_reason: i32::from(column::<i16>(row, "failure_reason")?),
            refund_reason: i32::from(column::<i16>(row, "refund_reason")?),
        };
        Ok((column(row, "id")?, (column(row, "version")?, payment.fields())))
    }

    fn apply(&mut self, event: &Event) -> anyhow::Result<()> {
        match event.event_type.as_str() {
            event_types::PAYMENT_INITIATED => {
                let initiated: PaymentInitiated = event.decode()?;
                self.amount = optional(initiated.amount.as_ref())?;
                (self.payment_id, self.user_id) = (initiated.payment_id, initiated.user_id);
                self.state = PaymentState::Initiated.into();
            }
            event_types::PAYMENT_COMPLETED => {
                let completed: PaymentCompleted = event.decode()?;
                self.amount = optional(completed.amount.as_ref())?;
                (self.payment_id, self.user_id) = (completed.payment_id, completed.user_id);
                self.state = PaymentState::Completed.into();
            }
            event_types::PAYMENT_FAILED => {
                let failed: PaymentFailed = event.decode()?;
                self.amount = optional(failed.amount.as_ref())?;
                (self.payment_id, self.user_id, self.failure_reason) =
                    (failed.payment_id, failed.user_id, failed.reason);
                self.state = PaymentState::Failed.into();
            }
            event_types::PAYMENT_REFUNDED => {
                let refunded: PaymentRefunded = event.decode()?;
                self.amount = optional(refunded.amount.as_ref())?;
                (self.payment_id, self.user_id, self.refund_reason) =
                    (refunded.payment_id, refunded.user_id, refunded.reason);
                self.state = PaymentState::Refunded.into();
            }
            other => anyhow::bail!("no such event of a payment is known: {other}"),
        }
        Ok(())
    }

    fn fields(self) -> Fields {
        vec![
            ("payment_id", self.payment_id),
            ("user", self.user_id),
            ("amount", self.amount),
            ("state", self.state.to_string()),
            ("failure_reason", self.failure_reason.to_string()),
            ("refund_reason", self.refund_reason.to_string()),
        ]
    }
}

fn optional(message: Option<&MoneyMessage>) -> anyhow::Result<String> {
    let money = message.map(|message| money(Some(message))).transpose()?;
    Ok(amount(money.map(|money| (money.minor_units(), money.currency().as_str().to_owned()))))
}

/// A wallet; what is in it is judged with the money.
#[derive(Default)]
pub(super) struct Wallet {
    currency: String,
}

impl Fold for Wallet {
    const NAME: &'static str = "wallets";
    const TOPIC: &'static str = topics::PAYMENT_WALLET;
    const TYPES: &'static [&'static str] = &[];
    const ROWS: &'static str = "select user_id, version, currency from wallet order by user_id collate \"C\"";

    fn row(row: &PgRow) -> sqlx::Result<Row> {
        let wallet = Self { currency: column(row, "currency")? };
        Ok((column(row, "user_id")?, (column(row, "version")?, wallet.fields())))
    }

    fn apply(&mut self, event: &Event) -> anyhow::Result<()> {
        let amount = match event.event_type.as_str() {
            event_types::WALLET_CHARGED => event.decode::<WalletCharged>()?.amount,
            event_types::WALLET_DEBITED => event.decode::<WalletDebited>()?.amount,
            other => anyhow::bail!("no such event of a wallet is known: {other}"),
        };
        self.currency = amount.unwrap_or_default().currency_code;
        Ok(())
    }

    fn fields(self) -> Fields {
        vec![("currency", self.currency)]
    }
}
