//! Ids of aggregates, whose text is written only where it leaves the process.

use std::fmt;
use std::sync::Arc;

use uuid::{Uuid, fmt::Hyphenated};

use crate::value::{Sku, UserId};

/// Room for the text of an [`AggregateId`] that is a UUID.
#[derive(Debug, Clone, Copy)]
pub struct IdText([u8; Hyphenated::LENGTH]);

impl Default for IdText {
    fn default() -> Self {
        Self([0; Hyphenated::LENGTH])
    }
}

/// The id of an aggregate, and so the key by which its events keep their order: a UUID, or a text such as a SKU.
///
/// Cheap to clone: neither needs heap memory for it. A text that is a UUID in its usual form, hyphenated and in lower case,
/// is that UUID, however it came: two ids of the same text are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AggregateId(Repr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Uuid(Uuid),
    /// Never the usual form of a UUID.
    Text(Arc<str>),
}

impl AggregateId {
    /// The text: written into `room`, if it does not lie ready.
    pub fn text<'a>(&'a self, room: &'a mut IdText) -> &'a str {
        match &self.0 {
            Repr::Uuid(id) => id.as_hyphenated().encode_lower(&mut room.0),
            Repr::Text(text) => text,
        }
    }

    /// Length of the text in bytes.
    #[must_use]
    pub fn text_len(&self) -> usize {
        match &self.0 {
            Repr::Uuid(_) => Hyphenated::LENGTH,
            Repr::Text(text) => text.len(),
        }
    }
}

/// The UUID that a text is the usual form of.
fn usual_uuid(text: &str) -> Option<Uuid> {
    // All other forms have other lengths.
    let is_candidate = text.len() == Hyphenated::LENGTH && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    is_candidate.then(|| Uuid::try_parse(text).ok()).flatten()
}

impl From<Uuid> for AggregateId {
    fn from(id: Uuid) -> Self {
        Self(Repr::Uuid(id))
    }
}

impl From<&str> for AggregateId {
    fn from(text: &str) -> Self {
        usual_uuid(text).map_or_else(|| Self(Repr::Text(text.into())), Self::from)
    }
}

impl From<String> for AggregateId {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&Arc<str>> for AggregateId {
    fn from(text: &Arc<str>) -> Self {
        usual_uuid(text).map_or_else(|| Self(Repr::Text(Arc::clone(text))), Self::from)
    }
}

impl From<&Sku> for AggregateId {
    fn from(sku: &Sku) -> Self {
        sku.shared().into()
    }
}

impl From<&UserId> for AggregateId {
    fn from(user_id: &UserId) -> Self {
        user_id.shared().into()
    }
}

impl fmt::Display for AggregateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text(&mut IdText::default()))
    }
}

impl fmt::Debug for AggregateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AggregateId({self})")
    }
}

/// Stored as text, without a copy of it before.
#[cfg(feature = "sqlx")]
mod stored {
    use sqlx::{
        Encode, Postgres, Type,
        encode::IsNull,
        error::BoxDynError,
        postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo},
    };

    use super::{AggregateId, IdText};

    impl Type<Postgres> for AggregateId {
        fn type_info() -> PgTypeInfo {
            <str as Type<Postgres>>::type_info()
        }

        fn compatible(other: &PgTypeInfo) -> bool {
            <str as Type<Postgres>>::compatible(other)
        }
    }

    impl PgHasArrayType for AggregateId {
        fn array_type_info() -> PgTypeInfo {
            <&str as PgHasArrayType>::array_type_info()
        }
    }

    impl Encode<'_, Postgres> for AggregateId {
        fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
            <&str as Encode<'_, Postgres>>::encode(self.text(&mut IdText::default()), buffer)
        }

        fn size_hint(&self) -> usize {
            self.text_len()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "0190a5b2-0000-7000-8000-00000000000f";

    fn text(id: &AggregateId) -> String {
        id.text(&mut IdText::default()).to_owned()
    }

    #[test]
    fn an_id_has_the_text_that_it_was_made_of() {
        let others = ["", "SKU-1", "ä", "0190A5B2-0000-7000-8000-00000000000F", "0190a5b2000070008000000000000f"];
        for given in others.into_iter().chain([
            TEXT,
            "{0190a5b2-0000-7000-8000-00000000000f}",
            "0190a5b2-0000-7000-8000-00000000000g",
        ]) {
            let id = AggregateId::from(given);
            assert_eq!((text(&id).as_str(), id.to_string().as_str(), id.text_len()), (given, given, given.len()));
            assert_eq!(AggregateId::from(given.to_owned()), id);
            assert_eq!(AggregateId::from(&Arc::from(given)), id);
        }
    }

    #[test]
    fn ids_are_equal_where_their_texts_are() {
        let id = Uuid::try_parse(TEXT).unwrap();
        assert_eq!(AggregateId::from(TEXT), AggregateId::from(id));
        assert_eq!(AggregateId::from(&Sku::parse(TEXT).unwrap()), AggregateId::from(id), "a SKU may look like that");
        assert_eq!(AggregateId::from(&UserId::parse("ada").unwrap()), AggregateId::from("ada"));
        let upper_case = TEXT.to_uppercase();
        assert_ne!(AggregateId::from(upper_case.as_str()), AggregateId::from(id), "another text is another id");
        assert_eq!(AggregateId::from(upper_case.as_str()).to_string(), upper_case);
    }
}
