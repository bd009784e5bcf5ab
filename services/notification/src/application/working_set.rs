//! What a batch works on: loaded at once, decided one by one, written at once.

use std::collections::{BTreeSet, HashSet};

use openorder_messaging::{Envelope, UnitOfWork};
use openorder_service::NewEvents;
use openorder_types::{Fault, Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::{
    application::{NotificationReply, events},
    domain::{AttemptResult, Command, Decision, Event, Handovers, Notification, State, decide, evolve},
    persistence::{self, Attempt},
    present,
};

type Outcome = Result<NotificationReply, Rejection>;

pub(crate) struct WorkingSet {
    state: State,
    changed_preferences: BTreeSet<UserId>,
    changed_notifications: BTreeSet<Uuid>,
    /// With the index of the command that made it.
    new: Vec<(Uuid, usize)>,
    /// Each with its number over all rounds of its notification.
    attempts: Vec<Attempt>,
    /// Users that are nobody any more.
    forgotten: BTreeSet<String>,
    /// Of notifications that existed before.
    events: NewEvents,
    rules: Rules,
    now: Timestamp,
}

/// What the settings say about deliveries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// When the messages of each channel leave.
    pub(crate) handovers: Handovers,
    /// Attempts of a round at most.
    pub(crate) attempts_max: i32,
}

impl WorkingSet {
    /// Locks notifications first, then preferences, each sorted: no two transactions wait for each other in a circle.
    /// Preferences are locked only by those who change them.
    pub(crate) async fn load(
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
        rules: Rules,
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
            state: State {
                preferences: preferences.into_iter().map(|one| (one.user_id.clone(), one)).collect(),
                notifications: notifications.into_iter().map(|one| (one.notification_id, one)).collect(),
            },
            changed_preferences: BTreeSet::new(),
            changed_notifications: BTreeSet::new(),
            new: Vec::new(),
            attempts: Vec::new(),
            forgotten: BTreeSet::new(),
            events: NewEvents::default(),
            rules,
            now: unit.now(),
        })
    }

    /// Decides one command, whose index in the batch this is, on what the commands before it have left.
    pub(crate) fn execute(&mut self, index: usize, envelope: &Envelope<'_, Command>) -> Outcome {
        self.events.begin_command(index);
        let traceparent = match envelope.command {
            Command::Notify(_) => envelope.trace.traceparent(),
            _ => String::new(),
        };
        let Rules { handovers, attempts_max } = self.rules;
        let context = Decision { now: self.now, handovers, attempts_max, traceparent: &traceparent };
        for event in decide(&self.state, envelope.command, &context)? {
            self.apply(event);
        }
        if let Command::Forget { user_id } = envelope.command {
            self.forgotten.insert(user_id.to_string());
        }
        if let Command::Delivered(delivery) = envelope.command
            && let Some(one) = self.state.notifications.get(&delivery.notification_id)
        {
            self.attempts.push(Attempt { number: one.attempts, delivery: delivery.as_ref().clone() });
        }
        Ok(self.reply(envelope.command))
    }

    fn apply(&mut self, event: Event) {
        let published = match &event {
            Event::Decided(one) => {
                self.new.push((one.notification_id, self.events.command_index()));
                None
            }
            Event::PreferencesChanged(preferences) => {
                self.changed_preferences.insert(preferences.user_id.clone());
                None
            }
            Event::RoundBegun { notification_id, .. } => {
                self.changed_notifications.insert(*notification_id);
                Some(*notification_id)
            }
            Event::AttemptEnded { notification_id, result, .. } => {
                self.changed_notifications.insert(*notification_id);
                (!matches!(result, AttemptResult::RetryAt(_))).then_some(*notification_id)
            }
        };
        evolve(&mut self.state, event);
        if let Some(one) = published.and_then(|id| self.state.notifications.get(&id)) {
            events::publish(&mut self.events, one);
        }
    }

    fn reply(&self, command: &Command) -> NotificationReply {
        match command {
            Command::UpdatePreferences { user_id, .. } => {
                let preferences = self.state.preferences.get(user_id).map(present::preferences);
                preferences.map_or(NotificationReply::Noted, NotificationReply::Preferences)
            }
            Command::Resend { notification_id } => {
                let one = self.state.notifications.get(notification_id).map(present::notification);
                one.map_or(NotificationReply::Noted, NotificationReply::Notification)
            }
            Command::Notify(_) | Command::Delivered(_) | Command::Forget { .. } => NotificationReply::Noted,
        }
    }

    /// Writes what changed and hands the events to the unit of work. Returns the notifications that are new: one of
    /// an order, kind and channel that was there already is dropped, so that a doubled event doubles no mail.
    pub(crate) async fn save(mut self, unit: &mut UnitOfWork) -> Result<Vec<(Notification, usize)>, Fault> {
        let changed = self.changed_preferences.iter().filter_map(|user| self.state.preferences.get(user));
        persistence::save_preferences(unit.connection(), &changed.collect::<Vec<_>>()).await?;
        let changed = self.changed_notifications.iter().filter_map(|id| self.state.notifications.get(id));
        persistence::update_notifications(unit.connection(), &changed.collect::<Vec<_>>()).await?;
        persistence::insert_attempts(unit.connection(), &self.attempts).await?;
        let forgotten = std::mem::take(&mut self.forgotten).into_iter().collect();
        persistence::forget_recipients(unit.connection(), forgotten).await?;
        let new = self.new.into_iter().filter_map(|(id, index)| Some((self.state.notifications.remove(&id)?, index)));
        let (new, indexes): (Vec<Notification>, Vec<usize>) = new.unzip();
        let inserted = persistence::insert_notifications(unit.connection(), &new).await?;
        let inserted: HashSet<Uuid> = inserted.into_iter().collect();
        let new: Vec<_> =
            new.into_iter().zip(indexes).filter(|(one, _)| inserted.contains(&one.notification_id)).collect();
        for (one, index) in &new {
            self.events.begin_command(*index);
            events::publish(&mut self.events, one);
        }
        self.events.append_to(unit);
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
    fn of(batch: &[Envelope<'a, Command>]) -> Self {
        let mut wanted = Self::default();
        for envelope in batch {
            match envelope.command {
                Command::Notify(notice) => drop(wanted.read.insert(notice.user_id.as_str())),
                Command::UpdatePreferences { user_id, .. } | Command::Forget { user_id } => {
                    wanted.write.insert(user_id.as_str());
                }
                Command::Resend { notification_id } => drop(wanted.notifications.insert(*notification_id)),
                Command::Delivered(delivery) => drop(wanted.notifications.insert(delivery.notification_id)),
            }
        }
        wanted
    }
}
