//! `order.lifecycle.v1`: an order whose stock is held is to be paid.

use openorder_proto::order::v1::{OrderConfirmed, PaymentMode};
use openorder_types::{UserId, ValueError, parse_uuid};
use uuid::Uuid;

use crate::{consumers::amount, domain::Command};

pub(super) fn confirmed(event: OrderConfirmed) -> Result<Option<Command>, ValueError> {
    match PaymentMode::try_from(event.payment_mode) {
        Ok(PaymentMode::Automatic | PaymentMode::Unspecified) => {}
        Ok(PaymentMode::Manual) => return Ok(None),
        // Nobody is charged on a guess.
        Err(_) => return Err(ValueError::new("PAYMENT_MODE_UNKNOWN", "unknown payment mode")),
    }
    let order_id = parse_uuid(&event.order_id, "ORDER_ID_MALFORMED")?;
    let user_id = UserId::parse(&event.customer_id)?;
    let total = event.total.ok_or_else(|| ValueError::new("TOTAL_MISSING", "no total"))?;
    // A coupon has left nothing to pay: the order goes on by itself.
    if event.discount.is_some() && (total.units, total.nanos) == (0, 0) {
        return Ok(None);
    }
    Ok(Some(Command::Pay { payment_id: Uuid::now_v7(), order_id, user_id, amount: amount(&total)? }))
}
