//! From the domain to protobuf.

use openorder_proto::inventory::v1 as proto;
use openorder_rpc::timestamp_to_proto;
use openorder_types::Timestamp;

use crate::{
    domain::{Line, Reservation, ReservationState, Shortfall, ShortfallReason, StockLevel},
    persistence::Mismatch,
};

/// Quantities are checked against bounds far below this type's.
pub(crate) fn quantity(pieces: i64) -> i32 {
    i32::try_from(pieces).unwrap_or(i32::MAX)
}

pub(crate) fn delta(pieces: i64) -> i32 {
    i32::try_from(pieces).unwrap_or(if pieces < 0 { i32::MIN } else { i32::MAX })
}

pub(crate) fn stock(level: &StockLevel, update_time: Timestamp) -> proto::Stock {
    proto::Stock {
        sku: level.sku.to_string(),
        on_hand_quantity: quantity(level.on_hand_quantity),
        reserved_quantity: quantity(level.reserved_quantity),
        available_quantity: quantity(level.available_quantity()),
        version: level.version,
        update_time: Some(timestamp_to_proto(&update_time)),
        product_number: level.product_number,
    }
}

pub(crate) fn line(line: &Line) -> proto::StockLine {
    let (sku, quantity) = (line.sku.to_string(), quantity(line.quantity.get()));
    proto::StockLine { sku, quantity, product_number: line.product_number }
}

pub(crate) fn reservation(reservation: &Reservation) -> proto::Reservation {
    proto::Reservation {
        order_id: reservation.order_id.to_string(),
        lines: reservation.lines.iter().map(line).collect(),
        state: state(reservation.state).into(),
        reason: reservation.reason.clone(),
        version: reservation.version,
        create_time: Some(timestamp_to_proto(&reservation.create_time)),
        update_time: Some(timestamp_to_proto(&reservation.update_time)),
        expire_time: reservation.expire_time.as_ref().map(timestamp_to_proto),
    }
}

pub(crate) fn mismatch(found: &Mismatch) -> proto::ReservationMismatch {
    proto::ReservationMismatch {
        reservation: Some(reservation(&found.reservation)),
        // Numbered as in the contract.
        kind: found.kind.number().into(),
        order_status: i32::from(found.order_status),
        detect_time: Some(timestamp_to_proto(&found.detect_time)),
    }
}

fn state(state: ReservationState) -> proto::ReservationState {
    proto::ReservationState::try_from(i32::from(state.number())).unwrap_or_default()
}

pub(crate) fn shortfall(shortfall: &Shortfall) -> proto::StockShortfall {
    proto::StockShortfall {
        sku: shortfall.sku.to_string(),
        requested_quantity: quantity(shortfall.requested_quantity),
        available_quantity: quantity(shortfall.available_quantity),
        reason: shortfall_reason(shortfall.reason).into(),
    }
}

pub(crate) fn shortfall_reason(reason: ShortfallReason) -> proto::StockRejectionReason {
    match reason {
        ShortfallReason::OutOfStock => proto::StockRejectionReason::OutOfStock,
        ShortfallReason::UnknownSku => proto::StockRejectionReason::UnknownSku,
    }
}

/// Reasons are stored as the names of the enum's values, less their prefix; all else was asked for by a caller.
pub(crate) fn release_reason(reason: &str) -> proto::StockReleaseReason {
    proto::StockReleaseReason::from_str_name(&format!("STOCK_RELEASE_REASON_{reason}"))
        .unwrap_or(proto::StockReleaseReason::Requested)
}

/// The stored form of a release's reason.
pub(crate) fn release_reason_name(reason: proto::StockReleaseReason) -> String {
    reason.as_str_name().trim_start_matches("STOCK_RELEASE_REASON_").to_owned()
}

#[cfg(test)]
mod tests {
    use openorder_types::assert_numbered_as_in_the_contract;

    use super::*;
    use crate::domain::MismatchKind;

    #[test]
    fn stored_numbers_are_those_of_the_contract() {
        assert_numbered_as_in_the_contract! {
            ReservationState = proto::ReservationState, "RESERVATION_STATE";
            MismatchKind = proto::ReservationMismatchKind, "RESERVATION_MISMATCH_KIND";
        }
    }
}
