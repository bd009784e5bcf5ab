//! Tells whether two requests ask for the same.

use openorder_proto::secret_fields;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost::{Message, Name};
use sha2::{Digest, Sha256};

/// What a request id is bound to: SHA-256 of a method and the meaning of its request.
///
/// A default that is left out and the same one written out mean the same; so do a UUID in upper and in lower case. So a
/// request is brought to one form first, in which defaults are left out. UUIDs are seen to here, for all requests.
///
/// Secrets are left out: a password is not to be found in the database as a hash that is quickly guessed. So two requests
/// that differ in them alone mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFingerprint {
    /// The method.
    pub method: &'static str,
    /// Of the request's one form.
    pub meaning: [u8; 32],
    /// Of the request as it was written, where that is another form: results that were kept before there was the one
    /// form are found by it.
    pub as_sent: Option<[u8; 32]>,
}

impl RequestFingerprint {
    /// Of a request that can be written in one way only, but for the case of its UUIDs.
    #[must_use]
    pub fn of<M: Message + Name>(method: &'static str, request: &M) -> Self {
        Self::of_encoded(method, without_secrets::<M>(request.encode_to_vec()), None)
    }

    /// Of a request and its one form; `None` for one that is in that form already.
    #[must_use]
    pub fn of_canonical<M: Message + Name + PartialEq>(method: &'static str, sent: &M, canonical: Option<&M>) -> Self {
        let canonical = canonical.filter(|canonical| *canonical != sent);
        let encoded = |message: &M| without_secrets::<M>(message.encode_to_vec());
        Self::of_encoded(method, encoded(sent), canonical.map(encoded))
    }

    fn of_encoded(method: &'static str, sent: Vec<u8>, canonical: Option<Vec<u8>>) -> Self {
        let mut one_form = canonical.unwrap_or_else(|| sent.clone());
        lower_uuids(&mut one_form);
        let as_sent = (one_form != sent).then(|| hash(method, &sent));
        Self { method, meaning: hash(method, &one_form), as_sent }
    }
}

/// A message's encoding without its secret fields.
fn without_secrets<M: Message + Name>(encoded: Vec<u8>) -> Vec<u8> {
    let secrets = secret_fields(&M::full_name());
    if secrets.is_empty() {
        return encoded;
    }
    let (mut kept, mut rest) = (Vec::with_capacity(encoded.len()), encoded.as_slice());
    while !rest.is_empty() {
        let field = rest;
        let Ok((number, wire_type)) = decode_key(&mut rest) else { break };
        if skip_field(wire_type, number, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
        if !secrets.contains(&number) {
            kept.extend_from_slice(&field[..field.len() - rest.len()]);
        }
    }
    kept
}

/// Bytes of a UUID in its hyphenated form, the only one that is taken.
const UUID_BYTES: usize = 36;
/// Its hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// Writes every UUID in a message's encoding in lower case; lengths stay as they are.
fn lower_uuids(encoded: &mut [u8]) {
    if !encoded.iter().any(|byte| matches!(byte, b'A'..=b'F')) {
        return;
    }
    let mut begin = 0;
    while let Some(window) = encoded.get_mut(begin..begin + UUID_BYTES) {
        if is_uuid(window) {
            window.make_ascii_lowercase();
            begin += UUID_BYTES;
        } else {
            begin += 1;
        }
    }
}

fn is_uuid(bytes: &[u8]) -> bool {
    let fits = |(place, byte): (usize, &u8)| {
        if HYPHENS.contains(&place) { *byte == b'-' } else { byte.is_ascii_hexdigit() }
    };
    bytes.iter().enumerate().all(fits)
}

/// Two messages are equal where their encodings are; maps in a request would break that, and there are none.
fn hash(method: &str, encoded: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((method.len() as u64).to_be_bytes());
    hash.update(method);
    hash.update(encoded);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos: 0 }
    }

    #[test]
    fn method_and_content_both_count() {
        let base = RequestFingerprint::of("Create", &time(1));
        assert_eq!(base, RequestFingerprint::of("Create", &time(1)));
        assert_ne!(base, RequestFingerprint::of("Create", &time(2)));
        assert_ne!(base, RequestFingerprint::of("Cancel", &time(1)));
    }

    #[test]
    fn secrets_are_no_part_of_what_a_request_means_and_all_else_is() {
        use openorder_proto::user::v1::RegisterUserRequest;
        let request = |email: &str, password: &str, display_name: &str| RegisterUserRequest {
            request_id: "r".to_owned(),
            email: email.to_owned(),
            password: password.to_owned(),
            display_name: display_name.to_owned(),
            ..RegisterUserRequest::default()
        };
        let of = |email, password, name| RequestFingerprint::of("RegisterUser", &request(email, password, name));
        assert_eq!(of("a@b.c", "correct horse", "Ada"), of("a@b.c", "battery staple", "Ada"));
        assert_eq!(of("a@b.c", "correct horse", "Ada"), of("a@b.c", "", "Ada"), "it is as if it were not there");
        assert_ne!(of("a@b.c", "correct horse", "Ada"), of("a@b.d", "correct horse", "Ada"));
        assert_ne!(of("a@b.c", "correct horse", "Ada"), of("a@b.c", "correct horse", "Bob"));
    }

    #[test]
    fn two_forms_of_one_request_are_the_same_and_each_is_still_known_as_it_was_sent() {
        let plain = RequestFingerprint::of("Create", &time(1));
        let other_form = RequestFingerprint::of_canonical("Create", &time(2), Some(&time(1)));
        assert_eq!(other_form.meaning, plain.meaning);
        assert_eq!(other_form.as_sent, Some(RequestFingerprint::of("Create", &time(2)).meaning));
        assert_eq!(RequestFingerprint::of_canonical("Create", &time(1), Some(&time(1))), plain);
        assert_eq!(RequestFingerprint::of_canonical("Create", &time(1), None), plain);
    }

    #[test]
    fn a_uuid_means_the_same_in_upper_case_and_other_texts_do_not() {
        let of = |text: &str| RequestFingerprint::of("Cancel", &text.to_owned());
        let (lower, upper) = ("018f1a2b-3c4d-7e5f-8a9b-0c1d2e3f4a5b", "018F1A2B-3C4D-7E5F-8A9B-0C1D2E3F4A5B");
        assert_eq!(of(upper).meaning, of(lower).meaning);
        assert_eq!((of(lower).as_sent, of(upper).as_sent.is_some()), (None, true));
        for (one, other) in [("ABC", "abc"), (&upper[1..], &lower[1..]), ("018F1A2B 3C4D", "018f1a2b 3c4d")] {
            assert_ne!(of(one).meaning, of(other).meaning, "{one}");
        }
    }

    #[test]
    fn every_uuid_of_a_message_is_seen() {
        let one_after_the_other = "018F1A2B-3C4D-7E5F-8A9B-0C1D2E3F4A5B".repeat(2) + "AB";
        let mut encoded = one_after_the_other.clone().into_bytes();
        lower_uuids(&mut encoded);
        assert_eq!(encoded, (one_after_the_other[..72].to_lowercase() + "AB").into_bytes());
    }
}
