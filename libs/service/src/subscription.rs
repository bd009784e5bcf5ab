//! What a service makes of the events of others: a table of messages.

use openorder_messaging::{DecodeError, Received};
use openorder_proto::EventMessage;
use openorder_types::ValueError;

/// Declares what a service follows: topics, and for each message that means something to it the function that makes a
/// command of it.
///
/// ```text
/// subscription! {
///     /// What the shipping service follows.
///     pub fn subscription() -> Subscription<Command> {
///         ORDER_LIFECYCLE {
///             OrderPaid => order_lifecycle::paid,
///             OrderCancelled => order_lifecycle::cancelled,
///         }
///     }
/// }
/// ```
///
/// A topic is a constant of [`openorder_proto::topics`]. A function takes the message and gives `Result<Command,
/// ValueError>`, or `Result<Option<Command>, ValueError>` where some messages of the type mean nothing; an error makes
/// the message malformed. All other events of these topics are passed over before anything of them is copied, and a type
/// that is not of its topic is unknown. A function that says which commands fail under fault injection stands as
/// `injects = asks_to_fail` before the table, after a comma.
#[macro_export]
macro_rules! subscription {
    (@injects) => { |_| false };
    (@injects $injects:path) => { $injects };
    (
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident() -> Subscription<$command:ty> $(, injects = $injects:path)? {
            $($topic:ident { $($message:ty => $function:path,)+ })+
        }
    ) => {
        $(#[$meta])*
        $visibility fn $name() -> $crate::parts::Subscription<$command> {
            const TOPICS: &[&str] = &[$($crate::parts::topics::$topic),+];

            const _: () = {
                $($(
                    assert!(
                        $crate::parts::is_of_topic::<$message>($crate::parts::topics::$topic),
                        concat!(stringify!($message), " is no event of ", stringify!($topic)),
                    );
                )+)+
            };

            fn interest(topic: &str, event_type: &str) -> $crate::parts::Interest {
                match (topic, event_type) {
                    $($(
                        (
                            <$message as $crate::parts::EventMessage>::TOPIC,
                            <$message as $crate::parts::EventMessage>::EVENT_TYPE,
                        ) => $crate::parts::Interest::Followed(<$message as $crate::parts::EventMessage>::EVENT_TYPE),
                    )+)+
                    _ if $crate::parts::is_known(topic, event_type) => $crate::parts::Interest::None,
                    _ => $crate::parts::Interest::Unknown,
                }
            }

            fn decode(
                message: &$crate::parts::Received,
            ) -> ::std::result::Result<::std::option::Option<$command>, $crate::parts::DecodeError> {
                match (&*message.topic, &*message.event_type) {
                    $($(
                        (
                            <$message as $crate::parts::EventMessage>::TOPIC,
                            <$message as $crate::parts::EventMessage>::EVENT_TYPE,
                        ) => $crate::parts::meaning::<$message, _, _>(message, $function),
                    )+)+
                    _ => $crate::parts::without_meaning(message, TOPICS),
                }
            }

            $crate::parts::Subscription {
                topics: TOPICS.to_vec(),
                decode,
                interest,
                injects: $crate::subscription!(@injects $($injects)?),
            }
        }
    };
}

/// Whether messages of type `M` are published to this topic.
pub const fn is_of_topic<M: EventMessage>(topic: &str) -> bool {
    let (topic, other) = (topic.as_bytes(), M::TOPIC.as_bytes());
    let mut equal = topic.len() == other.len();
    let mut index = 0;
    while equal && index < topic.len() {
        equal = topic[index] == other[index];
        index += 1;
    }
    equal
}

/// Whether this version knows an event of this type in this topic.
pub fn is_known(topic: &str, event_type: &str) -> bool {
    openorder_proto::by_type(event_type).is_some_and(|known| known.topic == topic)
}

/// What a message of the type `M` means, by the function of its line.
///
/// # Errors
/// [`DecodeError::Malformed`] when the value is no `M`, or the function refuses it.
pub fn meaning<M: EventMessage, C, T: Into<Option<C>>>(
    message: &Received,
    function: impl FnOnce(M) -> Result<T, ValueError>,
) -> Result<Option<C>, DecodeError> {
    let event = message.decode()?;
    function(event).map(Into::into).map_err(|error| DecodeError::malformed(message, error))
}

/// What a message means that has no line: nothing, if it is an event of its topic and the topic is followed.
///
/// # Errors
/// [`DecodeError::UnknownType`] of all others.
pub fn without_meaning<C>(message: &Received, topics: &[&str]) -> Result<Option<C>, DecodeError> {
    if topics.contains(&&*message.topic) && is_known(&message.topic, &message.event_type) {
        return Ok(None);
    }
    Err(DecodeError::UnknownType(message.event_type.to_string()))
}

#[cfg(test)]
mod tests {
    use openorder_messaging::{Interest, RawHeaders};
    use openorder_proto::{
        event_types, events,
        order::v1::{OrderCreated, OrderPaid, OrderShipped},
        payment::v1::PaymentFailed,
        topics,
    };
    use openorder_telemetry::TraceContext;

    use super::*;

    /// Of a test.
    #[derive(Debug, PartialEq, Eq)]
    enum Command {
        Paid(String),
        Failed(String),
    }

    fn paid(event: OrderPaid) -> Result<Option<Command>, ValueError> {
        Ok((event.version > 0).then_some(Command::Paid(event.order_id)))
    }

    fn failed(event: PaymentFailed) -> Result<Command, ValueError> {
        match event.order_id.is_empty() {
            true => Err(ValueError::new("ORDER_ID_MALFORMED", "no order")),
            false => Ok(Command::Failed(event.order_id)),
        }
    }

    fn fails(command: &Command) -> bool {
        matches!(command, Command::Failed(_))
    }

    subscription! {
        fn subscription() -> Subscription<Command>, injects = fails {
            ORDER_LIFECYCLE {
                OrderPaid => paid,
            }
            PAYMENT_TRANSACTION {
                PaymentFailed => failed,
            }
        }
    }

    subscription! {
        fn without_faults() -> Subscription<Command> {
            PAYMENT_TRANSACTION {
                PaymentFailed => failed,
            }
        }
    }

    fn received(topic: &str, event_type: &str, payload: Vec<u8>) -> Received {
        Received {
            topic: topic.to_owned().into(),
            partition: 0,
            offset: 0,
            key: Vec::new().into(),
            event_id: uuid::Uuid::nil(),
            event_type: event_type.to_owned().into(),
            position: None,
            payload: payload.into(),
            trace: TraceContext::default(),
            headers: RawHeaders::default(),
        }
    }

    fn meaning_of<M: EventMessage>(message: &M) -> Result<Option<Command>, DecodeError> {
        (subscription().decode)(&received(M::TOPIC, M::EVENT_TYPE, message.encode_to_vec()))
    }

    #[test]
    fn a_message_with_a_line_becomes_the_command_of_its_function() {
        let order_id = || "1".to_owned();
        let event = OrderPaid { order_id: order_id(), version: 3, ..OrderPaid::default() };
        assert_eq!(meaning_of(&event).unwrap(), Some(Command::Paid(order_id())));
        let event = PaymentFailed { order_id: order_id(), ..PaymentFailed::default() };
        assert_eq!(meaning_of(&event).unwrap(), Some(Command::Failed(order_id())));
        assert_eq!(meaning_of(&OrderPaid::default()).unwrap(), None, "its function has no use for it");
    }

    #[test]
    fn what_the_function_refuses_or_is_no_such_message_is_malformed() {
        let refused = meaning_of(&PaymentFailed::default()).unwrap_err();
        assert_eq!(refused.to_string(), "malformed payment.transaction.failed: no order");
        let garbled = received(topics::ORDER_LIFECYCLE, event_types::ORDER_PAID, vec![0xff; 7]);
        assert!(matches!((subscription().decode)(&garbled), Err(DecodeError::Malformed { .. })));
    }

    #[test]
    fn other_known_events_mean_nothing_and_unknown_ones_are_an_error() {
        assert_eq!(meaning_of(&OrderCreated::default()).unwrap(), None);
        assert_eq!(meaning_of(&OrderShipped::default()).unwrap(), None);
        let unknown = [
            (topics::ORDER_LIFECYCLE, "order.lifecycle.sold"),
            (topics::ORDER_LIFECYCLE, ""),
            (topics::ORDER_LIFECYCLE, event_types::PAYMENT_FAILED),
            (topics::PAYMENT_TRANSACTION, event_types::ORDER_PAID),
            (topics::PRODUCT_CATALOG, event_types::PRODUCT_CREATED),
            ("elsewhere.v1", event_types::ORDER_PAID),
        ];
        for (topic, event_type) in unknown {
            let error = (subscription().decode)(&received(topic, event_type, Vec::new())).unwrap_err();
            assert!(matches!(error, DecodeError::UnknownType(_)), "{event_type:?} of {topic}: {error}");
        }
    }

    /// What is passed over unread is what `decode` would have no use for, and nothing else.
    #[test]
    fn exactly_the_events_without_a_line_are_passed_over() {
        let subscription = subscription();
        assert_eq!(subscription.topics, [topics::ORDER_LIFECYCLE, topics::PAYMENT_TRANSACTION]);
        for event in events::ALL.iter().filter(|event| subscription.topics.contains(&event.topic)) {
            let has_line = [event_types::ORDER_PAID, event_types::PAYMENT_FAILED].contains(&event.event_type);
            let expected = if has_line { Interest::Followed(event.event_type) } else { Interest::None };
            assert_eq!((subscription.interest)(event.topic, event.event_type), expected);
            if !has_line {
                let message = received(event.topic, event.event_type, vec![0xff; 7]);
                assert!(
                    matches!((subscription.decode)(&message), Ok(None)),
                    "{}: its value is not read",
                    event.event_type
                );
            }
        }
        for topic in &subscription.topics {
            for unknown in ["unknown.event.type", ""] {
                assert_eq!((subscription.interest)(topic, unknown), Interest::Unknown, "it is for decode to judge");
            }
        }
        let elsewhere = (subscription.interest)(topics::ORDER_LIFECYCLE, event_types::PAYMENT_COMPLETED);
        assert_eq!(elsewhere, Interest::Unknown);
    }

    #[test]
    fn faults_are_injected_where_the_table_says_so() {
        let (paid, failed) = (Command::Paid(String::new()), Command::Failed(String::new()));
        assert!((subscription().injects)(&failed) && !(subscription().injects)(&paid));
        assert!(!(without_faults().injects)(&failed));
    }

    #[test]
    fn a_message_is_of_its_own_topic_alone() {
        assert!(is_of_topic::<OrderPaid>(topics::ORDER_LIFECYCLE));
        for topic in topics::ALL.iter().filter(|topic| **topic != topics::ORDER_LIFECYCLE) {
            assert!(!is_of_topic::<OrderPaid>(topic), "{topic}");
        }
    }
}
