//! Table `payment`.

use openorder_types::{Currency, Fault, Money, Timestamp, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Amount, FailureReason, Payment, PaymentState, RefundReason};

/// Numbers of the states, as `openorder.payment.v1.PaymentState`.
const COMPLETED: i16 = 2;
const FAILED: i16 = 3;
const REFUNDED: i16 = 4;

/// What a payment is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Its own id.
    Payment(Uuid),
    /// The order that it is for.
    Order(Uuid),
}

/// Conditions of a list; all must hold.
#[derive(Debug, Default)]
pub struct Filter {
    /// Of this user.
    pub user_id: Option<UserId>,
    /// Of this order.
    pub order_id: Option<Uuid>,
    /// In the state of this number.
    pub state: Option<i16>,
    /// Older than this payment: the last of the page before.
    pub before: Option<Uuid>,
}

/// Locks the payments of these orders that exist, in one order for all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, orders: &[Uuid]) -> Result<Vec<Payment>, Fault> {
    let rows = sqlx::query("select * from payment where order_id = any ($1) order by order_id for update")
        .bind(orders)
        .fetch_all(connection)
        .await?;
    rows.iter().map(payment).collect()
}

/// One payment as last committed.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, key: Key) -> Result<Option<Payment>, Fault> {
    let query = match key {
        Key::Payment(payment_id) => sqlx::query("select * from payment where payment_id = $1").bind(payment_id),
        Key::Order(order_id) => sqlx::query("select * from payment where order_id = $1").bind(order_id),
    };
    let row = query.fetch_optional(executor).await?;
    row.as_ref().map(payment).transpose()
}

/// The newest first, at most `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter, limit: i64) -> Result<Vec<Payment>, Fault> {
    let rows = sqlx::query(
        "select * from payment \
         where ($1::text is null or user_id = $1) and ($2::uuid is null or order_id = $2) \
           and ($3::smallint is null or state = $3) and ($4::uuid is null or payment_id < $4) \
         order by payment_id desc limit $5",
    )
    .bind(filter.user_id.as_ref().map(UserId::as_str))
    .bind(filter.order_id)
    .bind(filter.state)
    .bind(filter.before)
    .bind(limit)
    .fetch_all(executor)
    .await?;
    rows.iter().map(payment).collect()
}

/// Writes new payments, which must not exist, and changed ones, which must be locked. Only state, version and time
/// of a payment ever change.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction made one of the new ones first.
pub async fn save(connection: &mut PgConnection, new: &[&Payment], changed: &[&Payment]) -> Result<(), Fault> {
    insert(connection, new).await?;
    update(connection, changed).await
}

async fn insert(connection: &mut PgConnection, new: &[&Payment]) -> Result<(), Fault> {
    if new.is_empty() {
        return Ok(());
    }
    let orders: Vec<Uuid> = new.iter().map(|one| one.order_id).collect();
    let ids: Vec<Uuid> = new.iter().map(|one| one.payment_id).collect();
    let users: Vec<&str> = new.iter().map(|one| one.user_id.as_str()).collect();
    let currencies: Vec<Option<String>> =
        new.iter().map(|one| one.amount().map(|amount| amount.currency().to_string())).collect();
    let amounts: Vec<Option<i64>> =
        new.iter().map(|one| one.amount().map(|amount| amount.money().minor_units())).collect();
    let states = States::of(new);
    let versions: Vec<i64> = new.iter().map(|one| one.version).collect();
    let created: Vec<Timestamp> = new.iter().map(|one| one.create_time).collect();
    let updated: Vec<Timestamp> = new.iter().map(|one| one.update_time).collect();
    sqlx::query(
        "insert into payment (order_id, payment_id, user_id, currency, amount_minor_units, state, failure_reason, \
                              refund_reason, version, create_time, update_time) \
         select unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::text[]), unnest($5::bigint[]), \
                unnest($6::smallint[]), unnest($7::smallint[]), unnest($8::smallint[]), unnest($9::bigint[]), \
                unnest($10::timestamptz[]), unnest($11::timestamptz[])",
    )
    .bind(orders)
    .bind(ids)
    .bind(users)
    .bind(currencies)
    .bind(amounts)
    .bind(states.states)
    .bind(states.failure_reasons)
    .bind(states.refund_reasons)
    .bind(versions)
    .bind(created)
    .bind(updated)
    .execute(connection)
    .await?;
    Ok(())
}

async fn update(connection: &mut PgConnection, changed: &[&Payment]) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let orders: Vec<Uuid> = changed.iter().map(|one| one.order_id).collect();
    let states = States::of(changed);
    let versions: Vec<i64> = changed.iter().map(|one| one.version).collect();
    let updated: Vec<Timestamp> = changed.iter().map(|one| one.update_time).collect();
    sqlx::query(
        "update payment set state = n.state, failure_reason = n.failure_reason, refund_reason = n.refund_reason, \
                version = n.version, update_time = n.update_time \
         from (select unnest($1::uuid[]) as order_id, unnest($2::smallint[]) as state, \
                      unnest($3::smallint[]) as failure_reason, unnest($4::smallint[]) as refund_reason, \
                      unnest($5::bigint[]) as version, unnest($6::timestamptz[]) as update_time) as n \
         where payment.order_id = n.order_id",
    )
    .bind(orders)
    .bind(states.states)
    .bind(states.failure_reasons)
    .bind(states.refund_reasons)
    .bind(versions)
    .bind(updated)
    .execute(connection)
    .await?;
    Ok(())
}

/// The columns of the states, one entry a payment.
struct States {
    states: Vec<i16>,
    failure_reasons: Vec<i16>,
    refund_reasons: Vec<i16>,
}

impl States {
    fn of(payments: &[&Payment]) -> Self {
        let mut columns = Self { states: Vec::new(), failure_reasons: Vec::new(), refund_reasons: Vec::new() };
        for payment in payments {
            let (state, failure_reason, refund_reason) = match payment.state {
                PaymentState::Completed { .. } => (COMPLETED, 0, 0),
                PaymentState::Failed { reason, .. } => (FAILED, reason as i16, 0),
                PaymentState::Refunded { reason, .. } => (REFUNDED, 0, reason as i16),
            };
            columns.states.push(state);
            columns.failure_reasons.push(failure_reason);
            columns.refund_reasons.push(refund_reason);
        }
        columns
    }
}

fn payment(row: &PgRow) -> Result<Payment, Fault> {
    let user_id: String = row.try_get("user_id")?;
    Ok(Payment {
        payment_id: row.try_get("payment_id")?,
        order_id: row.try_get("order_id")?,
        user_id: UserId::parse(&user_id).map_err(Fault::permanent)?,
        state: state(row)?,
        version: row.try_get("version")?,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
    })
}

fn state(row: &PgRow) -> Result<PaymentState, Fault> {
    let amount = amount(row)?;
    let taken = || amount.ok_or_else(|| Fault::permanent("a payment that was taken has no amount"));
    match row.try_get("state")? {
        COMPLETED => Ok(PaymentState::Completed { amount: taken()? }),
        FAILED => {
            let reason = FailureReason::from_number(row.try_get("failure_reason")?);
            let reason = reason.ok_or_else(|| Fault::permanent("unknown failure reason"))?;
            Ok(PaymentState::Failed { amount, reason })
        }
        REFUNDED => {
            let reason = RefundReason::from_number(row.try_get("refund_reason")?);
            let reason = reason.ok_or_else(|| Fault::permanent("unknown refund reason"))?;
            Ok(PaymentState::Refunded { amount: taken()?, reason })
        }
        _ => Err(Fault::permanent("unknown payment state")),
    }
}

fn amount(row: &PgRow) -> Result<Option<Amount>, Fault> {
    let currency: Option<String> = row.try_get("currency")?;
    let minor_units: Option<i64> = row.try_get("amount_minor_units")?;
    let Some((currency, minor_units)) = currency.zip(minor_units) else { return Ok(None) };
    let currency = Currency::parse(&currency).map_err(Fault::permanent)?;
    Amount::parse(Money::new(minor_units, currency)).map(Some).map_err(Fault::permanent)
}
