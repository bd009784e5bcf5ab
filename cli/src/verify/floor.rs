//! Where a service's event log begins: what is older is pruned, and nothing is wrong where it is missing.

use anyhow::Context;
use openorder_messaging::first_id_of;
use openorder_types::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::services::Service;

/// How far clocks of a service's instances may be apart, minutes.
const CLOCKS_APART_MINUTES: i64 = 10;

/// The floor of a log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor {
    position: i64,
    /// None while nothing was pruned.
    kept_from: Option<Timestamp>,
}

impl Floor {
    pub(super) async fn read(connection: &mut PgConnection, service: Service) -> anyhow::Result<Self> {
        // A service of a version that prunes nothing has no such table.
        let exists: bool = sqlx::query_scalar("select to_regclass('event_log_floor') is not null")
            .fetch_one(&mut *connection)
            .await
            .with_context(|| service.database())?;
        if !exists {
            return Ok(Self::default());
        }
        let row = sqlx::query_as("select position, kept_from from event_log_floor").fetch_one(connection).await;
        let (position, kept_from) = row.with_context(|| service.database())?;
        Ok(Self { position, kept_from })
    }

    /// The last position that is pruned; 0 for none.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Whether an event of this time may be pruned.
    pub(super) fn is_before(&self, timestamp_ms: i64) -> bool {
        self.kept_from.is_some_and(|kept_from| timestamp_ms < kept_from.timestamp_millis())
    }

    /// Whether events of this aggregate may be pruned: not where its id tells that it was made later (UUID v7).
    pub(super) fn may_hide(&self, aggregate_id: &str) -> bool {
        let Some(kept_from) = self.kept_from else { return false };
        let made = Uuid::try_parse(aggregate_id).ok().filter(|id| id.get_version_num() == 7);
        made.is_none_or(|id| id < first_id_of(kept_from + chrono::Duration::minutes(CLOCKS_APART_MINUTES)))
    }

    /// What is told of it; nothing while nothing was pruned.
    pub(super) fn text(&self) -> Option<String> {
        let kept_from = self.kept_from?.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Some(format!("events up to position {} are pruned; all since {kept_from} are there", self.position))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Duration, Utc};

    use super::*;

    #[test]
    fn only_what_may_be_older_than_the_floor_is_hidden_by_it() {
        let now = Utc::now();
        assert!(!Floor::default().may_hide("anna") && !Floor::default().is_before(0));
        let floor = Floor { position: 7, kept_from: Some(now - Duration::hours(1)) };
        let id_of = |time| first_id_of(time).to_string();
        assert!(floor.may_hide("anna") && floor.may_hide(&id_of(now - Duration::hours(2))));
        assert!(!floor.may_hide(&id_of(now)));
        let (older, younger) = (now - Duration::hours(2), now);
        assert!(floor.is_before(older.timestamp_millis()) && !floor.is_before(younger.timestamp_millis()));
        assert!(floor.text().is_some_and(|text| text.starts_with("events up to position 7 are pruned")));
    }
}
