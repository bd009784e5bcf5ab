//! How coupons are held for orders, redeemed and given back. Pure.

use openorder_types::{Money, Rejection, Timestamp};

use crate::domain::{
    CouponUse, Event, HoldRequest, IssuedCouponState, RefusalReason, State, UseRequest, UseState, discounts, rejection,
};

/// Decides on an order's wish to use a coupon, once. No event: it was decided before, and stays so.
pub(super) fn hold(state: &State, hold: &HoldRequest, now: Timestamp) -> Vec<Event> {
    let request = &hold.request;
    if state.coupon_use(request.order_id).is_some() {
        return Vec::new();
    }
    let mut made = CouponUse::new(request, UseState::Held, now);
    match take_off(state, hold, now) {
        Ok(line_discounts) => made.line_discounts = line_discounts,
        Err(reason) => {
            made.state = UseState::Refused;
            made.reason = Some(reason);
        }
    }
    vec![if made.state == UseState::Held { Event::Held(made) } else { Event::Refused(made) }]
}

fn take_off(state: &State, hold: &HoldRequest, now: Timestamp) -> Result<Vec<Money>, RefusalReason> {
    let UseRequest { user_id, issued_coupon_id, .. } = &hold.request;
    let issued = state.issued_coupon(*issued_coupon_id).ok_or(RefusalReason::CouponNotFound)?;
    let coupon = state.coupon(issued.coupon_id).ok_or(RefusalReason::CouponNotFound)?;
    // What is another's does not exist for the order's customer, who reads the reason.
    if issued.user_id != *user_id {
        return Err(RefusalReason::CouponNotFound);
    }
    if issued.state != IssuedCouponState::Issued {
        return Err(RefusalReason::CouponAlreadyUsed);
    }
    if now < coupon.validity.from {
        return Err(RefusalReason::CouponNotValidYet);
    }
    if now >= coupon.validity.until {
        return Err(RefusalReason::CouponExpired);
    }
    discounts(&coupon.terms, &hold.lines)
}

/// The order was paid: what is held for it is used. A coupon that is held stays good when its time is over meanwhile.
pub(super) fn redeem(state: &State, request: &UseRequest, time: Timestamp) -> Result<Vec<Event>, Rejection> {
    let order_id = request.order_id;
    match state.coupon_use(order_id).map(|held| held.state) {
        Some(UseState::Held) => Ok(vec![Event::Redeemed { order_id, time }]),
        Some(UseState::Redeemed) => Ok(Vec::new()),
        Some(UseState::Released | UseState::Refused) | None => Err(rejection::not_held(order_id)),
    }
}

/// Nothing is held for the order from now on, nor ever will be.
pub(super) fn release(state: &State, request: &UseRequest, answer_again: bool, time: Timestamp) -> Vec<Event> {
    let order_id = request.order_id;
    match state.coupon_use(order_id).map(|held| held.state) {
        None => vec![Event::CalledOff(CouponUse::new(request, UseState::Released, time))],
        // The event was published before: it would say nothing new.
        Some(UseState::Released) if !answer_again => Vec::new(),
        Some(before) => {
            let was_held = matches!(before, UseState::Held | UseState::Redeemed);
            vec![Event::Restored { order_id, was_held, time }]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use openorder_types::{Currency, Sku, UserId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        Code, Command, Coupon, Decision, DisplayName, IssueLimit, IssueLimitPerUser, IssuedCoupon, Line, NewCoupon,
        Terms, Validity, Value, decide, evolve,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn euros(minor_units: i64) -> Money {
        Money::new(minor_units, Currency::parse("EUR").unwrap())
    }

    fn ada() -> UserId {
        UserId::parse("ada").unwrap()
    }

    /// A coupon of five euros, valid from second 0 to second 100, of which Ada has these many: 1, 2, 3 …
    fn with_issued(count: u128) -> State {
        let coupon = Coupon::create(
            NewCoupon {
                coupon_id: Uuid::from_u128(99),
                code: Code::parse("FIVE").unwrap(),
                display_name: DisplayName::parse("Five off").unwrap(),
                terms: Terms::parse(Value::Fixed(euros(500)), None, BTreeSet::new()).unwrap(),
                validity: Validity::parse(at(0), at(100)).unwrap(),
                issue_limit: IssueLimit::parse(1_000).unwrap(),
                issue_limit_per_user: IssueLimitPerUser::parse(1_000).unwrap(),
            },
            at(0),
        );
        let issued = (1..=count).map(|id| IssuedCoupon {
            issued_coupon_id: Uuid::from_u128(id),
            coupon_id: coupon.coupon_id,
            user_id: ada(),
            ordinal: i32::try_from(id).unwrap(),
            state: IssuedCouponState::Issued,
            version: 1,
            order_id: None,
            issue_time: at(0),
            update_time: at(0),
        });
        let issued = issued.collect();
        State::of(vec![coupon], HashMap::new()).with_uses(issued, Vec::new())
    }

    fn request(order: u128, issued: u128) -> UseRequest {
        UseRequest { order_id: Uuid::from_u128(order), user_id: ada(), issued_coupon_id: Uuid::from_u128(issued) }
    }

    fn hold_for(request: UseRequest) -> Command {
        let line = Line { sku: Sku::parse("TEA").unwrap(), total: euros(2_000) };
        Command::Hold(HoldRequest { request, lines: vec![line] })
    }

    fn run(state: &mut State, command: &Command, seconds: i64) -> Result<Vec<Event>, &'static str> {
        let events = decide(state, command, &Decision { now: at(seconds) }).map_err(|rejection| rejection.reason)?;
        for event in &events {
            evolve(state, event);
        }
        Ok(events)
    }

    fn state_of(state: &State, issued: u128) -> (IssuedCouponState, Option<u128>) {
        let issued = state.issued_coupon(Uuid::from_u128(issued)).unwrap();
        (issued.state, issued.order_id.map(|id| id.as_u128()))
    }

    #[test]
    fn a_coupon_is_held_for_one_order_redeemed_by_it_and_free_again_when_that_gives_it_back() {
        let mut state = with_issued(1);
        assert!(matches!(&run(&mut state, &hold_for(request(7, 1)), 1).unwrap()[..], [Event::Held(_)]));
        assert_eq!(state_of(&state, 1), (IssuedCouponState::Held, Some(7)));
        assert_eq!(run(&mut state, &hold_for(request(7, 1)), 2), Ok(Vec::new()), "asked twice");
        let refused = run(&mut state, &hold_for(request(8, 1)), 2).unwrap();
        assert!(matches!(&refused[..], [Event::Refused(one)] if one.reason == Some(RefusalReason::CouponAlreadyUsed)));
        assert_eq!(run(&mut state, &Command::Redeem(request(8, 1)), 2), Err("COUPON_NOT_HELD"));
        // Its time is over when the order is paid: it was held in time.
        assert_eq!(run(&mut state, &Command::Redeem(request(7, 1)), 200).unwrap().len(), 1);
        assert_eq!(run(&mut state, &Command::Redeem(request(7, 1)), 201), Ok(Vec::new()));
        assert_eq!(state_of(&state, 1), (IssuedCouponState::Redeemed, Some(7)));
        let release = |order, answer_again| Command::Release { request: request(order, 1), answer_again };
        assert_eq!(run(&mut state, &release(8, false), 202).unwrap().len(), 1, "it was refused, and is answered");
        assert_eq!(state_of(&state, 1), (IssuedCouponState::Redeemed, Some(7)), "of another order");
        assert_eq!(run(&mut state, &release(7, false), 203).unwrap().len(), 1);
        assert_eq!(state_of(&state, 1), (IssuedCouponState::Issued, None));
        assert_eq!(run(&mut state, &release(7, false), 204), Ok(Vec::new()));
        assert_eq!(run(&mut state, &release(7, true), 204).unwrap().len(), 1, "an operator wants the answer again");
        assert_eq!(run(&mut state, &hold_for(request(7, 1)), 50), Ok(Vec::new()), "given back for ever");
        assert!(matches!(&run(&mut state, &hold_for(request(9, 1)), 50).unwrap()[..], [Event::Held(_)]));
    }

    #[test]
    fn each_reason_why_a_coupon_cannot_be_used_is_told() {
        let reason = |request, seconds| {
            let events = run(&mut with_issued(1), &hold_for(request), seconds).unwrap();
            match &events[..] {
                [Event::Refused(one)] => one.reason,
                _ => None,
            }
        };
        assert_eq!(reason(request(7, 1), 50), None);
        assert_eq!(reason(request(7, 2), 50), Some(RefusalReason::CouponNotFound));
        assert_eq!(reason(request(7, 1), -1), Some(RefusalReason::CouponNotValidYet));
        assert_eq!(reason(request(7, 1), 100), Some(RefusalReason::CouponExpired));
        let other = UseRequest { user_id: UserId::parse("bert").unwrap(), ..request(7, 1) };
        assert_eq!(reason(other, 50), Some(RefusalReason::CouponNotFound));
    }

    #[test]
    fn what_is_asked_back_before_it_was_asked_for_is_never_held() {
        let mut state = with_issued(1);
        let release = Command::Release { request: request(7, 1), answer_again: false };
        assert!(matches!(&run(&mut state, &release, 1).unwrap()[..], [Event::CalledOff(_)]));
        assert_eq!(run(&mut state, &hold_for(request(7, 1)), 2), Ok(Vec::new()));
        assert_eq!(run(&mut state, &Command::Redeem(request(7, 1)), 2), Err("COUPON_NOT_HELD"));
        assert_eq!(state_of(&state, 1), (IssuedCouponState::Issued, None));
    }

    proptest! {
        /// However the requests of orders come, doubled and out of order: a coupon is one order's at most, and it is
        /// exactly the order whose use says so.
        #[test]
        fn a_coupon_is_one_orders_at_most(acts in proptest::collection::vec((0..4_u8, 1..6_u128, 1..4_u128), 0..80)) {
            let mut state = with_issued(3);
            for (act, order, issued) in acts {
                // An order has one coupon.
                let issued = 1 + (order + issued) % 3;
                let request = state.coupon_use(Uuid::from_u128(order)).map_or(request(order, issued), |one| {
                    UseRequest { order_id: one.order_id, user_id: ada(), issued_coupon_id: one.issued_coupon_id }
                });
                let command = match act {
                    0 => hold_for(request),
                    1 => Command::Redeem(request),
                    2 => Command::Release { request, answer_again: false },
                    _ => Command::Release { request, answer_again: true },
                };
                let _ = run(&mut state, &command, 1);
                for issued in 1..=3 {
                    let users: Vec<_> = (1..6_u128)
                        .filter_map(|order| state.coupon_use(Uuid::from_u128(order)))
                        .filter(|one| one.issued_coupon_id == Uuid::from_u128(issued))
                        .filter_map(|one| match one.state {
                            UseState::Held => Some((IssuedCouponState::Held, Some(one.order_id.as_u128()))),
                            UseState::Redeemed => Some((IssuedCouponState::Redeemed, Some(one.order_id.as_u128()))),
                            UseState::Released | UseState::Refused => None,
                        })
                        .collect();
                    prop_assert!(users.len() <= 1);
                    let expected = users.first().copied().unwrap_or((IssuedCouponState::Issued, None));
                    prop_assert_eq!(state_of(&state, issued), expected);
                }
            }
        }
    }
}
