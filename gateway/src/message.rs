//! The messages in a request's body: as many as the method takes, each whole, none compressed behind the gateway.

use std::io::{Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderName};
use openorder_rpc::Refusal;
use tonic::Status;

/// The values of `grpc-encoding` that a caller may send.
const ACCEPTED: &str = "identity,gzip";
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// The flag and the length in front of each message (the protocol's document, "Length-Prefixed-Message").
const PREFIX_LENGTH: usize = 5;

/// How the messages of a request may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// The encoding that the head names. It is removed: behind the gateway nothing is compressed.
    pub(crate) fn take(headers: &mut HeaderMap) -> Result<Self, Status> {
        let Some(name) = headers.remove(GRPC_ENCODING) else { return Ok(Self::Identity) };
        Self::parse(name.as_bytes()).ok_or_else(|| Refusal::unsupported_encoding(ACCEPTED))
    }

    /// The encoding of this name.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"identity" => Some(Self::Identity),
            b"gzip" => Some(Self::Gzip),
            _ => None,
        }
    }

    /// Bytes without this encoding, at most so many.
    pub(crate) fn unpacked(self, bytes: Bytes, bytes_max: usize) -> Result<Bytes, Status> {
        match self {
            Self::Identity => Ok(bytes),
            Self::Gzip => unpack(&bytes, bytes_max).map(Bytes::from),
        }
    }
}

/// A body that is compressed as a whole, as its `content-encoding` says, without that.
pub(crate) fn unpacked(headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Result<Bytes, Status> {
    let Some(name) = headers.get(CONTENT_ENCODING) else { return Ok(body) };
    let encoding = Encoding::parse(name.as_bytes().to_ascii_lowercase().trim_ascii());
    let encoding = encoding.ok_or_else(|| Refusal::unsupported_content_encoding("gzip, identity"))?;
    encoding.unpacked(body, bytes_max)
}

/// Bytes with gzip, as quickly as it goes; `None` where that fails, which it does not in memory.
pub(crate) fn packed(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// What a method takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) encoding: Encoding,
    /// Whether it takes any number of messages; else exactly one.
    pub(crate) any_number: bool,
    /// The largest body in bytes, compressed or not.
    pub(crate) bytes_max: usize,
}

/// Looks at the messages of a body, and takes the compression off. A body that has none is handed on as it is.
pub(crate) fn plain(body: Bytes, expected: Expected) -> Result<Bytes, Status> {
    let (mut rest, mut messages, mut plain) = (&body[..], 0_usize, BytesMut::new());
    while !rest.is_empty() {
        let (is_compressed, message, after) = split(rest)?;
        messages += 1;
        if messages > 1 && !expected.any_number {
            return Err(Refusal::malformed_request("the request holds more than one message; this method takes one"));
        }
        if is_compressed || !plain.is_empty() {
            if plain.is_empty() {
                plain.extend_from_slice(&body[..body.len() - rest.len()]);
            }
            append(&mut plain, is_compressed, message, expected)?;
        }
        rest = after;
    }
    match messages {
        0 if !expected.any_number => Err(Refusal::malformed_request("the request holds no message")),
        _ if plain.is_empty() => Ok(body),
        _ => Ok(plain.freeze()),
    }
}

/// The first message of the bytes, whether it is compressed, and what comes after it.
fn split(bytes: &[u8]) -> Result<(bool, &[u8], &[u8]), Status> {
    let cut = || Refusal::malformed_request("the request ends within a message");
    let (prefix, rest) = bytes.split_at_checked(PREFIX_LENGTH).ok_or_else(cut)?;
    let is_compressed = match prefix[0] {
        0 => false,
        1 => true,
        _ => return Err(Refusal::malformed_request("a message begins with a flag that is neither 0 nor 1")),
    };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    let length = usize::try_from(length).map_err(|_| cut())?;
    let (message, after) = rest.split_at_checked(length).ok_or_else(cut)?;
    Ok((is_compressed, message, after))
}

fn append(plain: &mut BytesMut, is_compressed: bool, message: &[u8], expected: Expected) -> Result<(), Status> {
    let unpacked;
    let message = match (is_compressed, expected.encoding) {
        (false, _) => message,
        (true, Encoding::Gzip) => {
            unpacked = unpack(message, expected.bytes_max)?;
            &unpacked[..]
        }
        (true, Encoding::Identity) => {
            return Err(Refusal::malformed_request(
                "a message says that it is compressed, and the head does not say how",
            ));
        }
    };
    let length = u32::try_from(message.len()).ok();
    let length = length.filter(|_| plain.len() + PREFIX_LENGTH + message.len() <= expected.bytes_max);
    let length = length.ok_or_else(|| Refusal::request_too_large(expected.bytes_max))?;
    plain.reserve(PREFIX_LENGTH + message.len());
    plain.put_u8(0);
    plain.put_u32(length);
    plain.put_slice(message);
    Ok(())
}

/// Unpacks no more than the limit, however much a few bytes promise.
fn unpack(packed: &[u8], limit: usize) -> Result<Vec<u8>, Status> {
    let mut unpacked = Vec::new();
    let mut decoder = GzDecoder::new(packed).take(limit as u64 + 1);
    if decoder.read_to_end(&mut unpacked).is_err() {
        return Err(Refusal::malformed_request("a message is not what gzip makes"));
    }
    match unpacked.len() > limit {
        true => Err(Refusal::request_too_large(limit)),
        false => Ok(unpacked),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_rpc::reason_of;
    use proptest::prelude::*;

    use super::*;

    fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
        let mut framed = vec![flag];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(message);
        framed
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn expected(encoding: Encoding, any_number: bool) -> Expected {
        Expected { encoding, any_number, bytes_max: 1_000 }
    }

    fn reason(body: Vec<u8>, encoding: Encoding) -> String {
        reason_of(&plain(body.into(), expected(encoding, false)).unwrap_err()).unwrap()
    }

    #[test]
    fn one_message_passes_and_nothing_else_does() {
        let one = frame(0, b"abc");
        assert_eq!(plain(one.clone().into(), expected(Encoding::Identity, false)).unwrap(), one);
        for wrong in
            [vec![], one[..4].to_vec(), one[..7].to_vec(), [&one[..], &one].concat(), frame(7, b""), frame(1, b"")]
        {
            assert_eq!(reason(wrong.clone(), Encoding::Identity), "MALFORMED_REQUEST", "{wrong:?}");
        }
        assert_eq!(reason([&one[..], b"x"].concat(), Encoding::Identity), "MALFORMED_REQUEST");
    }

    #[test]
    fn what_is_packed_here_is_unpacked_here() {
        let plain = Bytes::from("order ".repeat(1_000));
        let small = packed(&plain).unwrap();
        assert!(small.len() < 1_000);
        assert_eq!(Encoding::Gzip.unpacked(small.clone(), 6_000).unwrap(), plain);
        assert!(Encoding::Gzip.unpacked(small, 5_999).is_err());
    }

    #[test]
    fn compression_is_taken_off_within_the_limit() {
        let packed = frame(1, &gzip(b"abc"));
        assert_eq!(plain(packed.into(), expected(Encoding::Gzip, false)).unwrap(), frame(0, b"abc"));
        // Each message has a flag of its own.
        assert_eq!(plain(frame(0, b"abc").into(), expected(Encoding::Gzip, false)).unwrap(), frame(0, b"abc"));
        let bomb = frame(1, &gzip(&vec![0; 50_000_000]));
        assert!(bomb.len() < 100_000);
        assert_eq!(reason(bomb, Encoding::Gzip), "REQUEST_TOO_LARGE");
        assert_eq!(reason(frame(1, b"no gzip"), Encoding::Gzip), "MALFORMED_REQUEST");
        let cut = gzip(b"abcdefghi");
        assert_eq!(reason(frame(1, &cut[..cut.len() - 9]), Encoding::Gzip), "MALFORMED_REQUEST");
    }

    proptest! {
        #[test]
        fn any_number_of_messages_come_out_as_they_went_in(messages in proptest::collection::vec((any::<bool>(), "[a-z]{0,40}"), 0..8)) {
            let body = messages.iter().flat_map(|(packs, text)| match packs {
                true => frame(1, &gzip(text.as_bytes())),
                false => frame(0, text.as_bytes()),
            });
            let expected_body: Vec<u8> = messages.iter().flat_map(|(_, text)| frame(0, text.as_bytes())).collect();
            let body = plain(body.collect::<Vec<u8>>().into(), expected(Encoding::Gzip, true)).unwrap();
            prop_assert_eq!(body, expected_body);
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(plain(bytes.into(), expected(Encoding::Gzip, true)));
        }
    }
}
