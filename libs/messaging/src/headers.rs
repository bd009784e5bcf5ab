//! Headers of an event's record: CloudEvents 1.0 in binary mode (Kafka binding) and W3C Trace Context.
//!
//! A record says once what it says. Its key is the subject and its own time is the event's time, so neither is a header;
//! `ce_subject` is written only where the aggregate is not the key. Before ADR 47 a record also had `ce_subject`,
//! `ce_time` and `content-type`, and `ce_sequence` was the aggregate's version. Topics and tables keep such
//! records for as long as they keep anything: whatever is read here is read of both forms.

use openorder_telemetry::TraceContext;
use openorder_types::IdText;
use rdkafka::message::{Header, OwnedHeaders};
use uuid::{Uuid, fmt::Hyphenated};

use crate::{LoggedEvent, RawHeaders};

/// First, because a consumer that passes a record over reads nothing else.
pub(crate) const TYPE: &str = "ce_type";
pub(crate) const ID: &str = "ce_id";
pub(crate) const SOURCE: &str = "ce_source";
pub(crate) const SEQUENCE: &str = "ce_sequence";
pub(crate) const SUBJECT: &str = "ce_subject";
/// Only of records of the former form.
pub(crate) const TIME: &str = "ce_time";
const SPEC_VERSION: &str = "ce_specversion";
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Headers that a record has at most.
const COUNT_MAX: usize = 8;

/// Writes the headers of one batch; what its events have in common is made once.
pub(crate) struct HeaderWriter {
    source: String,
    sequence: String,
}

impl HeaderWriter {
    /// `service` is the one whose log the events are in.
    pub(crate) fn new(service: &str) -> Self {
        Self { source: format!("/openorder/{service}"), sequence: String::new() }
    }

    /// The headers as the client sends them.
    pub(crate) fn record_headers(&mut self, event: &LoggedEvent) -> OwnedHeaders {
        self.write(event, OwnedHeaders::new_with_capacity(COUNT_MAX), |headers, key, value| {
            headers.insert(Header { key, value: Some(value) })
        })
    }

    /// The headers as a consumer would receive them.
    pub(crate) fn raw_headers(&mut self, event: &LoggedEvent) -> RawHeaders {
        let bytes = self.write(event, Vec::new(), |mut bytes, name, value| {
            RawHeaders::write(&mut bytes, name, value);
            bytes
        });
        RawHeaders::written(bytes.into())
    }

    /// Adds each header by `add`. Without a trace state none of them needs heap memory of its own.
    fn write<H>(&mut self, event: &LoggedEvent, headers: H, add: impl Fn(H, &'static str, &[u8]) -> H) -> H {
        use std::fmt::Write;
        let mut id = [0; Hyphenated::LENGTH];
        let id = event.event_id.as_hyphenated().encode_lower(&mut id);
        self.sequence.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.sequence, "{}", event.position);
        let mut headers = add(headers, TYPE, event.event_type.as_bytes());
        headers = add(headers, ID, id.as_bytes());
        headers = add(headers, SOURCE, self.source.as_bytes());
        headers = add(headers, SEQUENCE, self.sequence.as_bytes());
        if event.aggregate_id != event.key {
            headers = add(headers, SUBJECT, event.aggregate_id.text(&mut IdText::default()).as_bytes());
        }
        if event.trace.is_valid() {
            headers = add(headers, TRACEPARENT, &event.trace.traceparent_bytes());
            if event.trace.has_tracestate() {
                headers = add(headers, TRACESTATE, event.trace.tracestate().as_bytes());
            }
        }
        add(headers, SPEC_VERSION, b"1.0")
    }
}

/// What a consumer needs of a record's headers, read in place and in one pass. Of several headers of one name the first
/// counts; a value that is not text counts as none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownHeaders<'a> {
    pub(crate) event_id: Option<Uuid>,
    pub(crate) event_type: &'a str,
    /// The event's position in its source's log; none of a record of the former form, whose sequence is another number.
    pub(crate) position: Option<i64>,
    pub(crate) trace: TraceContext,
}

impl<'a> KnownHeaders<'a> {
    pub(crate) fn read(headers: &'a RawHeaders) -> Self {
        let (mut id, mut event_type, mut parent, mut state) = (None, None, None, None);
        let (mut sequence, mut is_former) = (None, false);
        for (name, value) in headers.iter() {
            let slot: &mut Option<&[u8]> = match name {
                ID => &mut id,
                TYPE => &mut event_type,
                TRACEPARENT => &mut parent,
                TRACESTATE => &mut state,
                SEQUENCE => &mut sequence,
                TIME => {
                    is_former = true;
                    continue;
                }
                _ => continue,
            };
            slot.get_or_insert(value);
        }
        let text = |value: Option<&'a [u8]>| std::str::from_utf8(value?).ok();
        Self {
            event_id: text(id).and_then(|id| Uuid::try_parse(id).ok()),
            event_type: text(event_type).unwrap_or_default(),
            position: text(sequence).filter(|_| !is_former).and_then(|position| position.parse().ok()),
            trace: text(parent).and_then(|parent| TraceContext::parse(parent, text(state))).unwrap_or_default(),
        }
    }
}

/// The service that a CloudEvents source names: `order` of `/openorder/order`.
pub(crate) fn service_of(source: &str) -> &str {
    source.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use bytes::Bytes;
    use chrono::Utc;
    use openorder_fuzzing::{Random, fuzz};
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn event(aggregate_id: &str, trace: TraceContext) -> LoggedEvent {
        LoggedEvent {
            position: 123,
            event_id: Uuid::from_u128(7),
            event_type: "order.lifecycle.created".into(),
            topic: "order.lifecycle.v1".into(),
            key: "an-order".into(),
            aggregate_id: aggregate_id.into(),
            aggregate_version: 4,
            payload: Bytes::new(),
            trace,
            occurred_at: Utc::now(),
        }
    }

    fn written(event: &LoggedEvent) -> Vec<(String, String)> {
        let mut writer = HeaderWriter::new("order");
        let raw = writer.raw_headers(event);
        // One of a batch is as another.
        assert_eq!(writer.raw_headers(event), raw);
        raw.iter().map(|(name, value)| (name.to_owned(), String::from_utf8(value.to_vec()).unwrap())).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_event_has_exactly_these_headers() {
        let expected = [
            ("ce_type", "order.lifecycle.created"),
            ("ce_id", "00000000-0000-0000-0000-000000000007"),
            ("ce_source", "/openorder/order"),
            ("ce_sequence", "123"),
            ("ce_specversion", "1.0"),
        ];
        assert_eq!(written(&event("an-order", TraceContext::NONE)), pairs(&expected));
    }

    #[test]
    fn a_subject_that_is_not_the_key_and_a_trace_have_headers() {
        let trace = TraceContext::parse(TRACE, Some("vendor=1")).unwrap();
        let expected = [
            ("ce_type", "order.lifecycle.created"),
            ("ce_id", "00000000-0000-0000-0000-000000000007"),
            ("ce_source", "/openorder/order"),
            ("ce_sequence", "123"),
            ("ce_subject", "a-notification"),
            ("traceparent", TRACE),
            ("tracestate", "vendor=1"),
            ("ce_specversion", "1.0"),
        ];
        assert_eq!(written(&event("a-notification", trace)), pairs(&expected));
        assert_eq!(expected.len(), COUNT_MAX);
        let without_state = TraceContext::parse(TRACE, None).unwrap();
        assert!(written(&event("an-order", without_state)).iter().all(|(name, _)| name != "tracestate"));
    }

    #[test]
    fn the_client_is_given_the_same_headers() {
        use rdkafka::message::Headers;
        let event = event("a-notification", TraceContext::parse(TRACE, Some("vendor=1")).unwrap());
        let mut writer = HeaderWriter::new("order");
        let (raw, record) = (writer.raw_headers(&event), writer.record_headers(&event));
        let sent: Vec<_> = record.iter().map(|header| (header.key, header.value.unwrap())).collect();
        assert_eq!(sent, raw.iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_page_for_consumers_has_these_headers_and_no_other() {
        let trace = TraceContext::parse(TRACE, Some("vendor=1")).unwrap();
        let written: BTreeSet<String> =
            written(&event("a-notification", trace)).into_iter().map(|(name, _)| name).collect();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/consuming-events.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, section) = page.split_once("## What a record holds").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        // A line after the table may name the former ones.
        let documented: BTreeSet<String> =
            section.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect();
        assert_eq!(documented, written);
    }

    #[test]
    fn headers_of_the_present_and_of_the_former_form_are_read_alike() {
        let event = event("an-order", TraceContext::parse(TRACE, None).unwrap());
        let present = HeaderWriter::new("order").raw_headers(&event);
        let former = [
            ("ce_specversion", "1.0"),
            ("ce_id", "00000000-0000-0000-0000-000000000007"),
            ("ce_type", "order.lifecycle.created"),
            ("ce_source", "/openorder/order"),
            ("ce_subject", "an-order"),
            ("ce_time", "2026-11-28T06:30:00.123456Z"),
            ("ce_sequence", "4"),
            ("content-type", "application/protobuf"),
            ("traceparent", TRACE),
        ];
        let former: RawHeaders = former.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let read = KnownHeaders::read(&present);
        let read_of_former = KnownHeaders::read(&former);
        assert_eq!((read.position, read_of_former.position), (Some(123), None), "a version is no position");
        assert_eq!(read, KnownHeaders { position: Some(123), ..read_of_former });
        assert_eq!((read.event_id, read.event_type), (Some(event.event_id), "order.lifecycle.created"));
        assert_eq!(read.trace.traceparent(), TRACE);
    }

    #[test]
    fn the_first_value_of_a_name_counts_and_what_is_not_text_is_none() {
        let headers: [(&str, &[u8]); 5] = [
            (TYPE, b"first"),
            (TYPE, b"second"),
            (ID, &[0xff]),
            (ID, b"00000000-0000-0000-0000-000000000007"),
            (TRACESTATE, b"vendor=1"),
        ];
        let headers = RawHeaders::from_iter(headers);
        let read = KnownHeaders::read(&headers);
        assert_eq!((read.event_id, read.event_type, read.trace), (None, "first", TraceContext::NONE));
        assert_eq!(KnownHeaders::read(&RawHeaders::default()), KnownHeaders::default());
    }

    /// Any header that a record may have, also those that mean something here.
    fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
        let known = [TYPE, ID, SOURCE, SEQUENCE, SUBJECT, TIME, SPEC_VERSION, TRACEPARENT, TRACESTATE];
        let name = prop_oneof![select(known.to_vec()).prop_map(str::to_owned), "\\PC{0,9}"];
        let likely =
            ["order.lifecycle.created", "123", "-1", "00000000-0000-0000-0000-000000000007", TRACE, "vendor=1"];
        let likely = select(likely.to_vec()).prop_map(|text| text.as_bytes().to_vec());
        let value = prop_oneof![likely, proptest::collection::vec(any::<u8>(), 0..40)];
        (name, value)
    }

    proptest! {
        #[test]
        fn any_headers_are_read_and_the_first_of_a_name_counts(pairs in proptest::collection::vec(header(), 0..12)) {
            let headers: RawHeaders = pairs.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            let back: Vec<_> = headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
            prop_assert_eq!(&back, &pairs);
            let first = |name: &str| {
                let (_, value) = pairs.iter().find(|(known, _)| known == name)?;
                std::str::from_utf8(value).ok()
            };
            let read = KnownHeaders::read(&headers);
            prop_assert_eq!(read.event_type, first(TYPE).unwrap_or_default());
            prop_assert_eq!(read.event_id, first(ID).and_then(|id| Uuid::try_parse(id).ok()));
            let is_former = pairs.iter().any(|(name, _)| name == TIME);
            let position: Option<i64> = first(SEQUENCE).filter(|_| !is_former).and_then(|text| text.parse().ok());
            prop_assert_eq!(read.position, position);
        }

        #[test]
        fn no_bytes_that_headers_are_stored_as_break_their_reader(bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
            let headers = RawHeaders::written(bytes.into());
            let read = KnownHeaders::read(&headers);
            prop_assert!(read.event_type.len() <= 90 && headers.iter().count() <= 12);
        }
    }

    /// A header as somebody may have written it.
    fn any_header(random: &mut Random) -> (String, Vec<u8>) {
        const KNOWN: [(&str, &str); 9] = [
            (TYPE, "order.lifecycle.created"),
            (ID, "00000000-0000-0000-0000-000000000007"),
            (SOURCE, "/openorder/order"),
            (SEQUENCE, "123"),
            (SUBJECT, "an-order"),
            (TIME, "2026-11-28T06:30:00.123456Z"),
            (SPEC_VERSION, "1.0"),
            (TRACEPARENT, TRACE),
            (TRACESTATE, "vendor=1,other=2"),
        ];
        let (name, value) = *random.one_of(&KNOWN);
        let name = if random.chance(20) { random.damaged_text(name) } else { name.to_owned() };
        (name, random.damaged(value.as_bytes().to_vec()))
    }

    #[test]
    fn fuzz_kafka_headers() {
        fuzz("kafka_headers", |random| {
            let count = random.below(12);
            let pairs: Vec<_> = (0..count).map(|_| any_header(random)).collect();
            let mut bytes = Vec::new();
            for (name, value) in &pairs {
                RawHeaders::write(&mut bytes, name, value);
            }
            let headers = RawHeaders::written(bytes.clone().into());
            let first = |name: &str| {
                let (_, value) = pairs.iter().find(|(known, _)| known == name)?;
                std::str::from_utf8(value).ok()
            };
            let read = KnownHeaders::read(&headers);
            assert_eq!(read.event_type, first(TYPE).unwrap_or_default(), "{pairs:?}");
            assert_eq!(read.event_id, first(ID).and_then(|id| Uuid::try_parse(id).ok()), "{pairs:?}");
            let trace = read.trace.traceparent();
            assert!(!read.trace.is_valid() || TraceContext::parse(&trace, None).is_some(), "{pairs:?}: {trace}");
            let (has_type, service) = (!read.event_type.is_empty(), service_of(first(SOURCE).unwrap_or_default()));
            assert!(!service.contains('/'), "{service}");
            // As they are stored with what waits to be handled again.
            let stored = RawHeaders::written(random.damaged(bytes).into());
            let _ = KnownHeaders::read(&stored);
            assert!(stored.iter().count() <= 64);
            has_type
        });
    }

    #[test]
    fn the_service_is_the_last_part_of_the_source() {
        assert_eq!(
            (service_of("/openorder/order"), service_of("elsewhere"), service_of("")),
            ("order", "elsewhere", "")
        );
    }
}
