//! The W3C trace context as it travels between processes and lies in the event log.

use std::fmt;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, TraceState};
use opentelemetry::{SpanId, TraceFlags, TraceId};

/// Length in bytes of a `traceparent` of version 00.
const TRACEPARENT_LENGTH: usize = 55;
/// The flags that W3C Trace Context level 2 defines: sampled (01) and random trace id (02).
const KNOWN_FLAGS: u8 = 0x03;
/// Length in bytes of the compact form: trace id, span id, flags.
const COMPACT_LENGTH: usize = 25;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A place in a trace: trace id, span id, flags and vendor state. The default is "no trace".
///
/// Cheap to clone: no heap memory unless a caller sent a `tracestate`.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// "No trace": invalid, not sampled.
    pub const NONE: Self = Self(SpanContext::NONE);

    /// Reads the two headers of W3C Trace Context.
    ///
    /// `traceparent` is taken strictly (lower-case hex, no zero ids, version `ff` refused, version `00` exactly 55
    /// characters; of a higher version the part that version 00 defines). A `tracestate` that does not parse, or is
    /// longer than 512 characters, is dropped without harming the `traceparent`.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let text = traceparent.as_bytes();
        if text.len() < TRACEPARENT_LENGTH || text[2] != b'-' || text[35] != b'-' || text[52] != b'-' {
            return None;
        }
        let version = hex(&text[0..2])?;
        let longer_is_allowed = version != 0 && text.get(TRACEPARENT_LENGTH) == Some(&b'-');
        if version == 0xff || (text.len() != TRACEPARENT_LENGTH && !longer_is_allowed) {
            return None;
        }
        let trace_id = hex(&text[3..35])?;
        let span_id = u64::try_from(hex(&text[36..52])?).ok()?;
        let flags = u8::try_from(hex(&text[53..55])?).ok()?;
        if trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self(SpanContext::new(
            TraceId::from(trace_id),
            SpanId::from(span_id),
            TraceFlags::new(flags & KNOWN_FLAGS),
            true,
            parse_state(tracestate),
        )))
    }

    /// The `traceparent` header, version 00. Of an invalid context: all ids zero, which every reader refuses.
    #[must_use]
    pub fn traceparent(&self) -> String {
        // It is ASCII.
        String::from_utf8_lossy(&self.traceparent_bytes()).into_owned()
    }

    /// The `traceparent` header as ASCII, without heap memory.
    #[must_use]
    pub fn traceparent_bytes(&self) -> [u8; TRACEPARENT_LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.0.trace_id().to_bytes());
        write_hex(&mut text[36..52], &self.0.span_id().to_bytes());
        write_hex(&mut text[53..55], &[self.0.trace_flags().to_u8()]);
        text
    }

    /// The compact form for tables: trace id (16 bytes), span id (8), flags (1), as they stand in `traceparent`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; COMPACT_LENGTH] {
        let mut bytes = [0; COMPACT_LENGTH];
        bytes[..16].copy_from_slice(&self.0.trace_id().to_bytes());
        bytes[16..24].copy_from_slice(&self.0.span_id().to_bytes());
        bytes[24] = self.0.trace_flags().to_u8();
        bytes
    }

    /// Reads the compact form, with the `tracestate` that stood beside it; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], tracestate: Option<&str>) -> Option<Self> {
        let bytes: &[u8; COMPACT_LENGTH] = bytes.try_into().ok()?;
        let (trace_id, rest) = bytes.split_first_chunk::<16>()?;
        let (span_id, rest) = rest.split_first_chunk::<8>()?;
        let context = SpanContext::new(
            TraceId::from_bytes(*trace_id),
            SpanId::from_bytes(*span_id),
            TraceFlags::new(rest.first()? & KNOWN_FLAGS),
            true,
            parse_state(tracestate),
        );
        context.is_valid().then_some(Self(context))
    }

    /// The `tracestate` header; empty when there is none.
    #[must_use]
    pub fn tracestate(&self) -> String {
        match self.has_tracestate() {
            true => self.0.trace_state().header(),
            false => String::new(),
        }
    }

    /// Whether [`Self::tracestate`] has anything to say; costs nothing.
    #[must_use]
    pub fn has_tracestate(&self) -> bool {
        *self.0.trace_state() != TraceState::NONE
    }

    /// The trace id as 32 lower-case hex characters.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    /// Whether somebody before decided to record this trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    /// Whether both ids are there.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.0.is_valid()
    }

    /// The same in OpenTelemetry's type.
    #[must_use]
    pub fn span_context(&self) -> &SpanContext {
        &self.0
    }

    /// New random ids, not sampled, made here (not remote).
    pub(crate) fn unsampled_root() -> Self {
        // A zero id would be invalid; drawing one is as likely as never.
        let trace_id = TraceId::from(rand::random::<u128>().max(1));
        let span_id = SpanId::from(rand::random::<u64>().max(1));
        Self(SpanContext::new(trace_id, span_id, TraceFlags::NOT_SAMPLED, false, TraceState::NONE))
    }

    /// Itself, if it is valid; else new ids of a trace that is not sampled.
    pub(crate) fn or_unsampled_root(self) -> Self {
        if self.is_valid() { self } else { Self::unsampled_root() }
    }
}

impl From<SpanContext> for TraceContext {
    fn from(context: SpanContext) -> Self {
        Self(context)
    }
}

impl Default for TraceContext {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TraceContext({})", self.traceparent())
    }
}

/// `None` for anything but lower-case hex of at most 32 digits.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(nibble))
    })
}

fn write_hex(text: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 0x0f)];
    }
}

fn parse_state(header: Option<&str>) -> TraceState {
    match header {
        Some(text) if !text.is_empty() && text.len() <= 512 => TraceState::from_str(text).unwrap_or(TraceState::NONE),
        _ => TraceState::NONE,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn reads_and_writes_the_example_of_the_standard() {
        let context = TraceContext::parse(EXAMPLE, Some("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")).unwrap();
        assert!(context.is_valid() && context.is_sampled());
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.traceparent(), EXAMPLE);
        assert_eq!(context.tracestate(), "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
    }

    #[test]
    fn none_is_invalid_and_its_header_is_refused() {
        let none = TraceContext::default();
        assert!(!none.is_valid() && !none.is_sampled() && !none.has_tracestate());
        assert_eq!(TraceContext::parse(&none.traceparent(), None), None);
        assert_eq!(none.tracestate(), "");
    }

    #[test]
    fn refuses_what_the_standard_refuses() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01what",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-é1",
            "0é-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(text, None), None, "{text:?}");
        }
    }

    #[test]
    fn bytes_of_another_length_or_without_ids_are_no_context() {
        for bytes in [&[][..], &[1; 24], &[1; 26], &[0; 25]] {
            assert_eq!(TraceContext::from_bytes(bytes, None), None, "{bytes:?}");
        }
    }

    #[test]
    fn takes_the_known_part_of_a_future_version() {
        let future = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fd-what-the-future-holds";
        let context = TraceContext::parse(future, None).unwrap();
        assert_eq!(context.traceparent(), EXAMPLE);
    }

    #[test]
    fn a_broken_tracestate_does_not_harm_the_traceparent() {
        for state in ["no-equals-sign", "UPPER=1", &"a=1,".repeat(200)] {
            let context = TraceContext::parse(EXAMPLE, Some(state)).unwrap();
            assert_eq!((context.traceparent().as_str(), context.has_tracestate()), (EXAMPLE, false), "{state:?}");
        }
    }

    #[test]
    fn a_new_root_is_valid_and_unsampled() {
        let root = TraceContext::unsampled_root();
        assert!(root.is_valid() && !root.is_sampled());
        assert_ne!(root, TraceContext::unsampled_root());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace_id in 1_u128.., span_id in 1_u64.., flags in 0_u8..4) {
            let context = TraceContext(SpanContext::new(
                TraceId::from(trace_id), SpanId::from(span_id), TraceFlags::new(flags), true, TraceState::NONE,
            ));
            prop_assert_eq!(TraceContext::parse(&context.traceparent(), None), Some(context.clone()));
            prop_assert_eq!(TraceContext::from_bytes(&context.to_bytes(), None), Some(context));
        }

        #[test]
        fn any_text_is_refused_or_round_trips(text in "\\PC{0,70}") {
            if let Some(context) = TraceContext::parse(&text, None) {
                prop_assert_eq!(&context.traceparent()[..52], &text[..52]);
            }
        }

        #[test]
        fn one_changed_character_never_reads_as_the_same_context(position in 0_usize..53, replacement in "[ -~]") {
            let mut text = EXAMPLE.to_owned();
            text.replace_range(position..=position, &replacement);
            prop_assume!(text != EXAMPLE);
            // Another version may be read (its known part); ids never silently turn into others.
            if let Some(context) = TraceContext::parse(&text, None) {
                prop_assert_eq!(&context.traceparent()[3..52], &text[3..52]);
            }
        }
    }
}
