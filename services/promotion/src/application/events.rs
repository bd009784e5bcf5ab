//! From the facts of the domain to protobuf events.

use openorder_proto::{EventMessage, promotion::v1 as proto};
use openorder_rpc::money_to_proto;
use openorder_service::{Aggregate, NewEvents};
use uuid::Uuid;

use crate::{
    domain::{CouponUse, Event, State},
    present,
};

/// Adds the message of an event; `state` is as it left it.
pub(super) fn publish(events: &mut NewEvents, event: &Event, state: &State) {
    match event {
        Event::Created(new) => {
            if let Some(coupon) = state.coupon(new.coupon_id) {
                let aggregate = Aggregate::new("coupon", coupon.coupon_id, coupon.version);
                events.append(&proto::CouponCreated { coupon: Some(present::coupon(coupon)) }, aggregate);
            }
        }
        Event::Updated { coupon_id, changes, .. } => {
            if let Some(coupon) = state.coupon(*coupon_id) {
                let aggregate = Aggregate::new("coupon", coupon.coupon_id, coupon.version);
                let update_mask = Some(present::mask(&changes.fields()));
                let message = proto::CouponUpdated { coupon: Some(present::coupon(coupon)), update_mask };
                events.append(&message, aggregate);
            }
        }
        Event::Issued(issued) => {
            let code = state.coupon(issued.coupon_id).map(|coupon| &coupon.code);
            let shown = code.map(|code| present::issued_coupon(issued, code));
            let aggregate = Aggregate::new("issued_coupon", issued.issued_coupon_id, issued.version);
            events.append(&proto::CouponIssued { issued_coupon: shown }, aggregate.keyed_by(&issued.user_id));
        }
        Event::Held(made) => of_coupon(events, state, made, |issued_coupon| proto::CouponHeld {
            order_id: made.order_id.to_string(),
            issued_coupon,
            discount: made.discount().as_ref().map(money_to_proto),
            line_discounts: made.line_discounts.iter().map(money_to_proto).collect(),
        }),
        Event::Refused(made) => {
            let message = proto::CouponRejected {
                order_id: made.order_id.to_string(),
                user_id: made.user_id.to_string(),
                issued_coupon_id: made.issued_coupon_id.to_string(),
                reason: present::refusal_reason(made.reason).into(),
                detail: String::new(),
            };
            of_use(events, state, made.order_id, &message);
        }
        Event::CalledOff(made) => of_use(events, state, made.order_id, &restored(made, None)),
        Event::Restored { order_id, was_held, .. } => {
            let Some(one) = state.coupon_use(*order_id) else { return };
            if *was_held {
                of_coupon(events, state, one, |issued_coupon| restored(one, issued_coupon));
            } else {
                of_use(events, state, *order_id, &restored(one, None));
            }
        }
        Event::Redeemed { order_id, .. } => {
            if let Some(one) = state.coupon_use(*order_id) {
                let order_id = order_id.to_string();
                of_coupon(events, state, one, |issued_coupon| proto::CouponRedeemed { order_id, issued_coupon });
            }
        }
    }
}

fn restored(one: &CouponUse, issued_coupon: Option<proto::IssuedCoupon>) -> proto::CouponRestored {
    proto::CouponRestored { order_id: one.order_id.to_string(), user_id: one.user_id.to_string(), issued_coupon }
}

/// An event that moves the issued coupon of a use. All events of a user's coupons have the user's id as their key: they
/// keep their order.
fn of_coupon<M: EventMessage>(
    events: &mut NewEvents,
    state: &State,
    one: &CouponUse,
    message: impl FnOnce(Option<proto::IssuedCoupon>) -> M,
) {
    let Some(issued) = state.issued_coupon(one.issued_coupon_id) else { return };
    let code = state.coupon(issued.coupon_id).map(|coupon| &coupon.code);
    let shown = code.map(|code| present::issued_coupon(issued, code));
    let aggregate = Aggregate::new("issued_coupon", issued.issued_coupon_id, issued.version);
    events.append(&message(shown), aggregate.keyed_by(&one.user_id));
}

/// An event that moves no coupon.
fn of_use<M: EventMessage>(events: &mut NewEvents, state: &State, order_id: Uuid, message: &M) {
    if let Some(one) = state.coupon_use(order_id) {
        let aggregate = Aggregate::new("coupon_use", one.order_id, one.version);
        events.append(message, aggregate.keyed_by(&one.user_id));
    }
}
