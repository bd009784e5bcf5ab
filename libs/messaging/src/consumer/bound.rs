//! The bounds of the table of what failed: messages that are tried again may keep partitions waiting, dead ones never.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use openorder_types::{Fault, Timestamp};

use crate::{
    Application, UnitOfWork,
    consumer::{
        batch::{Handler, Item, PARKING},
        failure::{Failure, Verdict},
        parking::{self, Waiting},
        stored::{self, Key},
    },
};

/// How old a count of the table may be; what this instance adds meanwhile is added to it.
const COUNT_AGE_MAX: Duration = Duration::from_secs(1);

/// The last count of the table.
#[derive(Default)]
pub(super) struct Counted(Mutex<Option<(Instant, Waiting)>>);

impl Counted {
    fn fresh(&self) -> Option<Waiting> {
        let counted = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.filter(|(at, _)| at.elapsed() < COUNT_AGE_MAX).map(|(_, waiting)| waiting)
    }

    fn set(&self, at: Instant, waiting: Waiting) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, waiting));
    }

    fn add(&self, added: Waiting) {
        if let Some((_, waiting)) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            waiting.retried += added.retried;
            waiting.stopped += added.stopped;
        }
    }
}

/// A message that is parked, with its failure or behind another one.
pub(super) type Parked<'a, C> = (&'a Item<C>, Option<Failure>);

/// Messages to be parked, by where they find room.
pub(super) struct Divided<'a, C> {
    pub(super) in_table: Vec<Parked<'a, C>>,
    /// They stand on their dead letter topic alone.
    pub(super) on_topic: Vec<Parked<'a, C>>,
    added: Waiting,
}

impl<A: Application> Handler<A> {
    /// Sees to it that the messages find room. Dead ones, and what waits behind a dead one, have a share of the table
    /// that they cannot leave; the others have one that partitions wait for.
    ///
    /// # Errors
    /// An outage: so many messages wait to be tried again that these have to stay in their partitions.
    pub(super) async fn divide<'a>(
        &self,
        unit: &mut UnitOfWork,
        parks: Vec<Parked<'a, A::Command>>,
        now: Timestamp,
    ) -> Result<Divided<'a, A::Command>, Fault> {
        let max = self.settings.parked_messages_max;
        let waiting = self.waiting(unit).await?;
        let mut added = Waiting::default();
        let (mut in_table, mut on_topic) = (Vec::with_capacity(parks.len()), Vec::new());
        let mut stopped = HashSet::new();
        if waiting.stopped + i64::try_from(parks.len()).unwrap_or(i64::MAX) > max {
            let messages: Vec<_> = parks.iter().map(|(item, _)| &item.message).collect();
            stopped = parking::stopped_keys(unit.connection(), &messages).await?;
        }
        // Keys whose dead message found no room: what is behind it in this batch has nothing to wait for.
        let mut without_first: HashSet<Key> = HashSet::new();
        for (item, failure) in parks {
            let key = stored::key(&item.message);
            let failure = match (failure, &item.meaning) {
                (None, Err(error)) if without_first.contains(&key) => Some(Failure::undecodable(error)),
                (failure, _) => failure,
            };
            let verdict = failure.as_ref().map(|failure| failure.verdict(1, &self.settings, now));
            let is_dead = verdict == Some(Verdict::Dead);
            if !is_dead && !stopped.contains(&key) {
                without_first.remove(&key);
                added.retried += 1;
                in_table.push((item, failure));
            } else if waiting.stopped + added.stopped < max {
                stopped.insert(key);
                added.stopped += 1;
                in_table.push((item, failure));
            } else {
                if is_dead && !stopped.contains(&key) {
                    without_first.insert(key);
                }
                on_topic.push((item, Some(failure.unwrap_or_else(Failure::behind_dead))));
            }
        }
        if added.retried > 0 && waiting.retried >= max {
            let detail =
                format!("{} messages wait to be tried again, the bound (parked_messages_max)", waiting.retried);
            return Err(Fault::outage(PARKING, detail));
        }
        Ok(Divided { in_table, on_topic, added })
    }

    /// What was divided is committed.
    pub(super) fn note_divided(&self, divided: &Divided<'_, A::Command>) {
        self.counted.add(divided.added);
    }

    /// Whether one more dead message finds room.
    pub(super) async fn has_room_for_dead(&self, unit: &mut UnitOfWork) -> Result<bool, Fault> {
        Ok(self.waiting(unit).await?.stopped < self.settings.parked_messages_max)
    }

    async fn waiting(&self, unit: &mut UnitOfWork) -> Result<Waiting, Fault> {
        if let Some(waiting) = self.counted.fresh() {
            return Ok(waiting);
        }
        let at = Instant::now();
        let waiting = parking::waiting(unit.connection()).await?;
        self.counted.set(at, waiting);
        Ok(waiting)
    }
}
