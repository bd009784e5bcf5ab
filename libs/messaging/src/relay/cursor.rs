//! How far a relay has published, and when it says so in the database.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgConnection;

use super::Lost;
use crate::Backbone;

/// The place of a relay in the log. The database is told of it once an interval, not once a batch: what a relay that
/// crashes had not told is published again, and consumers drop it.
pub(super) struct Cursor {
    backbone: Arc<Backbone>,
    epoch: i64,
    interval: Duration,
    position: i64,
    stored: i64,
    stored_at: Instant,
}

impl Cursor {
    /// The cursor of a relay that took its place just now, as the database has it. It publishes from `position` on.
    pub(super) fn new(
        backbone: &Arc<Backbone>,
        (stored, epoch): (i64, i64),
        interval: Duration,
        position: i64,
    ) -> Self {
        Self { backbone: Arc::clone(backbone), epoch, interval, position, stored, stored_at: Instant::now() }
    }

    /// All events up to this one are acknowledged by the broker.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// The events up to `position` have been acknowledged.
    pub(super) fn advance(&mut self, position: i64) {
        self.position = position;
        self.backbone.published_up_to(position);
    }

    /// The time until the database has to be told; `None` while it knows.
    pub(super) fn due_in(&self) -> Option<Duration> {
        (self.position != self.stored).then(|| self.interval.saturating_sub(self.stored_at.elapsed()))
    }

    /// Tells the database, if that is due.
    pub(super) async fn store_if_due(&mut self, connection: &mut PgConnection) -> Result<(), Lost> {
        if self.due_in() == Some(Duration::ZERO) { self.store(connection).await } else { Ok(()) }
    }

    /// Tells the database, and fails when another relay has taken over meanwhile. The cursor never goes back: what is
    /// published once more was published before.
    pub(super) async fn store(&mut self, connection: &mut PgConnection) -> Result<(), Lost> {
        if self.position == self.stored {
            return Ok(());
        }
        let sql = "update relay_cursor set position = greatest(position, $1), updated_at = now() where epoch = $2";
        let moved = sqlx::query(sql).bind(self.position).bind(self.epoch).execute(connection).await?;
        if moved.rows_affected() != 1 {
            return Err(Lost::TakenOver);
        }
        (self.stored, self.stored_at) = (self.position, Instant::now());
        Ok(())
    }
}
