//! One event as it stands in Kafka, its value decoded by its type.

use anyhow::Context;
use chrono::{DateTime, SecondsFormat};
use openorder_messaging::Received;
use openorder_proto::by_type;
use prost_reflect::DescriptorPool;
use serde_json::{Map, Value, json};

use crate::json::{decoded, pool};
use crate::table;

/// Characters of a key, a type or another header in a line.
const TEXT_SHOWN_MAX: usize = 80;

/// Decodes values: all that is known of types, read once.
pub(super) struct Decoder(DescriptorPool);

/// A message with what is known of its value.
pub(super) struct Event {
    message: Received,
    timestamp_ms: i64,
    /// The value; why it cannot be shown, otherwise.
    value: Result<Value, String>,
}

impl Decoder {
    pub(super) fn new() -> anyhow::Result<Self> {
        pool().map(Self)
    }

    /// A message, decoded as far as it can be: a foreign or broken one is shown as well.
    pub(super) fn decode(&self, message: Received, timestamp_ms: i64) -> Event {
        let value = self.value(&message).map_err(|error| format!("{error:#}"));
        Event { message, timestamp_ms, value }
    }

    fn value(&self, message: &Received) -> anyhow::Result<Value> {
        let event_type = &*message.event_type;
        let known = by_type(event_type).with_context(|| match event_type {
            "" => "the header ce_type is missing".to_owned(),
            other => format!("this program does not know the type {other}"),
        })?;
        let descriptor = self.0.get_message_by_name(known.message).context("a message of the contract")?;
        decoded(descriptor, &message.payload).with_context(|| format!("no {}", known.message))
    }
}

impl Event {
    /// For programs: one JSON document.
    pub(super) fn document(&self) -> Value {
        let message = &self.message;
        let headers: Map<String, Value> = message
            .headers
            .iter()
            .map(|(name, value)| (name.to_owned(), Value::String(String::from_utf8_lossy(value).into_owned())))
            .collect();
        let mut document = json!({
            "topic": message.topic,
            "partition": message.partition,
            "offset": message.offset,
            "time": self.time(),
            "key": String::from_utf8_lossy(&message.key),
            "type": message.event_type,
            "id": message.event_id,
            "trace_id": self.trace_id(),
            "source": message.source(),
            "headers": headers,
            "value_bytes": message.payload.len(),
        });
        match &self.value {
            Ok(value) => document["value"] = value.clone(),
            Err(error) => document["error"] = Value::String(error.clone()),
        }
        document
    }

    /// For people: where and what it is, then its value. Headers and keys of a foreign message may hold anything.
    pub(super) fn lines(&self) -> [String; 2] {
        let message = &self.message;
        let clean = |text: &str| table::or_dash(&table::cut(text, TEXT_SHOWN_MAX));
        let head = format!(
            "{}  {}  key {}  at {}/{}/{}  from {}  trace {}",
            self.time(),
            clean(&message.event_type),
            clean(&String::from_utf8_lossy(&message.key)),
            message.topic,
            message.partition,
            message.offset,
            clean(message.source()),
            table::or_dash(&self.trace_id()),
        );
        let value = match &self.value {
            Ok(value) => value.to_string(),
            Err(error) => {
                format!("{} bytes that cannot be shown: {}", message.payload.len(), table::cut(error, usize::MAX))
            }
        };
        [head, format!("  {value}")]
    }

    /// Time in Kafka, milliseconds since 1970.
    pub(super) fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// Whether the value names this order, at whatever depth.
    pub(super) fn names_order(&self, order_id: &str) -> bool {
        self.value.as_ref().is_ok_and(|value| names_order(value, order_id))
    }

    /// The trace that the event belongs to; empty when its headers name none.
    fn trace_id(&self) -> String {
        let trace = &self.message.trace;
        if trace.is_valid() { trace.trace_id() } else { String::new() }
    }

    fn time(&self) -> String {
        let time = DateTime::from_timestamp_millis(self.timestamp_ms);
        time.map_or_else(|| "-".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// Values have the depth of the contract's messages.
fn names_order(value: &Value, order_id: &str) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            (name == "order_id" && value.as_str() == Some(order_id)) || names_order(value, order_id)
        }),
        Value::Array(values) => values.iter().any(|value| names_order(value, order_id)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use openorder_messaging::RawHeaders;
    use openorder_proto::EventMessage;
    use openorder_proto::payment::v1::{Wallet, WalletCharged, WalletDebited};
    use openorder_telemetry::TraceContext;
    use prost::Message;

    use super::*;

    fn received(event_type: &str, payload: Vec<u8>) -> Received {
        let headers: [(&str, &[u8]); 2] = [("ce_type", event_type.as_bytes()), ("ce_source", b"/openorder/payment")];
        Received {
            topic: "payment.wallet.v1".into(),
            partition: 1,
            offset: 7,
            key: b"anna".to_vec().into(),
            event_id: uuid::Uuid::nil(),
            event_type: event_type.to_owned().into(),
            position: None,
            payload: payload.into(),
            trace: TraceContext::NONE,
            headers: RawHeaders::from_iter(headers),
        }
    }

    #[test]
    fn an_event_is_decoded_by_its_type() {
        let wallet = Some(Wallet { user_id: "anna".to_owned(), ..Default::default() });
        let charged = WalletCharged { wallet, ..Default::default() };
        let event = Decoder::new().unwrap().decode(received(WalletCharged::EVENT_TYPE, charged.encode_to_vec()), 0);
        let document = event.document();
        assert_eq!(document["value"]["wallet"]["user_id"], "anna");
        assert_eq!(
            (&document["partition"], &document["offset"], &document["key"]),
            (&json!(1), &json!(7), &json!("anna"))
        );
        let [head, value] = event.lines();
        let expected =
            "1970-01-01T00:00:00.000Z  payment.wallet.charged  key anna  at payment.wallet.v1/1/7  from payment";
        assert_eq!(head, format!("{expected}  trace -"));
        assert!(value.contains("\"user_id\":\"anna\""), "{value}");
    }

    #[test]
    fn an_event_names_its_order_and_its_trace() {
        let debited = WalletDebited { order_id: "an-order".to_owned(), ..Default::default() };
        let message = received(WalletDebited::EVENT_TYPE, debited.encode_to_vec());
        let trace_id = "0af7651916cd43dd8448eb211c80319c";
        let trace = TraceContext::parse(&format!("00-{trace_id}-b7ad6b7169203331-01"), None).unwrap();
        let event = Decoder::new().unwrap().decode(Received { trace, ..message }, 0);
        assert!(event.names_order("an-order") && !event.names_order("anna"));
        assert_eq!(event.document()["trace_id"], trace_id);
        assert!(event.lines()[0].ends_with(trace_id), "{}", event.lines()[0]);
        let nested = json!({ "a": [{ "order_id": "an-order" }], "key": "other" });
        assert!(names_order(&nested, "an-order") && !names_order(&nested, "other"));
    }

    #[test]
    fn what_cannot_be_decoded_is_shown_with_the_reason_and_does_no_harm() {
        let decoder = Decoder::new().unwrap();
        let broken = decoder.decode(received(WalletCharged::EVENT_TYPE, vec![0xff, 0xff]), 0);
        assert!(broken.document()["error"].as_str().unwrap().contains("WalletCharged"));
        let foreign = decoder.decode(received("a\u{1b}[31m.b", b"x".to_vec()), 0);
        let [head, value] = foreign.lines();
        assert!(!head.contains('\u{1b}') && !value.contains('\u{1b}'), "{head}{value}");
        assert!(value.contains("1 bytes that cannot be shown"), "{value}");
        assert!(decoder.decode(received("", Vec::new()), 0).lines()[1].contains("ce_type"));
    }
}
