//! Requests of operators about sagas, and of services about orders.

use std::collections::BTreeSet;

use openorder_proto::order::v1::ListSagasRequest;
use openorder_rpc::{Violations, page_size};
use openorder_types::{Caller, FreeText, Rejection, RequestId, TextRule, parse_uuid};
use uuid::Uuid;

use crate::{
    application::Command,
    domain::{CompensationRequest, OrderCommand},
    grpc::parse::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX},
    persistence::SagaFilter,
    saga::Step,
};

/// Orders of one BatchGetOrders at most.
const ORDERS_MAX: usize = 500;

/// 1 to [`ORDERS_MAX`] ids, each once.
pub(in crate::grpc) fn order_ids(texts: &[String]) -> Result<Vec<Uuid>, Rejection> {
    let mut violations = Violations::new();
    if texts.is_empty() {
        violations.add("order_ids", "LIST_EMPTY", "must not be empty");
    } else if texts.len() > ORDERS_MAX {
        violations.add("order_ids", "LIST_TOO_LONG", format!("must have at most {ORDERS_MAX} entries"));
    }
    let parsed = texts.iter().take(ORDERS_MAX).enumerate();
    let ids: BTreeSet<Uuid> = parsed
        .filter_map(|(index, text)| {
            violations.take(format!("order_ids[{index}]"), parse_uuid(text, "ORDER_ID_MALFORMED"))
        })
        .collect();
    violations.finish_with(Some(ids.into_iter().collect()))
}

/// What an operator wants of a failed compensation; the reason is not optional.
pub(in crate::grpc) fn compensation(
    request_id: &str,
    order_id: &str,
    reason: &str,
    operator: &Caller,
    request: CompensationRequest,
) -> Result<(String, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(request_id));
    let order_id = violations.take("order_id", parse_uuid(order_id, "ORDER_ID_MALFORMED"));
    let reason = if reason.trim().is_empty() {
        violations.add("reason", "REASON_MISSING", "must say why");
        None
    } else {
        violations.take("reason", TextRule::REASON.parse(reason)).map(FreeText::into_string)
    };
    let operator = operator.subject.clone();
    let parsed = request_id.zip(order_id).zip(reason).map(|((request_id, order_id), reason)| {
        let command = OrderCommand::Compensation { request, operator, reason };
        (request_id.into_string(), Command::Order { order_id, command })
    });
    violations.finish_with(parsed)
}

/// The condition of a list of sagas: a page of them, or one order's.
pub(in crate::grpc) fn sagas(
    message: &ListSagasRequest,
    cursor: Option<&[u8]>,
) -> Result<(SagaFilter, Option<Uuid>, u32), Rejection> {
    let mut violations = Violations::new();
    let mut filter = SagaFilter { after: cursor.and_then(|bytes| Uuid::from_slice(bytes).ok()), step: None };
    let mut order_id = None;
    if !message.order_id.is_empty() {
        order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    }
    if message.step != 0 {
        let step = Step::from_number(message.step);
        filter.step = step.filter(|step| !message.order_id.is_empty() || Step::UNSETTLED.contains(step));
        if filter.step.is_none() {
            let text =
                "must be RESERVING, PAYING, MODIFYING, COMPENSATING or COMPENSATION_FAILED, unless an order is named";
            violations.add("step", "STEP_UNKNOWN", text);
        }
    }
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    violations.finish_with(size.map(|size| (filter, order_id, size)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_types::Role;

    use super::*;

    #[test]
    fn an_operator_has_to_say_why() {
        let operator = Caller::new("op", [Role::Operator]);
        let order_id = Uuid::now_v7().to_string();
        let parse = |reason: &str| compensation("r", &order_id, reason, &operator, CompensationRequest::Settle);
        assert_eq!(parse("").unwrap_err().reason, "REASON_MISSING");
        assert_eq!(parse(" \t").unwrap_err().reason, "REASON_MISSING");
        assert_eq!(parse("nul\0").unwrap_err().reason, "REASON_MALFORMED");
        assert_eq!(parse(&"x".repeat(501)).unwrap_err().reason, "REASON_TOO_LONG");
        let (_, command) = parse("why").unwrap();
        let Command::Order { command, .. } = command else { unreachable!("it is of an order") };
        assert!(matches!(command, OrderCommand::Compensation { operator, .. } if operator == "op"));
    }

    #[test]
    fn sagas_are_listed_at_steps_that_they_do_not_end_at_and_one_orders_at_any() {
        let of = |step, order_id: &str| {
            sagas(&ListSagasRequest { step, order_id: order_id.to_owned(), ..Default::default() }, None)
        };
        assert_eq!(of(6, "").unwrap().0.step, Some(Step::CompensationFailed));
        assert_eq!(of(0, "").unwrap().0.step, None);
        for wrong in [3, 5, 7, 77, -1] {
            assert_eq!(of(wrong, "").unwrap_err().reason, "STEP_UNKNOWN", "{wrong}");
        }
        let order_id = Uuid::now_v7();
        assert_eq!(of(3, &order_id.to_string()).unwrap().1, Some(order_id));
    }
}
