//! The inbox: an event is claimed in the transaction of its effects, so effects happen once.
//!
//! An event is known by its position in its publisher's log, one bit of a row (`positions`). What says no position, or one
//! that cannot be trusted, is known by its id, a row: messages of others, events of before there were positions, and
//! events of a log that was restored and gives positions once more.

mod positions;

use std::{
    collections::HashSet,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use openorder_runtime::compiled_here;
use openorder_types::{Fault, Timestamp};
use sqlx::PgConnection;
use uuid::{Uuid, Version};

use crate::{Received, consumer::inbox::positions::Taken, maintenance::first_id_of, metrics::Metrics};

/// The longest name of a source whose positions are kept.
const SOURCE_MAX_BYTES: usize = 64;

/// How far ahead of this service's clock a publisher's may be, for its ids to be trusted.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How often it is logged at most that positions come once more: each event of a restored log may be one.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What a message is known by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) event_id: Uuid,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// The service whose log the position is of, and the position.
    pub(crate) place: Option<(&'a str, i64)>,
}

impl<'a> Claim<'a> {
    pub(crate) fn of(message: &'a Received) -> Self {
        let place = message.position.map(|position| (message.source(), position));
        Self { event_id: message.event_id, topic: &message.topic, partition: message.partition, place }
    }

    /// What the event is known by. Ids before `former` are known by rows.
    fn known_by(&self, former: Uuid, now: Timestamp) -> KnownBy {
        let Some((source, position)) = self.place else { return KnownBy::Row };
        let has_place = position > 0
            && !source.is_empty()
            && source.len() <= SOURCE_MAX_BYTES
            && self.event_id >= former
            && self.event_id.get_version() == Some(Version::SortRand);
        match has_place {
            false => KnownBy::Row,
            true if self.event_id < first_id_of(now + CLOCK_AHEAD_MAX) => KnownBy::Position,
            true => KnownBy::RowAndPosition,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KnownBy {
    Position,
    Row,
    /// Its id is of a time to come. It is not to count as the newest one, and a copy that comes when its time has come is to
    /// be found: at its position it stands as another event, which is looked for by its id.
    RowAndPosition,
}

/// Claims events for one service.
pub(crate) struct Inbox {
    role: &'static str,
    /// The first id that is not known by a row; read once.
    former: OnceLock<Uuid>,
    logged_at: Mutex<Option<Instant>>,
    metrics: &'static Metrics,
}

impl Inbox {
    pub(crate) fn new(role: &'static str) -> Self {
        Self { role, former: OnceLock::new(), logged_at: Mutex::default(), metrics: Metrics::get() }
    }

    /// Claims the messages; says of each, in their order, whether it is new. Of several copies in the batch the first one is.
    /// Waits for another instance that is claiming one of them.
    ///
    /// # Errors
    /// [`Fault`] of the database; retryable when another instance was faster.
    #[compiled_here]
    pub(crate) async fn claim(
        &self,
        connection: &mut PgConnection,
        claims: &[Claim<'_>],
        now: Timestamp,
    ) -> Result<Vec<bool>, Fault> {
        let mut is_new = vec![false; claims.len()];
        if claims.is_empty() {
            return Ok(is_new);
        }
        let former = self.former(connection).await?;
        let (mut placed, mut by_row) = (Vec::with_capacity(claims.len()), Vec::new());
        for (index, claim) in claims.iter().enumerate() {
            let known_by = claim.known_by(former, now);
            if known_by != KnownBy::Position {
                by_row.push(index);
            }
            if known_by != KnownBy::Row {
                placed.push((index, *claim, known_by == KnownBy::Position));
            }
        }
        let placed_claims = placed.iter().map(|(_, claim, is_trusted)| (*claim, *is_trusted));
        let mut taken = positions::take(connection, placed_claims, now).await?;
        let mut again = 0;
        for (index, claim, _) in placed.into_iter().filter(|(.., is_trusted)| *is_trusted) {
            match taken.note(&claim) {
                Taken::Now => is_new[index] = true,
                Taken::Before => {}
                Taken::ByAnother => {
                    again += 1;
                    by_row.push(index);
                }
            }
        }
        if again > 0 {
            taken.restore_newest_ids(connection).await?;
            self.report_again(claims, &by_row, again);
        }
        by_row.sort_unstable();
        let ids: Vec<Uuid> = by_row.iter().filter_map(|index| Some(claims.get(*index)?.event_id)).collect();
        let mut rows = claim_rows(connection, ids, now).await?;
        for index in by_row {
            // `remove`: the second of two copies is not new.
            is_new[index] = claims.get(index).is_some_and(|claim| rows.remove(&claim.event_id));
        }
        Ok(is_new)
    }

    async fn former(&self, connection: &mut PgConnection) -> Result<Uuid, Fault> {
        if let Some(former) = self.former.get() {
            return Ok(*former);
        }
        let until: Timestamp = sqlx::query_scalar("select until from inbox_former").fetch_one(connection).await?;
        Ok(*self.former.get_or_init(|| first_id_of(until)))
    }

    fn report_again(&self, claims: &[Claim<'_>], by_row: &[usize], count: u64) {
        let Some(claim) = by_row.last().and_then(|index| claims.get(*index)) else { return };
        let (source, position) = claim.place.unwrap_or_default();
        self.metrics.position_again(self.role, claim.topic, count);
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        *logged_at = Some(Instant::now());
        tracing::error!(
            topic = claim.topic,
            source,
            position,
            event_id = %claim.event_id,
            "a log gives positions that other events had: was the database of its service restored? The new events are taken \
             over by their ids; what the restored database lost is not in its log any more (docs/operations.md)"
        );
    }
}

/// Claims ids by rows; those that come back are new.
async fn claim_rows(connection: &mut PgConnection, ids: Vec<Uuid>, now: Timestamp) -> Result<HashSet<Uuid>, Fault> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    // Sorted, so that two instances with overlapping batches never deadlock.
    let mut sorted = ids;
    sorted.sort_unstable();
    sorted.dedup();
    let new: Vec<Uuid> = sqlx::query_scalar(
        "insert into inbox (event_id, received_at) select unnest($1::uuid[]), $2 \
         on conflict do nothing returning event_id",
    )
    .bind(sorted)
    .bind(now)
    .fetch_all(connection)
    .await?;
    Ok(new.into_iter().collect())
}
