//! Which calls are sent to their service once more when the connection to it is lost before the answer begins.
//!
//! What became of such a call nobody knows. So it is one that the contract says may come twice (`idempotency_level`): one
//! that changes nothing, or a command that its request id names. All others are answered UNAVAILABLE, and their callers
//! decide.

use bytes::Buf;
use openorder_rpc::Resend;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::transcode::contract::Procedure;

/// The flag and the length in front of the message.
const PREFIX_LENGTH: usize = 5;

/// When a call with this message, framed as in gRPC and not compressed, is sent again.
pub(crate) fn resend(procedure: &Procedure, framed: &[u8]) -> Resend {
    if procedure.takes_stream() {
        return Resend::Unsent;
    }
    let may_come_twice = match &procedure.request_id {
        _ if procedure.has_no_side_effects => true,
        Some(field) if procedure.is_idempotent => {
            has_text(framed.get(PREFIX_LENGTH..).unwrap_or_default(), field.number())
        }
        Some(_) => false,
        None => procedure.is_idempotent,
    };
    if may_come_twice { Resend::OnceLost } else { Resend::Unsent }
}

/// Whether a field of an encoded message holds a text. Where it stands several times, its last place counts; what is no
/// message holds none.
fn has_text(mut message: &[u8], number: u32) -> bool {
    let mut holds = false;
    while message.has_remaining() {
        let Ok((tag, kind)) = decode_key(&mut message) else { return false };
        if tag != number || kind != WireType::LengthDelimited {
            if skip_field(kind, tag, &mut message, DecodeContext::default()).is_err() {
                return false;
            }
            continue;
        }
        let length = decode_varint(&mut message).ok().and_then(|length| usize::try_from(length).ok());
        let Some((text, rest)) = length.and_then(|length| message.split_at_checked(length)) else { return false };
        (holds, message) = (!text.is_empty(), rest);
    }
    holds
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_proto::order::v1::{CreateOrderRequest, GetOrderRequest, RequestedLine, WatchOrderRequest};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::transcode::contract::PUBLIC;
    use crate::transcode::request::framed_bytes;

    fn procedure(service: &str, method: &str) -> Procedure {
        let all = PUBLIC.procedures(service).unwrap();
        all.into_iter().find(|one| one.descriptor.name() == method).unwrap()
    }

    fn resend_of(method: &str, message: &impl Message) -> Resend {
        resend(&procedure("openorder.order.v1.OrderService", method), &framed_bytes(&message.encode_to_vec()))
    }

    #[test]
    fn reads_may_come_twice_and_commands_that_have_a_name() {
        assert_eq!(resend_of("GetOrder", &GetOrderRequest::default()), Resend::OnceLost);
        assert_eq!(resend_of("WatchOrder", &WatchOrderRequest::default()), Resend::OnceLost);
        let lines = vec![RequestedLine { sku: "lamp".to_owned(), quantity: 1 }];
        let named = |request_id: &str| CreateOrderRequest {
            request_id: request_id.to_owned(),
            customer_id: "lena".to_owned(),
            lines: lines.clone(),
            ..CreateOrderRequest::default()
        };
        assert_eq!(resend_of("CreateOrder", &named("r-1")), Resend::OnceLost);
        assert_eq!(resend_of("CreateOrder", &named("")), Resend::Unsent);
    }

    #[test]
    fn every_method_is_sent_again_as_its_level_says_and_one_without_a_level_never() {
        let all = PUBLIC.pool().services().flat_map(|service| PUBLIC.procedures(service.full_name()).unwrap());
        let ours = all.filter(|one| one.descriptor.full_name().starts_with("openorder."));
        let mut reads = 0;
        for procedure in ours {
            let name = procedure.descriptor.full_name();
            assert!(!(procedure.is_idempotent && procedure.has_no_side_effects), "{name}");
            let unnamed = resend(&procedure, &framed_bytes(b""));
            let needs_no_name = procedure.is_idempotent && procedure.request_id.is_none();
            let may_come_twice = procedure.has_no_side_effects || needs_no_name;
            assert_eq!(unnamed == Resend::OnceLost, may_come_twice, "{name}");
            reads += u32::from(procedure.has_no_side_effects);
        }
        assert!(reads > 20, "{reads}");
    }

    #[test]
    fn the_last_place_of_a_field_counts() {
        let text = |text: &str| [&[0x0a, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        assert!(has_text(&[text(""), text("a")].concat(), 1));
        assert!(!has_text(&[text("a"), text("")].concat(), 1));
        assert!(!has_text(&text("a"), 2));
        assert!(!has_text(&text("abc")[..4], 1), "cut");
        assert!(!has_text(&[0x08, 1], 1), "a number");
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            has_text(&bytes, 1);
            resend(&procedure("openorder.order.v1.OrderService", "CreateOrder"), &bytes);
        }

        #[test]
        fn it_is_what_decoding_finds(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(request) = CreateOrderRequest::decode(&bytes[..]) {
                prop_assert_eq!(has_text(&bytes, 1), !request.request_id.is_empty());
            }
        }
    }
}
