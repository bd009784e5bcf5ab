//! An answer that comes bit by bit, as other protocols have it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use openorder_rpc::Refusal;
use openorder_rpc::status::web;
use prost_reflect::MessageDescriptor;
use serde_json::{Map, Value as Json};
use tonic::Status;

use super::contract::Contract;
use super::frames::Frames;
use super::{error, json};
use crate::protocol::Codec;

/// The flag of Connect's last envelope.
const CONNECT_END: u8 = 0b10;
/// The flag of the frame that gRPC-Web has its trailers in.
const GRPC_WEB_TRAILERS: u8 = 0x80;

/// Makes the pieces of an answer out of those that the service sends.
pub(crate) trait Convert: Send {
    /// What is sent for a piece of the service's answer; may be nothing.
    ///
    /// # Errors
    ///
    /// When the answer is not what the contract says: it ends with that.
    fn data(&mut self, data: &[u8]) -> Result<Bytes, Status>;

    /// What is sent last, by the trailers of the service's answer.
    fn end(&mut self, trailers: &HeaderMap) -> Bytes;

    /// What is sent while nothing else is, so that nobody on the way takes the answer for dead.
    fn keep_alive(&self) -> Option<(Duration, Bytes)> {
        None
    }
}

/// How messages are set apart from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A line each, `{"result": …}`; a refusal is a last one, `{"error": …}`.
    Lines,
    /// Server-sent events: a message each; a refusal is a last one of the type `error`, success one of the type `end`.
    Events,
    /// Connect's envelopes.
    Envelopes(Codec),
}

/// Messages of the contract, each by itself.
pub(crate) struct Messages {
    layout: Layout,
    contract: Arc<Contract>,
    output: MessageDescriptor,
    frames: Frames,
    bytes_max: usize,
    keep_alive: Duration,
}

impl Messages {
    pub(crate) fn new(
        layout: Layout,
        contract: &Arc<Contract>,
        output: &MessageDescriptor,
        bytes_max: usize,
        keep_alive: Duration,
    ) -> Self {
        let (contract, output) = (Arc::clone(contract), output.clone());
        Self { layout, contract, output, frames: Frames::default(), bytes_max, keep_alive }
    }

    fn put(&self, message: &Bytes, out: &mut BytesMut) -> Result<(), Status> {
        let codec = if let Layout::Envelopes(codec) = self.layout { codec } else { Codec::Json };
        let encoded = match codec {
            Codec::Proto => message.clone(),
            Codec::Json => json::write(&self.output, message).map(Bytes::from).map_err(|error| unreadable(&error))?,
        };
        match self.layout {
            Layout::Lines => {
                out.put_slice(b"{\"result\":");
                out.put_slice(&encoded);
                out.put_slice(b"}\n");
            }
            Layout::Events => event(out, "", &encoded),
            Layout::Envelopes(_) => put_frame(out, 0, &encoded),
        }
        Ok(())
    }
}

impl Convert for Messages {
    fn data(&mut self, data: &[u8]) -> Result<Bytes, Status> {
        self.frames.push(data);
        let mut out = BytesMut::new();
        while let Some(message) = self.frames.next(self.bytes_max).map_err(|error| unreadable(&error.to_string()))? {
            self.put(&message, &mut out)?;
        }
        Ok(out.freeze())
    }

    fn end(&mut self, trailers: &HeaderMap) -> Bytes {
        let refusal = Status::from_header_map(trailers).filter(|status| !web::is_success(status));
        let mut out = BytesMut::new();
        match (self.layout, refusal) {
            (Layout::Lines, None) => {}
            (Layout::Lines, Some(status)) => {
                out.put_slice(b"{\"error\":");
                out.put_slice(error::rest(&self.contract, &status).to_string().as_bytes());
                out.put_slice(b"}\n");
            }
            (Layout::Events, None) => event(&mut out, "end", b"{}"),
            (Layout::Events, Some(status)) => {
                event(&mut out, "error", error::rest(&self.contract, &status).to_string().as_bytes());
            }
            (Layout::Envelopes(_), refusal) => {
                let end = connect_end(&self.contract, refusal.as_ref(), trailers);
                put_frame(&mut out, CONNECT_END, end.to_string().as_bytes());
            }
        }
        out.freeze()
    }

    fn keep_alive(&self) -> Option<(Duration, Bytes)> {
        match self.layout {
            // Between two lines of JSON there may be any white space.
            Layout::Lines => Some((self.keep_alive, Bytes::from_static(b"\n"))),
            Layout::Events => Some((self.keep_alive, Bytes::from_static(b": keep-alive\n\n"))),
            Layout::Envelopes(_) => None,
        }
    }
}

/// The last envelope of Connect for a stream that is refused before it begins.
pub(crate) fn connect_refusal(contract: &Contract, status: &Status) -> Bytes {
    let mut out = BytesMut::new();
    let end = connect_end(contract, Some(status), &HeaderMap::new());
    put_frame(&mut out, CONNECT_END, end.to_string().as_bytes());
    out.freeze()
}

fn connect_end(contract: &Contract, refusal: Option<&Status>, trailers: &HeaderMap) -> Json {
    let mut end = Map::new();
    if let Some(status) = refusal {
        end.insert("error".to_owned(), error::connect(contract, status));
    }
    let mut metadata: Map<String, Json> = Map::new();
    for name in trailers.keys().filter(|name| !name.as_str().starts_with("grpc-")) {
        let values = trailers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        metadata.insert(name.as_str().to_owned(), values.map(Json::from).collect());
    }
    if !metadata.is_empty() {
        end.insert("metadata".to_owned(), Json::Object(metadata));
    }
    Json::Object(end)
}

/// The frames of gRPC as they are, and the trailers as a last one.
pub(crate) struct GrpcWeb {
    pub(crate) is_text: bool,
}

impl GrpcWeb {
    fn piece(&self, bytes: Bytes) -> Bytes {
        // Texts may stand one behind another, each with its padding.
        if self.is_text { Bytes::from(BASE64_STANDARD.encode(bytes)) } else { bytes }
    }
}

impl Convert for GrpcWeb {
    fn data(&mut self, data: &[u8]) -> Result<Bytes, Status> {
        Ok(self.piece(Bytes::copy_from_slice(data)))
    }

    fn end(&mut self, trailers: &HeaderMap) -> Bytes {
        self.piece(grpc_web_trailers(trailers))
    }
}

/// The frame of gRPC-Web that has the trailers: names and values as HTTP/1.1 has headers.
pub(crate) fn grpc_web_trailers(trailers: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in trailers {
        lines.put_slice(name.as_str().as_bytes());
        lines.put_slice(b": ");
        lines.put_slice(value.as_bytes());
        lines.put_slice(b"\r\n");
    }
    let mut out = BytesMut::with_capacity(lines.len() + 5);
    put_frame(&mut out, GRPC_WEB_TRAILERS, &lines);
    out.freeze()
}

fn put_frame(out: &mut BytesMut, flag: u8, bytes: &[u8]) {
    out.put_u8(flag);
    // Messages have a bound far below.
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// One server-sent event (the HTML standard, section 9.2.5). JSON as it is written here has no line breaks.
fn event(out: &mut BytesMut, kind: &str, data: &[u8]) {
    if !kind.is_empty() {
        out.put_slice(b"event: ");
        out.put_slice(kind.as_bytes());
        out.put_slice(b"\n");
    }
    out.put_slice(b"data: ");
    out.put_slice(data);
    out.put_slice(b"\n\n");
}

/// An answer that is not what the contract says is a failure of ours.
pub(crate) fn unreadable(error: &str) -> Status {
    tracing::error!(error, "an answer cannot be written as its caller wants it");
    Refusal::internal()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_proto::order::v1::{Order, WatchOrderResponse};
    use prost::Message;

    use super::*;
    use crate::transcode::contract::PUBLIC;
    use crate::transcode::request::framed_bytes;

    fn messages(layout: Layout) -> Messages {
        let contract = &*PUBLIC;
        let output = contract.pool().get_message_by_name("openorder.order.v1.WatchOrderResponse").unwrap();
        Messages::new(layout, contract, &output, 1_000, Duration::from_secs(15))
    }

    fn order(order_id: &str) -> Bytes {
        let order = Order { order_id: order_id.to_owned(), version: 7, ..Order::default() };
        framed_bytes(&WatchOrderResponse { order: Some(order) }.encode_to_vec())
    }

    fn trailers(status: &Status) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers).unwrap();
        trailers
    }

    fn success() -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))])
    }

    #[test]
    fn lines_have_results_and_a_last_error() {
        let mut lines = messages(Layout::Lines);
        let two = [&order("a")[..], &order("b")[..]].concat();
        let (first, rest) = two.split_at(9);
        assert_eq!(lines.data(first).unwrap(), "");
        let expected = "{\"result\":{\"order\":{\"orderId\":\"a\",\"version\":\"7\"}}}\n\
                        {\"result\":{\"order\":{\"orderId\":\"b\",\"version\":\"7\"}}}\n";
        assert_eq!(lines.data(rest).unwrap(), expected);
        assert_eq!(lines.end(&success()), "");
        let end = lines.end(&trailers(&Refusal::deadline_exceeded()));
        let line: Json = serde_json::from_slice(end.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!(line["error"]["details"][0]["reason"], "DEADLINE_EXCEEDED");
        assert_eq!(lines.keep_alive().unwrap().1, "\n");
    }

    #[test]
    fn events_say_how_they_end() {
        let mut events = messages(Layout::Events);
        assert_eq!(events.data(&order("a")).unwrap(), "data: {\"order\":{\"orderId\":\"a\",\"version\":\"7\"}}\n\n");
        assert_eq!(events.end(&success()), "event: end\ndata: {}\n\n");
        let end = events.end(&trailers(&Refusal::deadline_exceeded()));
        assert!(end.starts_with(b"event: error\ndata: {\"code\":4,"), "{end:?}");
        assert!(events.keep_alive().unwrap().1.starts_with(b":"));
    }

    #[test]
    fn envelopes_end_with_one_of_their_own() {
        let mut envelopes = messages(Layout::Envelopes(Codec::Proto));
        assert_eq!(envelopes.data(&order("a")).unwrap(), order("a"), "as it is");
        let mut headers = trailers(&Refusal::deadline_exceeded());
        headers.insert("own-trailer", http::HeaderValue::from_static("kept"));
        let end = envelopes.end(&headers);
        assert_eq!(end[0], CONNECT_END);
        let end: Json = serde_json::from_slice(&end[5..]).unwrap();
        assert_eq!(end["error"]["code"], "deadline_exceeded");
        assert_eq!(end["metadata"]["own-trailer"][0], "kept");
        assert_eq!(&envelopes.end(&success())[5..], b"{}");
    }

    #[test]
    fn trailers_of_grpc_web_are_its_last_frame() {
        let mut plain = GrpcWeb { is_text: false };
        assert_eq!(plain.data(b"abc").unwrap(), "abc");
        assert_eq!(plain.end(&success()).as_ref(), b"\x80\0\0\0\x10grpc-status: 0\r\n");
        let mut text = GrpcWeb { is_text: true };
        assert_eq!(text.data(b"abcd").unwrap(), "YWJjZA==");
    }

    #[test]
    fn what_is_no_message_ends_the_answer() {
        let mut lines = messages(Layout::Lines);
        assert!(lines.data(&framed_bytes(&[0xff, 0xff])).is_err());
        assert!(messages(Layout::Lines).data(&[0, 255, 255, 255, 255]).is_err(), "too long");
    }
}
