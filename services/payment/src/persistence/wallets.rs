//! Table `wallet`.

use openorder_types::{Currency, Fault, Money, Timestamp, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};

use crate::domain::Wallet;

/// Locks the wallets of these users, in one order for all transactions, so that none deadlock.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, users: &[&str]) -> Result<Vec<Wallet>, Fault> {
    let rows = sqlx::query(
        "select user_id, currency, balance_minor_units, version, update_time from wallet \
         where user_id = any ($1) order by user_id for update",
    )
    .bind(users)
    .fetch_all(connection)
    .await?;
    rows.iter().map(wallet).collect()
}

/// The wallet of a user as last committed.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, user_id: &UserId) -> Result<Option<Wallet>, Fault> {
    let row = sqlx::query(
        "select user_id, currency, balance_minor_units, version, update_time from wallet where user_id = $1",
    )
    .bind(user_id.as_str())
    .fetch_optional(executor)
    .await?;
    row.as_ref().map(wallet).transpose()
}

/// Writes new wallets, which must not exist, and changed ones, which must be locked. A wallet's currency never changes.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction opened one of the new ones first.
pub async fn save(connection: &mut PgConnection, new: &[&Wallet], changed: &[&Wallet]) -> Result<(), Fault> {
    write(
        &mut *connection,
        "insert into wallet (user_id, currency, balance_minor_units, version, update_time) \
         select unnest($1::text[]), unnest($2::text[]), unnest($3::bigint[]), unnest($4::bigint[]), \
                unnest($5::timestamptz[])",
        new,
    )
    .await?;
    write(
        connection,
        "update wallet set balance_minor_units = n.balance, version = n.version, update_time = n.update_time \
         from (select unnest($1::text[]) as user_id, unnest($2::text[]) as currency, unnest($3::bigint[]) as balance, \
                      unnest($4::bigint[]) as version, unnest($5::timestamptz[]) as update_time) as n \
         where wallet.user_id = n.user_id",
        changed,
    )
    .await
}

async fn write(connection: &mut PgConnection, sql: &'static str, wallets: &[&Wallet]) -> Result<(), Fault> {
    if wallets.is_empty() {
        return Ok(());
    }
    let users: Vec<&str> = wallets.iter().map(|wallet| wallet.user_id.as_str()).collect();
    let currencies: Vec<String> = wallets.iter().map(|wallet| wallet.balance.currency().to_string()).collect();
    let balances: Vec<i64> = wallets.iter().map(|wallet| wallet.balance.minor_units()).collect();
    let versions: Vec<i64> = wallets.iter().map(|wallet| wallet.version).collect();
    let updated: Vec<Timestamp> = wallets.iter().map(|wallet| wallet.update_time).collect();
    let query = sqlx::query(sql).bind(users).bind(currencies).bind(balances).bind(versions).bind(updated);
    query.execute(connection).await?;
    Ok(())
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
