//! Handing a service events that another one's log holds.

use std::collections::HashSet;

use openorder_types::{CallError, Rejection, Timestamp};
use uuid::Uuid;

use super::Desk;
use crate::{
    LoggedEvent, Received,
    consumer::{
        inbox::Claim,
        parking::{self, Park},
        receive::{self, Place},
        stored::RecordTime,
    },
    headers::HeaderWriter,
    locks::AdvisoryLock,
};

/// Partition of a message that did not come by Kafka.
const NO_PARTITION: i32 = -1;

/// What became of events that were handed over; together they are all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redelivered {
    /// Put to the retries, due now.
    pub accepted: u32,
    /// Applied, parked or dead already: the inbox knows them.
    pub known: u32,
}

impl Desk {
    /// Puts events of the service `source` to this service's retries, due now and in the order given; those that the
    /// inbox knows are dropped. At most [`Self::PAGE_MAX`] events a call. Asking again is safe.
    ///
    /// Events of a key keep the order among themselves. An event that is still on its way through Kafka may be
    /// overtaken: ask for events that the group's lag has passed.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` `TOPIC_NOT_CONSUMED` when the service does not consume one of the topics;
    /// `RESOURCE_EXHAUSTED` `PARKED_MESSAGES_MAX` when there is no room; an outage of the database.
    pub async fn redeliver(&self, source: &str, events: &[LoggedEvent]) -> Result<Redelivered, CallError> {
        let consumed = self.backbone.consumed();
        let known = |topic: &str| consumed.is_some_and(|consumed| consumed.topics.contains(&topic));
        if let Some(event) = events.iter().find(|event| !known(&event.topic)) {
            return Err(not_consumed(&event.topic).into());
        }
        if events.len() > Self::PAGE_MAX as usize {
            let description = format!("must be at most {}", Self::PAGE_MAX);
            return Err(Rejection::invalid_field("events", "TOO_MANY", description).into());
        }
        let mut unit = self.begin().await?;
        let now = unit.now();
        // Alone, by a statement of its own: what consumers have taken over by now is seen, and they see this.
        sqlx::query("select pg_advisory_xact_lock($1)")
            .bind(AdvisoryLock::Inbox.number())
            .execute(unit.connection())
            .await?;
        // Some may have come in a form that does not say their positions.
        let ids: Vec<Uuid> = events.iter().map(|event| event.event_id).collect();
        let by_row: Vec<Uuid> = sqlx::query_scalar("select event_id from inbox where event_id = any($1)")
            .bind(ids)
            .fetch_all(unit.connection())
            .await?;
        let by_row: HashSet<Uuid> = by_row.into_iter().collect();
        let unknown: Vec<&LoggedEvent> = events.iter().filter(|event| !by_row.contains(&event.event_id)).collect();
        let claims: Vec<Claim<'_>> = unknown
            .iter()
            .map(|event| Claim {
                event_id: event.event_id,
                topic: &event.topic,
                partition: NO_PARTITION,
                place: Some((source, event.position)),
            })
            .collect();
        let is_new = self.backbone.inbox().claim(unit.connection(), &claims, now).await?;
        let mut writer = HeaderWriter::new(source);
        let messages: Vec<(Received, Timestamp)> = unknown
            .into_iter()
            .zip(is_new)
            .filter(|(_, is_new)| *is_new)
            .map(|(event, _)| (message(&mut writer, event), event.occurred_at))
            .collect();
        let parked_max = consumed.map_or(0, |consumed| consumed.settings.parked_messages_max);
        let waiting = parking::waiting(unit.connection()).await?;
        if waiting.retried + messages.len() as i64 > parked_max {
            let message = "as many messages wait to be tried again as may; wait until there are fewer";
            return Err(Rejection::resource_exhausted("PARKED_MESSAGES_MAX", message).into());
        }
        let rows: Vec<Park<'_>> = messages
            .iter()
            .map(|(message, at)| Park { message, recorded: RecordTime { at: *at, by_broker: false }, failed: None })
            .collect();
        parking::park(unit.connection(), &rows, now).await?;
        unit.commit().await?;
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        Ok(Redelivered { accepted: count(rows.len()), known: count(events.len() - rows.len()) })
    }
}

fn not_consumed(topic: &str) -> Rejection {
    let message = "the consumer group does not consume this topic";
    Rejection::failed_precondition("TOPIC_NOT_CONSUMED", message).with("topic", topic)
}

/// The event as the relay publishes it; its place is its position in the source's log.
fn message(writer: &mut HeaderWriter, event: &LoggedEvent) -> Received {
    let key = event.key.to_string().into();
    let place = Place { topic: event.topic.clone(), partition: NO_PARTITION, offset: event.position };
    receive::from_parts(place, key, event.payload.clone(), writer.raw_headers(event), None)
}
