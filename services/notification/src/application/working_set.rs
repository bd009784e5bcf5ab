//! What a batch works on: loaded at once, decided one by one, written at once.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::SubsecRound;
use openorder_messaging::{Envelope, NewEvent, UnitOfWork};
use openorder_types::{Fault, Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::{
    application::{NotificationReply, events},
    domain::{Command, Delivery, Handovers, Notice, Notification, Preferences, PreferencesChange, not_found},
    persistence, present,
};

type Outcome = Result<NotificationReply, Rejection>;

/// The preferences and notifications of a batch.
pub(crate) struct WorkingSet<'a> {
    preferences: HashMap<UserId, Preferences>,
    notifications: HashMap<Uuid, Notification>,
    changed_preferences: BTreeSet<UserId>,
    changed_notifications: BTreeSet<Uuid>,
    /// With the index of the command that made it.
    new: Vec<(Notification, usize)>,
    attempts: Vec<(i32, &'a Delivery)>,
    /// Of notifications that existed before.
    events: Vec<NewEvent>,
    handovers: Handovers,
    attempts_max: i32,
    now: Timestamp,
}

impl<'a> WorkingSet<'a> {
    /// Locks notifications first, then preferences, each sorted: no two transactions wait for each other in a circle.
    /// Preferences are locked only by those who change them.
    pub(crate) async fn load(
        unit: &mut UnitOfWork,
        batch: &[Envelope<Command>],
        handovers: Handovers,
        attempts_max: i32,
    ) -> Result<Self, Fault> {
        let wanted = Wanted::of(batch);
        let mut notifications = Vec::new();
        if !wanted.notifications.is_empty() {
            let ids: Vec<Uuid> = wanted.notifications.into_iter().collect();
            notifications = persistence::lock_notifications(unit.connection(), &ids).await?;
        }
        let mut preferences = Vec::new();
        if !wanted.read.is_empty() {
            let users: Vec<&str> = wanted.read.into_iter().collect();
            preferences = persistence::find_preferences(unit.connection(), &users).await?;
        }
        if !wanted.write.is_empty() {
            let users: Vec<&str> = wanted.write.into_iter().collect();
            // What is locked is newer than what was read.
            preferences.extend(persistence::lock_preferences(unit.connection(), &users).await?);
        }
        Ok(Self {
            preferences: preferences.into_iter().map(|one| (one.user_id.clone(), one)).collect(),
            notifications: notifications.into_iter().map(|one| (one.notification_id, one)).collect(),
            changed_preferences: BTreeSet::new(),
            changed_notifications: BTreeSet::new(),
            new: Vec::new(),
            attempts: Vec::new(),
            events: Vec::new(),
            handovers,
            attempts_max,
            // PostgreSQL keeps microseconds: what is answered now is what is read later.
            now: unit.now().trunc_subsecs(6),
        })
    }

    /// Decides one command on what the commands before it have left.
    pub(crate) fn decide(&mut self, envelope: &'a Envelope<Command>, cause: usize) -> Outcome {
        match &envelope.command {
            Command::Notify(notice) => {
                self.notify(notice, envelope.trace.traceparent(), cause);
                Ok(NotificationReply::Noted)
            }
            Command::UpdatePreferences { user_id, change } => Ok(self.update_preferences(user_id, change)),
            Command::Resend { notification_id } => self.resend(*notification_id, cause),
            Command::Delivered(delivery) => self.delivered(delivery, cause),
        }
    }

    fn notify(&mut self, notice: &Notice, traceparent: String, cause: usize) {
        let unsaid;
        let preferences = match self.preferences.get(&notice.user_id) {
            Some(preferences) => preferences,
            None => {
                unsaid = Preferences::default_of(notice.user_id.clone());
                &unsaid
            }
        };
        for channel in preferences.channels() {
            let (id, handover) = (Uuid::now_v7(), self.handovers.of(channel));
            let trace = traceparent.clone();
            let made = Notification::decide(id, channel, notice, preferences, handover, trace, self.now);
            self.new.push((made, cause));
        }
    }

    fn update_preferences(&mut self, user_id: &UserId, change: &PreferencesChange) -> NotificationReply {
        let now = self.now;
        let preferences =
            self.preferences.entry(user_id.clone()).or_insert_with(|| Preferences::default_of(user_id.clone()));
        let next = preferences.changed(change, now);
        if next != *preferences {
            *preferences = next;
            self.changed_preferences.insert(user_id.clone());
        }
        NotificationReply::Preferences(present::preferences(preferences))
    }

    fn resend(&mut self, id: Uuid, cause: usize) -> Outcome {
        let one = self.notifications.get_mut(&id).ok_or_else(|| not_found(id))?;
        one.resend(self.handovers.of(one.channel), self.now)?;
        self.events.extend(events::of(one, cause));
        self.changed_notifications.insert(id);
        Ok(NotificationReply::Notification(present::notification(one)))
    }

    fn delivered(&mut self, delivery: &'a Delivery, cause: usize) -> Outcome {
        let id = delivery.notification_id;
        let one = self.notifications.get_mut(&id).ok_or_else(|| not_found(id))?;
        let told = one.event_version;
        one.delivered(delivery, self.attempts_max)?;
        self.attempts.push((one.attempts, delivery));
        if one.event_version > told {
            self.events.extend(events::of(one, cause));
        }
        self.changed_notifications.insert(id);
        Ok(NotificationReply::Noted)
    }

    /// Writes what changed and hands the events to the unit of work. Returns the notifications that are new: one of
    /// an order, kind and channel that stood there already is dropped, so that a doubled event doubles no mail.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<Vec<(Notification, usize)>, Fault> {
        let changed = self.changed_preferences.iter().filter_map(|user| self.preferences.get(user));
        persistence::save_preferences(unit.connection(), &changed.collect::<Vec<_>>()).await?;
        let changed = self.changed_notifications.iter().filter_map(|id| self.notifications.get(id));
        persistence::update_notifications(unit.connection(), &changed.collect::<Vec<_>>()).await?;
        persistence::insert_attempts(unit.connection(), &self.attempts).await?;
        let (new, causes): (Vec<Notification>, Vec<usize>) = self.new.into_iter().unzip();
        let inserted = persistence::insert_notifications(unit.connection(), &new).await?;
        let inserted: HashSet<Uuid> = inserted.into_iter().collect();
        let new: Vec<_> =
            new.into_iter().zip(causes).filter(|(one, _)| inserted.contains(&one.notification_id)).collect();
        for event in self.events.into_iter().chain(new.iter().filter_map(|(one, cause)| events::of(one, *cause))) {
            unit.append(event);
        }
        Ok(new)
    }
}

/// What a batch has to load.
#[derive(Default)]
struct Wanted<'a> {
    notifications: BTreeSet<Uuid>,
    read: BTreeSet<&'a str>,
    write: BTreeSet<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(batch: &'a [Envelope<Command>]) -> Self {
        let mut wanted = Self::default();
        for envelope in batch {
            match &envelope.command {
                Command::Notify(notice) => drop(wanted.read.insert(notice.user_id.as_str())),
                Command::UpdatePreferences { user_id, .. } => drop(wanted.write.insert(user_id.as_str())),
                Command::Resend { notification_id } => drop(wanted.notifications.insert(*notification_id)),
                Command::Delivered(delivery) => drop(wanted.notifications.insert(delivery.notification_id)),
            }
        }
        wanted
    }
}
