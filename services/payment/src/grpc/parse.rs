//! From requests to commands: every rule of shape, all violations at once.

use openorder_proto::payment::v1::{
    ChargeWalletRequest, GetPaymentRequest, ListPaymentsRequest, PaymentState, ProcessPaymentRequest,
    get_payment_request,
};
use openorder_rpc::{Violations, money, page_size};
use openorder_types::{Rejection, RequestId, UserId, parse_uuid};
use uuid::Uuid;

use crate::{
    domain::Amount,
    persistence::{Filter, Key},
};

const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 500;

/// A charge that is well-formed.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) request_id: RequestId,
    pub(super) user_id: UserId,
    pub(super) amount: Amount,
}

pub(super) fn charge(message: &ChargeWalletRequest) -> Result<Charge, Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let user_id = violations.take("user_id", UserId::parse(&message.user_id));
    let amount = money("amount", message.amount.clone(), &mut violations);
    let amount = amount.and_then(|amount| violations.take("amount", Amount::parse_charge(amount)));
    let (Some(request_id), Some(user_id), Some(amount)) = (request_id, user_id, amount) else {
        return Err(violations.into_rejection());
    };
    Ok(Charge { request_id, user_id, amount })
}

pub(super) fn process(message: &ProcessPaymentRequest) -> Result<(RequestId, Uuid), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    violations.finish_with(request_id.zip(order_id))
}

pub(super) fn user_id(text: &str) -> Result<UserId, Rejection> {
    let mut violations = Violations::new();
    let user_id = violations.take("user_id", UserId::parse(text));
    user_id.ok_or_else(|| violations.into_rejection())
}

pub(super) fn key(message: &GetPaymentRequest) -> Result<Key, Rejection> {
    let mut violations = Violations::new();
    let key = violations.required("key", message.key.as_ref()).and_then(|key| match key {
        get_payment_request::Key::PaymentId(text) => {
            violations.take("payment_id", parse_uuid(text, "PAYMENT_ID_MALFORMED")).map(Key::Payment)
        }
        get_payment_request::Key::OrderId(text) => {
            violations.take("order_id", parse_uuid(text, "ORDER_ID_MALFORMED")).map(Key::Order)
        }
    });
    key.ok_or_else(|| violations.into_rejection())
}

/// `cursor` is what the page token holds: the last payment of the page before.
pub(super) fn list(message: &ListPaymentsRequest, cursor: Option<&[u8]>) -> Result<(Filter, u32), Rejection> {
    let mut violations = Violations::new();
    let mut filter = Filter { before: cursor.and_then(|bytes| Uuid::from_slice(bytes).ok()), ..Filter::default() };
    if !message.user_id.is_empty() {
        filter.user_id = violations.take("user_id", UserId::parse(&message.user_id));
    }
    if !message.order_id.is_empty() {
        filter.order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    }
    match PaymentState::try_from(message.state) {
        Ok(PaymentState::Unspecified) => {}
        Ok(state) => filter.state = i16::try_from(state as i32).ok(),
        Err(_) => violations.add("state", "STATE_UNKNOWN", "must be a payment state"),
    }
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    match size {
        Some(size) if violations.is_empty() => Ok((filter, size)),
        _ => Err(violations.into_rejection()),
    }
}

#[cfg(test)]
mod tests {
    use openorder_proto::google::r#type::Money as MoneyMessage;

    use super::*;

    fn eur(units: i64, nanos: i32) -> Option<MoneyMessage> {
        Some(MoneyMessage { currency_code: "EUR".to_owned(), units, nanos })
    }

    fn seen(rejection: &Rejection) -> Vec<(&str, &'static str)> {
        rejection.violations.iter().map(|violation| (violation.field.as_str(), violation.reason)).collect()
    }

    #[test]
    fn every_wrong_field_of_a_charge_is_named_at_once() {
        let message = ChargeWalletRequest { request_id: String::new(), user_id: "not a user".to_owned(), amount: None };
        let rejection = charge(&message).unwrap_err();
        let expected =
            [("request_id", "REQUEST_ID_MALFORMED"), ("user_id", "USER_ID_MALFORMED"), ("amount", "FIELD_MISSING")];
        assert_eq!((rejection.reason, seen(&rejection)), ("INVALID_ARGUMENT", expected.to_vec()));
    }

    #[test]
    fn an_amount_is_exact_positive_and_bounded() {
        let reason = |amount| {
            let message = ChargeWalletRequest { request_id: "r".to_owned(), user_id: "ada".to_owned(), amount };
            charge(&message).map_err(|rejection| rejection.reason).map(|charge| charge.amount.money().minor_units())
        };
        assert_eq!(reason(eur(12, 340_000_000)), Ok(1_234));
        assert_eq!(reason(eur(10_000_000_000, 0)), Ok(1_000_000_000_000));
        assert_eq!(reason(eur(10_000_000_000, 10_000_000)), Err("AMOUNT_OUT_OF_RANGE"));
        assert_eq!(reason(eur(0, 0)), Err("AMOUNT_OUT_OF_RANGE"));
        assert_eq!(reason(eur(-1, 0)), Err("AMOUNT_OUT_OF_RANGE"));
        assert_eq!(reason(eur(0, 1)), Err("AMOUNT_TOO_PRECISE"));
        assert_eq!(reason(eur(i64::MAX, 0)), Err("AMOUNT_TOO_LARGE"));
        let unknown = MoneyMessage { currency_code: "XYZ".to_owned(), units: 1, nanos: 0 };
        assert_eq!(reason(Some(unknown)), Err("CURRENCY_UNKNOWN"));
    }

    #[test]
    fn every_wrong_field_of_a_payment_that_a_caller_asks_for_is_named_at_once() {
        let message = ProcessPaymentRequest { request_id: String::new(), order_id: "7".to_owned() };
        let expected = [("request_id", "REQUEST_ID_MALFORMED"), ("order_id", "ORDER_ID_MALFORMED")];
        assert_eq!(seen(&process(&message).unwrap_err()), expected);
        let order_id = "0192B3C4-5D6E-7F80-9123-456789ABCDEF".to_owned();
        let message = ProcessPaymentRequest { request_id: "r".to_owned(), order_id };
        assert!(process(&message).is_ok());
    }

    #[test]
    fn a_payment_is_asked_for_by_one_key() {
        let id = Uuid::from_u128(7);
        let by = |key| key_of(key).map_err(|rejection| rejection.reason);
        assert_eq!(by(Some(get_payment_request::Key::PaymentId(id.to_string()))), Ok(Key::Payment(id)));
        assert_eq!(by(Some(get_payment_request::Key::OrderId(id.to_string()))), Ok(Key::Order(id)));
        assert_eq!(by(Some(get_payment_request::Key::OrderId("7".to_owned()))), Err("ORDER_ID_MALFORMED"));
        assert_eq!(by(Some(get_payment_request::Key::PaymentId(String::new()))), Err("PAYMENT_ID_MALFORMED"));
        assert_eq!(by(None), Err("FIELD_MISSING"));
    }

    fn key_of(key: Option<get_payment_request::Key>) -> Result<Key, Rejection> {
        super::key(&GetPaymentRequest { key })
    }

    #[test]
    fn every_wrong_condition_of_a_list_is_named_at_once() {
        let message = ListPaymentsRequest {
            user_id: " ".to_owned(),
            order_id: "7".to_owned(),
            state: 99,
            page_size: -1,
            page_token: String::new(),
        };
        let rejection = list(&message, None).unwrap_err();
        let expected = [
            ("user_id", "USER_ID_MALFORMED"),
            ("order_id", "ORDER_ID_MALFORMED"),
            ("state", "STATE_UNKNOWN"),
            ("page_size", "PAGE_SIZE_NEGATIVE"),
        ];
        assert_eq!(seen(&rejection), expected);
    }

    #[test]
    fn an_empty_list_request_asks_for_everything() {
        let (filter, size) = list(&ListPaymentsRequest::default(), None).unwrap();
        assert_eq!(size, 50);
        assert!(filter.user_id.is_none() && filter.order_id.is_none() && filter.state.is_none());
        let state = PaymentState::Refunded.into();
        let (filter, size) =
            list(&ListPaymentsRequest { state, page_size: 9_999, ..ListPaymentsRequest::default() }, None).unwrap();
        assert_eq!((filter.state, size), (Some(4), 500));
    }
}
