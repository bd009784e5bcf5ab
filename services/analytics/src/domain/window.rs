//! Of which time a ranking is.

use chrono::{Days, NaiveDate};
use openorder_types::numbered;

/// The day that stands for all days before those that rankings look back to.
pub const BEFORE_ALL_DAYS: NaiveDate = day(1970, 1, 1);

/// Days before today that have rows of their own: those of a week, and one for clocks that differ.
pub const DAYS_KEPT: u64 = 7;

numbered! {
    /// Of which time a ranking is; numbered as `openorder.analytics.v1.RankingWindow`.
    pub enum Window {
        Day = 1 "DAY",
        Week = 2 "WEEK",
        AllTime = 3 "ALL_TIME",
    }
}

impl Window {
    /// The first and the last of its days.
    pub fn days(self, today: NaiveDate) -> (NaiveDate, NaiveDate) {
        match self {
            Self::Day => (today, today),
            Self::Week => (days_before(today, 6), today),
            Self::AllTime => (BEFORE_ALL_DAYS, LAST_DAY),
        }
    }

    /// What its ranking is called; a window that moves has another name every day.
    pub fn name(self, today: NaiveDate) -> String {
        match self {
            Self::Day => format!("day:{today}"),
            Self::Week => format!("week:{today}"),
            Self::AllTime => "all".to_owned(),
        }
    }
}

/// The last day that both the calendar and PostgreSQL show in four digits.
const LAST_DAY: NaiveDate = day(9999, 12, 31);

const fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => NaiveDate::MIN,
    }
}

/// The day under which something of `day` is kept.
pub(super) fn kept_day(day: NaiveDate, today: NaiveDate) -> NaiveDate {
    if day < days_before(today, DAYS_KEPT) { BEFORE_ALL_DAYS } else { day }
}

fn days_before(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days)).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_week_is_seven_days_all_of_which_are_kept() {
        let today = day("2027-03-04");
        assert_eq!(Window::Day.days(today), (today, today));
        let (first, last) = Window::Week.days(today);
        assert_eq!((first, last, (last - first).num_days() + 1), (day("2027-02-26"), today, 7));
        assert_eq!(kept_day(first, today), first);
        assert_eq!(kept_day(first - Days::new(1), today), day("2027-02-25"), "for a clock that is behind");
        assert_eq!(kept_day(first - Days::new(2), today), BEFORE_ALL_DAYS);
        assert_eq!(kept_day(today + Days::new(1), today), day("2027-03-05"), "for a clock that is ahead");
        let (first, last) = Window::AllTime.days(today);
        assert!(first <= BEFORE_ALL_DAYS && today + Days::new(400) < last);
        let names = Window::ALL.iter().map(|window| window.name(today)).collect::<Vec<_>>();
        assert_eq!(names, ["day:2027-03-04", "week:2027-03-04", "all"]);
    }
}
