//! What operators do with users, and what users see of themselves.

use std::time::Duration;

use openorder_proto::internal::user::v1::{ExchangeApiKeyRequest, revocation::Target};
use openorder_proto::topics;
use openorder_proto::user::v1::{
    AssignRoleRequest, CreateApiKeyRequest, DisableUserRequest, EnableUserRequest, EraseUserRequest, GetUserRequest,
    ListApiKeysRequest, ListUserActivityRequest, ListUsersRequest, RegisterUserRequest, UpdateProfileRequest,
    UserActivityType, UserErased, UserRole, UserState,
};
use openorder_testing::Message as _;
use openorder_testing::{Tail, eventually};
use prost::Message as _;
use sqlx::{Connection, PgConnection};
use tonic::Code;

use crate::world::{BOUND, Bench, PASSWORD, as_customer, as_operator, email, is, refusal, registration, request_id};

#[tokio::test(flavor = "multi_thread")]
async fn other_roles_are_in_the_next_token_and_the_one_before_is_refused() {
    let bench = Bench::start().await;
    let ada = bench.register("ada").await;
    let session = bench.sign_in("ada").await;
    let before = bench.claims(&session.access_token).await;
    let mut users = bench.users();
    let message = AssignRoleRequest {
        request_id: request_id(),
        user_id: ada.user_id.clone(),
        expected_version: 1,
        roles: vec![UserRole::Operator.into(), UserRole::Customer.into()],
    };
    let customer = users.assign_role(as_customer(&ada.user_id).request(message.clone())).await;
    assert_eq!(refusal(customer), is(Code::PermissionDenied, "ROLE_REQUIRED"));
    let assigned = users.assign_role(as_operator().request(message)).await.unwrap().into_inner().user.unwrap();
    assert_eq!((assigned.version, assigned.roles), (2, vec![1, 2]));
    let revocation = bench.trust(0).await.revocations.pop().unwrap();
    assert_eq!(revocation.target, Some(Target::UserId(ada.user_id)));
    let refreshed = bench.refresh(&session.refresh_token).await.unwrap();
    let after = bench.claims(&refreshed.access_token).await;
    assert_eq!(after.roles, ["customer", "operator"]);
    let revoked = revocation.revoke_time.unwrap().seconds;
    assert!(before.iat <= revoked && revoked < after.iat, "{} {revoked} {}", before.iat, after.iat);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_is_nobody_until_it_is_enabled() {
    let bench = Bench::start().await;
    let ada = bench.register("ada").await;
    let session = bench.sign_in("ada").await;
    let mut users = bench.users();
    let message = DisableUserRequest { request_id: request_id(), user_id: ada.user_id.clone() };
    let disabled = users.disable_user(as_operator().request(message)).await.unwrap().into_inner().user.unwrap();
    assert_eq!(disabled.state(), UserState::Disabled);
    assert_eq!(
        refusal(bench.authenticate("ada", PASSWORD, "").await),
        is(Code::Unauthenticated, "CREDENTIALS_REFUSED")
    );
    assert_eq!(
        refusal(bench.refresh(&session.refresh_token).await),
        is(Code::Unauthenticated, "REFRESH_TOKEN_REFUSED")
    );
    let message = EnableUserRequest { request_id: request_id(), user_id: ada.user_id.clone() };
    users.enable_user(as_operator().request(message)).await.unwrap();
    bench.sign_in("ada").await;
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_and_changes_itself_and_nobody_else_exists() {
    let bench = Bench::start().await;
    let (ada, bob) = (bench.register("ada").await, bench.register("bob").await);
    let mut users = bench.users();
    let call = as_customer(&ada.user_id);
    let get = |user_id: &str| call.request(GetUserRequest { user_id: user_id.to_owned() });
    assert_eq!(users.get_user(get(&ada.user_id)).await.unwrap().into_inner().user, Some(ada.clone()));
    for other in [bob.user_id.as_str(), "nobody"] {
        assert_eq!(refusal(users.get_user(get(other)).await), is(Code::NotFound, "USER_NOT_FOUND"), "{other}");
        let activity = ListUserActivityRequest { user_id: other.to_owned(), ..Default::default() };
        let refused = refusal(users.list_user_activity(call.request(activity)).await);
        assert_eq!(refused, is(Code::NotFound, "USER_NOT_FOUND"));
        let update = UpdateProfileRequest {
            request_id: request_id(),
            user_id: other.to_owned(),
            display_name: Some("Eve".to_owned()),
            ..Default::default()
        };
        assert_eq!(refusal(users.update_profile(call.request(update)).await), is(Code::NotFound, "USER_NOT_FOUND"));
    }
    let list = users.list_users(call.request(ListUsersRequest::default())).await;
    assert_eq!(refusal(list), is(Code::PermissionDenied, "ROLE_REQUIRED"));
    let update = UpdateProfileRequest {
        request_id: request_id(),
        user_id: ada.user_id.clone(),
        expected_version: 1,
        display_name: Some("Ada".to_owned()),
        email: None,
    };
    let updated = users.update_profile(call.request(update)).await.unwrap().into_inner().user.unwrap();
    assert_eq!((updated.version, updated.display_name.as_str()), (2, "Ada"));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_find_users_page_by_page_and_what_they_did() {
    let bench = Bench::start().await;
    let mut users = bench.users();
    let chosen = RegisterUserRequest {
        user_id: "robot-7".to_owned(),
        roles: vec![UserRole::Service.into()],
        ..registration("robot")
    };
    let robot = users.register_user(as_operator().request(chosen)).await.unwrap().into_inner().user.unwrap();
    assert_eq!((robot.user_id.as_str(), robot.roles.as_slice()), ("robot-7", &[3][..]));
    for name in ["ada", "bob", "cid"] {
        bench.register(name).await;
    }
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let message =
            ListUsersRequest { role: UserRole::Customer.into(), page_size: 2, page_token, ..Default::default() };
        let page = users.list_users(as_operator().request(message)).await.unwrap().into_inner();
        found.extend(page.users.into_iter().map(|user| user.email));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["cid@example.com", "bob@example.com", "ada@example.com"], "the newest first");
    let by_email = ListUsersRequest { email: "ADA@example.com".to_owned(), ..Default::default() };
    let page = users.list_users(as_operator().request(by_email)).await.unwrap().into_inner();
    let [ada] = page.users.as_slice() else { panic!("{page:?}") };

    assert!(bench.authenticate("ada", "wrong password", "192.0.2.1").await.is_err());
    let activities = || async {
        let message = ListUserActivityRequest { user_id: ada.user_id.clone(), ..Default::default() };
        let page = bench.users().list_user_activity(as_customer(&ada.user_id).request(message)).await.unwrap();
        Some(page.into_inner().activities).filter(|activities| activities.len() == 2)
    };
    // A failed sign-in is written down beside its answer.
    let activities = eventually("both are written down", BOUND, activities).await;
    let types: Vec<_> = activities.iter().map(|activity| (activity.number, activity.r#type())).collect();
    assert_eq!(types, [(2, UserActivityType::SignInFailed), (1, UserActivityType::Registered)]);
    assert_eq!(activities[0].peer_hash.len(), 16);
    assert_eq!(activities[0].peer_hash, activities[1].peer_hash, "from one address");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_user_is_nobody_and_its_mail_address_is_free() {
    let bench = Bench::start().await;
    let ada = bench.register("ada").await;
    let session = bench.sign_in("ada").await;
    let (call, mut users) = (as_customer(&ada.user_id), bench.users());
    let key = CreateApiKeyRequest {
        request_id: request_id(),
        user_id: ada.user_id.clone(),
        display_name: "the laptop of ada".to_owned(),
        expire_time: None,
    };
    let key = users.create_api_key(call.request(key)).await.unwrap().into_inner().key;
    let erase = |password: &str| EraseUserRequest {
        request_id: request_id(),
        user_id: ada.user_id.clone(),
        current_password: password.to_owned(),
    };
    let missing = users.erase_user(call.request(erase(""))).await;
    assert_eq!(refusal(missing), is(Code::InvalidArgument, "FIELD_MISSING"));
    let wrong = users.erase_user(call.request(erase("wrong password"))).await;
    assert_eq!(refusal(wrong), is(Code::FailedPrecondition, "CURRENT_PASSWORD_WRONG"));
    let foreign = users.erase_user(as_customer("bob").request(erase(PASSWORD))).await;
    assert_eq!(refusal(foreign), is(Code::NotFound, "USER_NOT_FOUND"));

    let message = erase(PASSWORD);
    let erased = users.erase_user(call.request(message.clone())).await.unwrap().into_inner().user.unwrap();
    assert_eq!((erased.state(), erased.email.as_str(), erased.display_name.as_str()), (UserState::Erased, "", ""));
    let again = users.erase_user(call.request(message)).await.unwrap().into_inner().user.unwrap();
    assert_eq!(again, erased, "the password is gone, and the answer is the same");
    let refused = refusal(bench.authenticate("ada", PASSWORD, "").await);
    assert_eq!(refused, is(Code::Unauthenticated, "CREDENTIALS_REFUSED"));
    let refused = refusal(bench.refresh(&session.refresh_token).await);
    assert_eq!(refused, is(Code::Unauthenticated, "REFRESH_TOKEN_REFUSED"));
    let exchange = bench.trust_service().exchange_api_key(ExchangeApiKeyRequest { api_key: key }).await;
    assert_eq!(refusal(exchange), is(Code::Unauthenticated, "API_KEY_UNKNOWN"));
    let revoked = bench.trust(0).await.revocations.pop().unwrap().target;
    assert_eq!(revoked, Some(Target::UserId(ada.user_id.clone())));

    // The id stays, and nothing of the person.
    let get = GetUserRequest { user_id: ada.user_id.clone() };
    assert_eq!(users.get_user(as_operator().request(get)).await.unwrap().into_inner().user, Some(erased.clone()));
    let list = ListApiKeysRequest { user_id: ada.user_id.clone() };
    let keys = users.list_api_keys(as_operator().request(list)).await.unwrap().into_inner().api_keys;
    assert_eq!(
        keys.iter().map(|key| (key.revoke_time.is_some(), key.display_name.as_str())).collect::<Vec<_>>(),
        [(true, "")]
    );
    let by_email = ListUsersRequest { email: email("ada"), ..Default::default() };
    assert!(users.list_users(as_operator().request(by_email)).await.unwrap().into_inner().users.is_empty());
    let mut database = PgConnection::connect(bench.world.database_url("user").expose()).await.unwrap();
    let all: String = sqlx::query_scalar(
        "select concat((select string_agg(one::text, ' ') from user_account as one), \
                       (select string_agg(one::text, ' ') from user_activity as one where peer_hash <> ''), \
                       (select string_agg(one::text, ' ') from api_key as one))",
    )
    .fetch_one(&mut database)
    .await
    .unwrap();
    assert!(all.contains(&ada.user_id), "the tables are read");
    for personal in ["ada@", "tester", "laptop", "argon2", "192.0.2"] {
        assert!(!all.contains(personal), "{personal} stands in a table: {all}");
    }
    let enable = EnableUserRequest { request_id: request_id(), user_id: ada.user_id.clone() };
    let refused = refusal(users.enable_user(as_operator().request(enable)).await);
    assert_eq!(refused, is(Code::FailedPrecondition, "USER_ERASED"));

    let tail = Tail::new(&bench.world, topics::USER_PROFILE);
    eventually("the user is told of", BOUND, || tail.next(Duration::from_secs(1))).await;
    let event = eventually("its end is told of", BOUND, || tail.next(Duration::from_secs(1))).await;
    let user = UserErased::decode(event.payload().unwrap()).unwrap().user.unwrap();
    assert_eq!((user.user_id.as_str(), user.state(), user.version), (ada.user_id.as_str(), UserState::Erased, 2));

    let another = bench.register("ada").await;
    assert_ne!(another.user_id, ada.user_id);
    bench.close().await;
}
