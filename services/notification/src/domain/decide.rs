//! From a state and a command to the facts that follow, and from those to the next state. Pure: time and settings arrive
//! in [`Decision`], ids in the command.

use std::collections::HashMap;

use openorder_types::{Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{
    AttemptResult, Channel, Command, Delivery, DeliveryOutcome, Event, Handovers, Notice, Notification, Preferences,
    PreferencesChange, Status, rejection, render,
};

/// Preferences and notifications that commands are decided on. Who has no preferences has those of
/// [`Preferences::default_of`]; a notification that is missing does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// By their user.
    pub preferences: HashMap<UserId, Preferences>,
    pub notifications: HashMap<Uuid, Notification>,
}

impl State {
    fn find(&self, notification_id: Uuid) -> Result<&Notification, Rejection> {
        self.notifications.get(&notification_id).ok_or_else(|| rejection::not_found(notification_id))
    }
}

/// What a decision depends on besides the state.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    pub now: Timestamp,
    /// When the messages of each channel leave.
    pub handovers: Handovers,
    /// Attempts of a round at most.
    pub attempts_max: i32,
    /// W3C trace context that a new notification keeps.
    pub traceparent: &'a str,
}

/// Decides one command. No events: nothing would change.
///
/// # Errors
/// `NOTIFICATION_NOT_FOUND`, `NOTIFICATION_IN_PROGRESS`, `RECIPIENT_MISSING`, `DELIVERY_OUTDATED`; then nothing changes.
pub fn decide(state: &State, command: &Command, context: &Decision<'_>) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Notify(notice) => Ok(notify(state, notice, context)),
        Command::UpdatePreferences { user_id, change } => {
            let stored = state.preferences.get(user_id);
            let next = match stored {
                Some(preferences) => preferences.changed(change, context.now),
                None => Preferences::default_of(user_id.clone()).changed(change, context.now),
            };
            let is_change = stored != Some(&next);
            Ok(is_change.then(|| Event::PreferencesChanged(Box::new(next))).into_iter().collect())
        }
        Command::Forget { user_id } => {
            let stored = state.preferences.get(user_id);
            let next = stored.map(|preferences| preferences.changed(&PreferencesChange::forgetting(), context.now));
            let changed = next.filter(|next| stored != Some(next));
            Ok(changed.map(|next| Event::PreferencesChanged(Box::new(next))).into_iter().collect())
        }
        Command::Resend { notification_id } => Ok(vec![resend(state.find(*notification_id)?, context)?]),
        Command::Delivered(delivery) => {
            Ok(vec![end_attempt(state.find(delivery.notification_id)?, delivery, context.attempts_max)?])
        }
    }
}

/// One notification for each channel that the user may want to hear of the order by.
fn notify(state: &State, notice: &Notice, context: &Decision<'_>) -> Vec<Event> {
    let default;
    let preferences = match state.preferences.get(&notice.user_id) {
        Some(preferences) => preferences,
        None => {
            default = Preferences::default_of(notice.user_id.clone());
            &default
        }
    };
    let channels = preferences.channels();
    channels.map(|channel| Event::Decided(Box::new(notification(channel, notice, preferences, context)))).collect()
}

/// A message to be sent over one channel, or one that is not wanted and stays in the history.
fn notification(channel: Channel, notice: &Notice, preferences: &Preferences, context: &Decision<'_>) -> Notification {
    let message = render(notice, channel);
    let recipient = preferences.recipient(channel, notice);
    let missing = recipient.is_none().then_some("RECIPIENT_MISSING");
    let mut notification = Notification {
        notification_id: notice.notification_ids.of(channel),
        order_id: notice.order_id,
        user_id: notice.user_id.clone(),
        kind: notice.kind,
        channel,
        status: Status::Requested,
        recipient,
        subject: message.subject,
        body: message.body,
        round: 1,
        attempts: 0,
        round_attempts: 0,
        failure_reason: String::new(),
        traceparent: context.traceparent.to_owned(),
        version: 1,
        event_version: 0,
        create_time: context.now,
        request_time: context.now,
        send_time: None,
        next_attempt_at: None,
    };
    match preferences.objection(channel, notice.kind).or(missing) {
        Some(reason) => notification.suppress(reason),
        None => notification.hand_over(context.handovers.of(channel), context.now),
    }
    notification
}

/// Starts another round, whatever the preferences say: somebody asked for it.
fn resend(one: &Notification, context: &Decision<'_>) -> Result<Event, Rejection> {
    let notification_id = one.notification_id;
    if one.status == Status::Requested {
        return Err(rejection::in_progress(notification_id));
    }
    if one.recipient.is_none() {
        return Err(rejection::recipient_missing(notification_id));
    }
    Ok(Event::RoundBegun { notification_id, handover: context.handovers.of(one.channel), time: context.now })
}

fn end_attempt(one: &Notification, delivery: &Delivery, attempts_max: i32) -> Result<Event, Rejection> {
    let notification_id = one.notification_id;
    if one.status != Status::Requested || one.round != delivery.round {
        return Err(rejection::delivery_outdated(notification_id));
    }
    let result = match &delivery.outcome {
        DeliveryOutcome::Accepted => AttemptResult::Sent,
        DeliveryOutcome::TryLater { .. } if one.round_attempts + 1 < attempts_max => {
            AttemptResult::RetryAt(delivery.retry_at)
        }
        DeliveryOutcome::TryLater { .. } => AttemptResult::Failed("ATTEMPTS_EXHAUSTED"),
        DeliveryOutcome::Refused { reason, .. } => AttemptResult::Failed(reason),
    };
    Ok(Event::AttemptEnded { notification_id, result, time: delivery.ended_at })
}

/// Applies an event to the state that it was decided on. A notification that the state lacks is not changed.
pub fn evolve(state: &mut State, event: Event) {
    match event {
        Event::Decided(one) => {
            state.notifications.insert(one.notification_id, *one);
        }
        Event::RoundBegun { notification_id, handover, time } => {
            if let Some(one) = state.notifications.get_mut(&notification_id) {
                one.begin_round(handover, time);
            }
        }
        Event::AttemptEnded { notification_id, result, time } => {
            if let Some(one) = state.notifications.get_mut(&notification_id) {
                one.end_attempt(result, time);
            }
        }
        Event::PreferencesChanged(preferences) => {
            state.preferences.insert(preferences.user_id.clone(), *preferences);
        }
    }
}

#[cfg(test)]
mod tests;
