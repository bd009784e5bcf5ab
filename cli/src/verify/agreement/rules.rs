//! What has to be so for an order that is at rest. Pure.

use openorder_proto::inventory::v1::ReservationState;
use openorder_proto::notification::v1::NotificationKind;
use openorder_proto::order::v1::OrderStatus;
use openorder_proto::payment::v1::PaymentState;
use openorder_proto::promotion::v1::CouponUseState;
use openorder_proto::shipping::v1::ShipmentState;
use openorder_types::Timestamp;

use super::look::{CouponUse, Notifications, OrderRow, Payment, Rows, Shipment, View};

/// `saga::Step`: completed, compensated, rejected.
const STEPS_AT_REST: [i16; 3] = [3, 5, 7];

/// What is to be said of an order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Agrees,
    /// It changed lately or waits for something.
    InFlight,
    /// A stable reason, and what does not fit.
    Disagrees(&'static str, String),
}

type Disagreement = (&'static str, String);

/// `young`: what changed after this time is in flight.
pub(super) fn judge(rows: &Rows, young: Timestamp) -> Verdict {
    let Some(order) = &rows.order else { return orphan(rows) };
    let is_young = order.changed_at > young || rows.shipment.as_ref().is_some_and(|row| row.changed_at > young);
    if is_young || !STEPS_AT_REST.contains(&order.step) {
        return Verdict::InFlight;
    }
    let Some(status) = OrderStatus::try_from(order.status).ok() else {
        return Verdict::Disagrees("STATUS_UNKNOWN", order.status.to_string());
    };
    let found = match status {
        OrderStatus::Preparing | OrderStatus::Shipped | OrderStatus::Delivered => kept(rows, order, status),
        OrderStatus::Cancelled | OrderStatus::Rejected => given_up(rows, order, status),
        // Not at its end though its saga rests: that is told with the orders.
        _ => return Verdict::InFlight,
    };
    let found = found.or_else(|| of_coupon(rows.coupon_use.as_ref(), order, status));
    let found = found.or_else(|| of_shipment(rows, order, status));
    let found = found.or_else(|| of_notifications(rows.notifications.as_ref(), order, status));
    match found.or_else(|| of_view(rows.view.as_ref(), order, rows.payment.as_ref())) {
        None => Verdict::Agrees,
        Some((reason, detail)) => Verdict::Disagrees(reason, format!("{}; {detail}", status.as_str_name())),
    }
}

/// Rows without an order.
fn orphan(rows: &Rows) -> Verdict {
    if rows.reservation.as_ref().is_some_and(|row| row.is_held()) {
        Verdict::Disagrees("RESERVATION_WITHOUT_ORDER", "stock is held, and there is no such order".to_owned())
    } else if rows.payment.as_ref().is_some_and(Payment::is_taken) {
        Verdict::Disagrees("PAYMENT_WITHOUT_ORDER", "money was taken, and there is no such order".to_owned())
    } else if rows.coupon_use.as_ref().is_some_and(CouponUse::is_in_use) {
        Verdict::Disagrees("COUPON_USE_WITHOUT_ORDER", "a coupon is used, and there is no such order".to_owned())
    } else if rows.shipment.as_ref().is_some_and(Shipment::is_parcel) {
        Verdict::Disagrees("SHIPMENT_WITHOUT_ORDER", "there is a parcel, and there is no such order".to_owned())
    } else if rows.notifications.is_some() {
        Verdict::Disagrees("NOTIFICATION_WITHOUT_ORDER", "somebody was told, and there is no such order".to_owned())
    } else if rows.view.is_some() {
        Verdict::Disagrees("VIEW_WITHOUT_ORDER", "it is found in the history, and there is no such order".to_owned())
    } else {
        Verdict::Agrees
    }
}

/// An order that goes its way: its stock is held or has left, its total was taken.
fn kept(rows: &Rows, order: &OrderRow, status: OrderStatus) -> Option<Disagreement> {
    let expected = if status == OrderStatus::Preparing { ReservationState::Held } else { ReservationState::Shipped };
    let Some(reservation) = &rows.reservation else {
        return Some(("RESERVATION_MISSING", "nothing is held for it".to_owned()));
    };
    if reservation.state != expected as i32 {
        let detail = format!("reservation {}, not {}", reservation.state_name(), expected.as_str_name());
        return Some(("RESERVATION_DISAGREES", detail));
    }
    if reservation.lines != order.lines {
        return Some(("RESERVATION_DISAGREES", "it holds other lines than were ordered".to_owned()));
    }
    // A coupon has left nothing to pay.
    if rows.payment.is_none() && order.is_free() {
        return None;
    }
    let Some(payment) = &rows.payment else {
        return Some(("PAYMENT_MISSING", "nothing was paid for it".to_owned()));
    };
    if payment.state != PaymentState::Completed as i32 {
        return Some(("PAYMENT_DISAGREES", format!("payment {}", payment.state_name())));
    }
    let same =
        payment.payment_id == order.payment_id && payment.user_id == order.customer_id && payment.amount == order.total;
    (!same).then(|| ("PAYMENT_DISAGREES", "another payment, payer or amount than the order's".to_owned()))
}

/// An order that was called off or could not be fulfilled: nothing is held, nothing is kept.
fn given_up(rows: &Rows, order: &OrderRow, status: OrderStatus) -> Option<Disagreement> {
    let (stock_by_hand, money_by_hand, _) = order.is_settled_by_hand;
    if let Some(reservation) = rows.reservation.as_ref().filter(|row| row.holds() && !stock_by_hand) {
        return Some(("RESERVATION_DISAGREES", format!("reservation {}", reservation.state_name())));
    }
    // Every order asks for stock when it is made, and what is asked for is answered.
    if rows.reservation.is_none() && !stock_by_hand {
        return Some(("RESERVATION_MISSING", "its stock was never decided".to_owned()));
    }
    if money_by_hand {
        return None;
    }
    if rows.payment.as_ref().is_some_and(Payment::is_taken) {
        return Some(("PAYMENT_DISAGREES", "its money was taken and not given back".to_owned()));
    }
    let refunded = rows.payment.as_ref().is_some_and(|payment| payment.state == PaymentState::Refunded as i32);
    if status == OrderStatus::Cancelled && !order.payment_id.is_empty() && !refunded {
        return Some(("PAYMENT_DISAGREES", "it was paid, and no refund is known".to_owned()));
    }
    None
}

/// An order that goes its way has used the coupon that it names, and takes off what that takes off; any other has not.
fn of_coupon(coupon_use: Option<&CouponUse>, order: &OrderRow, status: OrderStatus) -> Option<Disagreement> {
    let goes_its_way = !matches!(status, OrderStatus::Cancelled | OrderStatus::Rejected);
    let (_, _, by_hand) = order.is_settled_by_hand;
    match (coupon_use, order.issued_coupon_id) {
        (None, Some(_)) if goes_its_way => Some(("COUPON_USE_MISSING", "its coupon was never decided on".to_owned())),
        (Some(used), Some(named)) if goes_its_way => {
            let same = used.state == CouponUseState::Redeemed as i32
                && used.issued_coupon_id == named
                && used.discount_minor_units == order.discount_minor_units;
            let detail = || {
                let (order, used_by) = (order.discount_minor_units, used.discount_minor_units);
                format!("{} with {used_by}, the order has {order} off", used.state_name())
            };
            (!same).then(|| ("COUPON_USE_DISAGREES", detail()))
        }
        (Some(used), _) if used.is_in_use() && !by_hand => {
            Some(("COUPON_USE_DISAGREES", format!("its coupon is {}", used.state_name())))
        }
        _ => None,
    }
}

/// The parcel stands where the order does; one that was called off leaves none.
fn of_shipment(rows: &Rows, order: &OrderRow, status: OrderStatus) -> Option<Disagreement> {
    let expected = match status {
        OrderStatus::Preparing => ShipmentState::Created,
        OrderStatus::Shipped => ShipmentState::Shipped,
        OrderStatus::Delivered => ShipmentState::Delivered,
        _ => ShipmentState::Cancelled,
    };
    let is_given_up = expected == ShipmentState::Cancelled;
    let Some(shipment) = &rows.shipment else {
        return (order.wants_shipment && !is_given_up)
            .then(|| ("SHIPMENT_MISSING", "there is no parcel for it".to_owned()));
    };
    if shipment.state != expected as i32 {
        let detail = format!("shipment {}, not {}", shipment.state_name(), expected.as_str_name());
        return Some(("SHIPMENT_DISAGREES", detail));
    }
    let same = shipment.customer_id == order.customer_id && (is_given_up || shipment.lines == order.lines);
    (!same).then(|| ("SHIPMENT_DISAGREES", "another customer, or other lines than were ordered".to_owned()))
}

/// The customer was told how it ended (or did not want to be told: that is a row too), and nothing that never was.
fn of_notifications(
    notifications: Option<&Notifications>,
    order: &OrderRow,
    status: OrderStatus,
) -> Option<Disagreement> {
    let kinds: &[i16] = notifications.map_or(&[], |notifications| notifications.kinds.as_slice());
    let has = |kind: NotificationKind| kinds.iter().any(|known| i32::from(*known) == kind as i32);
    let expected = match status {
        OrderStatus::Shipped => NotificationKind::OrderShipped,
        OrderStatus::Delivered => NotificationKind::OrderDelivered,
        OrderStatus::Cancelled => NotificationKind::OrderCancelled,
        OrderStatus::Rejected => NotificationKind::OrderRejected,
        _ => NotificationKind::OrderPaid,
    };
    if !has(expected) {
        return Some(("NOTIFICATION_MISSING", format!("no {}", expected.as_str_name())));
    }
    let never = [
        (NotificationKind::OrderPaid, order.payment_id.is_empty() && !order.is_free()),
        (NotificationKind::OrderRejected, status != OrderStatus::Rejected),
        (NotificationKind::OrderCancelled, status != OrderStatus::Cancelled),
        (NotificationKind::OrderDelivered, status != OrderStatus::Delivered),
    ];
    let wrong = never.into_iter().find(|(kind, never)| *never && has(*kind));
    wrong.map(|(kind, _)| ("NOTIFICATION_DISAGREES", format!("told {}", kind.as_str_name())))
}

/// The document of the order shows what order and payment are.
fn of_view(view: Option<&View>, order: &OrderRow, payment: Option<&Payment>) -> Option<Disagreement> {
    let Some(view) = view else {
        return Some(("VIEW_MISSING", "it is not found in the history".to_owned()));
    };
    let differs = [
        ("version", view.order_version != order.version),
        ("status", view.status != order.status),
        ("customer", view.customer_id != order.customer_id),
        ("total", view.total != order.total),
        ("payment", view.payment_state != payment.map_or(0, |payment| payment.state)),
    ];
    let differing: Vec<&str> = differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
    (!differing.is_empty()).then(|| ("VIEW_DISAGREES", format!("the history shows another {}", differing.join(", "))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::look::Reservation;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn rows(status: OrderStatus, step: i16, reservation: i32, payment: Option<i32>, kinds: &[i16]) -> Rows {
        let lines = BTreeMap::from([("A".to_owned(), 2)]);
        let paid = payment.is_some_and(|state| state != PaymentState::Failed as i32);
        let total = Some((200, "EUR".to_owned()));
        Rows {
            order: Some(OrderRow {
                status: status.into(),
                version: 4,
                step,
                is_settled_by_hand: (false, false, false),
                discount_minor_units: 0,
                issued_coupon_id: None,
                wants_shipment: false,
                changed_at: at(10),
                customer_id: "ada".to_owned(),
                payment_id: if paid { "p".to_owned() } else { String::new() },
                total: total.clone(),
                lines: lines.clone(),
            }),
            reservation: Some(Reservation { state: reservation, lines }),
            shipment: None,
            payment: payment.map(|state| Payment {
                state,
                payment_id: "p".to_owned(),
                user_id: "ada".to_owned(),
                amount: total,
            }),
            notifications: (!kinds.is_empty()).then(|| Notifications { kinds: kinds.to_vec() }),
            coupon_use: None,
            view: Some(View {
                status: status.into(),
                order_version: 4,
                customer_id: "ada".to_owned(),
                total: Some((200, "EUR".to_owned())),
                payment_state: payment.unwrap_or_default(),
            }),
        }
    }

    fn reason(rows: &Rows) -> &'static str {
        match judge(rows, at(20)) {
            Verdict::Agrees => "agrees",
            Verdict::InFlight => "in flight",
            Verdict::Disagrees(reason, _) => reason,
        }
    }

    /// The same order with a coupon of fifty cents, whose use stands here.
    fn with_coupon(mut rows: Rows, state: i32, taken_off: i64) -> Rows {
        let issued_coupon_id = uuid::Uuid::from_u128(7);
        rows.coupon_use = Some(CouponUse { state, issued_coupon_id, discount_minor_units: 50 });
        if let Some(order) = &mut rows.order {
            (order.issued_coupon_id, order.discount_minor_units) = (Some(issued_coupon_id), taken_off);
        }
        rows
    }

    #[test]
    fn a_coupon_is_used_by_an_order_that_goes_its_way_and_by_no_other() {
        let goes = || rows(OrderStatus::Preparing, 3, 1, Some(2), &[1]);
        let ended = || rows(OrderStatus::Cancelled, 5, 3, Some(3), &[4]);
        assert_eq!(reason(&with_coupon(goes(), 2, 50)), "agrees");
        assert_eq!(reason(&with_coupon(ended(), 3, 0)), "agrees");
        assert_eq!(reason(&with_coupon(ended(), 4, 0)), "agrees");
        for wrong in [with_coupon(goes(), 1, 50), with_coupon(goes(), 3, 50), with_coupon(goes(), 2, 49)] {
            assert_eq!(reason(&wrong), "COUPON_USE_DISAGREES", "{wrong:?}");
        }
        for wrong in [with_coupon(ended(), 1, 0), with_coupon(ended(), 2, 50)] {
            assert_eq!(reason(&wrong), "COUPON_USE_DISAGREES", "{wrong:?}");
        }
        let missing = Rows { coupon_use: None, ..with_coupon(goes(), 2, 50) };
        assert_eq!(reason(&missing), "COUPON_USE_MISSING");
        let orphan = Rows { coupon_use: with_coupon(goes(), 1, 0).coupon_use, ..Rows::default() };
        assert_eq!(reason(&orphan), "COUPON_USE_WITHOUT_ORDER");
    }

    #[test]
    fn what_a_coupon_leaves_nothing_to_pay_of_is_not_paid() {
        let mut free = with_coupon(rows(OrderStatus::Preparing, 3, 1, None, &[1]), 2, 50);
        assert_eq!(reason(&free), "PAYMENT_MISSING");
        free.order.as_mut().unwrap().total = Some((0, "EUR".to_owned()));
        free.view.as_mut().unwrap().total = Some((0, "EUR".to_owned()));
        assert_eq!(reason(&free), "agrees");
    }

    #[test]
    fn orders_at_rest_agree() {
        for good in [
            rows(OrderStatus::Preparing, 3, 1, Some(2), &[1]),
            rows(OrderStatus::Shipped, 3, 2, Some(2), &[1, 2]),
            rows(OrderStatus::Delivered, 3, 2, Some(2), &[1, 2, 3]),
            rows(OrderStatus::Cancelled, 5, 3, Some(4), &[1, 4]),
            rows(OrderStatus::Cancelled, 5, 3, Some(3), &[4]),
            rows(OrderStatus::Rejected, 7, 4, None, &[5]),
        ] {
            assert_eq!(reason(&good), "agrees", "{good:?}");
        }
    }

    #[test]
    fn what_changed_lately_or_waits_is_in_flight() {
        let mut young = rows(OrderStatus::Preparing, 3, 3, None, &[]);
        assert_eq!(reason(&young), "RESERVATION_DISAGREES");
        young.order.as_mut().unwrap().changed_at = at(21);
        assert_eq!(reason(&young), "in flight");
        assert_eq!(reason(&rows(OrderStatus::Cancelled, 4, 1, Some(2), &[])), "in flight", "compensating");
    }

    #[test]
    fn each_disagreement_has_its_reason() {
        let mut other_lines = rows(OrderStatus::Preparing, 3, 1, Some(2), &[1]);
        other_lines.reservation.as_mut().unwrap().lines.insert("B".to_owned(), 1);
        let mut no_stock = rows(OrderStatus::Preparing, 3, 1, Some(2), &[1]);
        no_stock.reservation = None;
        let mut other_amount = rows(OrderStatus::Preparing, 3, 1, Some(2), &[1]);
        other_amount.payment.as_mut().unwrap().amount = Some((199, "EUR".to_owned()));
        for (wrong, expected) in [
            (other_lines, "RESERVATION_DISAGREES"),
            (no_stock, "RESERVATION_MISSING"),
            (other_amount, "PAYMENT_DISAGREES"),
            (rows(OrderStatus::Preparing, 3, 1, None, &[1]), "PAYMENT_MISSING"),
            (rows(OrderStatus::Preparing, 3, 1, Some(4), &[1]), "PAYMENT_DISAGREES"),
            (rows(OrderStatus::Preparing, 3, 1, Some(2), &[]), "NOTIFICATION_MISSING"),
            (rows(OrderStatus::Preparing, 3, 1, Some(2), &[1, 5]), "NOTIFICATION_DISAGREES"),
            (rows(OrderStatus::Cancelled, 5, 1, Some(4), &[4]), "RESERVATION_DISAGREES"),
            (rows(OrderStatus::Cancelled, 5, 3, Some(2), &[4]), "PAYMENT_DISAGREES"),
            (rows(OrderStatus::Rejected, 7, 4, Some(2), &[5]), "PAYMENT_DISAGREES"),
            (rows(OrderStatus::Rejected, 7, 4, None, &[]), "NOTIFICATION_MISSING"),
        ] {
            assert_eq!(reason(&wrong), expected, "{wrong:?}");
        }
    }

    #[test]
    fn a_document_shows_what_order_and_payment_are() {
        let with = |change: fn(&mut View)| {
            let mut rows = rows(OrderStatus::Preparing, 3, 1, Some(2), &[1]);
            change(rows.view.as_mut().unwrap());
            reason(&rows)
        };
        assert_eq!(with(|_| {}), "agrees");
        let changes: [fn(&mut View); 5] = [
            |view| view.order_version = 3,
            |view| view.status = 15,
            |view| view.customer_id = "bob".to_owned(),
            |view| view.total = None,
            |view| view.payment_state = 4,
        ];
        for change in changes {
            assert_eq!(with(change), "VIEW_DISAGREES");
        }
        let mut missing = rows(OrderStatus::Preparing, 3, 1, Some(2), &[1]);
        missing.view = None;
        assert_eq!(reason(&missing), "VIEW_MISSING");
    }

    #[test]
    fn what_an_operator_put_right_by_hand_is_not_asked_of_the_services() {
        let mut stock = rows(OrderStatus::Cancelled, 5, 1, Some(4), &[4]);
        stock.order.as_mut().unwrap().is_settled_by_hand = (true, false, false);
        let mut money = rows(OrderStatus::Cancelled, 5, 3, Some(2), &[4]);
        money.order.as_mut().unwrap().is_settled_by_hand = (false, true, false);
        assert_eq!([reason(&stock), reason(&money)], ["agrees", "agrees"]);
    }

    fn with_shipment(status: OrderStatus, state: Option<ShipmentState>) -> Rows {
        let mut rows = match status {
            OrderStatus::Preparing => rows(status, 3, 1, Some(2), &[1]),
            OrderStatus::Shipped => rows(status, 3, 2, Some(2), &[2]),
            OrderStatus::Delivered => rows(status, 3, 2, Some(2), &[3]),
            _ => rows(status, 5, 3, Some(4), &[4]),
        };
        let order = rows.order.as_mut().unwrap();
        order.wants_shipment = true;
        let lines = order.lines.clone();
        let customer_id = "ada".to_owned();
        rows.shipment = state.map(|state| Shipment { state: state.into(), customer_id, lines, changed_at: at(10) });
        rows
    }

    #[test]
    fn a_parcel_stands_where_its_order_does() {
        use ShipmentState::{Cancelled, Created, Delivered, Shipped};
        let pairs = [
            (OrderStatus::Preparing, Some(Created)),
            (OrderStatus::Shipped, Some(Shipped)),
            (OrderStatus::Delivered, Some(Delivered)),
            (OrderStatus::Cancelled, Some(Cancelled)),
        ];
        for (status, expected) in pairs {
            for state in [Some(Created), Some(Shipped), Some(Delivered), Some(Cancelled)] {
                let reason = reason(&with_shipment(status, state));
                assert_eq!(reason == "agrees", state == expected, "{status:?} {state:?}: {reason}");
                assert!(["agrees", "SHIPMENT_DISAGREES"].contains(&reason));
            }
        }
        assert_eq!(reason(&with_shipment(OrderStatus::Preparing, None)), "SHIPMENT_MISSING");
        assert_eq!(reason(&with_shipment(OrderStatus::Cancelled, None)), "agrees", "called off before it was paid");
        let mut not_asked_for = with_shipment(OrderStatus::Shipped, None);
        not_asked_for.order.as_mut().unwrap().wants_shipment = false;
        assert_eq!(reason(&not_asked_for), "agrees");
    }

    #[test]
    fn a_parcel_is_of_its_order_and_may_be_under_way() {
        let changed = |change: fn(&mut Shipment)| {
            let mut rows = with_shipment(OrderStatus::Preparing, Some(ShipmentState::Created));
            change(rows.shipment.as_mut().unwrap());
            reason(&rows)
        };
        assert_eq!(changed(|row| row.customer_id = "bob".to_owned()), "SHIPMENT_DISAGREES");
        assert_eq!(changed(|row| *row.lines.entry("B".to_owned()).or_default() += 1), "SHIPMENT_DISAGREES");
        assert_eq!(changed(|row| row.changed_at = at(21)), "in flight");
        let mut lost = with_shipment(OrderStatus::Preparing, Some(ShipmentState::Created));
        lost.order = None;
        (lost.reservation, lost.payment) = (None, None);
        assert_eq!(reason(&lost), "SHIPMENT_WITHOUT_ORDER");
    }

    #[test]
    fn what_belongs_to_no_order_is_told_where_it_holds_something() {
        let orphan = |reservation, payment, kinds: &[i16]| Rows {
            order: None,
            view: None,
            ..rows(OrderStatus::Preparing, 3, reservation, payment, kinds)
        };
        assert_eq!(reason(&orphan(1, None, &[])), "RESERVATION_WITHOUT_ORDER");
        assert_eq!(reason(&orphan(3, Some(2), &[])), "PAYMENT_WITHOUT_ORDER");
        assert_eq!(reason(&orphan(3, Some(3), &[1])), "NOTIFICATION_WITHOUT_ORDER");
        assert_eq!(reason(&orphan(3, Some(3), &[])), "agrees");
        let shown = Rows { order: None, ..rows(OrderStatus::Preparing, 3, 3, None, &[]) };
        assert_eq!(reason(&shown), "VIEW_WITHOUT_ORDER");
    }
}
