//! `promotion.coupon.v1`: the order service requests here that coupons are held, redeemed and given back. All else is this
//! service's own.

use openorder_proto::promotion::v1::{CouponHoldRequested, CouponRedeemRequested, CouponReleaseRequested};
use openorder_types::{UserId, ValueError, parse_uuid};

use crate::{
    domain::{Command, HoldRequest, UseRequest},
    present,
};

pub(super) fn hold_requested(event: CouponHoldRequested) -> Result<Command, ValueError> {
    let request = request(&event.order_id, &event.user_id, &event.issued_coupon_id)?;
    let lines = event.lines.iter().map(present::line).collect::<Result<_, _>>()?;
    Ok(Command::Hold(HoldRequest { request, lines }))
}

pub(super) fn redeem_requested(event: CouponRedeemRequested) -> Result<Command, ValueError> {
    request(&event.order_id, &event.user_id, &event.issued_coupon_id).map(Command::Redeem)
}

pub(super) fn release_requested(event: CouponReleaseRequested) -> Result<Command, ValueError> {
    let request = request(&event.order_id, &event.user_id, &event.issued_coupon_id)?;
    Ok(Command::Release { request, answer_again: event.answer_again })
}

fn request(order_id: &str, user_id: &str, issued_coupon_id: &str) -> Result<UseRequest, ValueError> {
    Ok(UseRequest {
        order_id: parse_uuid(order_id, "ORDER_ID_MALFORMED")?,
        user_id: UserId::parse(user_id)?,
        issued_coupon_id: parse_uuid(issued_coupon_id, "ISSUED_COUPON_ID_MALFORMED")?,
    })
}
