//! The use cases: load what the batch needs, decide each command in order, write all.

mod events;
mod reply;
mod working_set;

use std::time::SystemTime;

use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_telemetry::{
    RoleTelemetry, SpanKind,
    api::{Counter, KeyValue},
    meter,
};
use openorder_types::Fault;

pub use reply::NotificationReply;

use crate::{
    application::working_set::{Rules, WorkingSet},
    config::NotificationSettings,
    domain::{Channel, Command, Notification, Status},
};

pub struct Notifications {
    telemetry: RoleTelemetry,
    rules: Rules,
    notifications: Counter<u64>,
}

impl Notifications {
    /// `settings` say which channels leave the machine.
    pub fn new(telemetry: RoleTelemetry, settings: &NotificationSettings) -> Self {
        let notifications = meter()
            .u64_counter("openorder.notification.decisions")
            .with_description("Notifications by what was decided about them at first.")
            .build();
        let rules = Rules { handovers: settings.handovers(), attempts_max: settings.delivery.attempts_max };
        Self { telemetry, rules, notifications }
    }

    /// The last span of an order's trace: the message is in the history, which is where this transport delivers to.
    fn trace(&self, made: &Notification, envelope: &Envelope<'_, Command>, started: SystemTime) {
        let attributes = [
            KeyValue::new("channel", made.channel.as_str()),
            KeyValue::new("kind", made.kind.as_str()),
            KeyValue::new("status", made.status.as_str()),
        ];
        self.notifications.add(1, &attributes);
        if made.status != Status::Sent {
            return;
        }
        let name = || deliver_span_name(made.channel).into();
        let mut span = self.telemetry.start_at(SpanKind::Producer, name, envelope.trace, started);
        if span.is_recording() {
            span.set("messaging.message.conversation_id", made.order_id.to_string());
            span.set("openorder.notification.id", made.notification_id.to_string());
            span.set("openorder.notification.kind", made.kind.as_str());
            span.set("openorder.notification.transport", "record");
        }
        span.end();
    }
}

/// Name of the span around a delivery.
pub(crate) fn deliver_span_name(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "deliver email",
        Channel::Sms => "deliver sms",
        Channel::Push => "deliver push",
    }
}

impl Application for Notifications {
    type Command = Command;
    type Reply = NotificationReply;

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
    ) -> Result<Outcomes<NotificationReply>, Fault> {
        let started = SystemTime::now();
        let mut set = WorkingSet::load(unit, batch, self.rules).await?;
        let outcomes = batch.iter().enumerate().map(|(index, envelope)| set.execute(index, envelope)).collect();
        for (made, index) in set.save(unit).await? {
            if let Some(envelope) = batch.get(index) {
                self.trace(&made, envelope, started);
            }
        }
        Ok(outcomes)
    }
}
