//! `order.lifecycle.v1`: an order whose stock is held is to be paid.

use openorder_messaging::{DecodeError, Received};
use openorder_proto::{
    event_types,
    order::v1::{OrderConfirmed, PaymentMode},
};
use openorder_types::{UserId, ValueError, parse_uuid};
use uuid::Uuid;

use crate::{
    consumers::{amount, others},
    domain::Command,
};

pub(super) fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    if message.event_type != event_types::ORDER_CONFIRMED {
        return others(message);
    }
    let confirmed: OrderConfirmed = message.decode()?;
    match PaymentMode::try_from(confirmed.payment_mode) {
        Ok(PaymentMode::Automatic | PaymentMode::Unspecified) => {}
        Ok(PaymentMode::Manual) => return Ok(None),
        // Nobody is charged on a guess.
        Err(_) => return Err(DecodeError::malformed(message, "unknown payment mode")),
    }
    let malformed = |error: ValueError| DecodeError::malformed(message, error);
    let order_id = parse_uuid(&confirmed.order_id, "ORDER_ID_MALFORMED").map_err(malformed)?;
    let user_id = UserId::parse(&confirmed.customer_id).map_err(malformed)?;
    let total = confirmed.total.ok_or_else(|| DecodeError::malformed(message, "no total"))?;
    let payment_id = Uuid::now_v7();
    Ok(Some(Command::Pay { payment_id, order_id, user_id, amount: amount(message, &total)? }))
}
