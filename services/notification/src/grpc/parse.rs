//! From requests to commands: every rule of shape, all violations at once.

use std::collections::BTreeSet;

use openorder_proto::notification::v1::{
    ListNotificationsRequest, NotificationPreferences, ResendNotificationRequest, UpdatePreferencesRequest,
};
use openorder_rpc::{Violations, canonical_mask, page_size};
use openorder_types::{Rejection, RequestId, UserId, ValueError, parse_uuid};
use uuid::Uuid;

use crate::{
    domain::{Command, Kind, PhoneNumber, PreferencesChange, PushToken},
    persistence::Filter,
};

const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 500;
/// What may change of preferences.
const FIELDS: [&str; 6] = ["email_enabled", "sms_enabled", "push_enabled", "muted_kinds", "phone_number", "push_token"];

pub(super) fn user(text: &str) -> Result<UserId, Rejection> {
    let mut violations = Violations::new();
    let user_id = violations.take("user_id", UserId::parse(text));
    violations.finish_with(user_id)
}

pub(super) fn list(message: &ListNotificationsRequest, cursor: Option<&[u8]>) -> Result<(Filter, u32), Rejection> {
    let mut violations = Violations::new();
    let mut filter = Filter { before: cursor.and_then(|bytes| Uuid::from_slice(bytes).ok()), ..Filter::default() };
    if !message.order_id.is_empty() {
        filter.order_id = violations.take("order_id", parse_uuid(&message.order_id, "ORDER_ID_MALFORMED"));
    }
    if !message.user_id.is_empty() {
        filter.user_id = violations.take("user_id", UserId::parse(&message.user_id)).map(|user| user.to_string());
    }
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    violations.finish_with(size.map(|size| (filter, size)))
}

pub(super) fn resend(message: &ResendNotificationRequest) -> Result<(String, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let parsed = parse_uuid(&message.notification_id, "NOTIFICATION_ID_MALFORMED");
    let notification_id = violations.take("notification_id", parsed);
    let parsed = request_id.zip(notification_id);
    violations.finish_with(parsed.map(|(id, notification_id)| (id.into_string(), Command::Resend { notification_id })))
}

pub(super) fn update(message: &UpdatePreferencesRequest) -> Result<(String, UserId, PreferencesChange), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let user_id = violations.take("user_id", UserId::parse(&message.user_id));
    let preferences = violations.required("preferences", message.preferences.as_ref());
    let paths = message.update_mask.as_ref().map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        violations.add("update_mask", "FIELD_MISSING", "must name at least one field");
    }
    let mut change = PreferencesChange::default();
    for path in paths {
        let known = match preferences {
            Some(preferences) => take_field(path, preferences, &mut change, &mut violations),
            None => FIELDS.contains(&path.as_str()),
        };
        if !known {
            let allowed = format!("must name {} only", FIELDS.join(", "));
            violations.add("update_mask", "UPDATE_MASK_INVALID", allowed);
            break;
        }
    }
    let parsed = request_id.zip(user_id).map(|(id, user_id)| (id.into_string(), user_id, change));
    violations.finish_with(parsed)
}

/// The one form of a request that can be written in several: each field of the mask once, in their order; what is not in
/// the mask left out.
pub(super) fn canonical_update(message: &UpdatePreferencesRequest) -> UpdatePreferencesRequest {
    let mut canonical = message.clone();
    let mask = canonical_mask(canonical.update_mask.take());
    let masked = |field: &str| mask.paths.iter().any(|path| path == field);
    canonical.preferences = canonical.preferences.map(|given| {
        let mut kept = NotificationPreferences::default();
        if masked("email_enabled") {
            kept.email_enabled = given.email_enabled;
        }
        if masked("sms_enabled") {
            kept.sms_enabled = given.sms_enabled;
        }
        if masked("push_enabled") {
            kept.push_enabled = given.push_enabled;
        }
        if masked("muted_kinds") {
            kept.muted_kinds = given.muted_kinds;
            kept.muted_kinds.sort_unstable();
        }
        if masked("phone_number") {
            kept.phone_number = given.phone_number;
        }
        if masked("push_token") {
            kept.push_token = given.push_token;
        }
        kept
    });
    canonical.update_mask = Some(mask);
    canonical
}

/// Takes over the field that the path names; `false` when there is none that could be changed.
fn take_field(
    path: &str,
    preferences: &NotificationPreferences,
    change: &mut PreferencesChange,
    violations: &mut Violations,
) -> bool {
    match path {
        "email_enabled" => change.email_enabled = Some(preferences.email_enabled),
        "sms_enabled" => change.sms_enabled = Some(preferences.sms_enabled),
        "push_enabled" => change.push_enabled = Some(preferences.push_enabled),
        "muted_kinds" => change.muted_kinds = Some(muted_kinds(&preferences.muted_kinds, violations)),
        "phone_number" => {
            change.phone_number = address("phone_number", &preferences.phone_number, PhoneNumber::parse, violations);
        }
        "push_token" => {
            change.push_token = address("push_token", &preferences.push_token, PushToken::parse, violations);
        }
        _ => return false,
    }
    true
}

/// The new value of an address; an empty one is none any more.
fn address<T>(
    field: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, ValueError>,
    violations: &mut Violations,
) -> Option<Option<T>> {
    if text.is_empty() {
        return Some(None);
    }
    violations.take(format!("preferences.{field}"), parse(text)).map(Some)
}

fn muted_kinds(numbers: &[i32], violations: &mut Violations) -> BTreeSet<Kind> {
    let mut kinds = BTreeSet::new();
    // Each kind once: longer lists have a violation among their first entries.
    for (index, number) in numbers.iter().enumerate().take(Kind::ALL.len() + 1) {
        let field = format!("preferences.muted_kinds[{index}]");
        match Kind::from_number(*number) {
            Some(kind) if kinds.insert(kind) => {}
            Some(_) => violations.add(field, "KIND_DOUBLED", "must stand in the list once"),
            None => violations.add(field, "KIND_UNKNOWN", "must be a kind of notification"),
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prost_types::FieldMask;

    use super::*;

    fn request(paths: &[&str], preferences: Option<NotificationPreferences>) -> UpdatePreferencesRequest {
        UpdatePreferencesRequest {
            request_id: "r1".to_owned(),
            user_id: "ada".to_owned(),
            preferences,
            update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        }
    }

    fn violations(rejection: &Rejection) -> Vec<(&str, &str)> {
        rejection.violations.iter().map(|one| (one.field.as_str(), one.reason)).collect()
    }

    #[test]
    fn only_masked_fields_are_read() {
        let preferences = NotificationPreferences {
            email_enabled: false,
            sms_enabled: true,
            push_enabled: true,
            muted_kinds: vec![2, 4],
            ..NotificationPreferences::default()
        };
        let (_, _, change) = update(&request(&["email_enabled", "muted_kinds"], Some(preferences))).unwrap();
        let muted_kinds = Some(BTreeSet::from([Kind::OrderShipped, Kind::OrderCancelled]));
        let expected = PreferencesChange { email_enabled: Some(false), muted_kinds, ..PreferencesChange::default() };
        assert_eq!(change, expected);
    }

    #[test]
    fn two_requests_that_change_the_same_are_the_same() {
        let given = NotificationPreferences { email_enabled: true, muted_kinds: vec![4, 2], ..Default::default() };
        let read = NotificationPreferences { version: 7, sms_enabled: true, muted_kinds: vec![2, 4], ..given.clone() };
        let one = request(&["email_enabled", "muted_kinds"], Some(given));
        let other = request(&["muted_kinds", "email_enabled", "muted_kinds"], Some(read));
        assert_eq!(canonical_update(&one), canonical_update(&other));
        let more = request(&["muted_kinds", "email_enabled", "sms_enabled"], other.preferences.clone());
        assert_ne!(canonical_update(&other), canonical_update(&more));
    }

    #[test]
    fn an_address_is_checked_and_an_empty_one_removes_it() {
        let given = |phone_number: &str, push_token: &str| NotificationPreferences {
            phone_number: phone_number.to_owned(),
            push_token: push_token.to_owned(),
            ..NotificationPreferences::default()
        };
        let paths = ["phone_number", "push_token"];
        let (_, _, change) = update(&request(&paths, Some(given("+4930901820", "")))).unwrap();
        let number = PhoneNumber::parse("+4930901820").unwrap();
        assert_eq!((change.phone_number, change.push_token), (Some(Some(number)), Some(None)));
        let refused = update(&request(&paths, Some(given("030 901820", "two words")))).unwrap_err();
        let expected = [
            ("preferences.phone_number", "PHONE_NUMBER_MALFORMED"),
            ("preferences.push_token", "PUSH_TOKEN_MALFORMED"),
        ];
        assert_eq!(violations(&refused), expected);
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let muted_kinds = vec![0, 1, 1, 6, -1, 70_000, 2];
        let preferences = NotificationPreferences { muted_kinds, ..NotificationPreferences::default() };
        let message = UpdatePreferencesRequest {
            request_id: String::new(),
            user_id: "not a user".to_owned(),
            ..request(&["muted_kinds", "version"], Some(preferences))
        };
        assert_eq!(
            violations(&update(&message).unwrap_err()),
            [
                ("request_id", "REQUEST_ID_MALFORMED"),
                ("user_id", "USER_ID_MALFORMED"),
                ("preferences.muted_kinds[0]", "KIND_UNKNOWN"),
                ("preferences.muted_kinds[2]", "KIND_DOUBLED"),
                ("preferences.muted_kinds[3]", "KIND_UNKNOWN"),
                ("preferences.muted_kinds[4]", "KIND_UNKNOWN"),
                ("preferences.muted_kinds[5]", "KIND_UNKNOWN"),
                ("update_mask", "UPDATE_MASK_INVALID"),
            ]
        );
    }

    #[test]
    fn a_change_names_what_it_changes() {
        let nothing = update(&request(&[], None)).unwrap_err();
        assert_eq!(violations(&nothing), [("preferences", "FIELD_MISSING"), ("update_mask", "FIELD_MISSING")]);
        let unknown = update(&request(&["colour"], Some(NotificationPreferences::default()))).unwrap_err();
        assert_eq!(unknown.reason, "UPDATE_MASK_INVALID");
    }

    #[test]
    fn a_list_needs_no_conditions_but_well_formed_ones() {
        let (filter, size) = list(&ListNotificationsRequest::default(), None).unwrap();
        assert_eq!((filter.order_id, filter.user_id, filter.before, size), (None, None, None, 50));
        let message = ListNotificationsRequest {
            order_id: "no uuid".to_owned(),
            user_id: "no user".to_owned(),
            page_size: -1,
            page_token: String::new(),
        };
        let reasons =
            [("order_id", "ORDER_ID_MALFORMED"), ("user_id", "USER_ID_MALFORMED"), ("page_size", "PAGE_SIZE_NEGATIVE")];
        assert_eq!(violations(&list(&message, None).unwrap_err()), reasons);
    }
}
