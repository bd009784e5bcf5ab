//! Which fields are secrets: passwords, tokens and keys. They have the option `openorder.secret.v1.secret` in the
//! contract.
//!
//! A message with one is shown by its name alone, so that no log and no trace has it; request fingerprints leave them out.

/// Full names of messages, in their order, each with the numbers of its secret fields.
const SECRETS: &[(&str, &[u32])] = include!(concat!(env!("OUT_DIR"), "/secrets.rs"));

include!(concat!(env!("OUT_DIR"), "/secret_debugs.rs"));

/// The numbers of the secret fields of a message, by its full name such as `openorder.user.v1.AuthenticateRequest`; none
/// for one without.
#[must_use]
pub fn secret_fields(message: &str) -> &'static [u32] {
    let place = SECRETS.binary_search_by(|(name, _)| (*name).cmp(message));
    place.ok().and_then(|place| SECRETS.get(place)).map(|(_, fields)| *fields).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::v1::{AuthenticateRequest, Session, SignOutRequest, sign_out_request::Target};

    #[test]
    fn secrets_are_found_by_the_name_of_their_message() {
        assert_eq!(secret_fields("openorder.user.v1.ChangePasswordRequest"), [3, 4]);
        assert_eq!(secret_fields("openorder.user.v1.SignOutRequest"), [1]);
        assert_eq!(secret_fields("openorder.user.v1.GetUserRequest"), [0_u32; 0]);
        for (message, fields) in SECRETS {
            assert_eq!(secret_fields(message), *fields);
        }
    }

    #[test]
    fn a_message_with_a_secret_shows_nothing_of_it() {
        let secret = || "hunter2".to_owned();
        let target = Some(Target::RefreshToken(secret()));
        let shown = format!(
            "{:?} {:?} {:?}",
            AuthenticateRequest { password: secret(), ..Default::default() },
            Session { refresh_token: secret(), ..Default::default() },
            (SignOutRequest { target: target.clone() }, target)
        );
        assert!(shown.contains("AuthenticateRequest(***)") && !shown.contains("hunter2"), "{shown}");
    }
}
