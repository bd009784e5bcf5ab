//! Rebuilds begin and are called off; `rebuild/` does the work.

use openorder_messaging::UnitOfWork;
use openorder_types::{Fault, Rejection};
use uuid::Uuid;

use crate::{
    application::AnalyticsReply,
    domain::{Rebuild, RebuildState, rebuild_not_found, rebuild_under_way},
    persistence, present,
};

type Outcome = Result<AnalyticsReply, Rejection>;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) rebuild_id: Uuid,
    pub(super) from_events: bool,
}

pub(super) async fn start(
    unit: &mut UnitOfWork,
    wanted: Wanted,
    requested_by: &str,
    reason: &str,
    is_ranked: bool,
) -> Result<Outcome, Fault> {
    if let Some(other) = persistence::rebuild_under_way(unit.connection()).await? {
        return Ok(Err(rebuild_under_way(other.rebuild_id)));
    }
    let state = match (wanted.from_events, is_ranked) {
        (true, _) => RebuildState::Counting,
        (false, true) => RebuildState::Ranking,
        // There is no ranking that could be written.
        (false, false) => RebuildState::Done,
    };
    let now = unit.now();
    let rebuild = Rebuild {
        rebuild_id: wanted.rebuild_id,
        from_events: wanted.from_events,
        state,
        generation: None,
        log_position: 0,
        newest_id: Uuid::nil(),
        events_read: 0,
        events_unreadable: 0,
        products_ranked: 0,
        requested_by: requested_by.to_owned(),
        reason: reason.to_owned(),
        waiting_for: String::new(),
        failure_reason: String::new(),
        start_time: now,
        update_time: now,
        end_time: state.is_final().then_some(now),
    };
    persistence::begin_rebuild(unit.connection(), &rebuild).await?;
    Ok(Ok(AnalyticsReply::Rebuild(present::rebuild(&rebuild))))
}

pub(super) async fn cancel(unit: &mut UnitOfWork, rebuild_id: Uuid) -> Result<Outcome, Fault> {
    let now = unit.now();
    // One that has ended by now stays as it is.
    persistence::cancel_rebuild(unit.connection(), rebuild_id, now).await?;
    let found = persistence::find_rebuild(unit.connection(), rebuild_id).await?;
    Ok(match found {
        Some(rebuild) => Ok(AnalyticsReply::Rebuild(present::rebuild(&rebuild))),
        None => Err(rebuild_not_found()),
    })
}
