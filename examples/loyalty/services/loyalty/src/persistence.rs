//! Table `account`.

use std::collections::BTreeMap;

use openorder_types::Fault;
use sqlx::{PgConnection, Row};

use crate::domain::Account;

/// Locks the accounts of these customers, sorted, those that do not exist yet as well.
pub async fn lock(connection: &mut PgConnection, mut ids: Vec<&str>) -> Result<BTreeMap<String, Account>, Fault> {
    ids.sort_unstable();
    let new = "insert into account select unnest($1::text[]), 0, 0 on conflict do nothing";
    sqlx::query(new).bind(&ids).execute(&mut *connection).await?;
    let found = "select * from account where customer_id = any ($1) order by customer_id for update";
    let rows = sqlx::query(found).bind(&ids).fetch_all(connection).await?;
    let account = |row| Account { points: Row::get(row, "points"), version: Row::get(row, "version") };
    Ok(rows.iter().map(|row| (row.get("customer_id"), account(row))).collect())
}

/// Writes what the batch left of the locked accounts.
pub async fn save(connection: &mut PgConnection, accounts: &BTreeMap<String, Account>) -> Result<(), Fault> {
    let ids: Vec<&str> = accounts.keys().map(String::as_str).collect();
    let (points, versions): (Vec<_>, Vec<_>) = accounts.values().map(|one| (one.points, one.version)).unzip();
    let sql = "update account set points = n.points, version = n.version \
               from (select unnest($1::text[]) as customer_id, unnest($2::bigint[]) as points, \
                            unnest($3::bigint[]) as version) as n \
               where account.customer_id = n.customer_id and account.version <> n.version";
    sqlx::query(sql).bind(ids).bind(points).bind(versions).execute(connection).await?;
    Ok(())
}
