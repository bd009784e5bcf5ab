//! What was said last, whatever the order in which it is heard.

/// Which event something was said by. Of two, the one of the higher version is the later one. A log that was restored
/// gives versions once more: then the time decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Version of the aggregate after the event.
    pub version: i64,
    /// When the event was made, in milliseconds since 1970; 0 where it does not say.
    pub at_ms: i64,
}

/// A value that the later event replaces. To hear an event twice, or after a later one, changes nothing: any interleaving
/// of the same events leaves the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest<T>(Option<(Stamp, T)>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Latest<T> {
    /// What was said by this event.
    pub const fn said(stamp: Stamp, value: T) -> Self {
        Self(Some((stamp, value)))
    }

    /// Hears an event.
    pub fn hear(&mut self, stamp: Stamp, value: T) {
        if self.0.as_ref().is_none_or(|(known, _)| *known < stamp) {
            self.0 = Some((stamp, value));
        }
    }

    /// Hears everything that the other one has heard.
    pub fn merge(&mut self, other: Self) {
        if let Some((stamp, value)) = other.0 {
            self.hear(stamp, value);
        }
    }

    /// The value and its stamp; none before the first event.
    pub fn get(&self) -> Option<(Stamp, &T)> {
        self.0.as_ref().map(|(stamp, value)| (*stamp, value))
    }

    /// The value.
    pub fn value(&self) -> Option<&T> {
        self.0.as_ref().map(|(_, value)| value)
    }

    /// Version of the event that was heard last; 0 before the first one.
    pub fn version(&self) -> i64 {
        self.0.as_ref().map_or(0, |(stamp, _)| stamp.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(version: i64, at_ms: i64) -> Stamp {
        Stamp { version, at_ms }
    }

    #[test]
    fn the_later_event_stays_in_whatever_order_they_come() {
        let events = [(stamp(1, 10), "a"), (stamp(2, 5), "b"), (stamp(2, 20), "c")];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut latest = Latest::default();
            for index in order.into_iter().chain(order) {
                let (stamp, value) = events[index];
                latest.hear(stamp, value);
            }
            assert_eq!(latest.get(), Some((stamp(2, 20), &"c")));
        }
    }

    #[test]
    fn nothing_is_before_the_first_event() {
        let mut latest = Latest::<i32>::default();
        assert_eq!((latest.version(), latest.value()), (0, None));
        latest.merge(Latest::default());
        latest.merge(Latest::said(stamp(3, 0), 7));
        assert_eq!((latest.version(), latest.value()), (3, Some(&7)));
    }
}
