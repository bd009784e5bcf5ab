//! The operator's desk of one service: dead letters, parked messages, replays, redelivery, the event log.
//!
//! Everything works on the service's own database, whichever instance is asked, and every list and batch is bounded.
//! - [`DeadLetter`], [`Filter`]: what failed, and why; [`Desk::causes`] groups it;
//! - [`ReplayJob`]: a frozen set of dead letters that goes back to the retries, in order and no faster than its rate;
//! - [`Desk::discard`]: a dead letter that is given up, with its history;
//! - [`Desk::events`], [`Desk::redeliver`]: events out of one service's log, into another's retries.

mod dead_letters;
mod discard;
mod events;
mod filter;
mod redeliver;
mod replay;
mod replay_steps;
mod replay_view;
mod view;

use std::sync::Arc;

pub use discard::{Discard, Discarded, HistoryEntry, Resolution};
pub use events::EventFilter;
pub use filter::{Filter, Page};
pub use redeliver::Redelivered;
pub(crate) use replay_steps::run as run_replays;
pub use replay_view::{ItemOutcome, ReplayCount, ReplayItem, ReplayJob, ReplayRequest, ReplayState};
use sqlx::PgPool;
pub use view::{Attempt, Cause, Counts, DeadLetter, DeadLetterDetail, ParkedMessage};

use openorder_types::{Fault, Rejection, TextRule};

use crate::{Backbone, UnitOfWork};

/// The desk of one service. Cheap to make and to clone.
#[derive(Clone)]
pub struct Desk {
    backbone: Arc<Backbone>,
}

impl Desk {
    /// The most rows that one call gives or changes; more is cut to it.
    pub const PAGE_MAX: u32 = 1_000;

    /// The desk of the service that `backbone` belongs to.
    pub fn new(backbone: &Arc<Backbone>) -> Self {
        Self { backbone: Arc::clone(backbone) }
    }

    /// The consumer group that this desk is for: the name of the service's role, without the deployment's prefix.
    pub fn group(&self) -> &'static str {
        self.backbone.telemetry().role()
    }

    /// Topics that the service consumes, without the deployment's prefix; empty when it consumes none.
    pub fn topics(&self) -> &[&'static str] {
        self.backbone.consumed().map_or(&[], |consumed| &consumed.topics)
    }

    async fn begin(&self) -> Result<UnitOfWork, Fault> {
        UnitOfWork::begin(self.pool(), self.backbone.telemetry()).await
    }

    fn pool(&self) -> &PgPool {
        self.backbone.pool()
    }
}

fn check_reason(reason: &str) -> Result<(), Rejection> {
    let rule = TextRule::REASON;
    if reason.trim().is_empty() || rule.parse(reason).is_err() {
        let description = format!("must be 1 to {} printable characters long", rule.length_max());
        return Err(Rejection::invalid_field("reason", "REASON_INVALID", description));
    }
    Ok(())
}

/// A page's size within the bound.
fn limit(asked: u32) -> i64 {
    i64::from(asked.clamp(1, Desk::PAGE_MAX))
}
