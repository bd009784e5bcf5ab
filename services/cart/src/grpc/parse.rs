//! From requests to commands: every rule of shape, all violations at once.

use openorder_proto::{
    cart::v1::{
        AddItemRequest, CheckoutRequest, ClearCartRequest, GetCartRequest, MergeCartRequest, RemoveItemRequest,
        UpdateItemRequest,
    },
    order::v1::CreateOrderRequest,
};
use openorder_rpc::Violations;
use openorder_types::{Quantity, Rejection, RequestId, Sku, UserId, ValueError, parse_uuid};
use uuid::{Uuid, Version};

use crate::domain::{Change, Owner};

/// A change of a cart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changing {
    pub(super) request_id: RequestId,
    pub(super) owner: Owner,
    /// None: whatever its version.
    pub(super) expected_version: Option<i64>,
    pub(super) change: Change,
}

pub(super) fn get(message: &GetCartRequest) -> Result<Owner, Rejection> {
    let mut violations = Violations::new();
    let owner = owner(&message.customer_id, &message.visitor_id, &mut violations);
    violations.finish_with(owner)
}

pub(super) fn add(message: &AddItemRequest) -> Result<Changing, Rejection> {
    let mut head = Head::of(&message.request_id, &message.customer_id, &message.visitor_id, message.expected_version);
    let (sku, quantity) = (head.sku(&message.sku), head.quantity(message.quantity));
    head.finish(sku.zip(quantity).map(|(sku, quantity)| Change::Add { sku, quantity }))
}

pub(super) fn update(message: &UpdateItemRequest) -> Result<Changing, Rejection> {
    let mut head = Head::of(&message.request_id, &message.customer_id, &message.visitor_id, message.expected_version);
    let (sku, quantity) = (head.sku(&message.sku), head.quantity(message.quantity));
    head.finish(sku.zip(quantity).map(|(sku, quantity)| Change::Set { sku, quantity }))
}

pub(super) fn remove(message: &RemoveItemRequest) -> Result<Changing, Rejection> {
    let mut head = Head::of(&message.request_id, &message.customer_id, &message.visitor_id, message.expected_version);
    let sku = head.sku(&message.sku);
    head.finish(sku.map(|sku| Change::Remove { sku }))
}

pub(super) fn clear(message: &ClearCartRequest) -> Result<Changing, Rejection> {
    let head = Head::of(&message.request_id, &message.customer_id, &message.visitor_id, message.expected_version);
    head.finish(Some(Change::Clear))
}

/// The request's id, the customer and the visitor.
pub(super) fn merge(message: &MergeCartRequest) -> Result<(RequestId, UserId, Uuid), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let visitor_id = violations.take("visitor_id", visitor(&message.visitor_id));
    let customer_id = violations.take("customer_id", UserId::parse(&message.customer_id));
    let all = request_id.zip(customer_id).zip(visitor_id);
    violations.finish_with(all.map(|((request_id, customer_id), visitor_id)| (request_id, customer_id, visitor_id)))
}

/// The request's id, the customer and the version that the cart has to have. What else the order service checks is left to
/// it.
pub(super) fn checkout(message: &CheckoutRequest) -> Result<(RequestId, UserId, Option<i64>), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let customer_id = violations.take("customer_id", UserId::parse(&message.customer_id));
    let expected_version = expected_version(message.expected_version, &mut violations);
    let both = request_id.zip(customer_id);
    violations.finish_with(both.map(|(request_id, customer_id)| (request_id, customer_id, expected_version)))
}

/// What binds a checkout's request id: who orders. The order service holds it to the rest, once there is an order.
pub(super) fn bound(message: &CheckoutRequest) -> CheckoutRequest {
    CheckoutRequest {
        request_id: message.request_id.clone(),
        customer_id: message.customer_id.clone(),
        ..CheckoutRequest::default()
    }
}

/// The order that is asked for: `fixed` is what does not change when it is asked for again.
pub(super) fn order(message: CheckoutRequest, fixed: CreateOrderRequest) -> CreateOrderRequest {
    CreateOrderRequest {
        request_id: message.request_id,
        customer_email: message.customer_email,
        reservation_mode: message.reservation_mode,
        payment_mode: message.payment_mode,
        expected_total: message.expected_total,
        issued_coupon_id: message.issued_coupon_id,
        shipping_address: message.shipping_address,
        ..fixed
    }
}

/// What all changes begin with.
struct Head {
    violations: Violations,
    request_id: Option<RequestId>,
    owner: Option<Owner>,
    expected_version: Option<i64>,
}

impl Head {
    fn of(request_id: &str, customer_id: &str, visitor_id: &str, version: i64) -> Self {
        let mut violations = Violations::new();
        Self {
            request_id: violations.take("request_id", RequestId::parse(request_id)),
            owner: owner(customer_id, visitor_id, &mut violations),
            expected_version: expected_version(version, &mut violations),
            violations,
        }
    }

    fn sku(&mut self, text: &str) -> Option<Sku> {
        self.violations.take("sku", Sku::parse(text))
    }

    fn quantity(&mut self, pieces: i32) -> Option<Quantity> {
        self.violations.take("quantity", Quantity::parse(pieces))
    }

    fn finish(self, change: Option<Change>) -> Result<Changing, Rejection> {
        let Self { violations, request_id, owner, expected_version } = self;
        let all = request_id.zip(owner).zip(change);
        violations.finish_with(all.map(|((request_id, owner), change)| Changing {
            request_id,
            owner,
            expected_version,
            change,
        }))
    }
}

/// Exactly one of both.
fn owner(customer_id: &str, visitor_id: &str, violations: &mut Violations) -> Option<Owner> {
    match (customer_id, visitor_id) {
        ("", "") => {
            violations.add("customer_id", "FIELD_MISSING", "customer_id or visitor_id must be set");
            None
        }
        (customer_id, "") => violations.take("customer_id", UserId::parse(customer_id)).map(Owner::Customer),
        ("", visitor_id) => violations.take("visitor_id", visitor(visitor_id)).map(Owner::Visitor),
        (_, _) => {
            let text = "must be empty where customer_id is set: a cart is a customer's or a visitor's";
            violations.add("visitor_id", "OWNER_AMBIGUOUS", text);
            None
        }
    }
}

/// Only one that is drawn at random: whoever can guess another's id sees and changes that one's cart.
fn visitor(text: &str) -> Result<Uuid, ValueError> {
    let id = parse_uuid(text, "VISITOR_ID_MALFORMED")?;
    match id.get_version() {
        Some(Version::Random) => Ok(id),
        _ => Err(ValueError::new("VISITOR_ID_MALFORMED", "must be a UUID version 4, which is drawn at random")),
    }
}

fn expected_version(version: i64, violations: &mut Violations) -> Option<i64> {
    if version < 0 {
        violations.add("expected_version", "VERSION_OUT_OF_RANGE", "must not be negative");
    }
    Some(version).filter(|version| *version > 0)
}

#[cfg(test)]
mod tests {
    use openorder_proto::{
        google::r#type::{Money, PostalAddress},
        order::v1::{PaymentMode, RequestedLine, ReservationMode},
    };

    use super::*;

    const VISITOR: &str = "6f1c2e9a-3b4d-4c5e-8f60-718293a4b5c6";

    fn seen(rejection: &Rejection) -> Vec<(&str, &str)> {
        rejection.violations.iter().map(|violation| (violation.field.as_str(), violation.reason)).collect()
    }

    #[test]
    fn a_cart_is_a_customers_or_a_visitors_and_a_visitors_id_cannot_be_guessed() {
        let of = |customer_id: &str, visitor_id: &str| {
            let message = GetCartRequest { customer_id: customer_id.to_owned(), visitor_id: visitor_id.to_owned() };
            get(&message).map_err(|rejection| rejection.reason)
        };
        assert_eq!(of("ada", ""), Ok(Owner::Customer(UserId::parse("ada").unwrap())));
        assert_eq!(of("", VISITOR), Ok(Owner::Visitor(Uuid::try_parse(VISITOR).unwrap())));
        assert_eq!(of("", &VISITOR.to_uppercase()), of("", VISITOR));
        assert_eq!(of("", ""), Err("FIELD_MISSING"));
        assert_eq!(of("ada", VISITOR), Err("OWNER_AMBIGUOUS"));
        for wrong in ["7", "00000000-0000-0000-0000-000000000000", "0190a5b2-0000-7000-8000-00000000000f"] {
            assert_eq!(of("", wrong), Err("VISITOR_ID_MALFORMED"), "{wrong}");
        }
    }

    #[test]
    fn every_wrong_field_of_a_change_is_named_at_once() {
        let wrong = AddItemRequest {
            request_id: "spaces are wrong".to_owned(),
            customer_id: " ".to_owned(),
            sku: "-".to_owned(),
            quantity: 0,
            expected_version: -1,
            ..AddItemRequest::default()
        };
        let expected = [
            ("request_id", "REQUEST_ID_MALFORMED"),
            ("customer_id", "USER_ID_MALFORMED"),
            ("expected_version", "VERSION_OUT_OF_RANGE"),
            ("sku", "SKU_MALFORMED"),
            ("quantity", "QUANTITY_OUT_OF_RANGE"),
        ];
        assert_eq!(seen(&add(&wrong).unwrap_err()), expected);
        let empty = [("request_id", "REQUEST_ID_MALFORMED"), ("customer_id", "FIELD_MISSING")];
        assert_eq!(seen(&clear(&ClearCartRequest::default()).unwrap_err()), empty);
        let merged = [
            ("request_id", "REQUEST_ID_MALFORMED"),
            ("visitor_id", "VISITOR_ID_MALFORMED"),
            ("customer_id", "USER_ID_MALFORMED"),
        ];
        assert_eq!(seen(&merge(&MergeCartRequest::default()).unwrap_err()), merged);
    }

    #[test]
    fn version_zero_is_any_version() {
        let message = RemoveItemRequest {
            request_id: "r".to_owned(),
            customer_id: "ada".to_owned(),
            sku: "TEA".to_owned(),
            ..RemoveItemRequest::default()
        };
        assert_eq!(remove(&message).unwrap().expected_version, None);
        let third = RemoveItemRequest { expected_version: 3, ..message };
        assert_eq!(remove(&third).unwrap().expected_version, Some(3));
    }

    #[test]
    fn an_order_is_of_the_lines_that_are_fixed_and_of_what_the_caller_says_now() {
        let message = CheckoutRequest {
            request_id: "r".to_owned(),
            customer_id: "ada".to_owned(),
            expected_version: 3,
            expected_total: Some(Money { currency_code: "EUR".to_owned(), units: 7, nanos: 0 }),
            issued_coupon_id: "c".to_owned(),
            reservation_mode: ReservationMode::Immediate.into(),
            payment_mode: PaymentMode::Automatic.into(),
            customer_email: "ada@example.com".to_owned(),
            shipping_address: Some(PostalAddress::default()),
        };
        let fixed = CreateOrderRequest {
            customer_id: "ada".to_owned(),
            checkout_id: "k".to_owned(),
            lines: vec![RequestedLine { sku: "TEA".to_owned(), quantity: 2 }],
            ..CreateOrderRequest::default()
        };
        let order = order(message.clone(), fixed.clone());
        let expected = CreateOrderRequest {
            request_id: "r".to_owned(),
            customer_email: "ada@example.com".to_owned(),
            reservation_mode: ReservationMode::Immediate.into(),
            payment_mode: PaymentMode::Automatic.into(),
            expected_total: message.expected_total.clone(),
            issued_coupon_id: "c".to_owned(),
            shipping_address: message.shipping_address.clone(),
            ..fixed
        };
        assert_eq!(order, expected);
        let later = CheckoutRequest { expected_total: None, expected_version: 0, ..message.clone() };
        assert_eq!(bound(&later), bound(&message), "after a refusal, another total may be expected");
    }
}
