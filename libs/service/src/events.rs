//! The events of a batch, on their way from the decisions to the unit of work.

use openorder_messaging::{NewEvent, UnitOfWork};
use openorder_proto::EventMessage;
use openorder_types::AggregateId;

/// The aggregate that an event belongs to, at the version that the event made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    kind: &'static str,
    id: AggregateId,
    version: i64,
    key: Option<AggregateId>,
}

impl Aggregate {
    /// `kind` is what it is, such as `order`: ids of different kinds may be the same. Versions count from 1 without gaps
    /// in each topic. Events keep their order by the id.
    pub fn new(kind: &'static str, id: impl Into<AggregateId>, version: i64) -> Self {
        Self { kind, id: id.into(), version, key: None }
    }

    /// Has its events keep their order by this key, among those of other aggregates with it.
    #[must_use]
    pub fn keyed_by(self, key: impl Into<AggregateId>) -> Self {
        Self { key: Some(key.into()), ..self }
    }
}

/// Events of a batch in the order in which they were decided.
///
/// A working set collects them while it decides, without the database, and hands them to the unit of work when its
/// changes are written.
#[derive(Debug, Default)]
pub struct NewEvents {
    events: Vec<NewEvent>,
    command_index: usize,
}

impl NewEvents {
    /// What is appended from now on follows from the command with this index in the batch: it joins its trace.
    pub fn begin_command(&mut self, index: usize) {
        self.command_index = index;
    }

    /// The index of the command that was begun last.
    pub fn command_index(&self) -> usize {
        self.command_index
    }

    /// Appends the event that `message` is.
    pub fn append<M: EventMessage>(&mut self, message: &M, aggregate: Aggregate) {
        self.append_because(message, aggregate, "");
    }

    /// As [`Self::append`]; the event's span says why it happened, in stable `UPPER_SNAKE`.
    pub fn append_because<M: EventMessage>(&mut self, message: &M, aggregate: Aggregate, reason: &str) {
        self.events.push(NewEvent {
            event_type: M::EVENT_TYPE,
            topic: M::TOPIC,
            key: aggregate.key,
            aggregate_type: aggregate.kind,
            aggregate_id: aggregate.id,
            aggregate_version: aggregate.version,
            payload: message.encode_to_vec().into(),
            reason: reason.to_owned(),
            command_index: self.command_index,
        });
    }

    /// Hands the events to the unit of work.
    pub fn append_to(self, unit: &mut UnitOfWork) {
        for event in self.events {
            unit.append(event);
        }
    }

    /// What was appended, in order.
    pub fn as_slice(&self) -> &[NewEvent] {
        &self.events
    }
}

#[cfg(test)]
mod tests {
    use openorder_proto::{event_types, order::v1::OrderPaid, topics};

    use super::*;

    #[test]
    fn an_event_is_its_message_of_its_aggregate_and_its_command() {
        let mut events = NewEvents::default();
        let message = OrderPaid { payment_id: "p".to_owned(), ..OrderPaid::default() };
        events.append(&message, Aggregate::new("order", "7", 3));
        events.begin_command(2);
        events.append_because(&message, Aggregate::new("order", "7", 4).keyed_by("ada"), "LATE");
        let [plain, keyed] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((plain.event_type, plain.topic), (event_types::ORDER_PAID, topics::ORDER_LIFECYCLE));
        assert_eq!((plain.aggregate_type, &plain.aggregate_id, plain.aggregate_version), ("order", &"7".into(), 3));
        assert_eq!((plain.key(), plain.reason.as_str(), plain.command_index), (&"7".into(), "", 0));
        assert_eq!((keyed.key(), keyed.reason.as_str(), keyed.command_index), (&"ada".into(), "LATE", 2));
        assert_eq!(<OrderPaid as prost::Message>::decode(&*keyed.payload), Ok(message));
    }
}
