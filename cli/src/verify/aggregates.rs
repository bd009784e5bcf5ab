//! Aggregates by the hash of their names: what is kept in memory of them is small, and a part of them at a time.

use std::hash::{DefaultHasher, Hash, Hasher};

use openorder_proto::event_types;

/// A part of all aggregates, by their hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) number: u64,
    pub(super) of: u64,
}

impl Slice {
    /// All aggregates.
    pub(super) const WHOLE: Self = Self { number: 0, of: 1 };

    /// Whether the aggregate with this key is in it.
    pub(super) fn holds(self, key: u128) -> bool {
        key % u128::from(self.of) == u128::from(self.number)
    }

    /// The slice behind it.
    pub(super) fn next(self) -> Option<Self> {
        (self.number + 1 < self.of).then_some(Self { number: self.number + 1, ..self })
    }
}

/// What kind of thing an aggregate is, where one topic has events of two: what bears the id of a reservation may be a
/// SKU as well. Told by the event, so that it is known of events of any age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    StockLevel,
    /// Its versions have gaps in its topic: payments make versions too, and are told of in theirs.
    Wallet,
    Other,
}

impl Kind {
    pub(super) fn of(event_type: &str) -> Self {
        match event_type {
            event_types::STOCK_ADJUSTED | event_types::STOCK_LOW | event_types::STOCK_DEPLETED => Self::StockLevel,
            event_types::WALLET_CHARGED | event_types::WALLET_DEBITED => Self::Wallet,
            _ => Self::Other,
        }
    }
}

/// An aggregate of a service, 128 bits of hash.
pub(super) fn key_of(service: &str, aggregate: (Kind, &str)) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, service, aggregate).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}
