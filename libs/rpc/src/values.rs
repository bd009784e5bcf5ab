//! Values of the contract that every service reads and writes: money and points in time.

use openorder_proto::google::r#type::Money as MoneyMessage;
use openorder_types::{Money, MoneyError, Timestamp, ValueError};
use prost_types::FieldMask;

use crate::violations::Violations;

/// Reads a required amount; what is wrong with it is noted under `field`.
pub fn money(field: &str, message: Option<MoneyMessage>, violations: &mut Violations) -> Option<Money> {
    let message = violations.required(field, message)?;
    violations.take(field, money_from_proto(&message))
}

/// Reads the fields of a mask that say what to change, each once, in the mask's order: `FIELD_MISSING` of one that names
/// none, `UPDATE_MASK_INVALID` where a path is not one of `all`.
pub fn masked_fields<F: Copy + PartialEq>(
    mask: Option<&FieldMask>,
    all: &[F],
    path_of: impl Fn(F) -> &'static str,
    violations: &mut Violations,
) -> Vec<F> {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        violations.add("update_mask", "FIELD_MISSING", "must name at least one field");
    }
    let mut fields = Vec::new();
    for path in paths {
        match all.iter().find(|field| path_of(**field) == path) {
            Some(field) if fields.contains(field) => {}
            Some(field) => fields.push(*field),
            None => {
                let allowed: Vec<&str> = all.iter().map(|field| path_of(*field)).collect();
                let allowed = format!("must name {} only", allowed.join(", "));
                violations.add("update_mask", "UPDATE_MASK_INVALID", allowed);
                break;
            }
        }
    }
    fields
}

/// The one form of a mask that can be written in several: each path once, sorted.
#[must_use]
pub fn canonical_mask(mask: Option<FieldMask>) -> FieldMask {
    let mut paths = mask.unwrap_or_default().paths;
    paths.sort_unstable();
    paths.dedup();
    FieldMask { paths }
}

/// Reads an amount of an event or an answer.
///
/// # Errors
/// [`MoneyError`]: a currency that there is not, or an amount that it cannot have.
pub fn money_from_proto(message: &MoneyMessage) -> Result<Money, MoneyError> {
    Money::from_units_nanos(&message.currency_code, message.units, message.nanos)
}

/// Writes an amount.
#[must_use]
pub fn money_to_proto(money: &Money) -> MoneyMessage {
    let (units, nanos) = money.to_units_nanos();
    MoneyMessage { currency_code: money.currency().as_str().to_owned(), units, nanos }
}

/// The seconds that `google.protobuf.Timestamp` allows: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z. PostgreSQL, JSON
/// and the tools that show a time hold no other either.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Reads a required point in time; what is wrong with it is noted under `field`: `TIMESTAMP_MALFORMED` outside of the
/// years 0001 to 9999, and for nanoseconds outside of 0 to 999,999,999.
pub fn timestamp(
    field: &str,
    message: Option<prost_types::Timestamp>,
    violations: &mut Violations,
) -> Option<Timestamp> {
    let message = violations.required(field, message)?;
    let parsed = u32::try_from(message.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000 && TIMESTAMP_SECONDS.contains(&message.seconds))
        .and_then(|nanos| Timestamp::from_timestamp(message.seconds, nanos))
        .ok_or_else(|| ValueError::new("TIMESTAMP_MALFORMED", "must be a point in time from year 0001 to year 9999"));
    violations.take(field, parsed)
}

/// Writes a point in time.
#[must_use]
pub fn timestamp_to_proto(time: &Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.timestamp(),
        // A leap second counts more than a thousand million nanoseconds; the protobuf type has none.
        nanos: time.timestamp_subsec_nanos().min(999_999_999).cast_signed(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mask_names_fields_that_there_are_each_once() {
        let read = |paths: &[&str]| {
            let mask = FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() };
            let mut violations = Violations::new();
            let fields =
                masked_fields(Some(&mask), &[1, 2], |field| if field == 1 { "one" } else { "two" }, &mut violations);
            violations.finish().map(|()| fields).map_err(|rejection| rejection.reason)
        };
        assert_eq!(read(&["two", "one", "two"]), Ok(vec![2, 1]));
        assert_eq!(read(&["one", "three"]), Err("UPDATE_MASK_INVALID"));
        assert_eq!(read(&[]), Err("FIELD_MISSING"));
    }

    #[test]
    fn a_missing_or_false_amount_is_noted() {
        let mut violations = Violations::new();
        assert_eq!(money("price", None, &mut violations), None);
        let wrong = MoneyMessage { currency_code: "EUR".to_owned(), units: 1, nanos: -1 };
        assert_eq!(money("cost", Some(wrong), &mut violations), None);
        let rejection = violations.finish().unwrap_err();
        let seen: Vec<_> = rejection.violations.iter().map(|one| (one.field.as_str(), one.reason)).collect();
        assert_eq!(seen, [("price", "FIELD_MISSING"), ("cost", "AMOUNT_MALFORMED")]);
    }

    #[test]
    fn a_false_point_in_time_is_noted() {
        let mut violations = Violations::new();
        // Year −4700 and year 300000 fit an i64, and no database.
        let beyond = [-62_135_596_801, 253_402_300_800, -210_486_000_000, 9_404_000_000_000, i64::MIN, i64::MAX];
        let wrong = [(0, -1), (0, 1_000_000_000), (0, i32::MIN)].into_iter().chain(beyond.map(|seconds| (seconds, 0)));
        for (seconds, nanos) in wrong.clone() {
            let message = prost_types::Timestamp { seconds, nanos };
            assert_eq!(timestamp("at", Some(message), &mut violations), None, "{seconds} {nanos}");
        }
        assert_eq!(violations.finish().unwrap_err().violations.len(), wrong.count());
    }

    proptest! {
        #[test]
        fn amounts_go_out_and_come_back(minor in any::<i64>(), code in proptest::sample::select(vec!["EUR", "KRW", "KWD"])) {
            let amount = Money::from_units_nanos(code, 0, 0).unwrap();
            let amount = Money::new(minor, amount.currency());
            let mut violations = Violations::new();
            prop_assert_eq!(money("x", Some(money_to_proto(&amount)), &mut violations), Some(amount));
        }

        #[test]
        fn points_in_time_go_out_and_come_back(seconds in -62_135_596_800_i64..253_402_300_800, nanos in 0_u32..1_000_000_000) {
            let time = Timestamp::from_timestamp(seconds, nanos).unwrap();
            let mut violations = Violations::new();
            prop_assert_eq!(timestamp("x", Some(timestamp_to_proto(&time)), &mut violations), Some(time));
        }
    }
}
