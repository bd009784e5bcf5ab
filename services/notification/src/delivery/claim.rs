//! Who may send a notification now, and which ones were sent: keys in Redis.
//!
//! A claim holds a token of its owner and ends by itself, so a worker that died blocks nothing for long; it is given
//! back only by who holds the token. After the server took the message the key says so, for a worker that finds the
//! notification unrecorded. Correctness of the orders rests on none of this: without Redis, mail waits.

use std::time::Duration;

use openorder_config::Secret;
use redis::{
    AsyncCommands, Client, RedisError, Script, SetExpiry, SetOptions,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use uuid::Uuid;

use crate::persistence::Due;

/// Name of the dependency.
pub(crate) const REDIS: &str = "redis";

/// How long Redis may take to answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// What stands under the key of a message that the server took.
const SENT: &str = "sent";

/// The claims of one worker.
pub(crate) struct Claims {
    connection: ConnectionManager,
    /// Deletes the key if it still holds the token.
    release: Script,
    claim_for: Duration,
    sent_for: Duration,
}

/// What came of trying to claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody else sends it before this claim is given back or ends.
    Ours(Token),
    /// Somebody else is at it.
    Taken,
    /// The server took it already.
    Sent,
}

/// Proof of holding a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Claims {
    /// How much longer a claim holds than sending can take: one that ended under a worker's hands would let another
    /// one in.
    pub(crate) const MARGIN: Duration = Duration::from_secs(10);

    /// Connects. `send_timeout` is how long sending may take; `sent_for` is how long a sent message is remembered.
    pub(crate) async fn connect(url: &Secret, send_timeout: Duration, sent_for: Duration) -> Result<Self, RedisError> {
        let claim_for = send_timeout + Self::MARGIN;
        let client = Client::open(url.expose())?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = ConnectionManager::new_with_config(client, config).await?;
        let release =
            Script::new("if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end");
        Ok(Self { connection, release, claim_for, sent_for })
    }

    /// Tries to claim.
    pub(crate) async fn claim(&self, one: &Due) -> Result<Claim, RedisError> {
        let mut connection = self.connection.clone();
        let (key, token) = (key(one), Uuid::new_v4().to_string());
        let options = SetOptions::default()
            .conditional_set(redis::ExistenceCheck::NX)
            .with_expiration(SetExpiry::PX(millis(self.claim_for)));
        let taken: Option<String> = connection.set_options(&key, &token, options).await?;
        if taken.is_some() {
            return Ok(Claim::Ours(Token(token)));
        }
        let holder: Option<String> = connection.get(&key).await?;
        Ok(if holder.as_deref() == Some(SENT) { Claim::Sent } else { Claim::Taken })
    }

    /// Notes that the server took the message, whoever holds the claim by now: it is true in any case.
    pub(crate) async fn sent(&self, one: &Due) -> Result<(), RedisError> {
        self.connection.clone().pset_ex(key(one), SENT, millis(self.sent_for)).await
    }

    /// Gives a claim back, if it is still ours.
    pub(crate) async fn release(&self, one: &Due, token: &Token) -> Result<(), RedisError> {
        let mut connection = self.connection.clone();
        let _: Option<i64> = self.release.key(key(one)).arg(&token.0).invoke_async(&mut connection).await?;
        Ok(())
    }
}

/// One key a round: sending again on request is another message.
fn key(one: &Due) -> String {
    format!("openorder:notification:delivery:{}:{}", one.notification_id, one.round)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
