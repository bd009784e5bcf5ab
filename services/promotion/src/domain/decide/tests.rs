use std::collections::{BTreeSet, HashSet};

use openorder_types::{Currency, Money};
use proptest::prelude::*;

use super::*;
use crate::domain::{DisplayName, IssueLimit, IssueLimitPerUser, NewCoupon, Terms, Value};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn user(number: u8) -> UserId {
    UserId::parse(&format!("user-{number}")).unwrap()
}

fn key(code: &str) -> CouponKey {
    CouponKey::Code(Code::parse(code).unwrap())
}

fn new(id: u128, code: &str, limit: i32, per_user: i32) -> NewCoupon {
    let value = Value::Fixed(Money::new(500, Currency::parse("EUR").unwrap()));
    NewCoupon {
        coupon_id: Uuid::from_u128(id),
        code: Code::parse(code).unwrap(),
        display_name: DisplayName::parse("Five off").unwrap(),
        terms: Terms::parse(value, None, BTreeSet::new()).unwrap(),
        validity: Validity::parse(at(0), at(100)).unwrap(),
        issue_limit: IssueLimit::parse(limit).unwrap(),
        issue_limit_per_user: IssueLimitPerUser::parse(per_user).unwrap(),
    }
}

fn issue(id: u128, code: &str, number: u8) -> Command {
    Command::Issue { issued_coupon_id: Uuid::from_u128(id), key: key(code), user_id: user(number) }
}

/// Decides and applies; gives the reason of a refusal.
fn run(state: &mut State, command: &Command, now: Timestamp) -> Result<Option<Event>, &'static str> {
    let events = decide(state, command, &Decision { now }).map_err(|rejection| rejection.reason)?;
    for event in &events {
        evolve(state, event);
    }
    assert!(events.len() <= 1);
    Ok(events.into_iter().next())
}

fn with_coupon(limit: i32, per_user: i32) -> State {
    let mut state = State::default();
    run(&mut state, &Command::Create(new(1, "FIVE", limit, per_user)), at(0)).unwrap();
    state
}

#[test]
fn a_code_stands_for_one_coupon_for_ever() {
    let mut state = with_coupon(1, 1);
    let again = Command::Create(new(2, "FIVE", 1, 1));
    assert_eq!(run(&mut state, &again, at(0)), Err("COUPON_CODE_ALREADY_EXISTS"));
    assert!(run(&mut state, &Command::Create(new(2, "SIX", 1, 1)), at(0)).is_ok());
    assert_eq!(run(&mut state, &issue(9, "NONE", 1), at(0)), Err("COUPON_NOT_FOUND"));
}

#[test]
fn a_coupon_is_issued_within_its_time_alone() {
    let mut state = with_coupon(10, 10);
    assert_eq!(run(&mut state, &issue(1, "FIVE", 1), at(-1)), Err("COUPON_NOT_VALID_YET"));
    assert!(run(&mut state, &issue(2, "FIVE", 1), at(0)).is_ok());
    assert!(run(&mut state, &issue(3, "FIVE", 1), at(99)).is_ok());
    assert_eq!(run(&mut state, &issue(4, "FIVE", 1), at(100)), Err("COUPON_EXPIRED"));
}

#[test]
fn who_has_enough_is_told_so_also_when_there_are_none_left() {
    let mut state = with_coupon(2, 1);
    assert!(run(&mut state, &issue(1, "FIVE", 1), at(0)).is_ok());
    assert_eq!(run(&mut state, &issue(2, "FIVE", 1), at(0)), Err("COUPON_LIMIT_REACHED"));
    assert!(run(&mut state, &issue(3, "FIVE", 2), at(0)).is_ok());
    assert_eq!(run(&mut state, &issue(4, "FIVE", 1), at(0)), Err("COUPON_LIMIT_REACHED"));
    assert_eq!(run(&mut state, &issue(5, "FIVE", 3), at(0)), Err("COUPON_SOLD_OUT"));
}

#[test]
fn a_change_is_checked_against_what_was_issued_and_is_made_once() {
    let mut state = with_coupon(3, 3);
    for id in 1..=2 {
        run(&mut state, &issue(id, "FIVE", 1), at(0)).unwrap();
    }
    let update = |changes, expected_version| Command::Update { key: key("FIVE"), changes, expected_version };
    let limit = |number| Changes { issue_limit: Some(IssueLimit::parse(number).unwrap()), ..Changes::default() };
    assert_eq!(run(&mut state, &update(limit(1), None), at(1)), Err("ISSUE_LIMIT_BELOW_ISSUED"));
    assert_eq!(run(&mut state, &update(limit(2), Some(7)), at(1)), Err("COUPON_VERSION_MISMATCH"));
    assert!(run(&mut state, &update(limit(2), Some(1)), at(1)).unwrap().is_some());
    assert_eq!(run(&mut state, &update(limit(2), None), at(2)), Ok(None));
    let coupon = state.find(&key("FIVE")).unwrap();
    assert_eq!((coupon.version, coupon.issued_count, coupon.update_time), (2, 2, at(1)));
    assert_eq!(run(&mut state, &issue(3, "FIVE", 1), at(2)), Err("COUPON_SOLD_OUT"));
    let until = Changes { valid_until: Some(at(0)), ..Changes::default() };
    assert_eq!(run(&mut state, &update(until, None), at(2)), Err("VALIDITY_EMPTY"));
    let both = Changes { valid_from: Some(at(-9)), valid_until: Some(at(0)), ..Changes::default() };
    assert!(run(&mut state, &update(both, None), at(2)).unwrap().is_some());
    assert_eq!(run(&mut state, &issue(4, "FIVE", 2), at(2)), Err("COUPON_EXPIRED"));
}

proptest! {
    /// Whoever asks, in whatever order: ordinals are 1, 2, 3 … up to the limit, nobody has more than may be, and nobody is
    /// sent away while there is one for them.
    #[test]
    fn exactly_as_many_are_issued_as_the_limits_say(
        limit in 1..20_i32,
        per_user in 1..4_i32,
        callers in proptest::collection::vec(0..8_u8, 0..60),
    ) {
        let mut state = with_coupon(limit, per_user);
        let (mut ordinals, mut of_users) = (Vec::new(), HashMap::<u8, i32>::new());
        for (id, number) in (1..).zip(callers) {
            let has = of_users.entry(number).or_default();
            match run(&mut state, &issue(id, "FIVE", number), at(1)) {
                Ok(Some(Event::Issued(issued))) => {
                    ordinals.push(issued.ordinal);
                    *has += 1;
                    prop_assert!(*has <= per_user);
                }
                Err("COUPON_LIMIT_REACHED") => prop_assert_eq!(*has, per_user),
                Err("COUPON_SOLD_OUT") => prop_assert_eq!(ordinals.len(), usize::try_from(limit).unwrap()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert!(ordinals.len() <= usize::try_from(limit).unwrap());
        prop_assert_eq!(ordinals.iter().copied().collect::<HashSet<_>>().len(), ordinals.len());
        prop_assert!(ordinals.into_iter().zip(1..).all(|(ordinal, expected)| ordinal == expected));
        prop_assert_eq!(state.find(&key("FIVE")).unwrap().issued_count, of_users.values().sum::<i32>());
    }
}
