//! From requests to conditions and commands: every rule of shape, all violations at once.

use openorder_proto::{
    google::r#type::Money as MoneyMessage,
    history::v1::{
        CancelRebuildRequest, GetOrderViewRequest, GetRebuildRequest, ListOrderViewsRequest, SearchOrdersRequest,
        StartRebuildRequest,
    },
    order::v1::OrderStatus,
};
use openorder_rpc::{Violations, money, page_size, timestamp};
use openorder_types::{Caller, FreeText, Money, Rejection, RequestId, Sku, TextRule, Timestamp, UserId, parse_uuid};
use uuid::Uuid;

use crate::{
    domain::{Words, rejection},
    persistence::{Filter, Place},
};

const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 500;
/// Statuses of a filter.
const STATUSES_MAX: usize = 10;

pub(super) fn get(message: &GetOrderViewRequest) -> Result<(Uuid, i64), Rejection> {
    let mut violations = Violations::new();
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    if message.min_version < 0 {
        violations.add("min_version", "VERSION_OUT_OF_RANGE", "must not be negative");
    }
    violations.finish_with(order_id.map(|order_id| (order_id, message.min_version)))
}

pub(super) fn list(
    message: &ListOrderViewsRequest,
    caller: &Caller,
    cursor: Option<&[u8]>,
) -> Result<(Filter, u32), Rejection> {
    let mut violations = Violations::new();
    let filter = Filter {
        customer_id: customer(&message.customer_id, &mut violations),
        statuses: statuses(&message.statuses, &mut violations),
        create_time_from: time("create_time_from", message.create_time_from, &mut violations),
        create_time_until: time("create_time_until", message.create_time_until, &mut violations),
        before: cursor.and_then(place_of),
        ..Filter::default()
    };
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    let (filter, size) = violations.finish_with(size.map(|size| (filter, size)))?;
    Ok((owned(filter, caller)?, size))
}

pub(super) fn search(
    message: &SearchOrdersRequest,
    caller: &Caller,
    cursor: Option<&[u8]>,
) -> Result<(Filter, u32), Rejection> {
    let mut violations = Violations::new();
    let total_min = amount("total_min", message.total_min.as_ref(), &mut violations);
    let total_max = amount("total_max", message.total_max.as_ref(), &mut violations);
    if total_min.zip(total_max).is_some_and(|(min, max)| min.currency() != max.currency()) {
        violations.add("total_max", "CURRENCY_MISMATCH", "must be in the currency of total_min");
    }
    let sku = Some(&message.sku).filter(|sku| !sku.is_empty());
    let reason = Some(&message.status_reason).filter(|reason| !reason.is_empty());
    let filter = Filter {
        customer_id: customer(&message.customer_id, &mut violations),
        sku: sku.and_then(|sku| violations.take("sku", Sku::parse(sku))),
        statuses: statuses(&message.statuses, &mut violations),
        status_reason: reason
            .and_then(|reason| violations.take("status_reason", TextRule::CONDITION.parse(reason)))
            .map(FreeText::into_string),
        create_time_from: time("create_time_from", message.create_time_from, &mut violations),
        create_time_until: time("create_time_until", message.create_time_until, &mut violations),
        total_min,
        total_max,
        words: violations.take("query", Words::parse(&message.query)).unwrap_or_default(),
        before: cursor.and_then(place_of),
    };
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    let (filter, size) = violations.finish_with(size.map(|size| (filter, size)))?;
    Ok((owned(filter, caller)?, size))
}

/// Customers see orders of their own.
fn owned(mut filter: Filter, caller: &Caller) -> Result<Filter, Rejection> {
    if caller.reads_all() {
        return Ok(filter);
    }
    let own = filter.customer_id.take().map_or_else(|| UserId::parse(&caller.subject), Ok);
    match own {
        Ok(own) if caller.may_act_for(&own) => Ok(Filter { customer_id: Some(own), ..filter }),
        _ => Err(rejection::not_yours()),
    }
}

fn customer(text: &str, violations: &mut Violations) -> Option<UserId> {
    if text.is_empty() { None } else { violations.take("customer_id", UserId::parse(text)) }
}

fn statuses(numbers: &[i32], violations: &mut Violations) -> Vec<i32> {
    if numbers.len() > STATUSES_MAX {
        violations.add("statuses", "LIST_TOO_LONG", format!("must have at most {STATUSES_MAX} entries"));
    }
    for (index, number) in numbers.iter().take(STATUSES_MAX).enumerate() {
        if OrderStatus::try_from(*number).is_err() || *number == 0 {
            violations.add(format!("statuses[{index}]"), "STATUS_UNKNOWN", "must be a status of an order");
        }
    }
    numbers.iter().take(STATUSES_MAX).copied().collect()
}

fn time(field: &str, time: Option<prost_types::Timestamp>, violations: &mut Violations) -> Option<Timestamp> {
    time.and_then(|time| timestamp(field, Some(time), violations))
}

fn amount(field: &str, amount: Option<&MoneyMessage>, violations: &mut Violations) -> Option<Money> {
    amount.and_then(|amount| money(field, Some(amount.clone()), violations))
}

/// What a page token holds: the time in microseconds, and the id, of the last order of the page.
pub(super) fn cursor_of(place: Place) -> Vec<u8> {
    [&place.create_time.timestamp_micros().to_be_bytes()[..], place.order_id.as_bytes()].concat()
}

fn place_of(cursor: &[u8]) -> Option<Place> {
    let (micros, order_id) = cursor.split_first_chunk()?;
    let create_time = Timestamp::from_timestamp_micros(i64::from_be_bytes(*micros))?;
    Some(Place { create_time, order_id: Uuid::from_slice(order_id).ok()? })
}

pub(super) fn rebuild(message: &StartRebuildRequest) -> Result<(RequestId, String), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    if message.reason.is_empty() {
        violations.add("reason", "REASON_MISSING", "must say why");
    }
    let reason = violations.take("reason", TextRule::REASON.parse(&message.reason)).map(FreeText::into_string);
    violations.finish_with(request_id.zip(reason))
}

pub(super) fn get_rebuild(message: &GetRebuildRequest) -> Result<Option<Uuid>, Rejection> {
    if message.rebuild_id.is_empty() {
        return Ok(None);
    }
    let mut violations = Violations::new();
    let rebuild_id = violations.take("rebuild_id", parse_uuid(&message.rebuild_id, "REBUILD_ID_MALFORMED"));
    violations.finish_with(rebuild_id.map(Some))
}

pub(super) fn cancel_rebuild(message: &CancelRebuildRequest) -> Result<(RequestId, Uuid), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let rebuild_id = violations.take("rebuild_id", parse_uuid(&message.rebuild_id, "REBUILD_ID_MALFORMED"));
    violations.finish_with(request_id.zip(rebuild_id))
}

#[cfg(test)]
mod tests {
    use openorder_types::Role;

    use super::*;

    fn eur(units: i64) -> Option<MoneyMessage> {
        Some(MoneyMessage { currency_code: "EUR".to_owned(), units, nanos: 0 })
    }

    #[test]
    fn customers_find_their_own_orders_and_staff_all() {
        let search = |customer: &str, caller: &Caller| {
            let message = SearchOrdersRequest { customer_id: customer.to_owned(), ..SearchOrdersRequest::default() };
            let found = search(&message, caller, None).map_err(|rejection| rejection.reason);
            found.map(|(filter, _)| filter.customer_id.map(|id| id.to_string()))
        };
        let anna = Caller::new("anna", [Role::Customer]);
        assert_eq!(search("", &anna), Ok(Some("anna".to_owned())));
        assert_eq!(search("anna", &anna), Ok(Some("anna".to_owned())));
        assert_eq!(search("bert", &anna), Err("CUSTOMER_MISMATCH"));
        assert_eq!(search("", &Caller::new("anna", [])), Err("CUSTOMER_MISMATCH"), "who has no role has no orders");
        for reader in [Role::Operator, Role::Service, Role::Viewer] {
            let reader = Caller::new("root", [reader]);
            assert_eq!((search("", &reader), search("bert", &reader)), (Ok(None), Ok(Some("bert".to_owned()))));
        }
    }

    #[test]
    fn everything_that_is_wrong_with_a_search_is_told_at_once() {
        let message = SearchOrdersRequest {
            customer_id: "no user!".to_owned(),
            sku: "no sku!".to_owned(),
            statuses: vec![5, 0, 4],
            status_reason: "two\nlines".to_owned(),
            total_min: eur(1),
            total_max: Some(MoneyMessage { currency_code: "KRW".to_owned(), units: 1, nanos: 0 }),
            query: "!".to_owned(),
            page_size: -1,
            ..SearchOrdersRequest::default()
        };
        let refused = search(&message, &Caller::service("order"), None).unwrap_err();
        let fields: Vec<&str> = refused.violations.iter().map(|one| one.field.as_str()).collect();
        let wrong =
            ["total_max", "customer_id", "sku", "statuses[1]", "statuses[2]", "status_reason", "query", "page_size"];
        assert_eq!(fields, wrong);
    }

    #[test]
    fn a_place_survives_its_page_token() {
        let place = Place {
            create_time: Timestamp::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            order_id: Uuid::from_u128(7),
        };
        assert_eq!(place_of(&cursor_of(place)), Some(place));
        assert_eq!(place_of(b"short"), None);
    }

    #[test]
    fn an_operator_says_why() {
        let message = StartRebuildRequest { request_id: "r-1".to_owned(), reason: String::new() };
        assert_eq!(rebuild(&message).unwrap_err().reason, "REASON_MISSING");
        assert!(rebuild(&StartRebuildRequest { reason: "it is torn".to_owned(), ..message }).is_ok());
    }
}
