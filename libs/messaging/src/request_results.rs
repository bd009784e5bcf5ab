//! The first result of each command, by its caller's request id: a repeated command answers what it answered then.

use std::collections::HashMap;

use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, Row};

use crate::database::fault;

/// Identifies a command across repetitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Subject of the caller: one caller's request ids mean nothing to another.
    pub caller: String,
    /// As the caller chose it.
    pub request_id: String,
    /// Full name of the method.
    pub method: &'static str,
    /// SHA-256 of the request, to tell a repetition from another command with the same id.
    pub fingerprint: [u8; 32],
}

/// What was answered before.
pub(crate) struct Stored {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) method: String,
    pub(crate) reply: Vec<u8>,
}

impl Stored {
    pub(crate) fn is_of(&self, key: &RequestKey) -> bool {
        self.method == key.method && self.fingerprint == key.fingerprint
    }
}

pub(crate) async fn load(
    connection: &mut PgConnection,
    keys: &[&RequestKey],
) -> Result<HashMap<(String, String), Stored>, Fault> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let callers: Vec<&str> = keys.iter().map(|key| key.caller.as_str()).collect();
    let ids: Vec<&str> = keys.iter().map(|key| key.request_id.as_str()).collect();
    let rows = sqlx::query(
        "select caller, request_id, method, fingerprint, reply from request_result \
         where (request_id, caller) in (select unnest($2::text[]), unnest($1::text[]))",
    )
    .bind(callers)
    .bind(ids)
    .fetch_all(connection)
    .await
    .map_err(fault)?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let stored = Stored {
            fingerprint: row.try_get(3).map_err(fault)?,
            method: row.try_get(2).map_err(fault)?,
            reply: row.try_get(4).map_err(fault)?,
        };
        let key = (row.try_get(0).map_err(fault)?, row.try_get(1).map_err(fault)?);
        found.insert(key, stored);
    }
    Ok(found)
}

/// Keeps the results. A request id that another instance stored meanwhile fails the transaction with a
/// retryable fault: the next try finds it.
pub(crate) async fn save(
    connection: &mut PgConnection,
    results: &[(&RequestKey, Vec<u8>)],
    now: Timestamp,
) -> Result<(), Fault> {
    if results.is_empty() {
        return Ok(());
    }
    let callers: Vec<&str> = results.iter().map(|(key, _)| key.caller.as_str()).collect();
    let ids: Vec<&str> = results.iter().map(|(key, _)| key.request_id.as_str()).collect();
    let methods: Vec<&str> = results.iter().map(|(key, _)| key.method).collect();
    let fingerprints: Vec<&[u8]> = results.iter().map(|(key, _)| key.fingerprint.as_slice()).collect();
    let replies: Vec<&[u8]> = results.iter().map(|(_, reply)| reply.as_slice()).collect();
    sqlx::query(
        "insert into request_result (caller, request_id, method, fingerprint, reply, created_at) \
         select unnest($1::text[]), unnest($2::text[]), unnest($3::text[]), unnest($4::bytea[]), unnest($5::bytea[]), \
                $6",
    )
    .bind(callers)
    .bind(ids)
    .bind(methods)
    .bind(fingerprints)
    .bind(replies)
    .bind(now)
    .execute(connection)
    .await
    .map_err(fault)?;
    Ok(())
}
