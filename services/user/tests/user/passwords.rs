//! Registration and sign-in.

use openorder_proto::user::v1::{
    AuthenticateRequest, ChangePasswordRequest, RegisterUserRequest, SignOutRequest, UserRole, sign_out_request::Target,
};
use openorder_user::UserSettings;
use tonic::Code;

use crate::world::{
    Bench, PASSWORD, Users, as_customer, as_operator, email, from, is, refusal, registration, request_id,
};

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_signs_in_and_is_known_by_the_token() {
    let bench = Bench::start().await;
    let message = RegisterUserRequest { email: "Ada@Example.com".to_owned(), ..registration("ada") };
    let mut users = bench.users();
    let ada = users.register_user(from("", message.clone())).await.unwrap().into_inner().user.unwrap();
    assert_eq!((ada.email.as_str(), ada.roles.as_slice()), ("ada@example.com", &[UserRole::Customer as i32][..]));
    let again = RegisterUserRequest { password: "another password".to_owned(), ..message.clone() };
    let again = users.register_user(from("", again)).await.unwrap().into_inner().user.unwrap();
    assert_eq!(again, ada, "the same request, the same answer, and the first password");
    let other = RegisterUserRequest { request_id: request_id(), ..message.clone() };
    assert_eq!(refusal(users.register_user(from("", other)).await), is(Code::AlreadyExists, "EMAIL_TAKEN"));
    let common = RegisterUserRequest { password: "Password1".to_owned(), ..registration("eve") };
    assert_eq!(
        refusal(users.register_user(from("", common)).await),
        is(Code::FailedPrecondition, "PASSWORD_TOO_COMMON")
    );
    let operator = RegisterUserRequest { roles: vec![UserRole::Operator.into()], ..registration("eve") };
    assert_eq!(refusal(users.register_user(from("", operator)).await), is(Code::PermissionDenied, "ROLE_REQUIRED"));

    let signed_in = bench.authenticate("ada", PASSWORD, "").await.unwrap();
    assert_eq!(signed_in.user, Some(ada.clone()));
    let session = signed_in.session.unwrap();
    let claims = bench.claims(&session.access_token).await;
    assert_eq!((claims.sub.as_str(), claims.sid.as_str()), (ada.user_id.as_str(), session.session_id.as_str()));
    assert_eq!((claims.client_id.as_str(), claims.roles), ("test", vec!["customer".to_owned()]));
    assert_eq!(claims.exp - claims.iat, 300);
    for (name, password) in [("ada", "wrong password"), ("nobody", PASSWORD), ("ada", "another password")] {
        let refused = refusal(bench.authenticate(name, password, "").await);
        assert_eq!(refused, is(Code::Unauthenticated, "CREDENTIALS_REFUSED"), "{name}");
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_often_waits_and_keeps_nobody_else_out() {
    let bench = Bench::start().await;
    bench.register("ada").await;
    for _ in 0..6 {
        let refused = refusal(bench.authenticate("ada", "wrong password", "192.0.2.66").await);
        assert_eq!(refused, is(Code::Unauthenticated, "CREDENTIALS_REFUSED"));
    }
    let delayed = bench.authenticate("ada", PASSWORD, "192.0.2.66").await.unwrap_err();
    assert_eq!(openorder_rpc::reason_of(&delayed).as_deref(), Some("SIGN_IN_DELAYED"));
    assert!(openorder_rpc::status::retry_after_of(&delayed).is_some(), "it says when to come again");
    assert!(bench.authenticate("ada", PASSWORD, "192.0.2.1").await.is_ok(), "she signs in from elsewhere");
    bench.close().await;
}

/// Failures are counted in Redis, by all instances of the service.
#[tokio::test(flavor = "multi_thread")]
async fn instances_delay_together_who_fails_often() {
    let settings = UserSettings { sign_in_free_tries: 2, sign_in_delay_ms: 60_000, ..UserSettings::default() };
    let mut bench = Bench::with(settings).await;
    bench.register("ada").await;
    let (one, other) = (bench.users(), bench.another().await);
    let tried = async |users: &Users, peer: &str| {
        let message = AuthenticateRequest { email: email("ada"), password: "wrong".to_owned(), ..Default::default() };
        refusal(users.clone().authenticate(from(peer, message)).await)
    };
    for users in [&one, &other, &one] {
        assert_eq!(tried(users, "192.0.2.66").await, is(Code::Unauthenticated, "CREDENTIALS_REFUSED"));
    }
    for users in [&other, &one] {
        assert_eq!(tried(users, "192.0.2.66").await, is(Code::ResourceExhausted, "SIGN_IN_DELAYED"));
        assert_eq!(tried(users, "192.0.2.67").await, is(Code::Unauthenticated, "CREDENTIALS_REFUSED"));
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_ends_all_sessions_but_the_one_that_changed_it() {
    let bench = Bench::start().await;
    let ada = bench.register("ada").await;
    let (kept, other) = (bench.sign_in("ada").await, bench.sign_in("ada").await);
    let mut users = bench.users();
    let change = |current: &str, new: &str| ChangePasswordRequest {
        request_id: request_id(),
        user_id: ada.user_id.clone(),
        current_password: current.to_owned(),
        new_password: new.to_owned(),
        keep_session_id: kept.session_id.clone(),
    };
    let call = as_customer(&ada.user_id);
    let wrong = users.change_password(call.request(change("wrong password", "battery staple"))).await;
    assert_eq!(refusal(wrong), is(Code::FailedPrecondition, "CURRENT_PASSWORD_WRONG"));
    let foreign = users.change_password(as_customer("bob").request(change(PASSWORD, "battery staple"))).await;
    assert_eq!(refusal(foreign), is(Code::NotFound, "USER_NOT_FOUND"));
    let before = bench.trust(0).await.position;
    let message = change(PASSWORD, "battery staple");
    let changed = users.change_password(call.request(message.clone())).await.unwrap().into_inner();
    assert_eq!(changed.ended_sessions, 1);
    let again = users.change_password(call.request(message)).await.unwrap().into_inner();
    assert_eq!(again, changed, "the password of then is no longer right, and the answer is the same");

    assert_eq!(refusal(bench.refresh(&other.refresh_token).await), is(Code::Unauthenticated, "REFRESH_TOKEN_REFUSED"));
    assert!(bench.refresh(&kept.refresh_token).await.is_ok());
    let revoked = bench.trust(before).await;
    assert_eq!(revoked.revocations.len(), 1, "{revoked:?}");
    assert_eq!(
        refusal(bench.authenticate("ada", PASSWORD, "").await),
        is(Code::Unauthenticated, "CREDENTIALS_REFUSED")
    );
    assert!(bench.authenticate("ada", "battery staple", "").await.is_ok());

    let reset = ChangePasswordRequest { current_password: String::new(), ..change("", PASSWORD) };
    let own = users.change_password(call.request(reset.clone())).await;
    assert_eq!(refusal(own), is(Code::InvalidArgument, "FIELD_MISSING"));
    users.change_password(as_operator().request(reset)).await.unwrap();
    bench.sign_in("ada").await;
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_is_refused_everywhere() {
    let bench = Bench::start().await;
    let ada = bench.register("ada").await;
    assert_eq!(ada.email, email("ada"));
    let (one, two, three) = (bench.sign_in("ada").await, bench.sign_in("ada").await, bench.sign_in("ada").await);
    let mut users = bench.users();
    let by = |target| SignOutRequest { target: Some(target) };
    let ended = users.sign_out(from("", by(Target::RefreshToken(one.refresh_token.clone())))).await.unwrap();
    assert_eq!(ended.into_inner().ended_sessions, 1);
    let foreign = as_customer("bob").request(by(Target::SessionId(two.session_id.clone())));
    assert_eq!(users.sign_out(foreign).await.unwrap().into_inner().ended_sessions, 0);
    let own = as_customer(&ada.user_id).request(by(Target::SessionId(two.session_id.clone())));
    assert_eq!(users.sign_out(own).await.unwrap().into_inner().ended_sessions, 1);
    for session in [&one, &two] {
        let refused = refusal(bench.refresh(&session.refresh_token).await);
        assert_eq!(refused, is(Code::Unauthenticated, "REFRESH_TOKEN_REFUSED"));
    }
    let trust = bench.trust(0).await;
    let revoked: Vec<_> = trust.revocations.into_iter().filter_map(|revocation| revocation.target).collect();
    use openorder_proto::internal::user::v1::revocation::Target as Revoked;
    assert_eq!(revoked, [Revoked::SessionId(one.session_id), Revoked::SessionId(two.session_id)]);
    let all = as_customer(&ada.user_id).request(by(Target::UserId(ada.user_id.clone())));
    assert_eq!(users.sign_out(all).await.unwrap().into_inner().ended_sessions, 1);
    assert!(bench.refresh(&three.refresh_token).await.is_err());
    let nothing = users.sign_out(from("", by(Target::RefreshToken("nonsense".to_owned())))).await.unwrap();
    assert_eq!(nothing.into_inner().ended_sessions, 0);
    bench.close().await;
}
