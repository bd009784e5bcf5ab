//! From requests to commands: every rule of shape, all violations at once. No violation repeats a value.

use openorder_auth::api_key;
use openorder_proto::user::v1::{
    AssignRoleRequest, AuthenticateRequest, ChangePasswordRequest, CreateApiKeyRequest, DisableUserRequest,
    EnableUserRequest, EraseUserRequest, ListUsersRequest, RegisterUserRequest, RevokeApiKeyRequest,
    UpdateProfileRequest, UserRole as RoleMessage, UserState as StateMessage,
};
use openorder_rpc::{Violations, page_size, timestamp};
use openorder_types::{EmailAddress, Rejection, RequestId, Timestamp, UserId, parse_uuid};
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use crate::domain::{
    ClientId, Command, ProfileUpdate, Roles, UserName, UserRole, UserState, check_password, parse_email,
};
use crate::persistence::Filter;

const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 500;
/// Roles that a request may list.
const ROLES_MAX: usize = 4;
/// Longest password that is looked at, bytes.
const PASSWORD_BYTES_MAX: usize = 512;

/// A registration that is well-formed.
pub(super) struct Registration {
    pub(super) request_id: RequestId,
    pub(super) email: EmailAddress,
    pub(super) password: Zeroizing<String>,
    pub(super) display_name: UserName,
    pub(super) user_id: Option<UserId>,
    pub(super) roles: Option<Roles>,
}

pub(super) fn register(message: &RegisterUserRequest) -> Result<Registration, Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let email = violations.take("email", parse_email(&message.email));
    violations.take("password", check_password(&message.password));
    let display_name = violations.take("display_name", UserName::parse(&message.display_name));
    let user_id = match message.user_id.as_str() {
        "" => None,
        text => violations.take("user_id", UserId::parse(text)),
    };
    let roles = if message.roles.is_empty() { None } else { roles(&message.roles, &mut violations) };
    match (request_id, email, display_name) {
        (Some(request_id), Some(email), Some(display_name)) if violations.is_empty() => {
            let password = Zeroizing::new(message.password.clone());
            Ok(Registration { request_id, email, password, display_name, user_id, roles })
        }
        _ => Err(violations.into_rejection()),
    }
}

pub(super) fn authenticate(message: &AuthenticateRequest) -> Result<(EmailAddress, ClientId), Rejection> {
    let mut violations = Violations::new();
    let email = violations.take("email", parse_email(&message.email));
    present("password", &message.password, &mut violations);
    let client_id = violations.take("client_id", ClientId::parse(&message.client_id));
    match (email, client_id) {
        (Some(email), Some(client_id)) if violations.is_empty() => Ok((email, client_id)),
        _ => Err(violations.into_rejection()),
    }
}

/// A change of a password that is well-formed.
pub(super) struct PasswordChange {
    pub(super) request_id: RequestId,
    pub(super) user_id: UserId,
    pub(super) keep_session_id: Option<Uuid>,
}

pub(super) fn change_password(
    message: &ChangePasswordRequest,
    needs_current: impl FnOnce(&UserId) -> bool,
) -> Result<PasswordChange, Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let user_id = violations.take("user_id", UserId::parse(&message.user_id));
    if !message.current_password.is_empty() || user_id.as_ref().is_none_or(needs_current) {
        present("current_password", &message.current_password, &mut violations);
    }
    violations.take("new_password", check_password(&message.new_password));
    let keep_session_id = match message.keep_session_id.as_str() {
        "" => None,
        text => violations.take("keep_session_id", parse_uuid(text, "SESSION_ID_MALFORMED")),
    };
    match (request_id, user_id) {
        (Some(request_id), Some(user_id)) if violations.is_empty() => {
            Ok(PasswordChange { request_id, user_id, keep_session_id })
        }
        _ => Err(violations.into_rejection()),
    }
}

/// An erasure that is well-formed.
pub(super) struct Erased {
    pub(super) request_id: RequestId,
    pub(super) user_id: UserId,
}

pub(super) fn erase(
    message: &EraseUserRequest,
    needs_current: impl FnOnce(&UserId) -> bool,
) -> Result<Erased, Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let user_id = violations.take("user_id", UserId::parse(&message.user_id));
    if !message.current_password.is_empty() || user_id.as_ref().is_none_or(needs_current) {
        present("current_password", &message.current_password, &mut violations);
    }
    match (request_id, user_id) {
        (Some(request_id), Some(user_id)) if violations.is_empty() => Ok(Erased { request_id, user_id }),
        _ => Err(violations.into_rejection()),
    }
}

pub(super) fn update_profile(message: &UpdateProfileRequest) -> Result<(RequestId, ProfileUpdate), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let user_id = violations.take("user_id", UserId::parse(&message.user_id));
    let expected_version = version(message.expected_version, &mut violations);
    let display_name = message.display_name.as_deref();
    let display_name = display_name.and_then(|text| violations.take("display_name", UserName::parse(text)));
    let email = message.email.as_deref().and_then(|text| violations.take("email", parse_email(text)));
    if message.display_name.is_none() && message.email.is_none() {
        violations.add("display_name", "FIELD_MISSING", "display_name or email must be set");
    }
    match (request_id, user_id) {
        (Some(request_id), Some(user_id)) if violations.is_empty() => {
            Ok((request_id, ProfileUpdate { user_id, expected_version, display_name, email }))
        }
        _ => Err(violations.into_rejection()),
    }
}

pub(super) fn assign_role(message: &AssignRoleRequest) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let user_id = violations.take("user_id", UserId::parse(&message.user_id));
    let expected_version = version(message.expected_version, &mut violations);
    let roles = roles(&message.roles, &mut violations);
    match (request_id, user_id, roles) {
        (Some(request_id), Some(user_id), Some(roles)) if violations.is_empty() => {
            Ok((request_id, Command::AssignRoles { user_id, expected_version, roles }))
        }
        _ => Err(violations.into_rejection()),
    }
}

pub(super) fn disable(message: &DisableUserRequest) -> Result<(RequestId, Command), Rejection> {
    set_state(&message.request_id, &message.user_id, UserState::Disabled)
}

pub(super) fn enable(message: &EnableUserRequest) -> Result<(RequestId, Command), Rejection> {
    set_state(&message.request_id, &message.user_id, UserState::Active)
}

fn set_state(request_id: &str, user_id: &str, state: UserState) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(request_id));
    let user_id = violations.take("user_id", UserId::parse(user_id));
    match (request_id, user_id) {
        (Some(request_id), Some(user_id)) => Ok((request_id, Command::SetState { user_id, state })),
        _ => Err(violations.into_rejection()),
    }
}

/// An API key to be that is well-formed.
pub(super) struct KeyCreation {
    pub(super) request_id: RequestId,
    pub(super) user_id: UserId,
    pub(super) display_name: UserName,
    pub(super) expire_time: Option<Timestamp>,
}

pub(super) fn create_api_key(message: &CreateApiKeyRequest) -> Result<KeyCreation, Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let user_id = violations.take("user_id", UserId::parse(&message.user_id));
    let display_name = violations.take("display_name", UserName::parse(&message.display_name));
    let expire_time = message.expire_time.and_then(|time| timestamp("expire_time", Some(time), &mut violations));
    match (request_id, user_id, display_name) {
        (Some(request_id), Some(user_id), Some(display_name)) if violations.is_empty() => {
            // In the microseconds that are kept: what is answered is what is read later.
            let expire_time = expire_time.map(|time| chrono::SubsecRound::trunc_subsecs(time, 6));
            Ok(KeyCreation { request_id, user_id, display_name, expire_time })
        }
        _ => Err(violations.into_rejection()),
    }
}

pub(super) fn revoke_api_key(message: &RevokeApiKeyRequest) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    if !api_key::is_id(&message.api_key_id) {
        violations.add("api_key_id", "API_KEY_ID_MALFORMED", "must be 16 letters and digits");
    }
    match request_id {
        Some(request_id) if violations.is_empty() => {
            Ok((request_id, Command::RevokeApiKey(message.api_key_id.clone())))
        }
        _ => Err(violations.into_rejection()),
    }
}

/// `cursor` is what the page token holds: the last user of the page before.
pub(super) fn list(message: &ListUsersRequest, cursor: Option<&[u8]>) -> Result<(Filter, u32), Rejection> {
    let mut violations = Violations::new();
    let mut filter = Filter { before: cursor.and_then(|bytes| Uuid::from_slice(bytes).ok()), ..Filter::default() };
    if message.role != RoleMessage::Unspecified as i32 {
        filter.role = role("role", message.role, &mut violations);
    }
    if message.state != StateMessage::Unspecified as i32 {
        filter.state = UserState::from_number(message.state);
        if filter.state.is_none() {
            violations.add("state", "STATE_UNKNOWN", "must be the state of a user");
        }
    }
    if !message.email.is_empty() {
        filter.email = violations.take("email", parse_email(&message.email));
    }
    let size = violations.take("page_size", size(message.page_size));
    match size {
        Some(size) if violations.is_empty() => Ok((filter, size)),
        _ => Err(violations.into_rejection()),
    }
}

/// A user id and the size of a page of what it has.
pub(super) fn of_user(user_id: &str, asked: i32) -> Result<(UserId, u32), Rejection> {
    let mut violations = Violations::new();
    let user_id = violations.take("user_id", UserId::parse(user_id));
    let size = violations.take("page_size", size(asked));
    match (user_id, size) {
        (Some(user_id), Some(size)) => Ok((user_id, size)),
        _ => Err(violations.into_rejection()),
    }
}

fn size(asked: i32) -> Result<u32, openorder_types::ValueError> {
    page_size(asked, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
}

fn version(expected: i64, violations: &mut Violations) -> Option<i64> {
    if expected < 0 {
        violations.add("expected_version", "VERSION_OUT_OF_RANGE", "must not be negative");
    }
    Some(expected).filter(|version| *version != 0)
}

/// A password that is compared, whatever rules there were when it was chosen.
fn present(field: &str, password: &str, violations: &mut Violations) {
    if password.is_empty() {
        violations.add(field, "FIELD_MISSING", "must be set");
    } else if password.len() > PASSWORD_BYTES_MAX {
        violations.add(field, "PASSWORD_LENGTH", "must have at most 128 characters");
    }
}

fn roles(numbers: &[i32], violations: &mut Violations) -> Option<Roles> {
    if numbers.len() > ROLES_MAX {
        violations.add("roles", "TOO_MANY_ROLES", "must be at most 4");
        return None;
    }
    let read = |(index, number): (usize, &i32)| role(&format!("roles[{index}]"), *number, violations);
    let roles: Vec<Option<UserRole>> = numbers.iter().enumerate().map(read).collect();
    let roles: Vec<UserRole> = roles.into_iter().collect::<Option<_>>()?;
    let all = Roles::of(roles);
    if all.is_none() {
        violations.add("roles", "FIELD_MISSING", "must be set");
    }
    all
}

fn role(field: &str, number: i32, violations: &mut Violations) -> Option<UserRole> {
    let role = UserRole::from_number(number);
    if role.is_none() {
        violations.add(field, "ROLE_UNKNOWN", "must be the role of a user");
    }
    role
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen<T>(parsed: Result<T, Rejection>) -> Vec<(String, &'static str)> {
        let rejection = parsed.err().expect("it is refused");
        rejection.violations.iter().map(|violation| (violation.field.clone(), violation.reason)).collect()
    }

    fn named(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        expected.iter().map(|(field, reason)| ((*field).to_owned(), *reason)).collect()
    }

    #[test]
    fn every_wrong_field_of_a_registration_is_named_at_once() {
        let wrong = RegisterUserRequest {
            email: "ada".to_owned(),
            password: "hunter2".to_owned(),
            display_name: "two\nlines".to_owned(),
            user_id: "a b".to_owned(),
            roles: vec![1, 9],
            ..RegisterUserRequest::default()
        };
        let expected = [
            ("request_id", "REQUEST_ID_MALFORMED"),
            ("email", "EMAIL_MALFORMED"),
            ("password", "PASSWORD_LENGTH"),
            ("display_name", "DISPLAY_NAME_MALFORMED"),
            ("user_id", "USER_ID_MALFORMED"),
            ("roles[1]", "ROLE_UNKNOWN"),
        ];
        let refused = register(&wrong).err().unwrap();
        assert!(!format!("{refused:?}").contains("hunter2"), "no violation repeats a secret");
        assert_eq!(seen(register(&wrong)), named(&expected));
    }

    #[test]
    fn a_registration_says_nothing_of_id_and_roles_unless_asked_to() {
        let message = RegisterUserRequest {
            request_id: "r".to_owned(),
            email: "Ada@Example.com".to_owned(),
            password: "correct horse".to_owned(),
            ..RegisterUserRequest::default()
        };
        let read = register(&message).ok().unwrap();
        assert_eq!((read.user_id, read.roles, read.email.as_str()), (None, None, "ada@example.com"));
    }

    #[test]
    fn the_current_password_is_needed_of_those_whose_it_is() {
        let message = ChangePasswordRequest {
            request_id: "r".to_owned(),
            user_id: "ada".to_owned(),
            new_password: "correct horse".to_owned(),
            ..ChangePasswordRequest::default()
        };
        assert_eq!(seen(change_password(&message, |_| true)), named(&[("current_password", "FIELD_MISSING")]));
        assert!(change_password(&message, |_| false).is_ok());
        let wrong = ChangePasswordRequest { keep_session_id: "7".to_owned(), new_password: String::new(), ..message };
        let expected = [("new_password", "PASSWORD_LENGTH"), ("keep_session_id", "SESSION_ID_MALFORMED")];
        assert_eq!(seen(change_password(&wrong, |_| false)), named(&expected));
    }

    #[test]
    fn a_sign_in_has_a_mail_address_and_a_password_of_any_rules() {
        let message = |email: &str, password: &str, client_id: &str| AuthenticateRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            client_id: client_id.to_owned(),
        };
        assert!(authenticate(&message("ada@example.com", "x", "")).is_ok());
        let wrong = authenticate(&message("ada", "", "api-key"));
        let expected =
            [("email", "EMAIL_MALFORMED"), ("password", "FIELD_MISSING"), ("client_id", "CLIENT_ID_MALFORMED")];
        assert_eq!(seen(wrong), named(&expected));
        let long = authenticate(&message("ada@example.com", &"x".repeat(513), ""));
        assert_eq!(seen(long), named(&[("password", "PASSWORD_LENGTH")]));
    }

    #[test]
    fn an_update_changes_something_and_roles_are_known() {
        let update =
            UpdateProfileRequest { request_id: "r".to_owned(), user_id: "ada".to_owned(), ..Default::default() };
        assert_eq!(seen(update_profile(&update)), named(&[("display_name", "FIELD_MISSING")]));
        let named_update = UpdateProfileRequest { display_name: Some(String::new()), ..update };
        assert!(update_profile(&named_update).is_ok(), "a name may be taken away");
        let assign = |roles: Vec<i32>| {
            let message = AssignRoleRequest {
                request_id: "r".to_owned(),
                user_id: "ada".to_owned(),
                roles,
                ..Default::default()
            };
            assign_role(&message)
        };
        assert_eq!(seen(assign(vec![])), named(&[("roles", "FIELD_MISSING")]));
        assert_eq!(seen(assign(vec![0])), named(&[("roles[0]", "ROLE_UNKNOWN")]));
        assert_eq!(seen(assign(vec![1; 5])), named(&[("roles", "TOO_MANY_ROLES")]));
    }

    #[test]
    fn every_wrong_condition_of_a_list_is_named_at_once() {
        let message =
            ListUsersRequest { role: 9, state: 9, email: "x".to_owned(), page_size: -1, ..Default::default() };
        let expected = [
            ("role", "ROLE_UNKNOWN"),
            ("state", "STATE_UNKNOWN"),
            ("email", "EMAIL_MALFORMED"),
            ("page_size", "PAGE_SIZE_NEGATIVE"),
        ];
        assert_eq!(seen(list(&message, None)), named(&expected));
        assert_eq!(list(&ListUsersRequest::default(), None).unwrap().1, 50);
    }
}
