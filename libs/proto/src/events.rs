//! Which message, event type and topic belong together: one line an event, in one table.
//!
//! The table is made from the contract: a message with the option `openorder.event.v1.event` is an event, and the option
//! says its type and topic (`build/events.rs` reads it). An event type is `{domain}.{entity}.{action}`; its topic is the
//! type less its last word, plus `.v1`.

/// A message that is published as an event of one type.
pub trait EventMessage: prost::Message + prost::Name + Default {
    /// Its event type (`ce_type`), for example `order.lifecycle.created`.
    const EVENT_TYPE: &'static str;
    /// The topic that carries it.
    const TOPIC: &'static str;
}

/// One line of the table of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventDescriptor {
    /// Event type (`ce_type`).
    pub event_type: &'static str,
    /// The topic that carries it.
    pub topic: &'static str,
    /// Full name of the message in its value, for example `openorder.order.v1.OrderCreated`.
    pub message: &'static str,
}

macro_rules! events {
    ($($topic:ident = $topic_name:literal {
        $($name:ident = $event_type:literal => $context:ident :: $message:ident,)*
    })*) => {
        /// Kafka topics of events.
        pub mod topics {
            $(
                #[doc = concat!("`", $topic_name, "`:", $(" [`", stringify!($message), "`](crate::", stringify!($context), "::v1::", stringify!($message), ")"),*)]
                pub const $topic: &str = $topic_name;
            )*

            /// All of them.
            pub const ALL: &[&str] = &[$($topic),*];
        }

        /// Event types (`ce_type`), each with the message that carries it.
        pub mod event_types {
            $($(
                #[doc = concat!("[`", stringify!($message), "`](crate::", stringify!($context), "::v1::", stringify!($message), ")")]
                pub const $name: &str = $event_type;
            )*)*
        }

        $($(
            impl EventMessage for crate::$context::v1::$message {
                const EVENT_TYPE: &'static str = $event_type;
                const TOPIC: &'static str = topics::$topic;
            }
        )*)*

        /// Every event there is.
        pub const ALL: &[EventDescriptor] = &[
            $($(
                EventDescriptor {
                    event_type: $event_type,
                    topic: topics::$topic,
                    message: concat!("openorder.", stringify!($context), ".v1.", stringify!($message)),
                },
            )*)*
        ];

        /// The line of an event type; `None` for a type that this version does not know.
        #[must_use]
        pub fn by_type(event_type: &str) -> Option<&'static EventDescriptor> {
            ALL.iter().find(|event| event.event_type == event_type)
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/events.rs"));

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use prost::{Message, Name};
    use prost_types::FileDescriptorSet;

    use super::*;

    fn files() -> FileDescriptorSet {
        FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap()
    }

    #[test]
    fn a_topic_is_the_type_less_its_last_word_with_the_version() {
        for event in ALL {
            let (entity, _) = event.event_type.rsplit_once('.').unwrap();
            assert_eq!(event.topic, format!("{entity}.v1"), "{}", event.event_type);
        }
    }

    #[test]
    fn every_topic_has_an_event_and_every_event_a_listed_topic() {
        let used: BTreeSet<_> = ALL.iter().map(|event| event.topic).collect();
        let listed: BTreeSet<_> = topics::ALL.iter().copied().collect();
        assert_eq!(used, listed);
    }

    /// Both ways: a message of an `_events.proto` file without the option is published by nobody, and one with the option
    /// stands in such a file, where a reader looks for it.
    #[test]
    fn the_messages_of_the_event_files_are_the_events() {
        let declared: BTreeSet<String> = files()
            .file
            .iter()
            .filter(|file| file.name().ends_with("_events.proto"))
            .flat_map(|file| file.message_type.iter().map(|message| format!("{}.{}", file.package(), message.name())))
            .collect();
        let listed: BTreeSet<String> = ALL.iter().map(|event| event.message.to_owned()).collect();
        assert_eq!(listed, declared);
    }

    #[test]
    fn each_type_stands_at_one_message() {
        let types: BTreeSet<_> = ALL.iter().map(|event| event.event_type).collect();
        assert_eq!(types.len(), ALL.len());
    }

    #[test]
    fn the_constants_are_named_by_message_and_topic() {
        let line = |event_type| *by_type(event_type).unwrap();
        assert_eq!(
            line(event_types::ORDER_COMPENSATION_FAILED),
            EventDescriptor {
                event_type: "order.lifecycle.compensation_failed",
                topic: topics::ORDER_LIFECYCLE,
                message: "openorder.order.v1.OrderCompensationFailed",
            }
        );
        assert_eq!(line(event_types::WALLET_CHARGED).topic, topics::PAYMENT_WALLET);
        assert_eq!(topics::PAYMENT_WALLET, "payment.wallet.v1");
    }

    /// The comment of each message names its event type: the contract alone tells a reader.
    #[test]
    fn the_comment_of_each_event_names_its_type() {
        for event in ALL {
            let (package, name) = event.message.rsplit_once('.').unwrap();
            let files = files();
            let file = files
                .file
                .iter()
                .find(|file| file.package() == package && file.name().ends_with("_events.proto"))
                .unwrap();
            let index = file.message_type.iter().position(|message| message.name() == name).unwrap();
            let path = [4, i32::try_from(index).unwrap()];
            let source = file.source_code_info.as_ref().unwrap();
            let comment = source.location.iter().find(|location| location.path == path).unwrap().leading_comments();
            assert!(comment.starts_with(&format!(" `{}`: ", event.event_type)), "{}: {comment}", event.message);
        }
    }

    #[test]
    fn a_type_is_found_by_its_name() {
        for event in ALL {
            assert_eq!(by_type(event.event_type), Some(event));
        }
        assert_eq!(by_type("order.lifecycle.teleported"), None);
    }

    #[test]
    fn messages_know_their_line() {
        type Created = crate::order::v1::OrderCreated;
        let line = by_type(Created::EVENT_TYPE).unwrap();
        assert_eq!(line.message, Created::full_name());
        assert_eq!(line.topic, Created::TOPIC);
    }
}
