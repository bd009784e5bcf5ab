//! Replies in the form in which they are kept under their request ids.

#[doc(hidden)]
pub use openorder_types::CallError;
#[doc(hidden)]
pub use prost::Message;

/// A message and the tag behind it, in one piece of memory from the beginning.
#[doc(hidden)]
pub fn tagged(message: &impl Message, tag: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.encoded_len() + 1);
    // A vector has room for all of it.
    let _ = message.encode(&mut bytes);
    bytes.push(tag);
    bytes
}

/// Declares what a service's commands answer: an enum of messages, its stored form (the message and its tag), and the
/// way from the enum to each message. `Noted`, of a fact that was taken note of, is always one of them.
///
/// ```text
/// stored_reply! {
///     /// Reply of a command.
///     pub enum StockReply, noted = 2 {
///         /// A level after its change.
///         1 = Stock(Stock),
///     }
/// }
/// ```
///
/// A tag is kept in the database: it never gets another meaning. There is one message of each kind.
#[macro_export]
macro_rules! stored_reply {
    ($(#[$doc:meta])* $visibility:vis enum $name:ident, noted = $noted:literal {
        $($(#[$variant_doc:meta])* $tag:literal = $variant:ident($message:ty),)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        $visibility enum $name {
            $($(#[$variant_doc])* $variant($message),)*
            /// A fact was taken note of; what came of it is told by events.
            Noted,
        }

        impl $crate::Reply for $name {
            fn encode(&self) -> ::std::vec::Vec<u8> {
                match self {
                    $(Self::$variant(message) => $crate::reply::tagged(message, $tag),)*
                    Self::Noted => ::std::vec![$noted],
                }
            }

            fn decode(bytes: &[u8]) -> ::std::option::Option<Self> {
                let (tag, message) = bytes.split_last()?;
                match *tag {
                    $($tag => <$message as $crate::reply::Message>::decode(message).ok().map(Self::$variant),)*
                    $noted => ::std::option::Option::Some(Self::Noted),
                    _ => ::std::option::Option::None,
                }
            }
        }

        $(
            impl ::std::convert::TryFrom<$name> for $message {
                type Error = $crate::reply::CallError;

                fn try_from(reply: $name) -> ::std::result::Result<Self, Self::Error> {
                    match reply {
                        $name::$variant(message) => ::std::result::Result::Ok(message),
                        _ => ::std::result::Result::Err($crate::reply::CallError::Internal),
                    }
                }
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    use crate::{Reply, reply::CallError};

    stored_reply! {
        /// Of a test.
        enum Answer, noted = 9 {
            /// A name.
            1 = Name(String),
            /// A count.
            2 = Count(i64),
        }
    }

    #[test]
    fn a_reply_is_read_as_it_was_written_and_is_of_one_kind() {
        let name = || Answer::Name("ada".to_owned());
        for reply in [name(), Answer::Count(7), Answer::Noted] {
            assert_eq!(Answer::decode(&reply.encode()), Some(reply));
        }
        assert_eq!(name().encode().last(), Some(&1), "the tag stands behind the message");
        assert_eq!(Answer::Noted.encode(), [9]);
        for unknown in [&[][..], &[3], &[0xff, 1]] {
            assert_eq!(Answer::decode(unknown), None);
        }
        assert_eq!(String::try_from(name()), Ok("ada".to_owned()));
        assert_eq!(i64::try_from(name()), Err(CallError::Internal));
        assert_eq!(i64::try_from(Answer::Noted), Err(CallError::Internal));
    }
}
