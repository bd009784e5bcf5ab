//! `promotion.coupon.v1`: the answers about the coupon of an order. All else is the promotion service's own.

use openorder_proto::{
    promotion::v1::{CouponHeld, CouponRejected, CouponRestored},
    reasons::Word,
};
use openorder_rpc::money_from_proto;
use openorder_types::ValueError;

use crate::{application::Command, consumers::signal, saga::Signal};

pub(super) fn held(event: CouponHeld) -> Result<Command, ValueError> {
    let line_discounts = event.line_discounts.iter().map(money_from_proto).collect::<Result<_, _>>()?;
    signal(&event.order_id, Signal::CouponHeld { line_discounts })
}

pub(super) fn rejected(event: CouponRejected) -> Result<Command, ValueError> {
    let reason = event.reason().word().to_owned();
    signal(&event.order_id, Signal::CouponRejected { reason, detail: event.detail })
}

pub(super) fn restored(event: CouponRestored) -> Result<Command, ValueError> {
    signal(&event.order_id, Signal::CouponRestored)
}
