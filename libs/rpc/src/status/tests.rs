#![allow(clippy::unwrap_used)]

use openorder_types::FieldViolation;
use proptest::prelude::*;
use prost::Message;
use tonic_types::{ErrorDetail, StatusExt, pb};

use super::*;

fn error_infos(status: &Status) -> usize {
    let details = status.check_error_details_vec().unwrap();
    details.iter().filter(|detail| matches!(detail, ErrorDetail::ErrorInfo(_))).count()
}

#[test]
fn a_rejection_carries_reason_message_and_metadata() {
    let made = rejection(Rejection::failed_precondition("OUT_OF_STOCK", "2 of A are missing").with("sku", "A"));
    assert_eq!((made.code(), made.message()), (Code::FailedPrecondition, "2 of A are missing"));
    let info = made.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("OUT_OF_STOCK", "openorder"));
    assert_eq!(metadata_of(&made, "sku").as_deref(), Some("A"));
    assert_eq!(metadata_of(&made, "price"), None);
    assert_eq!(reason_of(&made).as_deref(), Some("OUT_OF_STOCK"));
    assert!(made.get_details_bad_request().is_none() && made.get_details_retry_info().is_none());
}

#[test]
fn an_invalid_request_lists_all_violations_with_their_reasons() {
    let made = rejection(Rejection::invalid(vec![
        FieldViolation::new("lines[0].sku", "SKU_MALFORMED", "must be a SKU"),
        FieldViolation::new("user_id", "USER_ID_MISSING", "must be given"),
    ]));
    assert_eq!(made.code(), Code::InvalidArgument);
    let all = pb::Status::decode(made.details()).unwrap();
    let bad = all.details.iter().find(|detail| detail.type_url.ends_with("BadRequest")).unwrap();
    let bad = pb::BadRequest::decode(bad.value.as_slice()).unwrap();
    let seen: Vec<_> = bad.field_violations.iter().map(|one| (one.field.as_str(), one.reason.as_str())).collect();
    assert_eq!(seen, [("lines[0].sku", "SKU_MALFORMED"), ("user_id", "USER_ID_MISSING")]);
    assert_eq!((all.code, all.message.as_str()), (3, made.message()));
}

#[test]
fn waiting_is_advised_where_it_helps() {
    let unavailable = CallError::Unavailable { dependency: "postgres", retry_after: Duration::from_millis(1500) };
    let made = status(unavailable);
    assert_eq!(made.code(), Code::Unavailable);
    assert_eq!(retry_after_of(&made), Some(Duration::from_millis(1500)));
    assert!(!made.message().contains("postgres"), "internals stay inside");
    let overloaded = status(CallError::Overloaded { retry_after: Duration::from_secs(1) });
    assert_eq!(overloaded.code(), Code::ResourceExhausted);
    assert_eq!(reason_of(&overloaded).as_deref(), Some("OVERLOADED"));
    assert_eq!(retry_after_of(&overloaded), Some(Duration::from_secs(1)));
    let behind = Rejection::aborted("VIEW_BEHIND", "not yet").passing_after(Duration::from_millis(200));
    let made = rejection(behind);
    assert_eq!((made.code(), retry_after_of(&made)), (Code::Aborted, Some(Duration::from_millis(200))));
}

#[test]
fn an_internal_error_says_the_trace_id_and_nothing_else() {
    let role = openorder_telemetry::RoleTelemetry::disabled("order");
    let trace =
        openorder_telemetry::TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None)
            .unwrap();
    let made = role.in_scope(&trace, || status(CallError::Internal));
    assert_eq!(made.message(), "internal error; reference 0af7651916cd43dd8448eb211c80319c");
    assert_eq!(status(CallError::Internal).message(), "internal error");
}

/// A client whose metadata are bounded at 8 KiB, as by default in some languages, sees what was wrong.
#[test]
fn a_refusal_of_a_hundred_fields_fits_into_a_client_s_metadata() {
    use tonic_types::StatusExt;
    let description = "must be 1 to 64 of letters, digits, '.', '_' and '-', the first one a letter or digit";
    let violations: Vec<_> = (0..200)
        .map(|line| FieldViolation {
            field: format!("lines[{line}].sku"),
            description: description.to_owned(),
            reason: "SKU_MALFORMED",
        })
        .collect();
    let refused = rejection(Rejection::invalid(violations));
    let headers = refused.clone().into_http::<()>().into_parts().0.headers;
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(bytes < 7 * 1_024, "{bytes}");
    let kept = refused.get_details_bad_request().unwrap().field_violations;
    let left_out: usize = refused.get_details_error_info().unwrap().metadata["violations_left_out"].parse().unwrap();
    assert_eq!((kept[0].field.as_str(), kept.len() + left_out), ("lines[0].sku", 200));
    assert!(kept.len() >= 20, "{}", kept.len());
    assert_eq!(refused.message(), "200 fields of the request are invalid");
    assert_eq!(reason_of(&refused).as_deref(), Some("INVALID_ARGUMENT"));
}

#[test]
fn an_upstream_failure_is_an_outage_or_not() {
    #[expect(clippy::disallowed_methods, reason = "a foreign server's, without details")]
    let fault = |code| fault_of("product", &Status::new(code, "x"));
    assert_eq!(fault(Code::Ok), None);
    assert!(matches!(fault(Code::Unavailable), Some(Fault::Outage { dependency: "product", .. })));
    assert!(matches!(fault(Code::DeadlineExceeded), Some(Fault::Outage { .. })));
    assert!(matches!(fault(Code::Aborted), Some(Fault::Retryable { .. })));
    assert!(matches!(fault(Code::InvalidArgument), Some(Fault::Permanent { .. })));
}

fn kinds() -> impl Strategy<Value = RejectionKind> {
    use RejectionKind::*;
    proptest::sample::select(vec![
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        OutOfRange,
        ResourceExhausted,
        PermissionDenied,
        Unauthenticated,
        Aborted,
    ])
}

proptest! {
    #[test]
    fn every_rejection_has_exactly_one_error_info_and_survives_the_wire(
        kind in kinds(),
        message in "\\PC{0,60}",
        value in "\\PC{0,20}",
        fields in proptest::collection::vec("[a-z]{1,8}(\\[[0-9]\\])?", 0..5),
    ) {
        let mut given = Rejection::new(kind, "SOME_REASON", message.clone()).with("key", &value);
        given.violations = fields.iter().map(|field| FieldViolation::new(field, "BAD", "bad")).collect();
        let made = rejection(given);
        let mut headers = http::HeaderMap::new();
        made.add_header(&mut headers).unwrap();
        let read = Status::from_header_map(&headers).unwrap();
        prop_assert_eq!(read.message(), message);
        prop_assert_eq!(error_infos(&read), 1);
        let reason = reason_of(&read);
        prop_assert_eq!(reason.as_deref(), Some("SOME_REASON"));
        let bad = read.get_details_bad_request().map_or(0, |bad| bad.field_violations.len());
        prop_assert_eq!(bad, fields.len());
    }
}
