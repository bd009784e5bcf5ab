//! What other services' events mean to this one: decode, then a command.

mod order_lifecycle;

use openorder_messaging::{DecodeError, Received, Subscription};
use openorder_proto::{event_types, topics};

use crate::domain::Command;

/// The topics that the notification service follows.
pub fn subscription() -> Subscription<Command> {
    Subscription { topics: vec![topics::ORDER_LIFECYCLE], decode, passes_over, injects: asks_to_fail }
}

/// With fault injection, customers whose id begins so cannot be notified.
const FAILING_CUSTOMERS: &str = "fail-";

fn asks_to_fail(command: &Command) -> bool {
    matches!(command, Command::Notify(notice) if notice.user_id.as_str().starts_with(FAILING_CUSTOMERS))
}

/// The event types that mean something here; all others that are known are passed over.
const ACTS_ON: &[&str] = &[
    event_types::ORDER_PAID,
    event_types::ORDER_CANCELLED,
    event_types::ORDER_REJECTED,
    event_types::ORDER_SHIPPED,
    event_types::ORDER_DELIVERED,
];

fn passes_over(topic: &str, event_type: &str) -> bool {
    !ACTS_ON.contains(&event_type) && openorder_proto::by_type(event_type).is_some_and(|known| known.topic == topic)
}

fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    match message.topic.as_str() {
        topics::ORDER_LIFECYCLE => order_lifecycle::decode(message),
        _ => Err(DecodeError::UnknownType(message.event_type.clone())),
    }
}

/// For the types that this service does not act on: known ones are passed over, unknown ones are an error.
fn others(message: &Received) -> Result<Option<Command>, DecodeError> {
    match openorder_proto::by_type(&message.event_type) {
        Some(known) if known.topic == message.topic => Ok(None),
        _ => Err(DecodeError::UnknownType(message.event_type.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_events_without_meaning_are_passed_over() {
        openorder_testing::check_passed_over(&subscription());
    }
}
