//! Calls that travel together, as both ends have them: messages of a stream, each with many calls or answers.
//!
//! The client's end is `client/batch.rs`, the server's is `server/batch.rs`.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue};
use openorder_proto::internal::rpc::v1::Metadata;
use openorder_telemetry::api::{Counter, KeyValue};
use openorder_telemetry::meter;
use prost::Message;
use prost::encoding::message;

/// The method that carries the others.
pub(crate) const EXCHANGE_CALLS: &str = "/openorder.internal.rpc.v1.BatchService/ExchangeCalls";
pub(crate) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// The longest message that is taken, in bytes. Those that are written are shorter, by a setting.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// The flag and the length in front of a message (the protocol's document, "Length-Prefixed-Message").
const PREFIX_LENGTH: usize = 5;
/// The field of the calls in a message of calls, and that of the answers in one of answers.
const ENTRIES_FIELD: u32 = 1;

/// A message that is not what the contract says.
#[derive(Debug, thiserror::Error)]
#[error("a message of many calls is malformed: {0}")]
pub(crate) struct Malformed(&'static str);

impl Malformed {
    pub(crate) fn new(what: &'static str) -> Self {
        Self(what)
    }
}

/// How many calls, or answers, travelled together.
#[derive(Clone)]
pub(crate) struct BatchMetrics {
    messages: Counter<u64>,
    entries: Counter<u64>,
    labels: [KeyValue; 1],
}

impl BatchMetrics {
    /// Of what is sent in one direction: `call` or `answer`.
    pub(crate) fn new(direction: &'static str) -> Self {
        let meter = meter();
        let counter = |name, unit| meter.u64_counter(name).with_unit(unit);
        let messages = counter("openorder.rpc.batches", "{message}")
            .with_description("Messages of calls, or answers, that travelled together");
        let entries =
            counter("openorder.rpc.batched", "{call}").with_description("Calls, or answers, that travelled together");
        Self { messages: messages.build(), entries: entries.build(), labels: [KeyValue::new("direction", direction)] }
    }

    /// A message that is sent for these. What only cancels or says goodbye does not count.
    pub(crate) fn sent(&self, batch: &Batch) {
        if batch.entries == 0 {
            return;
        }
        self.messages.add(1, &self.labels);
        self.entries.add(batch.entries as u64, &self.labels);
    }
}

/// A call or an answer, encoded as an entry of the message that it will stand in.
pub(crate) fn entry(of: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message::encoded_len(ENTRIES_FIELD, of));
    message::encode(ENTRIES_FIELD, of, &mut bytes);
    bytes
}

/// A message that is being written.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    entries: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; PREFIX_LENGTH], entries: 0 }
    }

    /// Whether a further entry fits. The first one always does.
    pub(crate) fn has_room(&self, entry_length: usize, calls_max: usize, bytes_max: usize) -> bool {
        self.entries == 0 || (self.entries < calls_max && self.bytes.len() + entry_length <= bytes_max)
    }

    pub(crate) fn add(&mut self, entry: &[u8]) {
        self.bytes.extend_from_slice(entry);
        self.entries += 1;
    }

    /// Adds other fields of the message: one that is encoded in pieces is the same message.
    pub(crate) fn merge(&mut self, fields: &impl Message) {
        // A vector has room for all there is.
        let _ = fields.encode(&mut self.bytes);
    }

    /// The message in its frame; `None` of an empty one.
    pub(crate) fn finish(mut self) -> Option<Bytes> {
        let length = u32::try_from(self.bytes.len() - PREFIX_LENGTH).ok().filter(|length| *length > 0)?;
        self.bytes[1..PREFIX_LENGTH].copy_from_slice(&length.to_be_bytes());
        Some(self.bytes.into())
    }
}

/// The messages of a stream, put together of what arrives.
#[derive(Default)]
pub(crate) struct Messages {
    arrived: BytesMut,
}

impl Messages {
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.arrived.extend_from_slice(data);
    }

    /// Bytes of messages that are not complete, or were not taken.
    pub(crate) fn bytes(&self) -> usize {
        self.arrived.len()
    }

    /// The next message, once it is complete. What is in it does not keep the bytes that it came in.
    pub(crate) fn next_message<M: Message + Default>(&mut self) -> Result<Option<M>, Malformed> {
        let Some(prefix) = self.arrived.first_chunk::<PREFIX_LENGTH>() else { return Ok(None) };
        let [0, length @ ..] = *prefix else { return Err(Malformed::new("it is compressed")) };
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MESSAGE_BYTES_MAX {
            return Err(Malformed::new("it is too long"));
        }
        let Some(message) = self.arrived.get(PREFIX_LENGTH..PREFIX_LENGTH + length) else { return Ok(None) };
        let message = M::decode(message).map_err(|_| Malformed::new("it does not decode"))?;
        self.arrived.advance(PREFIX_LENGTH + length);
        Ok(Some(message))
    }
}

/// Headers as they travel: without those that every call has.
pub(crate) fn metadata_of(headers: &HeaderMap) -> Vec<Metadata> {
    let mut metadata = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        if *name != CONTENT_TYPE && *name != TE {
            metadata.push(Metadata { name: name.as_str().to_owned(), value: Bytes::copy_from_slice(value.as_bytes()) });
        }
    }
    metadata
}

/// Headers as they were, with room for more.
pub(crate) fn headers_of(metadata: Vec<Metadata>, more: usize) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::with_capacity(metadata.len() + more);
    for Metadata { name, value } in metadata {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed::new("a name is none"))?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed::new("a value is none"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_proto::internal::rpc::v1::{Answer, Call, ExchangeCallsRequest, ExchangeCallsResponse};
    use proptest::prelude::*;

    use super::*;

    fn call(id: u64) -> Call {
        Call { id, path: "/a.B/C".to_owned(), metadata: Vec::new(), body: Bytes::from_static(b"\0\0\0\0\0") }
    }

    #[test]
    fn pieces_are_one_message() {
        let mut batch = Batch::new();
        batch.add(&entry(&call(1)));
        batch.add(&entry(&call(2)));
        batch.merge(&ExchangeCallsRequest { cancelled_call_ids: vec![7], is_last: true, ..Default::default() });
        let mut messages = Messages::default();
        messages.push(&batch.finish().unwrap());
        let expected =
            ExchangeCallsRequest { calls: vec![call(1), call(2)], cancelled_call_ids: vec![7], is_last: true };
        assert_eq!(messages.next_message::<ExchangeCallsRequest>().unwrap(), Some(expected));
        assert!(messages.next_message::<ExchangeCallsRequest>().unwrap().is_none());
        assert_eq!(messages.bytes(), 0);
    }

    #[test]
    fn the_first_entry_has_room_whatever_its_length_and_others_within_both_bounds() {
        let mut batch = Batch::new();
        assert!(batch.has_room(1_000, 3, 100));
        batch.add(&[0; 50]);
        assert!(batch.has_room(45, 3, 100) && !batch.has_room(46, 3, 100));
        batch.add(&[0; 10]);
        assert!(batch.has_room(1, 3, 100) && !batch.has_room(1, 2, 100));
    }

    #[test]
    fn a_batch_of_nothing_is_not_sent() {
        assert!(Batch::new().finish().is_none());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let refused = |bytes: &[u8]| {
            let mut messages = Messages::default();
            messages.push(bytes);
            messages.next_message::<ExchangeCallsRequest>().unwrap_err().to_string()
        };
        assert!(refused(&[1, 0, 0, 0, 0]).contains("compressed"));
        assert!(refused(&[0, 255, 0, 0, 0]).contains("too long"));
        assert!(refused(&[0, 0, 0, 0, 1, 255]).contains("decode"));
    }

    proptest! {
        #[test]
        fn answers_arrive_however_they_are_cut(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 1..9), cut in 1_usize..40,
        ) {
            let answers: Vec<_> = (0..)
                .zip(bodies)
                .map(|(call_id, body)| Answer { call_id, body: body.into(), ..Answer::default() })
                .collect();
            let mut bytes = Vec::new();
            for two in answers.chunks(2) {
                let mut batch = Batch::new();
                two.iter().for_each(|answer| batch.add(&entry(answer)));
                bytes.extend_from_slice(&batch.finish().unwrap());
            }
            let (mut messages, mut arrived) = (Messages::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                messages.push(piece);
                while let Some(message) = messages.next_message::<ExchangeCallsResponse>().unwrap() {
                    arrived.extend(message.answers);
                }
            }
            prop_assert_eq!(arrived, answers);
        }

        #[test]
        fn headers_arrive_in_their_order(values in proptest::collection::vec("[a-c]|[!-~]{0,9}", 0..6)) {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, GRPC);
            for value in &values {
                headers.append("x-own", value.parse().unwrap());
                headers.append("accept", value.parse().unwrap());
            }
            let arrived = headers_of(metadata_of(&headers), 0).unwrap();
            headers.remove(CONTENT_TYPE);
            prop_assert_eq!(arrived, headers);
        }
    }
}
