//! What commands change, and what they do not.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    ApiKey, ChangePassword, ClientId, Credentials, Erasure, NewApiKey, NewSession, NewUser, PasswordHash,
    ProfileUpdate, Roles, Salt, SignIn, SignOutTarget, UserName, UserRole, UserState, parse_email,
};

const KEY: &str = "0123456789abcdef";

/// A shop with its rules and a clock.
struct Shop {
    state: State,
    rules: Rules,
}

impl Shop {
    fn new() -> Self {
        let rules = Rules {
            now: Timestamp::UNIX_EPOCH + TimeDelta::days(20_000),
            access_token_life: TimeDelta::seconds(331),
            refresh_token_life: TimeDelta::days(30),
            session_life: TimeDelta::days(90),
            grace: TimeDelta::seconds(10),
            failure_interval: TimeDelta::minutes(1),
            sessions_max: 3,
            api_keys_max: 2,
        };
        Self { state: State::default(), rules }
    }

    /// With Ada, a customer.
    fn with_ada() -> Self {
        let mut shop = Self::new();
        shop.done(&register("ada", "ada@example.com"), &nobody());
        shop
    }

    fn wait(&mut self, time: TimeDelta) {
        self.rules.now += time;
    }

    fn ask(&mut self, command: &Command, actor: &Actor) -> Result<Decided, &'static str> {
        let decided = decide(&self.state, command, actor, &self.rules).map_err(|rejection| rejection.reason)?;
        if let Decided::Changed(change) | Decided::Compromised(change) = &decided {
            self.state.apply(change);
        }
        Ok(decided)
    }

    fn done(&mut self, command: &Command, actor: &Actor) -> Change {
        match self.ask(command, actor) {
            Ok(Decided::Changed(change) | Decided::Compromised(change)) => *change,
            other => panic!("{other:?}"),
        }
    }

    fn user(&self) -> &User {
        self.state.user(&id("ada")).unwrap()
    }

    fn sign_in(&mut self, number: u128) -> Uuid {
        let command = sign_in(number, &self.user().password.clone(), true);
        self.done(&command, &nobody());
        Uuid::from_u128(number)
    }

    fn generation(&self, session_id: Uuid) -> i32 {
        self.state.session(session_id).unwrap().generation
    }

    fn is_open(&self, session_id: Uuid) -> bool {
        self.state.session(session_id).unwrap().is_open(self.rules.now)
    }
}

fn id(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn nobody() -> Actor {
    Actor { subject: String::new(), is_operator: false, peer_hash: "p".to_owned() }
}

fn as_user(subject: &str) -> Actor {
    Actor { subject: subject.to_owned(), ..nobody() }
}

fn as_operator() -> Actor {
    Actor { subject: "root".to_owned(), is_operator: true, peer_hash: String::new() }
}

fn register(user_id: &str, email: &str) -> Command {
    Command::Register(Box::new(NewUser {
        registration_id: Uuid::from_u128(1),
        user_id: id(user_id),
        email: parse_email(email).unwrap(),
        display_name: UserName::parse("").unwrap(),
        roles: Roles::CUSTOMER,
        password: PasswordHash::new("first"),
    }))
}

fn sign_in(number: u128, compared_with: &PasswordHash, are_right: bool) -> Command {
    Command::SignIn(Box::new(SignIn {
        user_id: id("ada"),
        credentials: Credentials { compared_with: compared_with.clone(), are_right },
        rehashed: None,
        session: NewSession {
            session_id: Uuid::from_u128(number),
            salt: Salt::new([0; 32]),
            client_id: ClientId::parse("web").unwrap(),
        },
    }))
}

fn refresh(session_id: Uuid, generation: i32) -> Command {
    Command::Refresh { session_id, generation }
}

fn change_password(current: Option<(&str, bool)>, keep_session_id: Option<Uuid>) -> Command {
    Command::ChangePassword(Box::new(ChangePassword {
        user_id: id("ada"),
        current: current.map(|(kept, are_right)| Credentials { compared_with: PasswordHash::new(kept), are_right }),
        new: PasswordHash::new("second"),
        keep_session_id,
    }))
}

fn erase(user_id: &str, current: Option<(&str, bool)>) -> Command {
    Command::Erase(Box::new(Erasure {
        user_id: id(user_id),
        current: current.map(|(compared_with, are_right)| Credentials {
            compared_with: PasswordHash::new(compared_with),
            are_right,
        }),
        email: parse_email("nobody@erased.invalid").unwrap(),
        display_name: UserName::parse("").unwrap(),
    }))
}

fn assign(roles: &[UserRole]) -> Command {
    let roles = Roles::of(roles.iter().copied()).unwrap();
    Command::AssignRoles { user_id: id("ada"), expected_version: None, roles }
}

fn set_state(state: UserState) -> Command {
    Command::SetState { user_id: id("ada"), state }
}

fn create_key(api_key_id: &str, expire_time: Option<Timestamp>) -> Command {
    Command::CreateApiKey(Box::new(NewApiKey {
        api_key_id: api_key_id.to_owned(),
        user_id: id("ada"),
        display_name: UserName::parse("").unwrap(),
        salt: Salt::new([0; 32]),
        secret_hash: [0; 32],
        expire_time,
    }))
}

fn told(change: &Change) -> Option<(ActivityType, Fact)> {
    change.activity.as_ref().map(|(activity, fact)| (activity.activity_type, *fact))
}

#[test]
fn a_mail_address_and_an_id_are_one_users() {
    let mut shop = Shop::with_ada();
    assert_eq!((shop.user().version, shop.user().activity_count, shop.user().activity_version), (1, 1, 0));
    assert_eq!(shop.ask(&register("bob", "ADA@example.com"), &nobody()), Err("EMAIL_TAKEN"));
    assert_eq!(shop.ask(&register("ada", "bob@example.com"), &nobody()), Err("USER_ID_TAKEN"));
    assert!(shop.ask(&register("bob", "bob@example.com"), &nobody()).is_ok());
}

#[test]
fn a_session_begins_with_the_right_password_of_an_active_user() {
    let mut shop = Shop::with_ada();
    let kept = PasswordHash::new("first");
    assert_eq!(shop.ask(&sign_in(1, &kept, false), &nobody()), Err("CREDENTIALS_REFUSED"));
    assert_eq!(shop.ask(&sign_in(1, &PasswordHash::new("old"), true), &nobody()), Err("CREDENTIALS_CHANGED"));
    let change = shop.done(&sign_in(1, &kept, true), &nobody());
    assert_eq!(told(&change), Some((ActivityType::SignedIn, Fact::Activity)));
    assert_eq!(change.activity.as_ref().map(|(activity, _)| activity.actor.as_str()), Some("ada"));
    assert!(shop.is_open(Uuid::from_u128(1)));
    shop.done(&set_state(UserState::Disabled), &as_operator());
    assert_eq!(shop.ask(&sign_in(2, &kept, true), &nobody()), Err("CREDENTIALS_REFUSED"));
}

#[test]
fn one_session_too_many_ends_the_one_that_was_refreshed_longest_ago() {
    let mut shop = Shop::with_ada();
    let sessions: Vec<Uuid> = (1..=3)
        .map(|number| {
            shop.wait(TimeDelta::seconds(1));
            shop.sign_in(number)
        })
        .collect();
    shop.wait(TimeDelta::seconds(1));
    shop.done(&refresh(sessions[0], 0), &nobody());
    shop.sign_in(4);
    let open: Vec<bool> = sessions.iter().map(|session| shop.is_open(*session)).collect();
    assert_eq!(open, [true, false, true]);
}

#[test]
fn a_refresh_token_is_used_up_and_gives_its_successor_again_for_a_moment() {
    let mut shop = Shop::with_ada();
    let session = shop.sign_in(1);
    let change = shop.done(&refresh(session, 0), &nobody());
    assert_eq!((change.sessions[0].generation, change.activity, change.revocations.len()), (1, None, 0));
    shop.wait(TimeDelta::seconds(10));
    assert_eq!(shop.ask(&refresh(session, 0), &nobody()), Ok(Decided::Unchanged));
    assert_eq!(shop.generation(session), 1, "the same successor, and no other");
}

#[test]
fn a_refresh_token_that_comes_again_later_ends_its_session() {
    let mut shop = Shop::with_ada();
    let (session, other) = (shop.sign_in(1), shop.sign_in(2));
    shop.done(&refresh(session, 0), &nobody());
    shop.wait(TimeDelta::milliseconds(10_001));
    let Ok(Decided::Compromised(change)) = shop.ask(&refresh(session, 0), &nobody()) else { panic!("it is taken") };
    assert_eq!(told(&change), Some((ActivityType::SessionCompromised, Fact::Session)));
    assert_eq!(change.revocations[0].target, RevocationTarget::Session(session.to_string()));
    assert_eq!(change.revocations[0].expire_time - shop.rules.now, TimeDelta::seconds(331));
    assert_eq!(shop.ask(&refresh(session, 1), &nobody()), Err("REFRESH_TOKEN_REFUSED"), "the thief's too");
    assert!(shop.is_open(other), "it is about one session");
}

#[test]
fn a_session_ends_by_itself_and_with_its_user() {
    let mut shop = Shop::with_ada();
    let idle = shop.sign_in(1);
    shop.wait(TimeDelta::days(30));
    assert_eq!(shop.ask(&refresh(idle, 0), &nobody()), Err("REFRESH_TOKEN_REFUSED"));
    let busy = shop.sign_in(2);
    for generation in 0..4 {
        shop.wait(TimeDelta::days(29));
        let refreshed = shop.ask(&refresh(busy, generation), &nobody());
        assert_eq!(refreshed.is_ok(), generation < 3, "90 days, however often it is refreshed");
    }
    let last = shop.sign_in(3);
    shop.done(&set_state(UserState::Disabled), &as_operator());
    assert_eq!(shop.ask(&refresh(last, 0), &nobody()), Err("REFRESH_TOKEN_REFUSED"));
}

#[test]
fn a_failed_sign_in_is_written_down_once_a_minute() {
    let mut shop = Shop::with_ada();
    let command = Command::FailSignIn(id("ada"));
    assert_eq!(told(&shop.done(&command, &nobody())), Some((ActivityType::SignInFailed, Fact::Activity)));
    assert_eq!(shop.ask(&command, &nobody()), Ok(Decided::Unchanged));
    shop.wait(TimeDelta::minutes(1));
    assert!(matches!(shop.ask(&command, &nobody()), Ok(Decided::Changed(_))));
    assert_eq!(shop.ask(&Command::FailSignIn(id("bob")), &nobody()), Ok(Decided::Unchanged));
}

#[test]
fn a_session_is_ended_by_its_token_by_its_user_and_by_operators_alone() {
    let sign_out = |session| Command::SignOut(SignOutTarget::Session(session));
    let mut shop = Shop::with_ada();
    let (first, second, third) = (shop.sign_in(1), shop.sign_in(2), shop.sign_in(3));
    for stranger in [nobody(), as_user("bob")] {
        assert_eq!(shop.ask(&sign_out(first), &stranger), Ok(Decided::Unchanged), "as one that never was");
    }
    assert_eq!(shop.ask(&sign_out(Uuid::from_u128(9)), &as_operator()), Ok(Decided::Unchanged));
    shop.done(&sign_out(first), &as_user("ada"));
    shop.done(&sign_out(second), &as_operator());
    let change = shop.done(&Command::SignOut(SignOutTarget::Proven(third)), &nobody());
    assert_eq!(change.revocations[0].target, RevocationTarget::Session(third.to_string()));
    assert_eq!(shop.ask(&sign_out(first), &as_user("ada")), Ok(Decided::Unchanged), "it has ended");
    let all = Command::SignOut(SignOutTarget::User(id("ada")));
    assert_eq!(shop.ask(&all, &as_user("bob")), Err("USER_NOT_FOUND"));
    assert_eq!(shop.ask(&all, &as_user("ada")), Ok(Decided::Unchanged));
    shop.sign_in(4);
    shop.sign_in(5);
    assert_eq!(shop.done(&all, &as_user("ada")).sessions.len(), 2);
}

#[test]
fn another_password_ends_all_sessions_but_the_one_that_is_kept() {
    let mut shop = Shop::with_ada();
    let (kept, other) = (shop.sign_in(1), shop.sign_in(2));
    let ada = as_user("ada");
    assert_eq!(shop.ask(&change_password(Some(("first", false)), None), &ada), Err("CURRENT_PASSWORD_WRONG"));
    assert_eq!(shop.ask(&change_password(Some(("old", true)), None), &ada), Err("CREDENTIALS_CHANGED"));
    assert_eq!(shop.ask(&change_password(None, None), &ada), Err("CURRENT_PASSWORD_WRONG"));
    assert_eq!(shop.ask(&change_password(Some(("first", true)), None), &as_user("bob")), Err("USER_NOT_FOUND"));
    let change = shop.done(&change_password(Some(("first", true)), Some(kept)), &ada);
    assert_eq!(change.user.password, PasswordHash::new("second"));
    assert_eq!((shop.is_open(kept), shop.is_open(other)), (true, false));
    assert_eq!(change.revocations.len(), 1);
    shop.done(&change_password(None, None), &as_operator());
    assert!(!shop.is_open(kept), "an operator who sets it ends them all");
}

#[test]
fn an_operator_needs_the_current_password_for_its_own() {
    let mut shop = Shop::with_ada();
    let ada = Actor { is_operator: true, ..as_user("ada") };
    assert_eq!(shop.ask(&change_password(None, None), &ada), Err("CURRENT_PASSWORD_WRONG"));
}

#[test]
fn other_roles_make_all_access_tokens_of_before_refused_and_end_no_session() {
    let mut shop = Shop::with_ada();
    let session = shop.sign_in(1);
    let change = shop.done(&assign(&[UserRole::Customer, UserRole::Viewer]), &as_operator());
    assert_eq!(change.revocations[0].target, RevocationTarget::User(id("ada")));
    assert_eq!(change.user.tokens_after, shop.rules.now.timestamp());
    assert_eq!((change.user.version, told(&change)), (2, Some((ActivityType::RolesAssigned, Fact::Profile))));
    assert!(shop.is_open(session));
    // Tokens of the moment after this are of the next second, and refused by what is decided before that.
    let second = shop.done(&assign(&[UserRole::Customer]), &as_operator());
    assert_eq!(second.user.tokens_after, shop.rules.now.timestamp() + 1);
    assert_eq!(second.revocations[0].revoke_time.timestamp(), second.user.tokens_after);
    shop.done(&assign(&[UserRole::Customer, UserRole::Viewer]), &as_operator());
    let again = assign(&[UserRole::Viewer, UserRole::Customer]);
    assert_eq!(shop.ask(&again, &as_operator()), Ok(Decided::Unchanged));
    let expected = Command::AssignRoles { user_id: id("ada"), expected_version: Some(1), roles: Roles::CUSTOMER };
    assert_eq!(shop.ask(&expected, &as_operator()), Err("USER_VERSION_MISMATCH"));
}

#[test]
fn an_operator_takes_neither_its_role_nor_its_sign_in_from_itself() {
    let mut shop = Shop::with_ada();
    shop.done(&assign(&[UserRole::Operator]), &as_operator());
    let ada = Actor { is_operator: true, ..as_user("ada") };
    assert_eq!(shop.ask(&assign(&[UserRole::Customer]), &ada), Err("OPERATOR_IS_ONESELF"));
    assert_eq!(shop.ask(&set_state(UserState::Disabled), &ada), Err("OPERATOR_IS_ONESELF"));
    assert!(shop.ask(&assign(&[UserRole::Operator, UserRole::Customer]), &ada).is_ok());
    assert!(shop.ask(&assign(&[UserRole::Customer]), &as_operator()).is_ok());
}

#[test]
fn a_disabled_user_loses_sessions_and_tokens_at_once_and_may_come_back() {
    let mut shop = Shop::with_ada();
    shop.sign_in(1);
    shop.sign_in(2);
    let change = shop.done(&set_state(UserState::Disabled), &as_operator());
    assert_eq!((change.sessions.len(), change.revocations.len()), (2, 1));
    assert_eq!(change.revocations[0].target, RevocationTarget::User(id("ada")));
    assert_eq!(shop.ask(&set_state(UserState::Disabled), &as_operator()), Ok(Decided::Unchanged));
    shop.done(&set_state(UserState::Active), &as_operator());
    shop.sign_in(3);
}

#[test]
fn an_erased_user_is_nobody_for_good_and_leaves_its_mail_address_to_others() {
    let mut shop = Shop::with_ada();
    let session = shop.sign_in(1);
    shop.done(&create_key(KEY, None), &as_user("ada"));
    let own = |are_right| erase("ada", Some(("first", are_right)));
    assert_eq!(shop.ask(&erase("ada", None), &as_user("ada")), Err("CURRENT_PASSWORD_WRONG"));
    assert_eq!(shop.ask(&own(false), &as_user("ada")), Err("CURRENT_PASSWORD_WRONG"));
    assert_eq!(shop.ask(&erase("ada", Some(("another", true))), &as_user("ada")), Err("CREDENTIALS_CHANGED"));
    assert_eq!(shop.ask(&own(true), &as_user("bob")), Err("USER_NOT_FOUND"));
    let change = shop.done(&own(true), &as_user("ada"));
    assert_eq!(told(&change), Some((ActivityType::Erased, Fact::Profile)));
    assert_eq!(change.activity.as_ref().unwrap().0.peer_hash, "", "nor where the person was");
    let User { email, display_name, password, state, version, .. } = shop.user().clone();
    assert_eq!((email.as_str(), display_name.as_str(), password.as_str()), ("nobody@erased.invalid", "", ""));
    assert_eq!((state, version, change.revocations.len()), (UserState::Erased, 2, 1));
    assert!(!shop.is_open(session) && shop.state.active_api_keys(&id("ada"), shop.rules.now).is_empty());

    let (ada, root, right) = (as_user("ada"), as_operator(), PasswordHash::new(""));
    assert_eq!(shop.ask(&sign_in(2, &right, true), &nobody()), Err("CREDENTIALS_REFUSED"));
    assert_eq!(shop.ask(&refresh(session, 0), &nobody()), Err("REFRESH_TOKEN_REFUSED"));
    for command in [
        set_state(UserState::Active),
        set_state(UserState::Disabled),
        assign(&[UserRole::Operator]),
        change_password(None, None),
        create_key("1123456789abcdef", None),
    ] {
        assert_eq!(shop.ask(&command, &root), Err("USER_ERASED"), "{command:?}");
    }
    assert_eq!(shop.ask(&Command::FailSignIn(id("ada")), &nobody()), Ok(Decided::Unchanged));
    assert_eq!(shop.ask(&erase("ada", None), &root), Ok(Decided::Unchanged), "it is done");
    assert_eq!(shop.ask(&own(true), &ada), Ok(Decided::Unchanged));
    shop.done(&register("another", "ada@example.com"), &nobody());
}

#[test]
fn an_operator_erases_others_and_not_itself() {
    let mut shop = Shop::with_ada();
    shop.done(&assign(&[UserRole::Operator]), &as_operator());
    let itself = Actor { subject: "ada".to_owned(), ..as_operator() };
    assert_eq!(shop.ask(&erase("ada", Some(("first", true))), &itself), Err("OPERATOR_IS_ONESELF"));
    assert_eq!(shop.ask(&erase("bob", None), &as_operator()), Err("USER_NOT_FOUND"));
    assert_eq!(told(&shop.done(&erase("ada", None), &as_operator())), Some((ActivityType::Erased, Fact::Profile)));
}

#[test]
fn a_profile_is_changed_by_its_user_and_its_mail_address_by_operators() {
    let update = |name: Option<&str>, email: Option<&str>| {
        let display_name = name.map(|name| UserName::parse(name).unwrap());
        let email = email.map(|email| parse_email(email).unwrap());
        Command::UpdateProfile(ProfileUpdate { user_id: id("ada"), expected_version: None, display_name, email })
    };
    let mut shop = Shop::with_ada();
    shop.done(&register("bob", "bob@example.com"), &nobody());
    let ada = as_user("ada");
    assert_eq!(shop.done(&update(Some("Ada"), None), &ada).user.version, 2);
    assert_eq!(shop.ask(&update(Some("Ada"), Some("ada@example.com")), &ada), Ok(Decided::Unchanged));
    assert_eq!(shop.ask(&update(None, Some("a@example.com")), &ada), Err("ROLE_REQUIRED"));
    assert_eq!(shop.ask(&update(None, Some("bob@example.com")), &as_operator()), Err("EMAIL_TAKEN"));
    assert_eq!(shop.ask(&update(Some("Eve"), None), &as_user("bob")), Err("USER_NOT_FOUND"));
    shop.done(&update(None, Some("a@example.com")), &as_operator());
}

#[test]
fn a_user_has_two_keys_that_work_and_a_revoked_one_makes_room() {
    let mut shop = Shop::with_ada();
    let ada = as_user("ada");
    let now = shop.rules.now;
    shop.done(&create_key(KEY, None), &ada);
    shop.done(&create_key("1123456789abcdef", Some(now + TimeDelta::hours(1))), &ada);
    assert_eq!(shop.ask(&create_key("2123456789abcdef", None), &ada), Err("API_KEY_LIMIT_REACHED"));
    let revoke = Command::RevokeApiKey(KEY.to_owned());
    assert_eq!(shop.ask(&revoke, &as_user("bob")), Err("API_KEY_NOT_FOUND"));
    let change = shop.done(&revoke, &ada);
    assert_eq!(change.revocations[0].target, RevocationTarget::Session(KEY.to_owned()));
    assert_eq!(shop.ask(&revoke, &ada), Ok(Decided::Unchanged));
    shop.done(&create_key("2123456789abcdef", None), &ada);
    shop.wait(TimeDelta::hours(1));
    shop.done(&create_key("3123456789abcdef", None), &as_operator());
    let passed = create_key("4123456789abcdef", Some(now));
    assert_eq!(shop.ask(&passed, &ada), Err("EXPIRE_TIME_PASSED"));
    assert_eq!(shop.ask(&create_key(KEY, None), &as_user("bob")), Err("USER_NOT_FOUND"));
    assert!(shop.state.api_key(KEY).is_some_and(|key: &ApiKey| !key.is_active(shop.rules.now)));
}

proptest! {
    /// Whatever comes, and however often: a session has at most one token that works, numbers only grow, and the numbers
    /// of entries and versions have no gaps.
    #[test]
    fn a_family_of_refresh_tokens_never_forks(
        steps in proptest::collection::vec((0_i32..6, 0_i64..15), 1..40),
    ) {
        let mut shop = Shop::with_ada();
        let session = shop.sign_in(1);
        let (mut last, mut activities) = (0, shop.user().activity_count);
        for (back, seconds) in steps {
            shop.wait(TimeDelta::seconds(seconds));
            let (current, was_open) = (shop.generation(session), shop.is_open(session));
            let presented = current - back;
            let decided = shop.ask(&refresh(session, presented), &nobody());
            let now = shop.generation(session);
            prop_assert!(now >= last && now <= current + 1);
            match &decided {
                Ok(Decided::Changed(_)) => prop_assert!(was_open && presented == current && now == current + 1),
                Ok(Decided::Unchanged) => prop_assert!(was_open && presented == current - 1 && now == current),
                Ok(Decided::Compromised(change)) => {
                    prop_assert!(was_open && presented < current && !shop.is_open(session));
                    activities += 1;
                    prop_assert_eq!(change.activity.as_ref().map(|(activity, _)| activity.number), Some(activities));
                }
                Err(reason) => {
                    prop_assert_eq!(*reason, "REFRESH_TOKEN_REFUSED");
                    prop_assert!(!was_open || presented < 0);
                }
            }
            last = now;
        }
    }
}
