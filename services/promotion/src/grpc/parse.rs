//! From requests to commands: every rule of shape, all violations at once.

use chrono::SubsecRound;
use openorder_proto::promotion::v1::{
    Coupon as CouponMessage, CouponTerms, CreateCouponRequest, GetCouponRequest, HoldCouponRequest, IssueCouponRequest,
    IssuedCouponState, ListCouponsRequest, ListIssuedCouponsRequest, UpdateCouponRequest, get_coupon_request,
    issue_coupon_request,
};
use openorder_rpc::{Violations, canonical_mask, masked_fields, page_size, timestamp};
use openorder_types::{Rejection, RequestId, Timestamp, UserId, parse_uuid};
use uuid::Uuid;

use crate::{
    domain::{
        Changes, Code, Command, CouponKey, DisplayName, Field, HoldRequest, IssueLimit, IssueLimitPerUser, Line,
        NewCoupon, Terms, UseRequest, Validity,
    },
    persistence::Filter,
    present,
};

const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 500;

/// An issue that is well-formed.
#[derive(Debug)]
pub(super) struct Issue {
    pub(super) request_id: RequestId,
    pub(super) user_id: UserId,
    pub(super) command: Command,
}

pub(super) fn create(
    message: &CreateCouponRequest,
    coupon_id: Uuid,
    now: Timestamp,
) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let code = violations.take("code", Code::parse(&message.code));
    let display_name = violations.take("display_name", DisplayName::parse(&message.display_name));
    let terms = terms(message.terms.as_ref(), &mut violations);
    let from = match &message.valid_from_time {
        Some(time) => time_of("valid_from_time", Some(*time), &mut violations),
        None => Some(now.trunc_subsecs(6)),
    };
    let until = time_of("valid_until_time", message.valid_until_time, &mut violations);
    let validity =
        from.zip(until).and_then(|(from, until)| violations.take("valid_until_time", Validity::parse(from, until)));
    let issue_limit = violations.take("issue_limit", IssueLimit::parse(message.issue_limit));
    let per_user = if message.issue_limit_per_user == 0 { 1 } else { message.issue_limit_per_user };
    let issue_limit_per_user = violations.take("issue_limit_per_user", IssueLimitPerUser::parse(per_user));
    let (
        Some(request_id),
        Some(code),
        Some(display_name),
        Some(terms),
        Some(validity),
        Some(issue_limit),
        Some(issue_limit_per_user),
    ) = (request_id, code, display_name, terms, validity, issue_limit, issue_limit_per_user)
    else {
        return Err(violations.into_rejection());
    };
    let new = NewCoupon { coupon_id, code, display_name, terms, validity, issue_limit, issue_limit_per_user };
    Ok((request_id, Command::Create(new)))
}

/// A point in time, in the microseconds that are kept: what is answered is what is read later.
fn time_of(field: &str, time: Option<prost_types::Timestamp>, violations: &mut Violations) -> Option<Timestamp> {
    timestamp(field, time, violations).map(|time| time.trunc_subsecs(6))
}

fn terms(message: Option<&CouponTerms>, violations: &mut Violations) -> Option<Terms> {
    let message = violations.required("terms", message)?;
    match present::parse_terms(message) {
        Ok(terms) => Some(terms),
        Err((field, error)) => violations.take(format!("terms.{field}"), Err(error)),
    }
}

pub(super) fn update(message: &UpdateCouponRequest) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let coupon = violations.required("coupon", message.coupon.as_ref());
    let key = coupon.and_then(|coupon| key_of(coupon, &mut violations));
    let fields = masked_fields(message.update_mask.as_ref(), &Field::ALL, Field::path, &mut violations);
    let changes = coupon.map(|coupon| changes(coupon, &fields, &mut violations));
    if message.expected_version < 0 {
        violations.add("expected_version", "VERSION_OUT_OF_RANGE", "must not be negative");
    }
    match (request_id, key, changes) {
        (Some(request_id), Some(key), Some(changes)) if violations.is_empty() => {
            let expected_version = Some(message.expected_version).filter(|version| *version != 0);
            Ok((request_id, Command::Update { key, changes, expected_version }))
        }
        _ => Err(violations.into_rejection()),
    }
}

/// The one form of a request that can be written in several: each field of the mask once, in their order; what is not in
/// the mask left out.
pub(super) fn canonical_update(message: &UpdateCouponRequest) -> UpdateCouponRequest {
    let mut canonical = message.clone();
    let mask = canonical_mask(canonical.update_mask.take());
    let masked = |field: Field| mask.paths.iter().any(|path| path == field.path());
    canonical.coupon = canonical.coupon.map(|given| {
        let mut kept = CouponMessage { coupon_id: given.coupon_id, ..Default::default() };
        if kept.coupon_id.is_empty() {
            kept.code = given.code;
        }
        for field in Field::ALL.into_iter().filter(|field| masked(*field)) {
            match field {
                Field::DisplayName => kept.display_name.clone_from(&given.display_name),
                Field::ValidFromTime => kept.valid_from_time = given.valid_from_time,
                Field::ValidUntilTime => kept.valid_until_time = given.valid_until_time,
                Field::IssueLimit => kept.issue_limit = given.issue_limit,
                Field::IssueLimitPerUser => kept.issue_limit_per_user = given.issue_limit_per_user,
            }
        }
        kept
    });
    canonical.update_mask = Some(mask);
    canonical
}

fn key_of(coupon: &CouponMessage, violations: &mut Violations) -> Option<CouponKey> {
    if !coupon.coupon_id.is_empty() {
        by_id("coupon.coupon_id", &coupon.coupon_id, violations)
    } else if !coupon.code.is_empty() {
        by_code("coupon.code", &coupon.code, violations)
    } else {
        violations.add("coupon.coupon_id", "FIELD_MISSING", "coupon_id or code must be set");
        None
    }
}

fn changes(coupon: &CouponMessage, fields: &[Field], violations: &mut Violations) -> Changes {
    let mut changes = Changes::default();
    for field in fields {
        match field {
            Field::DisplayName => {
                changes.display_name = violations.take("coupon.display_name", DisplayName::parse(&coupon.display_name));
            }
            Field::ValidFromTime => {
                changes.valid_from = time_of("coupon.valid_from_time", coupon.valid_from_time, violations);
            }
            Field::ValidUntilTime => {
                changes.valid_until = time_of("coupon.valid_until_time", coupon.valid_until_time, violations);
            }
            Field::IssueLimit => {
                changes.issue_limit = violations.take("coupon.issue_limit", IssueLimit::parse(coupon.issue_limit));
            }
            Field::IssueLimitPerUser => {
                let limit = IssueLimitPerUser::parse(coupon.issue_limit_per_user);
                changes.issue_limit_per_user = violations.take("coupon.issue_limit_per_user", limit);
            }
        }
    }
    changes
}

pub(super) fn get(message: &GetCouponRequest) -> Result<CouponKey, Rejection> {
    let mut violations = Violations::new();
    let key = violations.required("key", message.key.as_ref()).and_then(|key| match key {
        get_coupon_request::Key::CouponId(text) => by_id("coupon_id", text, &mut violations),
        get_coupon_request::Key::Code(text) => by_code("code", text, &mut violations),
    });
    key.ok_or_else(|| violations.into_rejection())
}

pub(super) fn issue(message: &IssueCouponRequest, issued_coupon_id: Uuid) -> Result<Issue, Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let key = violations.required("key", message.key.as_ref()).and_then(|key| match key {
        issue_coupon_request::Key::CouponId(text) => by_id("coupon_id", text, &mut violations),
        issue_coupon_request::Key::Code(text) => by_code("code", text, &mut violations),
    });
    let user_id = violations.take("user_id", UserId::parse(&message.user_id));
    let (Some(request_id), Some(key), Some(user_id)) = (request_id, key, user_id) else {
        return Err(violations.into_rejection());
    };
    Ok(Issue { request_id, user_id: user_id.clone(), command: Command::Issue { issued_coupon_id, key, user_id } })
}

/// Lines of one order at most.
const LINES_MAX: usize = 100;

pub(super) fn hold(message: &HoldCouponRequest) -> Result<(RequestId, HoldRequest), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    let user_id = violations.take("user_id", UserId::parse(&message.user_id));
    let issued = parse_uuid(&message.issued_coupon_id, "ISSUED_COUPON_ID_MALFORMED");
    let issued_coupon_id = violations.take("issued_coupon_id", issued);
    if message.lines.is_empty() {
        violations.add("lines", "LINES_EMPTY", "must have at least one line");
    } else if message.lines.len() > LINES_MAX {
        violations.add("lines", "LINES_TOO_MANY", format!("must have at most {LINES_MAX} lines"));
    }
    let lines = message.lines.iter().take(LINES_MAX).enumerate();
    let lines: Vec<Line> =
        lines.filter_map(|(index, line)| violations.take(format!("lines[{index}]"), present::line(line))).collect();
    match (request_id, order_id, user_id, issued_coupon_id) {
        (Some(request_id), Some(order_id), Some(user_id), Some(issued_coupon_id)) if violations.is_empty() => {
            let request = UseRequest { order_id, user_id, issued_coupon_id };
            Ok((request_id, HoldRequest { request, lines }))
        }
        _ => Err(violations.into_rejection()),
    }
}

pub(super) fn list(message: &ListCouponsRequest) -> Result<u32, Rejection> {
    let mut violations = Violations::new();
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    size.ok_or_else(|| violations.into_rejection())
}

/// `cursor` is what the page token holds: the last issued coupon of the page before.
pub(super) fn list_issued(
    message: &ListIssuedCouponsRequest,
    cursor: Option<&[u8]>,
) -> Result<(Filter, u32), Rejection> {
    let mut violations = Violations::new();
    let mut filter = Filter { before: cursor.and_then(|bytes| Uuid::from_slice(bytes).ok()), ..Filter::default() };
    if !message.user_id.is_empty() {
        filter.user_id = violations.take("user_id", UserId::parse(&message.user_id));
    }
    if !message.coupon_id.is_empty() {
        filter.coupon_id = violations.take("coupon_id", parse_uuid(&message.coupon_id, "COUPON_ID_MALFORMED"));
    }
    match IssuedCouponState::try_from(message.state) {
        Ok(IssuedCouponState::Unspecified) => {}
        Ok(state) => filter.state = i16::try_from(state as i32).ok(),
        Err(_) => violations.add("state", "STATE_UNKNOWN", "must be the state of an issued coupon"),
    }
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    match size {
        Some(size) if violations.is_empty() => Ok((filter, size)),
        _ => Err(violations.into_rejection()),
    }
}

fn by_id(field: &str, text: &str, violations: &mut Violations) -> Option<CouponKey> {
    violations.take(field, parse_uuid(text, "COUPON_ID_MALFORMED")).map(CouponKey::Id)
}

fn by_code(field: &str, text: &str, violations: &mut Violations) -> Option<CouponKey> {
    violations.take(field, Code::parse(text)).map(CouponKey::Code)
}

#[cfg(test)]
mod tests {
    use openorder_proto::{google::r#type::Money, promotion::v1::coupon_terms};
    use prost_types::FieldMask;

    use super::*;

    fn seen(rejection: &Rejection) -> Vec<(&str, &'static str)> {
        rejection.violations.iter().map(|violation| (violation.field.as_str(), violation.reason)).collect()
    }

    fn now() -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn good() -> CreateCouponRequest {
        let five = Money { currency_code: "EUR".to_owned(), units: 5, nanos: 0 };
        let terms = CouponTerms { value: Some(coupon_terms::Value::FixedAmount(five)), ..CouponTerms::default() };
        CreateCouponRequest {
            request_id: "r".to_owned(),
            code: "FIVE".to_owned(),
            display_name: "Five off".to_owned(),
            terms: Some(terms),
            valid_from_time: None,
            valid_until_time: Some(prost_types::Timestamp { seconds: 1_900_000_000, nanos: 0 }),
            issue_limit: 10,
            issue_limit_per_user: 0,
        }
    }

    #[test]
    fn every_wrong_field_of_a_new_coupon_is_named_at_once() {
        let message = CreateCouponRequest { code: "five".to_owned(), ..CreateCouponRequest::default() };
        let expected = [
            ("request_id", "REQUEST_ID_MALFORMED"),
            ("code", "COUPON_CODE_MALFORMED"),
            ("display_name", "DISPLAY_NAME_MALFORMED"),
            ("terms", "FIELD_MISSING"),
            ("valid_until_time", "FIELD_MISSING"),
            ("issue_limit", "ISSUE_LIMIT_OUT_OF_RANGE"),
        ];
        assert_eq!(seen(&create(&message, Uuid::nil(), now()).unwrap_err()), expected);
        let late = CreateCouponRequest {
            terms: Some(CouponTerms::default()),
            valid_from_time: Some(prost_types::Timestamp { seconds: 1_900_000_000, nanos: 0 }),
            issue_limit_per_user: 1_001,
            ..good()
        };
        let expected = [
            ("terms.value", "FIELD_MISSING"),
            ("valid_until_time", "VALIDITY_EMPTY"),
            ("issue_limit_per_user", "ISSUE_LIMIT_PER_USER_OUT_OF_RANGE"),
        ];
        assert_eq!(seen(&create(&late, Uuid::nil(), now()).unwrap_err()), expected);
    }

    #[test]
    fn a_coupon_is_valid_from_now_on_and_one_for_each_user_unless_the_request_says_else() {
        let (_, Command::Create(new)) = create(&good(), Uuid::nil(), now()).unwrap() else { panic!("another command") };
        assert_eq!((new.validity.from, new.issue_limit_per_user.get()), (now(), 1));
        let nanos = now() + chrono::TimeDelta::nanoseconds(1_234);
        let (_, Command::Create(new)) = create(&good(), Uuid::nil(), nanos).unwrap() else { panic!("another command") };
        assert_eq!(new.validity.from, now() + chrono::TimeDelta::microseconds(1), "as it is kept");
    }

    #[test]
    fn a_change_names_its_fields_and_a_coupon() {
        let paths = |paths: &[&str]| Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
        let coupon = CouponMessage { code: "FIVE".to_owned(), issue_limit: 0, ..CouponMessage::default() };
        let message = UpdateCouponRequest {
            request_id: "r".to_owned(),
            coupon: Some(coupon.clone()),
            update_mask: paths(&["issue_limit"]),
            expected_version: -1,
        };
        let expected =
            [("coupon.issue_limit", "ISSUE_LIMIT_OUT_OF_RANGE"), ("expected_version", "VERSION_OUT_OF_RANGE")];
        assert_eq!(seen(&update(&message).unwrap_err()), expected);
        let other = UpdateCouponRequest {
            coupon: Some(CouponMessage::default()),
            update_mask: paths(&["terms"]),
            expected_version: 0,
            ..message
        };
        let expected = [("coupon.coupon_id", "FIELD_MISSING"), ("update_mask", "UPDATE_MASK_INVALID")];
        assert_eq!(seen(&update(&other).unwrap_err()), expected);
    }

    #[test]
    fn two_requests_that_change_the_same_are_the_same() {
        let of = |paths: &[&str], coupon: CouponMessage| UpdateCouponRequest {
            request_id: "r".to_owned(),
            coupon: Some(coupon),
            update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
            expected_version: 0,
        };
        let named = CouponMessage { code: "FIVE".to_owned(), issue_limit: 20, ..CouponMessage::default() };
        let read = CouponMessage { display_name: "Five off".to_owned(), version: 3, ..named.clone() };
        let (one, other) = (of(&["issue_limit"], named), of(&["issue_limit", "issue_limit"], read.clone()));
        assert_eq!(canonical_update(&one), canonical_update(&other));
        assert_ne!(canonical_update(&one), canonical_update(&of(&["issue_limit", "display_name"], read)));
    }
}
