//! Tells whether two requests ask for the same.

use prost::Message;
use sha2::{Digest, Sha256};

/// SHA-256 of a method and its request message: what a request id is bound to.
///
/// Two messages are equal where their encodings are; maps in a request would break that, and there are none.
#[must_use]
pub fn request_fingerprint(method: &str, request: &impl Message) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((method.len() as u64).to_be_bytes());
    hash.update(method);
    hash.update(request.encode_to_vec());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_and_content_both_count() {
        let time = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        let base = request_fingerprint("Create", &time(1));
        assert_eq!(base, request_fingerprint("Create", &time(1)));
        assert_ne!(base, request_fingerprint("Create", &time(2)));
        assert_ne!(base, request_fingerprint("Cancel", &time(1)));
    }
}
