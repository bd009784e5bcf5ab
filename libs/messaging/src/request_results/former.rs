//! Results as the version before kept them: by two texts. What it keeps while both versions run is copied by the database;
//! what it kept before there was the other table is read here, until it is past its retention.

use std::collections::HashMap;

use openorder_types::Fault;
use sqlx::{PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::{Key, Seen, Stored};

/// Whether nothing is left of what the version before kept. What it still keeps is found without it.
pub(crate) async fn is_empty(executor: impl PgExecutor<'_>) -> Result<bool, Fault> {
    Ok(sqlx::query_scalar("select not exists (select from request_result)").fetch_one(executor).await?)
}

pub(super) async fn load(connection: &mut PgConnection, keys: &[&Key]) -> Result<Seen, Fault> {
    let callers: Vec<&str> = keys.iter().map(|key| key.request.caller.as_str()).collect();
    let ids: Vec<&str> = keys.iter().map(|key| key.request.request_id.as_str()).collect();
    let rows = sqlx::query(
        "select caller, request_id, fingerprint, reply from request_result \
         where (request_id, caller) in (select unnest($2::text[]), unnest($1::text[]))",
    )
    .bind(callers)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    if rows.is_empty() {
        return Ok(Seen::new());
    }
    let by_text = |key: &Key| ((key.request.caller.clone(), key.request.request_id.clone()), key.id);
    let keys: HashMap<(String, String), Uuid> = keys.iter().map(|key| by_text(key)).collect();
    let mut seen = Seen::with_capacity(rows.len());
    for row in rows {
        if let Some(id) = keys.get(&(row.try_get(0)?, row.try_get(1)?)) {
            seen.insert(*id, Stored { fingerprint: row.try_get(2)?, reply: row.try_get(3)? });
        }
    }
    Ok(seen)
}
