//! Who may send a notification now, and which ones were sent: keys in Redis.
//!
//! A claim holds a token of its owner and ends by itself, so a worker that died blocks nothing for long; it is given
//! back only by who holds the token. After the server took the message the key says so, for a worker that finds the
//! notification unrecorded. Correctness of the orders rests on none of this: without Redis, mail waits.

use std::time::Duration;

use openorder_config::Secret;
use openorder_redis::{Connection, REDIS};
use openorder_telemetry::RoleTelemetry;
use openorder_types::Fault;
use uuid::Uuid;

use crate::persistence::Due;

/// How long Redis may take to answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// What stands under the key of a message that the server took.
const SENT: &str = "sent";
/// Deletes the key if it still holds the token.
const RELEASE: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end";

/// The claims of one worker, which has pauses of its own while Redis is away.
pub(crate) struct Claims {
    connection: Connection,
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
    ///
    /// # Errors
    /// Redis does not answer, or its URL is none.
    pub(crate) async fn connect(
        url: &Secret,
        telemetry: &RoleTelemetry,
        send_timeout: Duration,
        sent_for: Duration,
    ) -> Result<Self, Fault> {
        let connection = Connection::new(url, RESPONSE_TIMEOUT, telemetry.clone());
        let connection = connection.map_err(|error| Fault::outage(REDIS, error))?;
        connection.ping().await?;
        Ok(Self { connection, claim_for: send_timeout + Self::MARGIN, sent_for })
    }

    /// Tries to claim.
    ///
    /// # Errors
    /// An outage of Redis, as of all that is asked here.
    pub(crate) async fn claim(&self, one: &Due) -> Result<Claim, Fault> {
        let (key, token) = (key(one), Uuid::new_v4().to_string());
        let mut claim = redis::pipe();
        claim.cmd("SET").arg(&key).arg(&token).arg("NX").arg("PX").arg(millis(self.claim_for));
        claim.cmd("GET").arg(&key);
        let (taken, holder): (Option<String>, Option<String>) = self.connection.look(&claim).await?;
        Ok(match (taken, holder.as_deref()) {
            (Some(_), _) => Claim::Ours(Token(token)),
            (None, Some(SENT)) => Claim::Sent,
            (None, _) => Claim::Taken,
        })
    }

    /// Notes that the server took the message, whoever holds the claim by now: it is true in any case.
    pub(crate) async fn sent(&self, one: &Due) -> Result<(), Fault> {
        let mut note = redis::pipe();
        note.cmd("SET").arg(key(one)).arg(SENT).arg("PX").arg(millis(self.sent_for)).ignore();
        self.connection.look(&note).await
    }

    /// Gives a claim back, if it is still ours.
    pub(crate) async fn release(&self, one: &Due, token: &Token) -> Result<(), Fault> {
        let mut release = redis::pipe();
        release.cmd("EVAL").arg(RELEASE).arg(1).arg(key(one)).arg(&token.0).ignore();
        self.connection.look(&release).await
    }
}

/// One key a round: sending again on request is another message.
fn key(one: &Due) -> String {
    format!("openorder:notification:delivery:{}:{}", one.notification_id, one.round)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
