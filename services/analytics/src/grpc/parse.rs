//! From requests to queries and commands: every rule of shape, all violations at once.

use openorder_proto::analytics::v1::{
    CancelRebuildRequest, GetRebuildRequest, OrderStatsRequest, RankingWindow, SalesGranularity, SalesSummaryRequest,
    StartRebuildRequest, TopProductsRequest,
};
use openorder_rpc::{Violations, timestamp};
use openorder_types::{Currency, FreeText, Rejection, RequestId, TextRule, Timestamp, parse_uuid};
use uuid::Uuid;

use crate::{
    application::PRODUCTS_MAX,
    domain::{Command, Granularity, Window},
    persistence::SalesFilter,
};

const PRODUCTS_DEFAULT: u32 = 10;

/// A ranking that is well-formed to ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Top {
    pub(super) window: Window,
    pub(super) currency: Option<Currency>,
    pub(super) limit: u32,
}

pub(super) fn top_products(message: &TopProductsRequest) -> Result<Top, Rejection> {
    let mut violations = Violations::new();
    let window = match RankingWindow::try_from(message.window) {
        Ok(RankingWindow::Unspecified) => Some(Window::Day),
        _ => Window::from_number(message.window),
    };
    if window.is_none() {
        violations.add("window", "WINDOW_UNKNOWN", "must be the window of a ranking");
    }
    let currency = currency(&message.currency_code, &mut violations);
    let limit = match u32::try_from(message.limit) {
        Ok(0) => PRODUCTS_DEFAULT,
        Ok(limit) => limit.min(PRODUCTS_MAX),
        Err(_) => {
            violations.add("limit", "LIMIT_NEGATIVE", "must not be negative");
            PRODUCTS_DEFAULT
        }
    };
    violations.finish_with(window.map(|window| Top { window, currency, limit }))
}

pub(super) fn summary(
    message: &SalesSummaryRequest,
    now: Timestamp,
    periods_max: i64,
) -> Result<SalesFilter, Rejection> {
    let mut violations = Violations::new();
    let granularity = match SalesGranularity::try_from(message.granularity) {
        Ok(SalesGranularity::Unspecified) => Some(Granularity::Day),
        _ => Granularity::from_number(message.granularity),
    };
    if granularity.is_none() {
        violations.add("granularity", "GRANULARITY_UNKNOWN", "must be an hour, a day or a month");
    }
    let currency = currency(&message.currency_code, &mut violations);
    let periods = granularity.unwrap_or(Granularity::Hour);
    let times = times(message.from_time, message.until_time, periods, now, &mut violations);
    if let Some((from, until)) = times
        && violations.is_empty()
        && periods.count(from, until) > periods_max
    {
        let text = format!("must be at most {periods_max} periods after from_time");
        violations.add("until_time", "TIME_RANGE_TOO_LONG", text);
    }
    violations.finish_with(granularity.zip(times).map(|(granularity, (from, until))| SalesFilter {
        from,
        until,
        granularity,
        currency,
    }))
}

pub(super) fn order_stats(message: &OrderStatsRequest, now: Timestamp) -> Result<(Timestamp, Timestamp), Rejection> {
    let mut violations = Violations::new();
    let times = times(message.from_time, message.until_time, Granularity::Hour, now, &mut violations);
    violations.finish_with(times)
}

/// From when until when, each the first moment of a period: nothing is cut in two.
fn times(
    from: Option<prost_types::Timestamp>,
    until: Option<prost_types::Timestamp>,
    granularity: Granularity,
    now: Timestamp,
    violations: &mut Violations,
) -> Option<(Timestamp, Timestamp)> {
    let from = timestamp("from_time", from, violations);
    let until = match until {
        Some(until) => timestamp("until_time", Some(until), violations),
        None => granularity.next(granularity.begin_of(now)),
    };
    for (field, time) in [("from_time", from), ("until_time", until)] {
        if time.is_some_and(|time| !granularity.begins_at(time)) {
            violations.add(field, "TIME_NOT_ALIGNED", format!("must be {}", granularity.begins()));
        }
    }
    let (from, until) = from.zip(until)?;
    if from >= until {
        violations.add("until_time", "TIME_RANGE_EMPTY", "must be later than from_time");
    }
    Some((from, until))
}

fn currency(code: &str, violations: &mut Violations) -> Option<Currency> {
    if code.is_empty() { None } else { violations.take("currency_code", Currency::parse(code)) }
}

pub(super) fn start_rebuild(
    message: &StartRebuildRequest,
    rebuild_id: Uuid,
    requested_by: &str,
) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    if message.reason.is_empty() {
        violations.add("reason", "FIELD_MISSING", "must be set");
    }
    let reason = violations.take("reason", TextRule::REASON.parse(&message.reason)).map(FreeText::into_string);
    violations.finish_with(request_id.zip(reason).map(|(request_id, reason)| {
        let (from_events, requested_by) = (message.from_events, requested_by.to_owned());
        (request_id, Command::StartRebuild { rebuild_id, from_events, requested_by, reason })
    }))
}

/// Which rebuild; none is the last one.
pub(super) fn get_rebuild(message: &GetRebuildRequest) -> Result<Option<Uuid>, Rejection> {
    if message.rebuild_id.is_empty() {
        return Ok(None);
    }
    let mut violations = Violations::new();
    let rebuild_id = violations.take("rebuild_id", parse_uuid(&message.rebuild_id, "REBUILD_ID_MALFORMED"));
    violations.finish_with(rebuild_id).map(Some)
}

pub(super) fn cancel_rebuild(message: &CancelRebuildRequest) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let rebuild_id = violations.take("rebuild_id", parse_uuid(&message.rebuild_id, "REBUILD_ID_MALFORMED"));
    let command = rebuild_id.map(|rebuild_id| Command::CancelRebuild { rebuild_id });
    violations.finish_with(request_id.zip(command))
}

#[cfg(test)]
mod tests {
    use openorder_rpc::timestamp_to_proto;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn proto(text: &str) -> Option<prost_types::Timestamp> {
        Some(timestamp_to_proto(&at(text)))
    }

    fn seen(rejection: &Rejection) -> Vec<(&str, &'static str)> {
        rejection.violations.iter().map(|violation| (violation.field.as_str(), violation.reason)).collect()
    }

    fn now() -> Timestamp {
        at("2027-03-04T10:20:30Z")
    }

    #[test]
    fn a_ranking_is_of_this_day_and_of_ten_products_unless_the_request_says_else() {
        let plain = Top { window: Window::Day, currency: None, limit: 10 };
        assert_eq!(top_products(&TopProductsRequest::default()).unwrap(), plain);
        let request =
            TopProductsRequest { window: RankingWindow::AllTime.into(), currency_code: "KRW".to_owned(), limit: 1_000 };
        let expected = Top { window: Window::AllTime, currency: Currency::parse("KRW").ok(), limit: 100 };
        assert_eq!(top_products(&request).unwrap(), expected);
        let wrong = TopProductsRequest { window: 9, currency_code: "krw".to_owned(), limit: -1 };
        let expected =
            [("window", "WINDOW_UNKNOWN"), ("currency_code", "CURRENCY_UNKNOWN"), ("limit", "LIMIT_NEGATIVE")];
        assert_eq!(seen(&top_products(&wrong).unwrap_err()), expected);
    }

    #[test]
    fn a_summary_is_of_whole_periods_up_to_the_present_one() {
        let of_days = SalesSummaryRequest { from_time: proto("2027-03-01T00:00:00Z"), ..Default::default() };
        let filter = summary(&of_days, now(), 1_000).unwrap();
        assert_eq!((filter.granularity, filter.until), (Granularity::Day, at("2027-03-05T00:00:00Z")));
        let of_months = SalesSummaryRequest {
            from_time: proto("2027-01-02T00:00:00Z"),
            until_time: proto("2027-01-01T00:00:00Z"),
            granularity: SalesGranularity::Month.into(),
            ..Default::default()
        };
        let expected = [("from_time", "TIME_NOT_ALIGNED"), ("until_time", "TIME_RANGE_EMPTY")];
        assert_eq!(seen(&summary(&of_months, now(), 1_000).unwrap_err()), expected);
        let of_hours = SalesSummaryRequest {
            from_time: proto("2027-01-01T00:00:00Z"),
            until_time: proto("2027-01-01T10:00:00Z"),
            granularity: SalesGranularity::Hour.into(),
            ..Default::default()
        };
        assert!(summary(&of_hours, now(), 10).is_ok());
        assert_eq!(seen(&summary(&of_hours, now(), 9).unwrap_err()), [("until_time", "TIME_RANGE_TOO_LONG")]);
        let wrong = SalesSummaryRequest { granularity: 7, ..Default::default() };
        let expected = [("granularity", "GRANULARITY_UNKNOWN"), ("from_time", "FIELD_MISSING")];
        assert_eq!(seen(&summary(&wrong, now(), 10).unwrap_err()), expected);
    }

    #[test]
    fn orders_are_counted_by_whole_hours() {
        let request = OrderStatsRequest { from_time: proto("2027-03-04T09:00:00Z"), until_time: None };
        let expected = (at("2027-03-04T09:00:00Z"), at("2027-03-04T11:00:00Z"));
        assert_eq!(order_stats(&request, now()).unwrap(), expected);
        let request = OrderStatsRequest { until_time: proto("2027-03-04T09:30:00Z"), ..request };
        assert_eq!(seen(&order_stats(&request, now()).unwrap_err()), [("until_time", "TIME_NOT_ALIGNED")]);
    }

    #[test]
    fn a_rebuild_has_a_request_id_and_a_reason() {
        let request = StartRebuildRequest { request_id: "r".to_owned(), from_events: true, reason: "why".to_owned() };
        let (_, command) = start_rebuild(&request, Uuid::nil(), "olga").unwrap();
        let Command::StartRebuild { from_events, requested_by, reason, .. } = command else {
            panic!("another command")
        };
        assert_eq!((from_events, requested_by.as_str(), reason.as_str()), (true, "olga", "why"));
        let expected = [("request_id", "REQUEST_ID_MALFORMED"), ("reason", "FIELD_MISSING")];
        let refused = start_rebuild(&StartRebuildRequest::default(), Uuid::nil(), "olga").unwrap_err();
        assert_eq!(seen(&refused), expected);
        let expected = [("request_id", "REQUEST_ID_MALFORMED"), ("rebuild_id", "REBUILD_ID_MALFORMED")];
        assert_eq!(seen(&cancel_rebuild(&CancelRebuildRequest::default()).unwrap_err()), expected);
        assert_eq!(get_rebuild(&GetRebuildRequest::default()).unwrap(), None);
    }
}
