//! Table `payment`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Currency, Fault, Money, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Amount, FailureReason, Payment, PaymentState, RefundReason};

/// Numbers of the states, as `openorder.payment.v1.PaymentState`.
const INITIATED: i16 = 1;
const COMPLETED: i16 = 2;
const FAILED: i16 = 3;
const REFUNDED: i16 = 4;

static PAYMENT: LazyLock<Table<Payment>> = LazyLock::new(|| changing(with_amount(found_by())));

/// The same, and what only a payment has that was held back: its order may come to something else before it is paid.
static HELD: LazyLock<Table<Payment>> =
    LazyLock::new(|| with_amount(changing(found_by())).column("order_version", |payment| payment.held_order_version));

fn found_by() -> Table<Payment> {
    Table::new("payment", "order_id")
        .column("order_id", |payment: &Payment| payment.order_id)
        .column("payment_id", |payment| payment.payment_id)
        .text("user_id", |payment| payment.user_id.as_str())
        .column("create_time", |payment| payment.create_time)
}

fn with_amount(table: Table<Payment>) -> Table<Payment> {
    table
        .column("currency", |payment| payment.amount().map(Amount::currency))
        .column("amount_minor_units", |payment| payment.amount().map(|amount| amount.money().minor_units()))
}

fn changing(table: Table<Payment>) -> Table<Payment> {
    table
        .changing()
        .column("state", |payment| match payment.state {
            PaymentState::Initiated { .. } => INITIATED,
            PaymentState::Completed { .. } => COMPLETED,
            PaymentState::Failed { .. } => FAILED,
            PaymentState::Refunded { .. } => REFUNDED,
        })
        .column("failure_reason", |payment| match payment.state {
            PaymentState::Failed { reason, .. } => reason.number(),
            _ => 0,
        })
        .column("refund_reason", |payment| match payment.state {
            PaymentState::Refunded { reason, .. } => reason.number(),
            _ => 0,
        })
        .column("version", |payment| payment.version)
        .column("update_time", |payment| payment.update_time)
}

/// What a payment is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    let rows = HELD
        .select("from payment where order_id = any ($1) order by order_id for update")
        .bind(orders)
        .fetch_all(connection)
        .await?;
    rows.iter().map(payment).collect()
}

/// Payments by their keys as last committed; each under both of its keys.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, keys: &[Key]) -> Result<Vec<(Key, Payment)>, Fault> {
    let of_payments = keys.iter().filter_map(|key| if let Key::Payment(id) = key { Some(*id) } else { None });
    let of_orders = keys.iter().filter_map(|key| if let Key::Order(id) = key { Some(*id) } else { None });
    let rows = HELD
        .select("from payment where payment_id = any ($1) or order_id = any ($2)")
        .bind(of_payments.collect::<Vec<Uuid>>())
        .bind(of_orders.collect::<Vec<Uuid>>())
        .fetch_all(executor)
        .await?;
    let found: Vec<Payment> = rows.iter().map(payment).collect::<Result<_, _>>()?;
    let by_key = |payment: Payment| {
        [(Key::Order(payment.order_id), payment.clone()), (Key::Payment(payment.payment_id), payment)]
    };
    Ok(found.into_iter().flat_map(by_key).collect())
}

/// The newest first, at most `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter, limit: i64) -> Result<Vec<Payment>, Fault> {
    let rows = HELD
        .select(
            "from payment \
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
/// of a payment ever change, and of one that was held back also its amount.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction made one of the new ones first.
pub async fn save(connection: &mut PgConnection, new: &[&Payment], changed: &[&Payment]) -> Result<(), Fault> {
    let (held, new) = by_hold(new);
    PAYMENT.insert(&mut *connection, &new).await?;
    HELD.insert(&mut *connection, &held).await?;
    let (held, changed) = by_hold(changed);
    PAYMENT.update(&mut *connection, &changed).await?;
    HELD.update(connection, &held).await
}

/// Those that were held back, and the others.
fn by_hold<'a>(payments: &[&'a Payment]) -> (Vec<&'a Payment>, Vec<&'a Payment>) {
    payments.iter().partition(|payment| payment.held_order_version.is_some())
}

fn payment(row: &PgRow) -> Result<Payment, Fault> {
    let user_id: String = row.try_get("user_id")?;
    Ok(Payment {
        payment_id: row.try_get("payment_id")?,
        order_id: row.try_get("order_id")?,
        user_id: UserId::parse(&user_id).map_err(Fault::permanent)?,
        state: state(row)?,
        held_order_version: row.try_get("order_version")?,
        version: row.try_get("version")?,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
    })
}

fn state(row: &PgRow) -> Result<PaymentState, Fault> {
    let amount = amount(row)?;
    let taken = || amount.ok_or_else(|| Fault::permanent("a payment that was taken has no amount"));
    match row.try_get("state")? {
        INITIATED => Ok(PaymentState::Initiated { amount: taken()? }),
        COMPLETED => Ok(PaymentState::Completed { amount: taken()? }),
        FAILED => {
            let reason = FailureReason::from_stored(row.try_get("failure_reason")?)?;
            Ok(PaymentState::Failed { amount, reason })
        }
        REFUNDED => {
            let reason = RefundReason::from_stored(row.try_get("refund_reason")?)?;
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
