//! Where the group stands in its partitions, and whether records were lost there: deleted before they were read, or gone
//! with a topic that was deleted and made again. librdkafka goes on at the first record that is there, without a word.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Gaps of a partition that wait to be judged; a foreign publisher's transactions leave one each.
const GAPS_MAX: usize = 1_000;

/// What is wrong with a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// Records from `from` up to `to` (not included) were deleted and never read.
    DeletedUnread { from: i64, to: i64 },
    /// The group stands behind the end: the topic was made again, or lost its last records.
    BeyondEnd { position: i64, end: i64 },
    /// Kafka has forgotten the group's position: the topic was deleted and made again.
    Forgotten { position: i64 },
}

/// A partition as Kafka tells of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observed {
    /// The group's position; none before its first commit.
    pub(super) committed: Option<i64>,
    /// The first record that is there.
    pub(super) low: i64,
    /// Behind the last one.
    pub(super) high: i64,
}

/// What came of a look at one partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// To be reported.
    pub(super) findings: Vec<Finding>,
    /// Where the group has to go on, when its position cannot be.
    pub(super) rewind_to: Option<i64>,
    /// A finding of this look; the next one confirms it.
    pub(super) suspected: Option<Finding>,
}

/// All partitions of one consumer, by topic (without the deployment's prefix) and number.
#[derive(Debug, Default)]
pub(crate) struct Positions(Mutex<HashMap<String, BTreeMap<i32, Position>>>);

#[derive(Debug, Default)]
struct Position {
    /// Offset of the next record; none when it is not known where reading begins.
    expected: Option<i64>,
    /// The last position that Kafka told.
    committed: Option<i64>,
    /// From the expected offset to the one that came.
    gaps: Vec<(i64, i64)>,
    /// Offset of the record that was expected when one came before it: the client went back by itself, because the topic
    /// was made again and the offset is beyond its end.
    went_back_from: Option<i64>,
    /// The group was taken back by us: the next record that comes before the expected one is of that.
    is_rewound: bool,
    suspected: Option<Finding>,
}

impl Positions {
    /// Reading of a partition begins at the group's position.
    pub(super) fn assigned(&self, topic: &str, partition: i32, committed: Option<i64>) {
        self.with(topic, partition, |position| {
            position.expected = committed;
            position.gaps.clear();
            (position.went_back_from, position.is_rewound) = (None, false);
            position.suspected = None;
        });
    }

    /// A record came first in a batch: notes the gap before it, if there is one.
    pub(super) fn came(&self, topic: &str, partition: i32, offset: i64) {
        self.with(topic, partition, |position| {
            if let Some(expected) = position.expected {
                position.gap(expected, offset);
            }
        });
    }

    /// A gap within a batch.
    pub(super) fn gap(&self, topic: &str, partition: i32, expected: i64, offset: i64) {
        self.with(topic, partition, |position| position.gap(expected, offset));
    }

    /// Everything up to this offset is in hand.
    pub(super) fn passed<'a>(&self, next_offsets: impl Iterator<Item = (&'a str, i32, i64)>) {
        let mut all = self.lock();
        for (topic, partition, next) in next_offsets {
            if let Some(position) = all.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition)) {
                position.expected = Some(next);
            }
        }
    }

    /// Judges a partition by what Kafka tells of it. What one look finds, the next one has to confirm: between two of
    /// Kafka's answers the group may have moved.
    pub(super) fn check(&self, topic: &str, partition: i32, observed: Observed) -> Checked {
        self.with(topic, partition, |position| position.check(observed))
    }

    fn with<T>(&self, topic: &str, partition: i32, work: impl FnOnce(&mut Position) -> T) -> T {
        let mut all = self.lock();
        if !all.contains_key(topic) {
            all.insert(topic.to_owned(), BTreeMap::new());
        }
        match all.get_mut(topic) {
            Some(partitions) => work(partitions.entry(partition).or_default()),
            None => work(&mut Position::default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<i32, Position>>> {
        // What is half changed is corrected by the next look.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Position {
    fn gap(&mut self, expected: i64, offset: i64) {
        if offset < expected {
            if !std::mem::take(&mut self.is_rewound) {
                self.went_back_from.get_or_insert(expected);
            }
        } else if offset > expected && self.gaps.len() < GAPS_MAX {
            self.gaps.push((expected, offset));
        }
    }

    fn check(&mut self, observed: Observed) -> Checked {
        let mut checked = Checked::default();
        for (from, to) in self.gaps.drain(..) {
            // A gap above the first record is one of markers, or was compacted.
            if observed.low > from {
                checked.findings.push(Finding::DeletedUnread { from, to: to.min(observed.low) });
            }
        }
        // The client commits nothing before what it has committed: it is taken back as well.
        if let Some(position) = self.went_back_from.take() {
            checked.findings.push(Finding::BeyondEnd { position, end: observed.high });
            self.rewind(&mut checked, observed.low);
            return checked;
        }
        let finding = self.judge(observed);
        let confirmed = finding.filter(|_| finding == self.suspected);
        self.suspected = if confirmed.is_some() { None } else { finding };
        checked.suspected = self.suspected;
        if let Some(confirmed) = confirmed {
            checked.findings.push(confirmed);
            self.rewind(&mut checked, observed.low);
        } else if finding.is_none() {
            self.committed = observed.committed;
            self.is_rewound &= observed.committed.is_none_or(|committed| committed <= observed.low);
        }
        checked
    }

    fn rewind(&mut self, checked: &mut Checked, low: i64) {
        checked.rewind_to = Some(low);
        (self.expected, self.committed, self.suspected) = (Some(low), Some(low), None);
        self.is_rewound = true;
    }

    fn judge(&self, Observed { committed, low, high }: Observed) -> Option<Finding> {
        match committed {
            Some(position) if position > high => Some(Finding::BeyondEnd { position, end: high }),
            // What was fetched before it was deleted is in hand, and not lost.
            Some(from) if from < low && self.expected.is_none_or(|expected| expected <= from) => {
                Some(Finding::DeletedUnread { from, to: low })
            }
            Some(_) => None,
            None => self.committed.map(|position| Finding::Forgotten { position }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "t.v1";

    fn observed(committed: i64, low: i64, high: i64) -> Observed {
        Observed { committed: Some(committed), low, high }
    }

    fn findings(checked: Checked) -> Vec<Finding> {
        checked.findings
    }

    #[test]
    fn a_group_that_reads_on_gives_no_finding() {
        let positions = Positions::default();
        positions.assigned(T, 0, None);
        assert_eq!(positions.check(T, 0, Observed { committed: None, low: 0, high: 5 }), Checked::default());
        positions.came(T, 0, 0);
        positions.passed([(T, 0, 5)].into_iter());
        assert_eq!(positions.check(T, 0, observed(5, 0, 9)), Checked::default());
        // Retention has passed what was read, and a marker took offset 5.
        positions.came(T, 0, 6);
        positions.passed([(T, 0, 9)].into_iter());
        assert_eq!(positions.check(T, 0, observed(9, 5, 9)), Checked::default());
    }

    #[test]
    fn records_that_were_deleted_before_they_were_read_are_found_by_the_gap() {
        let positions = Positions::default();
        positions.assigned(T, 0, Some(10));
        positions.came(T, 0, 25);
        positions.passed([(T, 0, 30)].into_iter());
        let checked = positions.check(T, 0, observed(30, 25, 30));
        assert_eq!(checked.findings, [Finding::DeletedUnread { from: 10, to: 25 }]);
        assert_eq!(checked.rewind_to, None, "it reads on already");
        assert!(findings(positions.check(T, 0, observed(30, 25, 30))).is_empty(), "reported once");
    }

    #[test]
    fn records_that_were_deleted_are_found_where_nothing_comes_after_them() {
        let positions = Positions::default();
        positions.assigned(T, 0, Some(10));
        let lost = Finding::DeletedUnread { from: 10, to: 25 };
        let first = positions.check(T, 0, observed(10, 25, 25));
        assert_eq!((first.findings.len(), first.suspected), (0, Some(lost)));
        let second = positions.check(T, 0, observed(10, 25, 25));
        assert_eq!((second.findings, second.rewind_to, second.suspected), (vec![lost], Some(25), None));
        assert_eq!(positions.check(T, 0, observed(25, 25, 25)), Checked::default());
        positions.came(T, 0, 25);
        assert!(findings(positions.check(T, 0, observed(25, 25, 26))).is_empty());
    }

    #[test]
    fn what_was_fetched_before_it_was_deleted_is_not_lost() {
        let positions = Positions::default();
        positions.assigned(T, 0, Some(10));
        positions.came(T, 0, 10);
        positions.passed([(T, 0, 25)].into_iter());
        for _ in 0..3 {
            assert_eq!(positions.check(T, 0, observed(10, 25, 25)), Checked::default(), "in hand");
        }
    }

    #[test]
    fn a_position_behind_the_end_is_confirmed_and_goes_back_to_the_beginning() {
        let positions = Positions::default();
        positions.assigned(T, 0, Some(500));
        let beyond = Finding::BeyondEnd { position: 500, end: 3 };
        assert_eq!(positions.check(T, 0, observed(500, 0, 3)).suspected, Some(beyond));
        let second = positions.check(T, 0, observed(500, 0, 3));
        assert_eq!((second.findings, second.rewind_to), (vec![beyond], Some(0)));
    }

    #[test]
    fn a_record_before_the_expected_one_tells_of_a_topic_that_was_made_again_once() {
        let positions = Positions::default();
        positions.assigned(T, 0, None);
        positions.came(T, 0, 0);
        positions.passed([(T, 0, 5)].into_iter());
        // No look has seen a commit before the topic went.
        positions.came(T, 0, 0);
        positions.passed([(T, 0, 2)].into_iter());
        let back = Finding::BeyondEnd { position: 5, end: 2 };
        let gone = Observed { committed: None, low: 0, high: 2 };
        let first = positions.check(T, 0, gone);
        assert_eq!((first.findings, first.rewind_to, first.suspected), (vec![back], Some(0), None));
        // What was in hand meanwhile comes again, and that is no second loss.
        positions.passed([(T, 0, 2)].into_iter());
        positions.came(T, 0, 0);
        positions.passed([(T, 0, 2)].into_iter());
        assert_eq!(positions.check(T, 0, observed(0, 0, 2)), Checked::default());
        assert_eq!(positions.check(T, 0, observed(2, 0, 2)), Checked::default());
        positions.came(T, 0, 0);
        assert_eq!(findings(positions.check(T, 0, observed(2, 0, 1))).len(), 1, "another time");
    }

    #[test]
    fn a_position_that_kafka_has_forgotten_goes_back_to_the_beginning() {
        let positions = Positions::default();
        positions.assigned(T, 0, Some(5));
        positions.check(T, 0, observed(5, 0, 5));
        let gone = Observed { committed: None, low: 0, high: 9 };
        positions.check(T, 0, gone);
        let second = positions.check(T, 0, gone);
        assert_eq!((second.findings, second.rewind_to), (vec![Finding::Forgotten { position: 5 }], Some(0)));
        assert_eq!(positions.check(T, 0, observed(0, 0, 9)), Checked::default());
    }
}
