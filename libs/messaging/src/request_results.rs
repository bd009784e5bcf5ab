//! The first result of each command, by its caller's request id: a repeated command answers what it answered then.

mod former;

use std::collections::HashMap;

use openorder_runtime::compiled_here;
use openorder_types::{CallError, Fault, Rejection, Timestamp};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

pub(crate) use former::is_empty as is_former_empty;

use crate::Reply;

/// Bytes of a fingerprint that are kept.
const FINGERPRINT_BYTES: usize = 16;

/// Identifies a command across repetitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Subject of the caller: one caller's request ids mean nothing to another.
    pub caller: String,
    /// As the caller chose it.
    pub request_id: String,
    /// Full name of the method.
    pub method: &'static str,
    /// SHA-256 of the method and of what the request means, to tell a repetition from another command with the same id.
    pub fingerprint: [u8; 32],
    /// SHA-256 of the request as it was written, where that is not the form that the fingerprint is of: a result that
    /// was kept under it is this command's too.
    pub fingerprint_as_sent: Option<[u8; 32]>,
    /// The stored form of the command's reply, where that is foreseen before the command is executed: then one statement
    /// looks the command up and keeps its result.
    pub reply: Option<Vec<u8>>,
}

/// A request key and what its result is kept under.
pub(crate) struct Key {
    id: Uuid,
    request: RequestKey,
}

impl Key {
    pub(crate) fn new(request: RequestKey) -> Self {
        Self { id: command_key(&request.caller, &request.request_id), request }
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// Whether its reply is known before it is executed.
    pub(crate) fn is_foreseen(&self) -> bool {
        self.request.reply.is_some()
    }

    /// Whether both, of one caller and request id, ask for the same.
    pub(crate) fn means_the_same(&self, other: &Self) -> bool {
        let (one, other) = (&self.request, &other.request);
        one.method == other.method && one.fingerprint == other.fingerprint
    }

    /// The refusal of this command, whose request id was used for another one.
    pub(crate) fn reused(&self) -> Rejection {
        Rejection::already_exists(
            "REQUEST_ID_REUSED",
            "this request_id was used before with other content; use a new one for a new command",
        )
        .with("request_id", self.request.request_id.clone())
    }

    /// As it is kept; two requests that differ do not have the same first half of SHA-256.
    fn kept_fingerprint(&self) -> Uuid {
        first_half(self.request.fingerprint)
    }
}

/// The first 16 bytes of SHA-256 of both, told apart by the length of the first. The database has the same function, for
/// the version before.
fn command_key(caller: &str, request_id: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update((caller.len() as u64).to_be_bytes());
    hash.update(caller);
    hash.update(request_id);
    first_half(hash.finalize().into())
}

fn first_half(hash: [u8; 32]) -> Uuid {
    Uuid::from_u128(u128::from_be_bytes(hash.first_chunk::<FINGERPRINT_BYTES>().copied().unwrap_or_default()))
}

/// What was answered before.
#[derive(Clone)]
pub(crate) struct Stored {
    fingerprint: Vec<u8>,
    reply: Vec<u8>,
}

impl Stored {
    /// What is answered to a command with this key.
    pub(crate) fn answer<R: Reply>(&self, key: &Key) -> Result<R, CallError> {
        let is_of = |fingerprint: [u8; 32]| {
            self.fingerprint.len() >= FINGERPRINT_BYTES && fingerprint.starts_with(&self.fingerprint)
        };
        if !is_of(key.request.fingerprint) && !key.request.fingerprint_as_sent.is_some_and(is_of) {
            return Err(key.reused().into());
        }
        R::decode(&self.reply).ok_or(CallError::Internal)
    }
}

/// The results of those commands that have one.
pub(crate) type Seen = HashMap<Uuid, Stored>;

/// The keys of a batch, the first of each, in one order for all transactions: whoever waits for another's key holds none
/// that the other waits for.
pub(crate) fn in_order<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<&'a Key> {
    let mut keys: Vec<&Key> = keys.collect();
    keys.sort_by_key(|key| key.id);
    keys.dedup_by_key(|key| key.id);
    keys
}

/// Looks the keys up. With `reads_former`, also where the version before kept results.
#[compiled_here]
pub(crate) async fn load(connection: &mut PgConnection, keys: &[&Key], reads_former: bool) -> Result<Seen, Fault> {
    let mut seen = if reads_former && !keys.is_empty() { former::load(connection, keys).await? } else { Seen::new() };
    let sought: Vec<Uuid> = keys.iter().map(|key| key.id).filter(|id| !seen.contains_key(id)).collect();
    seen.extend(find(connection, sought).await?);
    Ok(seen)
}

/// Keeps the replies that are known before their commands are executed: until the commit, whoever has the same key
/// waits. The keys are [in order](in_order). One that was kept before fails the transaction with a retryable fault: the
/// next try looks it up. So a key that is new, as nearly all are, is looked up and kept at once.
#[compiled_here]
pub(crate) async fn keep_foreseen(connection: &mut PgConnection, keys: &[&Key], now: Timestamp) -> Result<(), Fault> {
    let foreseen = keys.iter().filter_map(|key| Some((*key, key.request.reply.as_deref()?)));
    insert(connection, &foreseen.collect::<Vec<_>>(), now).await
}

#[compiled_here]

async fn insert(connection: &mut PgConnection, replies: &[(&Key, &[u8])], now: Timestamp) -> Result<(), Fault> {
    if replies.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into command_result (command_key, fingerprint, reply, created_at) \
         select unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::bytea[]), $4",
    )
    .bind(replies.iter().map(|(key, _)| key.id).collect::<Vec<_>>())
    .bind(replies.iter().map(|(key, _)| key.kept_fingerprint()).collect::<Vec<_>>())
    .bind(replies.iter().map(|(_, reply)| *reply).collect::<Vec<_>>())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// The results that are kept under these ids; those of the version before are not among them.
pub(crate) async fn find(executor: impl PgExecutor<'_>, ids: Vec<Uuid>) -> Result<Seen, Fault> {
    if ids.is_empty() {
        return Ok(Seen::new());
    }
    let rows = sqlx::query("select command_key, fingerprint, reply from command_result where command_key = any ($1)")
        .bind(ids)
        .fetch_all(executor)
        .await?;
    let stored = |row: &PgRow| {
        let fingerprint: Uuid = row.try_get(1)?;
        Ok((row.try_get(0)?, Stored { fingerprint: fingerprint.as_bytes().to_vec(), reply: row.try_get(2)? }))
    };
    rows.iter().map(stored).collect()
}

/// Keeps the replies of executed commands that were not kept before, and gives up what was kept of those that had none
/// after all. A request id that another transaction took meanwhile fails this one with a retryable fault: the next try
/// finds it.
pub(crate) async fn settle<'a, R: Reply>(
    connection: &mut PgConnection,
    executed: impl Iterator<Item = (&'a Key, Option<&'a R>)>,
    now: Timestamp,
) -> Result<(), Fault> {
    let (mut given_up, mut kept) = (Vec::new(), Vec::new());
    for (key, reply) in executed {
        match (&key.request.reply, reply) {
            (Some(_), None) => given_up.push(key.id),
            (None, Some(reply)) => kept.push((key, reply.encode())),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    if !given_up.is_empty() {
        let delete = "delete from command_result where command_key = any ($1)";
        sqlx::query(delete).bind(given_up).execute(&mut *connection).await?;
    }
    // In the order in which they are looked up.
    kept.sort_by_key(|(key, _)| key.id);
    insert(connection, &kept.iter().map(|(key, reply)| (*key, reply.as_slice())).collect::<Vec<_>>(), now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_and_request_id_are_told_apart_in_their_key() {
        assert_eq!(command_key("anna", "r1"), command_key("anna", "r1"));
        let others = [("bert", "r1"), ("anna", "r2"), ("annar", "1"), ("", "annar1")];
        for (caller, request_id) in others {
            assert_ne!(command_key("anna", "r1"), command_key(caller, request_id), "{caller} {request_id}");
        }
    }
}
