//! One message to a customer, from the decision to its end.
//!
//! ```text
//! new ──► SUPPRESSED              not wanted, or no address
//!     ├─► SENT                    handed over within the same transaction (history)
//!     └─► REQUESTED ──► SENT      handed over by the delivery worker
//!              └──────► FAILED    refused, or attempts used up
//! SENT, FAILED, SUPPRESSED ──resend──► as new, one round later
//! ```

use openorder_types::{Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{Channel, Delivery, DeliveryOutcome, Kind, Notice, Preferences, Recipient, Status, render};

/// When a message leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// In the transaction that decides it: the message is kept in the history and nothing leaves the machine.
    AtOnce,
    /// Later, by the delivery worker.
    ByWorker,
}

/// When the messages of each channel leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handovers {
    /// Mail.
    pub email: Handover,
    /// Text messages.
    pub sms: Handover,
    /// Messages in the app.
    pub push: Handover,
}

impl Handovers {
    /// That of one channel.
    #[must_use]
    pub const fn of(&self, channel: Channel) -> Handover {
        match channel {
            Channel::Email => self.email,
            Channel::Sms => self.sms,
            Channel::Push => self.push,
        }
    }
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// UUID version 7.
    pub notification_id: Uuid,
    /// The order that it is about.
    pub order_id: Uuid,
    /// Whom it is for.
    pub user_id: UserId,
    /// What it is about.
    pub kind: Kind,
    /// How it goes.
    pub channel: Channel,
    /// Where it stands.
    pub status: Status,
    /// Where it goes, if there is an address.
    pub recipient: Option<Recipient>,
    /// Its subject line; empty where the channel has none.
    pub subject: String,
    /// Its text.
    pub body: String,
    /// 1, and one more each time that it is sent again on request.
    pub round: i32,
    /// How often sending was tried, in all rounds.
    pub attempts: i32,
    /// How often sending was tried in this round.
    pub round_attempts: i32,
    /// Why it failed or was suppressed, in stable `UPPER_SNAKE`; else empty.
    pub failure_reason: String,
    /// W3C trace context of the work that made it.
    pub traceparent: String,
    /// 1 for a new one, one more for every change.
    pub version: i64,
    /// Version in its stream of events.
    pub event_version: i64,
    /// When it was decided.
    pub create_time: Timestamp,
    /// When the round began.
    pub request_time: Timestamp,
    /// When it was handed over.
    pub send_time: Option<Timestamp>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
}

impl Notification {
    /// Decides what becomes of a fact over one channel: a message to be sent, or one that is not wanted and stays in
    /// the history.
    #[must_use]
    pub fn decide(
        notification_id: Uuid,
        channel: Channel,
        notice: &Notice,
        preferences: &Preferences,
        handover: Handover,
        traceparent: String,
        now: Timestamp,
    ) -> Self {
        let message = render(notice, channel);
        let recipient = preferences.recipient(channel, notice);
        let missing = recipient.is_none().then_some("RECIPIENT_MISSING");
        let mut notification = Self {
            notification_id,
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
            traceparent,
            version: 1,
            event_version: 0,
            create_time: now,
            request_time: now,
            send_time: None,
            next_attempt_at: None,
        };
        let objection = preferences.objection(channel, notice.kind);
        match objection.or(missing) {
            Some(reason) => {
                notification.status = Status::Suppressed;
                reason.clone_into(&mut notification.failure_reason);
            }
            None => notification.hand_over(handover, now),
        }
        notification
    }

    /// Starts another round, whatever the preferences say: somebody asked for it.
    ///
    /// # Errors
    /// `NOTIFICATION_IN_PROGRESS` while it is being sent, `RECIPIENT_MISSING` without an address.
    pub fn resend(&mut self, handover: Handover, now: Timestamp) -> Result<(), Rejection> {
        if self.status == Status::Requested {
            let text = "the notification is being sent already";
            return Err(self.refusal("NOTIFICATION_IN_PROGRESS", text));
        }
        if self.recipient.is_none() {
            return Err(self.refusal("RECIPIENT_MISSING", "there is no address that it could be sent to"));
        }
        self.round += 1;
        self.round_attempts = 0;
        self.failure_reason.clear();
        self.version += 1;
        self.hand_over(handover, now);
        Ok(())
    }

    /// Takes note of an attempt. `attempts_max` bounds the attempts of a round.
    ///
    /// # Errors
    /// `DELIVERY_OUTDATED` when the notification is not waiting for this result any more.
    pub fn delivered(&mut self, delivery: &Delivery, attempts_max: i32) -> Result<(), Rejection> {
        if self.status != Status::Requested || self.round != delivery.round {
            return Err(self.refusal("DELIVERY_OUTDATED", "nobody waits for the result of this attempt"));
        }
        self.attempts += 1;
        self.round_attempts += 1;
        self.version += 1;
        match &delivery.outcome {
            DeliveryOutcome::Accepted => self.sent(delivery.ended_at),
            DeliveryOutcome::TryLater { .. } if self.round_attempts < attempts_max => {
                self.next_attempt_at = Some(delivery.retry_at);
            }
            DeliveryOutcome::TryLater { .. } => self.failed("ATTEMPTS_EXHAUSTED"),
            DeliveryOutcome::Refused { reason, .. } => self.failed(reason),
        }
        Ok(())
    }

    fn hand_over(&mut self, handover: Handover, now: Timestamp) {
        self.event_version += 1;
        self.request_time = now;
        match handover {
            Handover::AtOnce => {
                self.attempts += 1;
                self.round_attempts += 1;
                self.status = Status::Sent;
                self.send_time = Some(now);
            }
            Handover::ByWorker => {
                self.status = Status::Requested;
                self.send_time = None;
                self.next_attempt_at = Some(now);
            }
        }
    }

    fn sent(&mut self, now: Timestamp) {
        self.event_version += 1;
        self.status = Status::Sent;
        self.send_time = Some(now);
        self.next_attempt_at = None;
    }

    fn failed(&mut self, reason: &str) {
        self.event_version += 1;
        self.status = Status::Failed;
        reason.clone_into(&mut self.failure_reason);
        self.next_attempt_at = None;
    }

    fn refusal(&self, reason: &'static str, text: &str) -> Rejection {
        Rejection::failed_precondition(reason, text).with("notification_id", self.notification_id)
    }
}

/// There is no such notification.
#[must_use]
pub fn not_found(notification_id: Uuid) -> Rejection {
    Rejection::not_found("NOTIFICATION_NOT_FOUND", "there is no such notification")
        .with("notification_id", notification_id)
}

#[cfg(test)]
mod tests;
