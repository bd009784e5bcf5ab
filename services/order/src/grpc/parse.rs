//! From requests to commands: every rule of shape, all violations at once.

mod address;
mod modify;
mod sagas;

use std::collections::{BTreeMap, BTreeSet};

use openorder_proto::{
    google::r#type::Money as MoneyMessage,
    order::v1::{
        CancelOrderRequest, CreateOrderRequest, ListOrdersRequest, PaymentMode as ProtoPaymentMode,
        RequestedLine as ProtoLine, ReservationMode as ProtoReservationMode, UpdateOrderStatusRequest,
        WatchOrderRequest,
    },
};
use openorder_rpc::{Violations, money, page_size, timestamp};
use openorder_types::{
    Caller, EmailAddress, FreeText, Money, Quantity, Rejection, RequestId, Sku, TextRule, UserId, parse_uuid,
};
use uuid::Uuid;

use crate::{
    application::Command,
    domain::{CancellationCause, NewOrder, OrderCommand, OrderStatus, PaymentMode, RequestedLine, ReservationMode},
    persistence::Filter,
};

pub(super) use modify::modify;
pub(super) use sagas::{compensation, order_ids, sagas};

/// Lines of one order at most.
const LINES_MAX: usize = 100;
/// Statuses in one filter at most.
const STATUSES_MAX: usize = 10;
const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 500;

pub(super) fn order_id(text: &str) -> Result<Uuid, Rejection> {
    let mut violations = Violations::new();
    let order_id = violations.take("order_id", parse_uuid(text, "ORDER_ID_MALFORMED"));
    violations.finish_with(order_id)
}

pub(super) fn watch(message: &WatchOrderRequest) -> Result<(Uuid, Option<OrderStatus>), Rejection> {
    let mut violations = Violations::new();
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    let until = match message.until {
        0 => None,
        number => status(&mut violations, "until", number),
    };
    violations.finish_with(order_id.map(|order_id| (order_id, until)))
}

pub(super) fn create(message: &CreateOrderRequest) -> Result<(String, NewOrder), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let customer_id = violations.take("customer_id", UserId::parse(&message.customer_id));
    let customer_email = match message.customer_email.as_str() {
        "" => None,
        email => violations.take("customer_email", EmailAddress::parse(email)),
    };
    let lines = lines(&mut violations, &message.lines);
    let reservation_mode = match ProtoReservationMode::try_from(message.reservation_mode) {
        Ok(ProtoReservationMode::Immediate) => ReservationMode::Immediate,
        Ok(ProtoReservationMode::Deferred | ProtoReservationMode::Unspecified) => ReservationMode::Deferred,
        Err(_) => {
            violations.add("reservation_mode", "RESERVATION_MODE_UNKNOWN", "must be a reservation mode");
            ReservationMode::Deferred
        }
    };
    let payment_mode = match ProtoPaymentMode::try_from(message.payment_mode) {
        Ok(ProtoPaymentMode::Automatic | ProtoPaymentMode::Unspecified) => PaymentMode::Automatic,
        Ok(ProtoPaymentMode::Manual) => PaymentMode::Manual,
        Err(_) => {
            violations.add("payment_mode", "PAYMENT_MODE_UNKNOWN", "must be a payment mode");
            PaymentMode::Automatic
        }
    };
    let expected_total = expected_total(&mut violations, message.expected_total.as_ref());
    let issued_coupon_id = match message.issued_coupon_id.as_str() {
        "" => None,
        text => violations.take("issued_coupon_id", parse_uuid(text, "ISSUED_COUPON_ID_MALFORMED")),
    };
    let shipping_address =
        message.shipping_address.as_ref().and_then(|address| address::shipping_address(address, &mut violations));
    let checkout_id = match message.checkout_id.as_str() {
        "" => None,
        text => violations.take("checkout_id", parse_uuid(text, "CHECKOUT_ID_MALFORMED")),
    };
    let parsed = request_id.zip(customer_id).map(|(request_id, customer_id)| {
        // The id is drawn here: deciding is pure.
        let order_id = Uuid::now_v7();
        let order = NewOrder {
            order_id,
            customer_id,
            customer_email,
            lines,
            reservation_mode,
            payment_mode,
            expected_total,
            issued_coupon_id,
            shipping_address,
            checkout_id,
            product_answers: BTreeMap::new(),
        };
        (request_id.into_string(), order)
    });
    violations.finish_with(parsed)
}

/// The one form of a request that can be written in several: with its defaults left out. None for one that has it
/// already, as nearly all have: this is the hot path.
pub(super) fn canonical_create(message: &CreateOrderRequest) -> Option<CreateOrderRequest> {
    let written_out = message.reservation_mode == ProtoReservationMode::Deferred as i32
        || message.payment_mode == ProtoPaymentMode::Automatic as i32
        || !message.issued_coupon_id.is_empty();
    written_out.then(|| {
        let mut canonical = message.clone();
        if canonical.reservation_mode == ProtoReservationMode::Deferred as i32 {
            canonical.reservation_mode = ProtoReservationMode::Unspecified as i32;
        }
        canonical.issued_coupon_id.make_ascii_lowercase();
        if canonical.payment_mode == ProtoPaymentMode::Automatic as i32 {
            canonical.payment_mode = ProtoPaymentMode::Unspecified as i32;
        }
        canonical
    })
}

/// The one form of a request that can be written in several.
pub(super) fn canonical_cancel(message: &CancelOrderRequest) -> CancelOrderRequest {
    CancelOrderRequest { order_id: message.order_id.to_ascii_lowercase(), ..message.clone() }
}

/// The one form of a request that can be written in several.
pub(super) fn canonical_update_status(message: &UpdateOrderStatusRequest) -> UpdateOrderStatusRequest {
    UpdateOrderStatusRequest { order_id: message.order_id.to_ascii_lowercase(), ..message.clone() }
}

pub(super) fn cancel(message: &CancelOrderRequest, caller: &Caller) -> Result<(String, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    let detail = violations.take("reason", TextRule::REASON.parse(&message.reason)).map(FreeText::into_string);
    let owner = owner(caller)?;
    let cause = if owner.is_some() { CancellationCause::Customer } else { CancellationCause::Operator };
    let command = request_id.zip(order_id).zip(detail).map(|((request_id, order_id), detail)| {
        let command = OrderCommand::Cancel { cause, detail, owner, is_held_back: false };
        (request_id.into_string(), Command::Order { order_id, command })
    });
    violations.finish_with(command)
}

/// Whom an order has to belong to for this caller to change it; `None`, anyone.
pub(super) fn owner(caller: &Caller) -> Result<Option<UserId>, Rejection> {
    if caller.is_staff() {
        return Ok(None);
    }
    let own = UserId::parse(&caller.subject).ok().filter(|own| caller.may_act_for(own));
    own.map(Some).ok_or_else(not_yours)
}

pub(super) fn update_status(message: &UpdateOrderStatusRequest) -> Result<(String, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    let previous = status(&mut violations, "previous_status", message.previous_status);
    let current = status(&mut violations, "current_status", message.current_status);
    let parsed =
        request_id.zip(order_id).zip(previous.zip(current)).map(|((request_id, order_id), (previous, current))| {
            let command = OrderCommand::UpdateStatus { previous, current, is_agreed: false };
            (request_id.into_string(), Command::Order { order_id, command })
        });
    violations.finish_with(parsed)
}

pub(super) fn list(
    message: &ListOrdersRequest,
    caller: &Caller,
    cursor: Option<&[u8]>,
) -> Result<(Filter, u32), Rejection> {
    let mut violations = Violations::new();
    let mut filter = Filter { before: cursor.and_then(|bytes| Uuid::from_slice(bytes).ok()), ..Filter::default() };
    if !message.customer_id.is_empty() {
        filter.customer_id = violations.take("customer_id", UserId::parse(&message.customer_id));
    }
    if message.statuses.len() > STATUSES_MAX {
        violations.add("statuses", "LIST_TOO_LONG", format!("must have at most {STATUSES_MAX} entries"));
    }
    for (index, number) in message.statuses.iter().take(STATUSES_MAX).enumerate() {
        filter.statuses.extend(status(&mut violations, &format!("statuses[{index}]"), *number));
    }
    if message.create_time_from.is_some() {
        filter.create_time_from = timestamp("create_time_from", message.create_time_from, &mut violations);
    }
    if message.create_time_until.is_some() {
        filter.create_time_until = timestamp("create_time_until", message.create_time_until, &mut violations);
    }
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    let (mut filter, size) = violations.finish_with(size.map(|size| (filter, size)))?;
    let owner = if caller.reads_all() { None } else { owner(caller)? };
    if let Some(owner) = owner {
        if filter.customer_id.as_ref().is_some_and(|customer| *customer != owner) {
            return Err(not_yours());
        }
        filter.customer_id = Some(owner);
    }
    Ok((filter, size))
}

/// The answer to a caller that acts for somebody else.
pub(super) fn not_yours() -> Rejection {
    Rejection::permission_denied("CUSTOMER_MISMATCH", "customers may only see and make orders of their own")
}

/// What the caller was shown.
fn expected_total(violations: &mut Violations, message: Option<&MoneyMessage>) -> Option<Money> {
    let total = money("expected_total", Some(message?.clone()), violations);
    if total.is_some_and(|total| total.is_negative()) {
        violations.add("expected_total", "AMOUNT_NEGATIVE", "must not be less than zero");
    }
    total
}

fn status(violations: &mut Violations, field: &str, number: i32) -> Option<OrderStatus> {
    let status = OrderStatus::from_number(number);
    if status.is_none() {
        violations.add(field, "STATUS_UNKNOWN", "must be a status of an order");
    }
    status
}

fn lines(violations: &mut Violations, messages: &[ProtoLine]) -> Vec<RequestedLine> {
    if messages.is_empty() {
        violations.add("lines", "LINES_EMPTY", "must have at least one line");
    } else if messages.len() > LINES_MAX {
        violations.add("lines", "LINES_TOO_MANY", format!("must have at most {LINES_MAX} lines"));
    }
    let mut seen = BTreeSet::new();
    let mut lines = Vec::with_capacity(messages.len().min(LINES_MAX));
    for (index, message) in messages.iter().take(LINES_MAX).enumerate() {
        let sku = take(violations, index, "sku", Sku::parse(&message.sku));
        let quantity = take(violations, index, "quantity", Quantity::parse(message.quantity));
        if !seen.insert(message.sku.as_str()) {
            violations.add(format!("lines[{index}].sku"), "SKU_DOUBLED", "must stand in one line only");
        }
        lines.extend(sku.zip(quantity).map(|(sku, quantity)| RequestedLine { sku, quantity }));
    }
    lines
}

/// Names the field only when something is wrong with it: this is the hot path.
fn take<T>(
    violations: &mut Violations,
    index: usize,
    field: &str,
    parsed: Result<T, openorder_types::ValueError>,
) -> Option<T> {
    match parsed {
        Ok(value) => Some(value),
        error => violations.take(format!("lines[{index}].{field}"), error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_proto::google::r#type::{Money, PostalAddress};
    use openorder_types::Role;

    use super::*;

    fn line(sku: &str, quantity: i32) -> ProtoLine {
        ProtoLine { sku: sku.to_owned(), quantity }
    }

    #[test]
    fn every_wrong_field_of_an_order_is_named_at_once() {
        let message = CreateOrderRequest {
            request_id: "spaces are wrong".to_owned(),
            customer_id: String::new(),
            customer_email: "no-at-sign".to_owned(),
            lines: vec![line("A", 0), line("A", -1), line("B", 1_000_001)],
            reservation_mode: 77,
            payment_mode: 77,
            expected_total: Some(Money { currency_code: "EUR".to_owned(), units: -1, nanos: 0 }),
            issued_coupon_id: "7".to_owned(),
            shipping_address: Some(PostalAddress::default()),
            checkout_id: "7".to_owned(),
        };
        let rejection = create(&message).unwrap_err();
        let fields: Vec<&str> = rejection.violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "request_id",
                "customer_id",
                "customer_email",
                "lines[0].quantity",
                "lines[1].quantity",
                "lines[1].sku",
                "lines[2].quantity",
                "reservation_mode",
                "payment_mode",
                "expected_total",
                "issued_coupon_id",
                "shipping_address.region_code",
                "shipping_address.address_lines",
                "checkout_id"
            ]
        );
    }

    #[test]
    fn an_order_needs_one_to_a_hundred_lines() {
        let order =
            |lines| CreateOrderRequest { request_id: "r".into(), customer_id: "c".into(), lines, ..Default::default() };
        assert_eq!(create(&order(Vec::new())).unwrap_err().reason, "LINES_EMPTY");
        let many = (0..101).map(|number| line(&format!("S{number}"), 1)).collect();
        assert_eq!(create(&order(many)).unwrap_err().reason, "LINES_TOO_MANY");
        assert_eq!(create(&order(vec![line("S", 1)])).unwrap().1.lines.len(), 1);
    }

    #[test]
    fn an_order_with_its_defaults_written_out_is_the_same() {
        let plain = CreateOrderRequest { request_id: "r".into(), lines: vec![line("S", 1)], ..Default::default() };
        assert_eq!(canonical_create(&plain), None);
        for (reservation_mode, payment_mode) in [(2, 0), (0, 1), (2, 1)] {
            let written_out = CreateOrderRequest { reservation_mode, payment_mode, ..plain.clone() };
            assert_eq!(canonical_create(&written_out), Some(plain.clone()));
        }
        let immediate = CreateOrderRequest { reservation_mode: 1, ..plain.clone() };
        assert_eq!(canonical_create(&immediate), None);
        let written_out = CreateOrderRequest { payment_mode: 1, ..immediate.clone() };
        assert_eq!(canonical_create(&written_out), Some(immediate));
        let manual = CreateOrderRequest { payment_mode: 2, ..plain };
        assert_eq!(canonical_create(&manual), None);
        let written_out = CreateOrderRequest { reservation_mode: 2, ..manual.clone() };
        assert_eq!(canonical_create(&written_out), Some(manual), "by hand stays by hand");
    }

    #[test]
    fn a_reason_is_text_to_read() {
        let cancel = |reason: &str| {
            let order_id = Uuid::now_v7().to_string();
            let message = CancelOrderRequest { request_id: "r".into(), order_id, reason: reason.to_owned() };
            super::cancel(&message, &Caller::new("op", [Role::Operator]))
        };
        assert!(cancel("").is_ok() && cancel("zu spät").is_ok());
        for wrong in ["nul\0", "\u{1b}[2J", "two\nlines", "\u{202E}"] {
            let refused = cancel(wrong).unwrap_err();
            assert_eq!((refused.reason, refused.violations[0].field.as_str()), ("REASON_MALFORMED", "reason"));
        }
        assert_eq!(cancel(&"x".repeat(501)).unwrap_err().reason, "REASON_TOO_LONG");
    }

    #[test]
    fn a_customer_lists_its_own_orders_only() {
        let customer = Caller::new("anna", [Role::Customer]);
        let own = ListOrdersRequest::default();
        assert_eq!(list(&own, &customer, None).unwrap().0.customer_id.unwrap().as_str(), "anna");
        let other = ListOrdersRequest { customer_id: "bert".into(), ..Default::default() };
        assert_eq!(list(&other, &customer, None).unwrap_err().reason, "CUSTOMER_MISMATCH");
        let operator = Caller::new("op", [Role::Operator]);
        assert!(list(&own, &operator, None).unwrap().0.customer_id.is_none());
    }
}
