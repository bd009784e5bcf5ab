//! Hours, days and months of UTC.

use chrono::{Datelike, Months, NaiveDate, NaiveTime, TimeDelta};
use openorder_types::{Timestamp, numbered};

const SECONDS_AN_HOUR: i64 = 3_600;

/// An hour of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(i64);

impl Hour {
    /// The hour that a time is in.
    pub fn of(time: Timestamp) -> Self {
        Self(time.timestamp().div_euclid(SECONDS_AN_HOUR))
    }

    /// Its first moment.
    pub fn start(self) -> Timestamp {
        // An hour is made of a time, so that it has one.
        Timestamp::from_timestamp(self.0.saturating_mul(SECONDS_AN_HOUR), 0).unwrap_or_default()
    }
}

numbered! {
    /// How long a period is; numbered as `openorder.analytics.v1.SalesGranularity`.
    pub enum Granularity {
        Hour = 1 "HOUR",
        Day = 2 "DAY",
        Month = 3 "MONTH",
    }
}

impl Granularity {
    /// The first moment of the period that a time is in.
    pub fn begin_of(self, time: Timestamp) -> Timestamp {
        let date = time.date_naive();
        match self {
            Self::Hour => Hour::of(time).start(),
            Self::Day => midnight(date),
            Self::Month => midnight(date.with_day(1).unwrap_or(date)),
        }
    }

    /// Whether a period begins at this very time.
    pub fn begins_at(self, time: Timestamp) -> bool {
        self.begin_of(time) == time
    }

    /// The first moment of the period behind the one that begins at `begin`; none behind the end of time.
    pub fn next(self, begin: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Hour => begin.checked_add_signed(TimeDelta::hours(1)),
            Self::Day => begin.checked_add_signed(TimeDelta::days(1)),
            Self::Month => begin.checked_add_months(Months::new(1)),
        }
    }

    /// How many periods are between two of their first moments.
    pub fn count(self, from: Timestamp, until: Timestamp) -> i64 {
        match self {
            Self::Hour => (until - from).num_hours(),
            Self::Day => (until - from).num_days(),
            Self::Month => months(until) - months(from),
        }
    }

    /// What PostgreSQL calls it.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// Where its periods begin, in words.
    pub const fn begins(self) -> &'static str {
        match self {
            Self::Hour => "the first moment of an hour",
            Self::Day => "the first moment of a day of UTC",
            Self::Month => "the first moment of a month of UTC",
        }
    }
}

fn midnight(date: NaiveDate) -> Timestamp {
    date.and_time(NaiveTime::MIN).and_utc()
}

fn months(time: Timestamp) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month0())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn periods_are_those_of_utc() {
        let time = at("2028-02-29T23:59:59.999999Z");
        assert_eq!(Granularity::Hour.begin_of(time), at("2028-02-29T23:00:00Z"));
        assert_eq!(Granularity::Day.begin_of(time), at("2028-02-29T00:00:00Z"));
        assert_eq!(Granularity::Month.begin_of(time), at("2028-02-01T00:00:00Z"));
        assert_eq!(Hour::of(at("1969-12-31T23:59:59Z")).start(), at("1969-12-31T23:00:00Z"));
        assert_eq!(Granularity::Month.next(at("2028-12-01T00:00:00Z")), Some(at("2029-01-01T00:00:00Z")));
        assert_eq!(Granularity::Month.count(at("2027-11-01T00:00:00Z"), at("2029-01-01T00:00:00Z")), 14);
    }

    proptest! {
        #[test]
        fn a_time_is_in_the_period_that_begins_before_it(seconds in -2_000_000_000_i64..4_000_000_000, micros in 0_u32..1_000_000) {
            let time = Timestamp::from_timestamp(seconds, micros * 1_000).unwrap();
            for granularity in Granularity::ALL {
                let begin = granularity.begin_of(time);
                let next = granularity.next(begin).unwrap();
                prop_assert!(begin <= time && time < next);
                prop_assert!(granularity.begins_at(begin) && granularity.begins_at(next));
                prop_assert_eq!(granularity.count(begin, next), 1);
                prop_assert_eq!(granularity.count(begin, begin), 0);
            }
        }
    }
}
