//! The messages in an answer of gRPC.

use bytes::{Buf, Bytes, BytesMut};

/// The flag and the length in front of each message (the protocol's document, "Length-Prefixed-Message").
const PREFIX_LENGTH: usize = 5;

/// Messages, put together of the pieces that arrive.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    arrived: BytesMut,
}

/// An answer that is not what gRPC frames. The gateway asks for no compression.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    #[error("a message is compressed, which nobody asked for")]
    Compressed,
    #[error("a message is longer than {0} bytes")]
    TooLong(usize),
    #[error("the answer ends within a message")]
    Cut,
    #[error("the answer has {0} messages and not one")]
    NotOne(usize),
}

impl Frames {
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.arrived.extend_from_slice(data);
    }

    /// The next message, once it is complete.
    pub(crate) fn next(&mut self, bytes_max: usize) -> Result<Option<Bytes>, Malformed> {
        let Some(prefix) = self.arrived.first_chunk::<PREFIX_LENGTH>() else { return Ok(None) };
        let [flag, length @ ..] = *prefix;
        if flag != 0 {
            return Err(Malformed::Compressed);
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > bytes_max {
            return Err(Malformed::TooLong(bytes_max));
        }
        if self.arrived.len() < PREFIX_LENGTH + length {
            return Ok(None);
        }
        self.arrived.advance(PREFIX_LENGTH);
        Ok(Some(self.arrived.split_to(length).freeze()))
    }
}

/// The only message of a whole answer.
pub(crate) fn only(answer: &Bytes) -> Result<Bytes, Malformed> {
    let (mut rest, mut only, mut count) = (answer.clone(), Bytes::new(), 0);
    while !rest.is_empty() {
        let [flag, length @ ..] = *rest.first_chunk::<PREFIX_LENGTH>().ok_or(Malformed::Cut)?;
        if flag != 0 {
            return Err(Malformed::Compressed);
        }
        rest.advance(PREFIX_LENGTH);
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > rest.len() {
            return Err(Malformed::Cut);
        }
        only = rest.split_to(length);
        count += 1;
    }
    if count == 1 { Ok(only) } else { Err(Malformed::NotOne(count)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::transcode::request::framed_bytes;

    #[test]
    fn a_whole_answer_has_one_message() {
        let one = framed_bytes(b"abc");
        assert_eq!(only(&one).unwrap(), "abc");
        assert_eq!(only(&framed_bytes(b"")).unwrap(), "");
        assert_eq!(only(&Bytes::new()), Err(Malformed::NotOne(0)));
        assert_eq!(only(&[&one[..], &one[..]].concat().into()), Err(Malformed::NotOne(2)));
        assert_eq!(only(&one.slice(..7)), Err(Malformed::Cut));
        assert_eq!(only(&one.slice(..3)), Err(Malformed::Cut));
        assert_eq!(only(&Bytes::from_static(&[1, 0, 0, 0, 0])), Err(Malformed::Compressed));
    }

    #[test]
    fn a_message_has_a_bound() {
        let mut frames = Frames::default();
        frames.push(&[0, 255, 0, 0, 0]);
        assert_eq!(frames.next(1_000), Err(Malformed::TooLong(1_000)));
    }

    proptest! {
        #[test]
        fn messages_arrive_however_they_are_cut(
            messages in proptest::collection::vec("[a-z]{0,20}", 0..9), cut in 1_usize..9,
        ) {
            let framed = messages.iter().flat_map(|message| framed_bytes(message.as_bytes()).to_vec());
            let bytes: Vec<u8> = framed.collect();
            let (mut frames, mut arrived) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                frames.push(piece);
                while let Some(message) = frames.next(100).unwrap() {
                    arrived.push(String::from_utf8(message.to_vec()).unwrap());
                }
            }
            prop_assert_eq!(arrived, messages);
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut frames = Frames::default();
            frames.push(&bytes);
            while let Ok(Some(_)) = frames.next(30) {}
            drop(only(&bytes.into()));
        }
    }
}
