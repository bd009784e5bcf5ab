//! Pages of lists (AIP-158): sizes in items and in bytes, and tokens that fit one caller, one list and one filter only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use openorder_proto::ListRequest;
use openorder_types::{CallError, Caller, Rejection, ValueError};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::CallContext;

/// Version of the token's layout: version, cursor, authentication code.
const VERSION: u8 = 1;
/// Bytes of the authentication code that a token carries (of 32).
const TAG_LENGTH: usize = 16;
/// Longer texts are refused before they are decoded.
const TOKEN_LENGTH_MAX: usize = 2_048;

/// Reason of an answer that does not fit.
pub(crate) const ANSWER_TOO_LARGE: &str = "ANSWER_TOO_LARGE";
/// Bytes that a field of a message takes besides its value: a tag, and a length of up to five bytes.
const FIELD_BYTES: usize = 7;

/// How large the answers of lists become, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageBytes {
    /// A page ends before the item that would make it larger; an item that is larger by itself comes alone.
    pub page_max: usize,
    /// Answers to a request that names its items, which have no pages, are refused beyond.
    pub batch_max: usize,
}

impl Default for PageBytes {
    /// A quarter of what gRPC clients take unless they are told otherwise (4 MiB), and nearly that.
    fn default() -> Self {
        Self { page_max: 1 << 20, batch_max: (4 << 20) - (64 << 10) }
    }
}

/// A list of which a caller asks for a page.
#[derive(Debug)]
pub struct List<'a> {
    tokens: &'a PageTokens,
    name: &'static str,
    caller: &'a Caller,
    conditions: Vec<u8>,
    cursor: Option<Vec<u8>>,
}

impl List<'_> {
    /// What the page begins after; `None` of the first one.
    #[must_use]
    pub fn cursor(&self) -> Option<&[u8]> {
        self.cursor.as_deref()
    }

    /// The page of at most `size` items that begins with the first of these rows, and the token of the next one, empty on
    /// the last page. One row more than the page may hold tells whether there is a next one. `cursor` is what the next
    /// page's query begins after.
    pub fn page<R, T: Message, C: AsRef<[u8]>>(
        &self,
        size: u32,
        rows: &[R],
        present: impl Fn(&R) -> T,
        cursor: impl Fn(&R) -> C,
    ) -> (Vec<T>, String) {
        let items = fill(rows.iter().map(present), size as usize, self.tokens.bytes.page_max);
        let more = items.len() < rows.len();
        let last = items.len().checked_sub(1).and_then(|last| rows.get(last)).filter(|_| more);
        let next = last.map(|last| self.token(cursor(last).as_ref())).unwrap_or_default();
        (items, next)
    }

    /// The token of the page that begins after `cursor`.
    #[must_use]
    pub fn token(&self, cursor: &[u8]) -> String {
        self.tokens.encode(self.name, self.caller, &self.conditions, cursor)
    }
}

/// The first of these messages, as many as fit into so many items and bytes; at least one, if there is any. No more of
/// them than one that does not fit are made.
pub fn fill<T: Message>(messages: impl Iterator<Item = T>, items_max: usize, bytes_max: usize) -> Vec<T> {
    let mut items = Vec::with_capacity(messages.size_hint().0.min(items_max));
    let mut bytes: usize = 0;
    for item in messages.take(items_max) {
        bytes = bytes.saturating_add(item.encoded_len()).saturating_add(FIELD_BYTES);
        if bytes > bytes_max && !items.is_empty() {
            break;
        }
        items.push(item);
    }
    items
}

/// Makes and checks page tokens. A token tells its cursor to who reads it, and cannot be forged or used elsewhere.
#[derive(Clone)]
pub struct PageTokens {
    mac: Hmac<Sha256>,
    bytes: PageBytes,
}

impl PageTokens {
    /// Tokens that this secret authenticates; all instances of a service share it.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        // Hashed, any secret fits the block of the MAC, and making it cannot fail.
        let mut key = [0; 64];
        key[..32].copy_from_slice(&Sha256::digest(secret));
        Self { mac: <Hmac<Sha256> as KeyInit>::new(&key.into()), bytes: PageBytes::default() }
    }

    /// The same with other bounds of bytes.
    #[must_use]
    pub fn with_bytes(self, bytes: PageBytes) -> Self {
        Self { bytes, ..self }
    }

    /// Bytes of a page at most.
    #[must_use]
    pub fn page_bytes_max(&self) -> usize {
        self.bytes.page_max
    }

    /// The list that a request asks for a page of.
    ///
    /// # Errors
    ///
    /// As [`Self::decode`].
    pub fn open<'a>(
        &'a self,
        name: &'static str,
        call: &'a CallContext,
        request: &impl ListRequest,
    ) -> Result<List<'a>, Rejection> {
        self.open_by(name, call, request.conditions(), request.page_token())
    }

    /// As [`Self::open`], of a request whose conditions can be written in several ways: `conditions` is their one form.
    ///
    /// # Errors
    ///
    /// As [`Self::decode`].
    pub fn open_by<'a>(
        &'a self,
        name: &'static str,
        call: &'a CallContext,
        conditions: Vec<u8>,
        page_token: &str,
    ) -> Result<List<'a>, Rejection> {
        let cursor = self.decode(name, &call.caller, &conditions, page_token)?;
        Ok(List { tokens: self, name, caller: &call.caller, conditions, cursor })
    }

    /// All rows of an answer without pages.
    ///
    /// # Errors
    ///
    /// `ANSWER_TOO_LARGE` when they do not fit: fewer have to be asked for. One alone always fits.
    pub fn batch<R, T: Message>(&self, rows: &[R], present: impl Fn(&R) -> T) -> Result<Vec<T>, CallError> {
        let limit = self.bytes.batch_max;
        let items = fill(rows.iter().map(present), usize::MAX, limit);
        if items.len() == rows.len() {
            return Ok(items);
        }
        let text = format!("the answer is larger than {limit} bytes: ask for fewer at a time");
        Err(Rejection::resource_exhausted(ANSWER_TOO_LARGE, text).with("limit_bytes", limit).into())
    }

    /// The token that continues `list` after `cursor`, for this caller and this filter.
    #[must_use]
    pub fn encode(&self, list: &str, caller: &Caller, filter_fingerprint: &[u8], cursor: &[u8]) -> String {
        let mut token = Vec::with_capacity(1 + cursor.len() + TAG_LENGTH);
        token.push(VERSION);
        token.extend_from_slice(cursor);
        let tag = self.authenticate(list, caller, filter_fingerprint, &token).finalize().into_bytes();
        token.extend_from_slice(&tag[..TAG_LENGTH]);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The cursor of a token; `None` of the empty token, which asks for the first page.
    ///
    /// # Errors
    ///
    /// `PAGE_TOKEN_INVALID` for a token that was not made for exactly this list, caller and filter.
    pub fn decode(
        &self,
        list: &str,
        caller: &Caller,
        filter_fingerprint: &[u8],
        token: &str,
    ) -> Result<Option<Vec<u8>>, Rejection> {
        if token.is_empty() {
            return Ok(None);
        }
        self.verify(list, caller, filter_fingerprint, token).map(Some).ok_or_else(|| {
            let description = "must be the next_page_token of the same list, with the same filter";
            Rejection::invalid_field("page_token", "PAGE_TOKEN_INVALID", description)
        })
    }

    fn verify(&self, list: &str, caller: &Caller, filter_fingerprint: &[u8], token: &str) -> Option<Vec<u8>> {
        if token.len() > TOKEN_LENGTH_MAX {
            return None;
        }
        let mut token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let tag = token.split_off(token.len().checked_sub(TAG_LENGTH)?);
        let expected = self.authenticate(list, caller, filter_fingerprint, &token);
        expected.verify_truncated_left(&tag).ok()?;
        (token.first() == Some(&VERSION)).then(|| token.split_off(1))
    }

    fn authenticate(&self, list: &str, caller: &Caller, filter_fingerprint: &[u8], body: &[u8]) -> Hmac<Sha256> {
        let mut roles: Vec<_> = caller.roles.iter().map(|role| role.as_str()).collect();
        roles.sort_unstable();
        roles.dedup();
        let roles = roles.join(",");
        let mut mac = self.mac.clone();
        for part in [list.as_bytes(), caller.subject.as_bytes(), roles.as_bytes(), filter_fingerprint, body] {
            // With its length before it no part can borrow bytes from its neighbour.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

impl std::fmt::Debug for PageTokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PageTokens")
    }
}

/// The size of a page: `default` for zero, never more than `max`.
///
/// # Errors
///
/// `PAGE_SIZE_NEGATIVE`.
pub fn page_size(asked: i32, default: u32, max: u32) -> Result<u32, ValueError> {
    match u32::try_from(asked) {
        Ok(0) => Ok(default.min(max)),
        Ok(size) => Ok(size.min(max)),
        Err(_) => Err(ValueError::new("PAGE_SIZE_NEGATIVE", "must not be negative")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_fuzzing::fuzz;
    use openorder_types::Role;
    use proptest::prelude::*;

    use super::*;

    fn callers() -> impl Strategy<Value = Caller> {
        let roles = proptest::sample::subsequence(Role::ALL.to_vec(), 0..=4);
        ("[a-z]{0,6}", roles).prop_map(|(subject, roles)| Caller::new(subject, roles))
    }

    #[test]
    fn sizes_follow_the_rules_of_aip_158() {
        assert_eq!(page_size(0, 50, 1000).unwrap(), 50);
        assert_eq!(page_size(7, 50, 1000).unwrap(), 7);
        assert_eq!(page_size(i32::MAX, 50, 1000).unwrap(), 1000);
        assert_eq!(page_size(-1, 50, 1000).unwrap_err().reason, "PAGE_SIZE_NEGATIVE");
    }

    #[test]
    fn no_token_is_the_first_page_and_nonsense_is_refused() {
        let tokens = PageTokens::new(b"secret");
        let caller = Caller::service("order");
        assert_eq!(tokens.decode("orders", &caller, b"", "").unwrap(), None);
        for text in ["x", "!!!!", "AAAA", &"A".repeat(4_000)] {
            let refused = tokens.decode("orders", &caller, b"", text).unwrap_err();
            assert_eq!((refused.reason, refused.violations[0].field.as_str()), ("PAGE_TOKEN_INVALID", "page_token"));
        }
    }

    #[test]
    fn no_part_borrows_from_its_neighbour() {
        let tokens = PageTokens::new(b"secret");
        let token = tokens.encode("ab", &Caller::new("c", []), b"d", b"cursor");
        for (list, subject, filter) in [("a", "bc", "d"), ("abc", "", "d"), ("ab", "", "cd"), ("ab", "cd", "")] {
            assert!(
                tokens.decode(list, &Caller::new(subject, []), filter.as_bytes(), &token).is_err(),
                "{list} {subject}"
            );
        }
    }

    #[test]
    fn fuzz_page_tokens() {
        let (tokens, caller) = (PageTokens::new(b"secret"), Caller::service("order"));
        fuzz("page_tokens", |random| {
            let cursor = random.bytes(40);
            let whole = tokens.encode("orders", &caller, b"f", &cursor);
            let token = random.damaged_text(&whole);
            match tokens.decode("orders", &caller, b"f", &token) {
                Ok(Some(read)) => {
                    assert!(token == whole && read == cursor, "{token} is taken for {whole}");
                    true
                }
                // The first page.
                Ok(None) => {
                    assert!(token.is_empty());
                    false
                }
                Err(refused) => {
                    assert!(refused.reason == "PAGE_TOKEN_INVALID" && token != whole, "{token}: {refused:?}");
                    false
                }
            }
        });
    }

    proptest! {
        #[test]
        fn a_token_gives_its_cursor_back(caller in callers(), filter: Vec<u8>, cursor: Vec<u8>) {
            let tokens = PageTokens::new(b"secret");
            let token = tokens.encode("orders", &caller, &filter, &cursor);
            prop_assert_eq!(tokens.decode("orders", &caller, &filter, &token).unwrap(), Some(cursor));
        }

        #[test]
        fn a_token_fits_nothing_else(
            list in "[a-c]{0,3}", other_list in "[a-c]{0,3}",
            caller in callers(), other_caller in callers(),
            filter in proptest::collection::vec(0_u8..3, 0..3), other_filter in proptest::collection::vec(0_u8..3, 0..3),
            cursor: Vec<u8>,
        ) {
            let tokens = PageTokens::new(b"secret");
            let token = tokens.encode(&list, &caller, &filter, &cursor);
            // One thing at a time: each of them alone must make the difference.
            let opens = |list: &str, caller: &Caller, filter: &[u8]| tokens.decode(list, caller, filter, &token).is_ok();
            prop_assert_eq!(opens(&other_list, &caller, &filter), list == other_list);
            prop_assert_eq!(opens(&list, &other_caller, &filter), caller == other_caller);
            prop_assert_eq!(opens(&list, &caller, &other_filter), filter == other_filter);
            let everything_same = list == other_list && caller == other_caller && filter == other_filter;
            prop_assert_eq!(opens(&other_list, &other_caller, &other_filter), everything_same);
            prop_assert!(PageTokens::new(b"other").decode(&list, &caller, &filter, &token).is_err());
        }

        #[test]
        fn no_text_that_was_not_made_here_is_a_token(text in "\\PC{1,60}", base64 in "[A-Za-z0-9_-]{1,120}") {
            let tokens = PageTokens::new(b"secret");
            for token in [text, base64] {
                let refused = tokens.decode("orders", &Caller::service("order"), b"f", &token).unwrap_err();
                prop_assert_eq!(refused.reason, "PAGE_TOKEN_INVALID");
            }
        }

        #[test]
        fn a_flipped_bit_is_refused(cursor in proptest::collection::vec(any::<u8>(), 0..40), bit: prop::sample::Index) {
            let tokens = PageTokens::new(b"secret");
            let caller = Caller::service("order");
            let mut raw = URL_SAFE_NO_PAD.decode(tokens.encode("orders", &caller, b"f", &cursor)).unwrap();
            let bit = bit.index(raw.len() * 8);
            raw[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(tokens.decode("orders", &caller, b"f", &URL_SAFE_NO_PAD.encode(raw)).is_err());
        }
    }
}
