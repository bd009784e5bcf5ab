//! Requests for other lines of an order.

use openorder_proto::order::v1::ModifyOrderRequest;
use openorder_rpc::Violations;
use openorder_types::{Caller, Rejection, RequestId, parse_uuid};
use uuid::Uuid;

use crate::{
    domain::{ModifyRequest, ProductAnswers},
    grpc::parse::{expected_total, lines, owner},
};

pub(in crate::grpc) fn modify(
    message: &ModifyOrderRequest,
    caller: &Caller,
) -> Result<(String, Uuid, ModifyRequest), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    if message.expected_version < 1 {
        violations.add("expected_version", "VERSION_OUT_OF_RANGE", "must be a version that the order had, from 1");
    }
    let lines = lines(&mut violations, &message.lines);
    let expected_total = expected_total(&mut violations, message.expected_total.as_ref());
    let owner = owner(caller)?;
    let parsed = request_id.zip(order_id).map(|(request_id, order_id)| {
        let (expected_version, product_answers) = (message.expected_version, ProductAnswers::new());
        let wanted = ModifyRequest { lines, expected_version, expected_total, owner, product_answers };
        (request_id.into_string(), order_id, wanted)
    });
    violations.finish_with(parsed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_proto::{google::r#type::Money, order::v1::RequestedLine};
    use openorder_types::Role;

    use super::*;

    #[test]
    fn every_wrong_field_of_a_modification_is_named_at_once() {
        let line = |sku: &str, quantity| RequestedLine { sku: sku.to_owned(), quantity };
        let message = ModifyOrderRequest {
            request_id: String::new(),
            order_id: "7".to_owned(),
            expected_version: 0,
            lines: vec![line("A", 1), line("A", 0)],
            expected_total: Some(Money { currency_code: "EUR".to_owned(), units: -1, nanos: 0 }),
        };
        let operator = Caller::new("op", [Role::Operator]);
        let rejection = modify(&message, &operator).unwrap_err();
        let fields: Vec<&str> = rejection.violations.iter().map(|violation| violation.field.as_str()).collect();
        let expected =
            ["request_id", "order_id", "expected_version", "lines[1].quantity", "lines[1].sku", "expected_total"];
        assert_eq!(fields, expected);
        let order_id = "0192B3C4-5D6E-7F80-9123-456789ABCDEF".to_owned();
        let none = ModifyOrderRequest { request_id: "r".to_owned(), order_id, expected_version: 1, ..message.clone() };
        let none = ModifyOrderRequest { lines: Vec::new(), expected_total: None, ..none };
        assert_eq!(modify(&none, &operator).unwrap_err().reason, "LINES_EMPTY");
        let good = ModifyOrderRequest { lines: vec![line("A", 1)], ..none };
        assert!(modify(&good, &operator).unwrap().2.owner.is_none());
        let customer = modify(&good, &Caller::new("anna", [Role::Customer])).unwrap().2;
        assert_eq!(customer.owner.unwrap().as_str(), "anna");
    }
}
