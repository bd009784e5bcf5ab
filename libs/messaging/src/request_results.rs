//! The first result of each command, by its caller's request id: a repeated command answers what it answered then.

use std::collections::HashMap;

use openorder_types::{CallError, Fault, Rejection, Timestamp};
use sqlx::{PgConnection, Row};

use crate::Reply;

/// Identifies a command across repetitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Subject of the caller: one caller's request ids mean nothing to another.
    pub caller: String,
    /// As the caller chose it.
    pub request_id: String,
    /// Full name of the method.
    pub method: &'static str,
    /// SHA-256 of what the request means, to tell a repetition from another command with the same id.
    pub fingerprint: [u8; 32],
    /// SHA-256 of the request as it was written, where that is not the form that the fingerprint is of: a result that
    /// was kept under it is this command's too.
    pub fingerprint_as_sent: Option<[u8; 32]>,
}

impl RequestKey {
    /// Whether both, of one caller and request id, ask for the same.
    pub(crate) fn means_the_same(&self, other: &Self) -> bool {
        self.method == other.method && self.fingerprint == other.fingerprint
    }
}

/// What was answered before.
pub(crate) struct Stored {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) method: String,
    pub(crate) reply: Vec<u8>,
}

impl Stored {
    /// What is answered to a command with this key.
    pub(crate) fn answer<R: Reply>(&self, key: &RequestKey) -> Result<R, CallError> {
        let as_sent = key.fingerprint_as_sent.is_some_and(|as_sent| self.fingerprint == as_sent);
        if self.method != key.method || !(self.fingerprint == key.fingerprint || as_sent) {
            return Err(reused(key).into());
        }
        R::decode(&self.reply).ok_or(CallError::Internal)
    }
}

/// The refusal of a command whose request id was used for another one.
pub(crate) fn reused(key: &RequestKey) -> Rejection {
    Rejection::already_exists(
        "REQUEST_ID_REUSED",
        "this request_id was used before with other content; use a new one for a new command",
    )
    .with("request_id", key.request_id.clone())
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
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let stored = Stored { fingerprint: row.try_get(3)?, method: row.try_get(2)?, reply: row.try_get(4)? };
        let key = (row.try_get(0)?, row.try_get(1)?);
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
    .await?;
    Ok(())
}
