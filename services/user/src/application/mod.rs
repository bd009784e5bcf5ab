//! The use cases: load what the batch needs, decide each command in order, write all.

mod events;
mod reply;
mod working_set;

use chrono::TimeDelta;
use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_types::{Fault, Timestamp};

pub use reply::UserReply;

use crate::application::working_set::WorkingSet;
use crate::config::UserSettings;
use crate::credentials::{SealedKey, Tokens};
use crate::domain::{Actor, Command, Rules};

/// What the service is asked to do.
#[derive(Debug)]
pub enum Request {
    /// A command, and who asks for it.
    Command(Command, Actor),
    /// A new key for signing.
    AddSigningKey(SealedKey),
}

pub struct Users {
    tokens: Tokens,
    access_token_life: TimeDelta,
    refresh_token_life: TimeDelta,
    session_life: TimeDelta,
    grace: TimeDelta,
    failure_interval: TimeDelta,
    sessions_max: usize,
    api_keys_max: usize,
}

/// A duration of the settings.
pub(crate) fn milliseconds(number: u64) -> TimeDelta {
    TimeDelta::milliseconds(i64::try_from(number).unwrap_or(i64::MAX / 1_000_000))
}

impl Users {
    pub fn new(tokens: Tokens, settings: &UserSettings) -> Self {
        Self {
            tokens,
            access_token_life: milliseconds(settings.access_token_life_ms),
            refresh_token_life: milliseconds(settings.refresh_token_life_ms),
            session_life: milliseconds(settings.session_life_ms),
            grace: milliseconds(settings.refresh_grace_ms),
            failure_interval: milliseconds(settings.failure_interval_ms),
            sessions_max: settings.sessions_max,
            api_keys_max: settings.api_keys_max,
        }
    }

    fn at(&self, now: Timestamp) -> Rules {
        Rules {
            now,
            // A revocation matters until the last token of before has ended for the clock that is furthest behind; a second
            // more, since the times of tokens are whole ones.
            access_token_life: self.access_token_life + TimeDelta::seconds(openorder_auth::LEEWAY_SECONDS + 1),
            refresh_token_life: self.refresh_token_life,
            session_life: self.session_life,
            grace: self.grace,
            failure_interval: self.failure_interval,
            sessions_max: self.sessions_max,
            api_keys_max: self.api_keys_max,
        }
    }
}

impl Application for Users {
    type Command = Request;
    type Reply = UserReply;

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Request>],
    ) -> Result<Outcomes<UserReply>, Fault> {
        let rules = self.at(unit.now());
        let mut set = WorkingSet::load(unit, batch, &self.tokens, rules).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for (index, envelope) in batch.iter().enumerate() {
            outcomes.push(set.execute(index, envelope.command)?);
        }
        set.save(unit).await?;
        Ok(outcomes)
    }
}
