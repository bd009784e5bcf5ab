//! From a state and a command to the facts that follow, and from those to the next state. Pure: time arrives in
//! [`Decision`], ids in the command.

use std::collections::HashMap;

use openorder_types::{Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{
    Changes, Code, Command, Coupon, CouponKey, CouponUse, Event, IssuedCoupon, IssuedCouponState, UseState, Validity,
    rejection, uses,
};

/// Coupons that commands are decided on, and how many users have of them. What is missing does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    coupons: HashMap<Uuid, Coupon>,
    ids: HashMap<Code, Uuid>,
    /// How many of a coupon a user was issued.
    counted: HashMap<(Uuid, UserId), i64>,
    /// Those that are to be used, with their coupons among `coupons`.
    issued: HashMap<Uuid, IssuedCoupon>,
    /// By order.
    uses: HashMap<Uuid, CouponUse>,
}

impl State {
    /// The state of these coupons, each once, and of how many of them users were issued.
    pub fn of(coupons: Vec<Coupon>, counted: HashMap<(Uuid, UserId), i64>) -> Self {
        Self {
            ids: coupons.iter().map(|coupon| (coupon.code.clone(), coupon.coupon_id)).collect(),
            coupons: coupons.into_iter().map(|coupon| (coupon.coupon_id, coupon)).collect(),
            counted,
            ..Self::default()
        }
    }

    /// The same with issued coupons and their uses.
    pub fn with_uses(self, issued: Vec<IssuedCoupon>, uses: Vec<CouponUse>) -> Self {
        Self {
            issued: issued.into_iter().map(|issued| (issued.issued_coupon_id, issued)).collect(),
            uses: uses.into_iter().map(|one| (one.order_id, one)).collect(),
            ..self
        }
    }

    pub fn issued_coupon(&self, issued_coupon_id: Uuid) -> Option<&IssuedCoupon> {
        self.issued.get(&issued_coupon_id)
    }

    /// Of this order.
    pub fn coupon_use(&self, order_id: Uuid) -> Option<&CouponUse> {
        self.uses.get(&order_id)
    }

    pub fn coupon(&self, coupon_id: Uuid) -> Option<&Coupon> {
        self.coupons.get(&coupon_id)
    }

    /// The coupon that a caller names.
    ///
    /// # Errors
    /// `COUPON_NOT_FOUND`.
    pub fn find(&self, key: &CouponKey) -> Result<&Coupon, Rejection> {
        let id = match key {
            CouponKey::Id(id) => Some(id),
            CouponKey::Code(code) => self.ids.get(code),
        };
        id.and_then(|id| self.coupons.get(id)).ok_or_else(|| rejection::not_found(key))
    }
}

/// What a decision depends on besides the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub now: Timestamp,
}

/// Decides one command. No event: nothing would change.
///
/// # Errors
/// Of a new coupon `COUPON_CODE_ALREADY_EXISTS`; of a change `COUPON_NOT_FOUND`, `COUPON_VERSION_MISMATCH`,
/// `ISSUE_LIMIT_BELOW_ISSUED`, `VALIDITY_EMPTY`; of an issue `COUPON_NOT_FOUND`, `COUPON_NOT_VALID_YET`, `COUPON_EXPIRED`,
/// `COUPON_SOLD_OUT`, `COUPON_LIMIT_REACHED`; of a redemption `COUPON_NOT_HELD`. Then nothing changes.
pub fn decide(state: &State, command: &Command, context: &Decision) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Create(new) => match state.find(&CouponKey::Code(new.code.clone())) {
            Ok(holder) => Err(rejection::code_taken(holder)),
            Err(_) => Ok(vec![Event::Created(Coupon::create(new.clone(), context.now))]),
        },
        Command::Update { key, changes, expected_version } => {
            let event = update(state.find(key)?, changes, *expected_version, context.now)?;
            Ok(event.into_iter().collect())
        }
        Command::Issue { issued_coupon_id, key, user_id } => {
            let coupon = state.find(key)?;
            let has = state.counted.get(&(coupon.coupon_id, user_id.clone())).copied().unwrap_or_default();
            issue(coupon, *issued_coupon_id, user_id, has, context.now).map(|event| vec![event])
        }
        Command::Hold(hold) => Ok(uses::hold(state, hold, context.now)),
        Command::Redeem(request) => uses::redeem(state, request, context.now),
        Command::Release { request, answer_again } => Ok(uses::release(state, request, *answer_again, context.now)),
    }
}

fn update(
    coupon: &Coupon,
    changes: &Changes,
    expected_version: Option<i64>,
    time: Timestamp,
) -> Result<Option<Event>, Rejection> {
    if expected_version.is_some_and(|expected| expected != coupon.version) {
        return Err(rejection::version_mismatch(coupon));
    }
    let changes = changes.that_change(coupon);
    if let Some(limit) = changes.issue_limit.filter(|limit| limit.get() < coupon.issued_count) {
        return Err(rejection::limit_below_issued(coupon, limit));
    }
    let Validity { from, until } = coupon.validity;
    Validity::parse(changes.valid_from.unwrap_or(from), changes.valid_until.unwrap_or(until))
        .map_err(|_| rejection::validity_empty())?;
    let coupon_id = coupon.coupon_id;
    Ok((changes != Changes::default()).then_some(Event::Updated { coupon_id, changes, time }))
}

fn issue(
    coupon: &Coupon,
    issued_coupon_id: Uuid,
    user_id: &UserId,
    has: i64,
    now: Timestamp,
) -> Result<Event, Rejection> {
    if now < coupon.validity.from {
        return Err(rejection::not_valid_yet(coupon));
    }
    if now >= coupon.validity.until {
        return Err(rejection::expired(coupon));
    }
    // Who has as many as may be is told so, also when there are none left.
    if has >= i64::from(coupon.issue_limit_per_user.get()) {
        return Err(rejection::limit_reached(coupon, user_id));
    }
    if coupon.issued_count >= coupon.issue_limit.get() {
        return Err(rejection::sold_out(coupon));
    }
    Ok(Event::Issued(IssuedCoupon {
        issued_coupon_id,
        coupon_id: coupon.coupon_id,
        user_id: user_id.clone(),
        ordinal: coupon.issued_count + 1,
        state: IssuedCouponState::Issued,
        version: 1,
        order_id: None,
        issue_time: now,
        update_time: now,
    }))
}

/// Applies an event to the state that it was decided on. A coupon that the state lacks is not changed.
pub fn evolve(state: &mut State, event: &Event) {
    match event {
        Event::Created(coupon) => {
            state.ids.insert(coupon.code.clone(), coupon.coupon_id);
            state.coupons.insert(coupon.coupon_id, coupon.clone());
        }
        Event::Updated { coupon_id, changes, time } => {
            let Some(coupon) = state.coupons.get_mut(coupon_id) else { return };
            if let Some(name) = &changes.display_name {
                coupon.display_name.clone_from(name);
            }
            coupon.validity.from = changes.valid_from.unwrap_or(coupon.validity.from);
            coupon.validity.until = changes.valid_until.unwrap_or(coupon.validity.until);
            coupon.issue_limit = changes.issue_limit.unwrap_or(coupon.issue_limit);
            coupon.issue_limit_per_user = changes.issue_limit_per_user.unwrap_or(coupon.issue_limit_per_user);
            coupon.version += 1;
            coupon.update_time = *time;
        }
        Event::Issued(issued) => {
            let Some(coupon) = state.coupons.get_mut(&issued.coupon_id) else { return };
            coupon.issued_count = issued.ordinal;
            *state.counted.entry((issued.coupon_id, issued.user_id.clone())).or_default() += 1;
        }
        Event::Held(made) | Event::Refused(made) | Event::CalledOff(made) => {
            let mut made = made.clone();
            if made.state == UseState::Held {
                move_issued(state, &made, IssuedCouponState::Held, made.update_time);
            } else {
                made.version += 1;
            }
            state.uses.insert(made.order_id, made);
        }
        Event::Redeemed { order_id, time } => {
            if let Some(after) = move_use(state, *order_id, UseState::Redeemed, *time) {
                move_issued(state, &after, IssuedCouponState::Redeemed, *time);
            }
        }
        Event::Restored { order_id, was_held, time } => {
            let after = move_use(state, *order_id, UseState::Released, *time);
            if let Some(after) = after.filter(|_| *was_held) {
                move_issued(state, &after, IssuedCouponState::Issued, *time);
            } else if let Some(answered) = state.uses.get_mut(order_id) {
                answered.version += 1;
            }
        }
    }
}

/// The use in its new state.
fn move_use(state: &mut State, order_id: Uuid, to: UseState, time: Timestamp) -> Option<CouponUse> {
    let found = state.uses.get_mut(&order_id)?;
    found.state = to;
    found.update_time = time;
    Some(found.clone())
}

/// The issued coupon of a use in its new state.
fn move_issued(state: &mut State, coupon_use: &CouponUse, to: IssuedCouponState, time: Timestamp) {
    let Some(issued) = state.issued.get_mut(&coupon_use.issued_coupon_id) else { return };
    issued.state = to;
    issued.order_id = Some(coupon_use.order_id).filter(|_| to != IssuedCouponState::Issued);
    issued.version += 1;
    issued.update_time = time;
}

#[cfg(test)]
mod tests;
