//! Points in time and lengths of time: how they are given, and how they look.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use prost_types::Timestamp;

/// Reads a point in time: RFC 3339, or so long ago (`90s`, `15m`, `2h`, `3d`).
pub(crate) fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    let form = || "must be so long ago (90s, 15m, 2h, 3d) or a time such as 2026-05-17T12:00:00Z".to_owned();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: i64 = number.parse().map_err(|_| form())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(form()),
    };
    let ago = number.checked_mul(seconds).and_then(Duration::try_seconds).ok_or_else(form)?;
    Utc::now().checked_sub_signed(ago).ok_or_else(form)
}

/// Reads `250ms`, `20s`, `5m`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let form = || "must be a whole number with its unit: 250ms, 20s, 5m".to_owned();
    let number: u64 = number.parse().map_err(|_| form())?;
    match unit {
        "ms" => Ok(std::time::Duration::from_millis(number)),
        "s" => Ok(std::time::Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(std::time::Duration::from_secs).ok_or_else(form),
        _ => Err(form()),
    }
}

/// For the wire.
pub(crate) fn to_proto(time: Option<DateTime<Utc>>) -> Option<Timestamp> {
    time.map(|time| Timestamp {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos().min(999_999_999).cast_signed(),
    })
}

fn of_proto(time: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let time = time?;
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

/// For a table: how long ago, and when, in UTC; `-` for no time.
pub(crate) fn shown(time: Option<&Timestamp>) -> String {
    shown_at(time, Utc::now())
}

fn shown_at(time: Option<&Timestamp>, now: DateTime<Utc>) -> String {
    let Some(time) = of_proto(time) else { return "-".to_owned() };
    let form = if time.date_naive() == now.date_naive() { "%H:%M:%SZ" } else { "%Y-%m-%d %H:%MZ" };
    format!("{} ({})", relative(time, now), time.format(form))
}

/// For one thing alone: the whole time, and how long ago.
pub(crate) fn in_full(time: Option<&Timestamp>) -> String {
    let Some(time) = of_proto(time) else { return "-".to_owned() };
    format!("{} ({})", time.to_rfc3339_opts(SecondsFormat::Millis, true), relative(time, Utc::now()))
}

/// Only how long ago; `-` for no time.
pub(crate) fn age(time: Option<&Timestamp>) -> String {
    of_proto(time).map_or_else(|| "-".to_owned(), |time| span(Utc::now() - time))
}

fn relative(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match now - time {
        past if past >= Duration::zero() => format!("{} ago", span(past)),
        future => format!("in {}", span(-future)),
    }
}

/// The largest unit of which there is one.
fn span(span: Duration) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_as_ages_or_in_full() {
        assert_eq!(parse("2026-05-17T12:00:00Z").unwrap().timestamp(), 1_779_019_200);
        let ago = |text| (Utc::now() - parse(text).unwrap()).num_seconds();
        assert!((89..=91).contains(&ago("90s")) && (7_199..=7_201).contains(&ago("2h")));
        assert!((259_199..=259_201).contains(&ago("3d")));
        for bad in ["", "2", "h", "-1h", "2w", "yesterday", "99999999999999999999d", "9223372036854775807d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_says_how_long_ago_and_when() {
        let now = DateTime::parse_from_rfc3339("2026-05-17T12:00:00Z").unwrap().to_utc();
        let at = |seconds| shown_at(to_proto(Some(now - Duration::seconds(seconds))).as_ref(), now);
        assert_eq!(at(5), "5s ago (11:59:55Z)");
        assert_eq!(at(600), "10m ago (11:50:00Z)");
        assert_eq!(at(7_200), "2h ago (10:00:00Z)");
        assert_eq!(at(86_400 * 3), "3d ago (2026-05-14 12:00Z)");
        assert_eq!(at(-30), "in 30s (12:00:30Z)");
        assert_eq!(shown_at(None, now), "-");
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("250ms"), Ok(std::time::Duration::from_millis(250)));
        assert_eq!(duration("20s"), Ok(std::time::Duration::from_secs(20)));
        assert_eq!(duration("2m"), Ok(std::time::Duration::from_secs(120)));
        for bad in ["", "20", "s", "1.5s", "-1s", "1h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
