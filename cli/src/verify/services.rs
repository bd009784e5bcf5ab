//! What a service of the list consumes, as a check of its topics sees it.

use std::fmt;

use openorder_messaging::{DecodeError, Interest, Received, Subscription};

pub(super) use crate::services::Service;

/// By topic and event type, and by the message itself where those do not tell.
type Takes = dyn Fn(&str, &str, &dyn Fn() -> Received) -> bool;

/// The messages of a topic that a service takes over.
pub(crate) struct Consumed {
    topics: Vec<&'static str>,
    takes: Box<Takes>,
}

impl Consumed {
    pub(crate) fn of<C: 'static>(subscription: Subscription<C>) -> Self {
        let topics = subscription.topics.clone();
        let takes = Box::new(move |topic: &str, event_type: &str, received: &dyn Fn() -> Received| {
            // Some events of a type mean something and others do not.
            // One of an unknown type may have been passed over.
            (subscription.interest)(topic, event_type) != Interest::None
                && !matches!(subscription.meaning(&received()), Ok(None) | Err(DecodeError::UnknownType(_)))
        });
        Self { topics, takes }
    }

    pub(super) fn is_of(&self, topic: &str) -> bool {
        self.topics.contains(&topic)
    }

    /// Whether the service takes note of a message; `received` is only asked when it has to be looked into.
    pub(super) fn takes(&self, topic: &str, event_type: &str, received: &dyn Fn() -> Received) -> bool {
        (self.takes)(topic, event_type, received)
    }
}

impl Service {
    /// For the message of an error.
    pub(super) fn database(self) -> String {
        format!("the database of {self}")
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
