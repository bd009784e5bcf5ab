//! Tells whether two requests ask for the same.

use prost::Message;
use sha2::{Digest, Sha256};

/// What a request id is bound to: SHA-256 of a method and the meaning of its request.
///
/// A default that is left out and the same one written out mean the same; so do a UUID in upper and in lower case. So a
/// request is brought to one form first, in which defaults are left out.
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
    /// Of a request that can be written in one way only.
    #[must_use]
    pub fn of(method: &'static str, request: &impl Message) -> Self {
        Self { method, meaning: hash(method, request), as_sent: None }
    }

    /// Of a request and its one form; `None` for one that is in that form already.
    #[must_use]
    pub fn of_canonical<M: Message + PartialEq>(method: &'static str, sent: &M, canonical: Option<&M>) -> Self {
        match canonical.filter(|canonical| *canonical != sent) {
            Some(canonical) => Self { method, meaning: hash(method, canonical), as_sent: Some(hash(method, sent)) },
            None => Self::of(method, sent),
        }
    }
}

/// Two messages are equal where their encodings are; maps in a request would break that, and there are none.
fn hash(method: &str, request: &impl Message) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((method.len() as u64).to_be_bytes());
    hash.update(method);
    hash.update(request.encode_to_vec());
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
    fn two_forms_of_one_request_are_the_same_and_each_is_still_known_as_it_was_sent() {
        let plain = RequestFingerprint::of("Create", &time(1));
        let other_form = RequestFingerprint::of_canonical("Create", &time(2), Some(&time(1)));
        assert_eq!(other_form.meaning, plain.meaning);
        assert_eq!(other_form.as_sent, Some(RequestFingerprint::of("Create", &time(2)).meaning));
        assert_eq!(RequestFingerprint::of_canonical("Create", &time(1), Some(&time(1))), plain);
        assert_eq!(RequestFingerprint::of_canonical("Create", &time(1), None), plain);
    }
}
