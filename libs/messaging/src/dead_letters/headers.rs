//! Headers of a dead letter: the original's, and where it failed and why, by the names that Spring Kafka
//! (`DeadLetterPublishingRecoverer`) and Kafka Connect (error reporting) use, in their encodings.

use rdkafka::message::{Header, OwnedHeaders};

use super::Letter;

/// Headers of earlier rounds, of whoever made them, give way: they do not stack.
const REPLACED: &[&str] = &["kafka_dlt-", "__connect.errors."];

pub(super) fn of(letter: &Letter, origin_topic: &str, group: &str) -> OwnedHeaders {
    let message = &letter.message;
    let mut headers = OwnedHeaders::new_with_capacity(32);
    for (key, value) in message.headers.iter() {
        if !REPLACED.iter().any(|prefix| key.starts_with(prefix)) {
            headers = headers.insert(Header { key, value: Some(value) });
        }
    }
    // Stable reason and a sentence: what exactly went wrong stays in the service's own table and log.
    let exception = format!("openorder.{}", letter.error_reason);
    let sentence = sentence(letter);
    let trace = format!("{exception}: {sentence}");
    let (partition, offset) = (message.partition, message.offset);
    let recorded_ms = letter.recorded.at.timestamp_millis();
    let recorded_by: &[u8] = if letter.recorded.by_broker { b"LogAppendTime" } else { b"CreateTime" };
    let spring: [(&str, &[u8]); 9] = [
        ("kafka_dlt-original-topic", origin_topic.as_bytes()),
        ("kafka_dlt-original-partition", &partition.to_be_bytes()),
        ("kafka_dlt-original-offset", &offset.to_be_bytes()),
        ("kafka_dlt-original-timestamp", &recorded_ms.to_be_bytes()),
        ("kafka_dlt-original-timestamp-type", recorded_by),
        ("kafka_dlt-original-consumer-group", group.as_bytes()),
        ("kafka_dlt-exception-fqcn", exception.as_bytes()),
        ("kafka_dlt-exception-message", sentence.as_bytes()),
        ("kafka_dlt-exception-stacktrace", trace.as_bytes()),
    ];
    for (key, value) in spring {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    let (partition, offset) = (partition.to_string(), offset.to_string());
    let connect: [(&str, &str); 10] = [
        ("__connect.errors.topic", origin_topic),
        ("__connect.errors.partition", &partition),
        ("__connect.errors.offset", &offset),
        ("__connect.errors.connector.name", group),
        ("__connect.errors.task.id", "0"),
        ("__connect.errors.stage", stage(letter)),
        ("__connect.errors.class.name", "openorder.Consumer"),
        ("__connect.errors.exception.class.name", &exception),
        ("__connect.errors.exception.message", &sentence),
        ("__connect.errors.exception.stacktrace", &trace),
    ];
    for (key, value) in connect {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    headers
}

fn sentence(letter: &Letter) -> String {
    match (letter.error_class.as_str(), letter.attempts) {
        ("permanent", _) => "the message can never be handled".to_owned(),
        (_, 1) => "the message failed, and one attempt is all there is".to_owned(),
        (_, attempts) => format!("the message failed {attempts} times, and its attempts are used up"),
    }
}

/// Connect's name of the step that failed.
fn stage(letter: &Letter) -> &'static str {
    match letter.error_reason.as_str() {
        "MALFORMED" | "UNKNOWN_EVENT_TYPE" => "VALUE_CONVERTER",
        _ => "TASK_PUT",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rdkafka::message::Headers;

    use super::*;
    use crate::{
        RawHeaders,
        consumer::{
            receive::{self, Place},
            stored::RecordTime,
        },
    };

    #[test]
    fn headers_of_an_earlier_round_are_replaced_and_the_original_ones_stay() {
        let before = [
            ("ce_id", "0198c0de-0000-7000-8000-000000000001"),
            ("kafka_dlt-exception-message", "an older one"),
            ("__connect.errors.topic", "elsewhere"),
            ("tenant", "a"),
            ("tenant", "b"),
        ];
        let before: RawHeaders = before.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let place = Place { topic: "t.v1".into(), partition: 3, offset: 7 };
        let now = chrono::Utc::now();
        let letter = Letter {
            sequence: 1,
            message: receive::from_parts(place, Bytes::from_static(b"k"), Bytes::from_static(b"v"), before, None),
            recorded: RecordTime { at: now, by_broker: true },
            dead_at: now,
            attempts: 8,
            error_class: "retryable".to_owned(),
            error_reason: "UPSTREAM_FAILED".to_owned(),
        };
        let headers = of(&letter, "p.t.v1", "p.ledger");
        let all = |name: &str| -> Vec<&[u8]> {
            headers.iter().filter(|header| header.key == name).filter_map(|header| header.value).collect()
        };
        assert_eq!(all("tenant"), [b"a", b"b"]);
        assert_eq!(all("kafka_dlt-exception-message"), [b"the message failed 8 times, and its attempts are used up"]);
        assert_eq!(all("__connect.errors.topic"), [b"p.t.v1"]);
        assert_eq!(all("kafka_dlt-original-partition"), [[0, 0, 0, 3]]);
        assert_eq!(all("kafka_dlt-original-timestamp-type"), [b"LogAppendTime"]);
        assert_eq!(all("kafka_dlt-original-offset"), [[0, 0, 0, 0, 0, 0, 0, 7]]);
        assert_eq!(all("kafka_dlt-exception-fqcn"), [b"openorder.UPSTREAM_FAILED"]);
        assert_eq!(all("__connect.errors.stage"), [b"TASK_PUT"]);
    }
}
