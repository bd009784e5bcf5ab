//! Table `wallet`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Currency, Fault, Money, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};

use crate::domain::Wallet;

static WALLET: LazyLock<Table<Wallet>> = LazyLock::new(|| {
    Table::new("wallet", "user_id")
        .text("user_id", |wallet: &Wallet| wallet.user_id.as_str())
        .column("currency", |wallet| wallet.balance.currency())
        .changing()
        .column("balance_minor_units", |wallet| wallet.balance.minor_units())
        .column("version", |wallet| wallet.version)
        .column("update_time", |wallet| wallet.update_time)
});

/// Locks the wallets of these users, in one order for all transactions, so that none deadlock.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, users: &[&str]) -> Result<Vec<Wallet>, Fault> {
    let rows = WALLET
        .select(
            "from wallet \
         where user_id = any ($1) order by user_id for update",
        )
        .bind(users)
        .fetch_all(connection)
        .await?;
    rows.iter().map(wallet).collect()
}

/// The wallets of these users as last committed.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, users: &[&str]) -> Result<Vec<Wallet>, Fault> {
    let rows = WALLET.select("from wallet where user_id = any ($1)").bind(users).fetch_all(executor).await?;
    rows.iter().map(wallet).collect()
}

/// Writes new wallets, which must not exist, and changed ones, which must be locked. A wallet's currency never changes.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction opened one of the new ones first.
pub async fn save(connection: &mut PgConnection, new: &[&Wallet], changed: &[&Wallet]) -> Result<(), Fault> {
    WALLET.insert(&mut *connection, new).await?;
    WALLET.update(connection, changed).await
}

fn wallet(row: &PgRow) -> Result<Wallet, Fault> {
    let user_id: String = row.try_get("user_id")?;
    let currency: String = row.try_get("currency")?;
    let balance: i64 = row.try_get("balance_minor_units")?;
    Ok(Wallet {
        user_id: UserId::parse(&user_id).map_err(Fault::permanent)?,
        balance: Money::new(balance, Currency::parse(&currency).map_err(Fault::permanent)?),
        version: row.try_get("version")?,
        update_time: row.try_get("update_time")?,
    })
}
