//! The use cases: what a batch of events changes is added up, and written with one statement a table; rebuilds begin and
//! are called off.

mod counting;
mod rebuilds;
mod reply;
mod top_products;

use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_types::Fault;

pub use reply::AnalyticsReply;
pub(crate) use top_products::{Found, PRODUCTS_MAX, TopProducts};

use crate::{config::AnalyticsSettings, domain::Command};

pub struct Analytics {
    /// Shards of the sums.
    shards: i16,
    /// Whether a ranking is kept in Redis.
    is_ranked: bool,
}

impl Analytics {
    pub fn new(settings: &AnalyticsSettings) -> Self {
        Self { shards: i16::try_from(settings.shards).unwrap_or(i16::MAX), is_ranked: settings.ranking.in_redis }
    }
}

impl Application for Analytics {
    type Command = Command;
    type Reply = AnalyticsReply;

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
    ) -> Result<Outcomes<AnalyticsReply>, Fault> {
        let facts = batch.iter().filter_map(|envelope| match envelope.command {
            Command::Count(fact) => Some(&**fact),
            Command::StartRebuild { .. } | Command::CancelRebuild { .. } => None,
        });
        counting::count(unit, facts, self).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for envelope in batch {
            outcomes.push(match envelope.command {
                Command::Count(_) => Ok(AnalyticsReply::Noted),
                Command::StartRebuild { rebuild_id, from_events, requested_by, reason } => {
                    let wanted = rebuilds::Wanted { rebuild_id: *rebuild_id, from_events: *from_events };
                    rebuilds::start(unit, wanted, requested_by, reason, self.is_ranked).await?
                }
                Command::CancelRebuild { rebuild_id } => rebuilds::cancel(unit, *rebuild_id).await?,
            });
        }
        Ok(outcomes)
    }
}
