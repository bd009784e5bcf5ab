//! API keys, and the keys that sign access tokens.

use openorder_auth::{API_KEY_CLIENT_ID, SESSION_METADATA, peek};
use openorder_proto::internal::user::v1::{ExchangeApiKeyRequest, ExchangeApiKeyResponse, revocation::Target};
use openorder_proto::user::v1::{
    CreateApiKeyRequest, ListApiKeysRequest, RevokeApiKeyRequest, RotateSigningKeysRequest,
};
use openorder_testing::eventually;
use openorder_user::UserSettings;
use tonic::{Code, Status};

use crate::world::{BOUND, Bench, as_customer, as_operator, is, refusal, request_id};

async fn exchange(bench: &Bench, api_key: &str) -> Result<ExchangeApiKeyResponse, Status> {
    let message = ExchangeApiKeyRequest { api_key: api_key.to_owned() };
    Ok(bench.trust_service().exchange_api_key(message).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_exchanged_for_tokens_of_its_user_until_it_is_revoked() {
    let bench = Bench::start().await;
    let ada = bench.register("ada").await;
    let call = as_customer(&ada.user_id);
    let mut users = bench.users();
    let create = || CreateApiKeyRequest {
        request_id: request_id(),
        user_id: ada.user_id.clone(),
        display_name: "ci".to_owned(),
        expire_time: None,
    };
    let message = create();
    let created = users.create_api_key(call.request(message.clone())).await.unwrap().into_inner();
    let again = users.create_api_key(call.request(message)).await.unwrap().into_inner();
    assert_eq!(again, created, "who lost the answer gets the same key");
    let second = users.create_api_key(call.request(create())).await.unwrap().into_inner();
    let third = users.create_api_key(call.request(create())).await;
    assert_eq!(refusal(third), is(Code::FailedPrecondition, "API_KEY_LIMIT_REACHED"));
    let mut by_key = call.request(create());
    let id = created.api_key.clone().unwrap().api_key_id;
    by_key.metadata_mut().insert(SESSION_METADATA, id.parse().unwrap());
    assert_eq!(refusal(users.create_api_key(by_key).await), is(Code::PermissionDenied, "API_KEY_NOT_ALLOWED"));

    let token = exchange(&bench, &created.key).await.unwrap();
    let claims = bench.claims(&token.access_token).await;
    assert_eq!((claims.sub.as_str(), claims.sid.as_str()), (ada.user_id.as_str(), id.as_str()));
    assert_eq!(claims.client_id, API_KEY_CLIENT_ID);
    let foreign = format!("oo_{id}_{}", second.key.rsplit_once('_').unwrap().1);
    for wrong in [foreign.as_str(), &created.key[..created.key.len() - 1], "oo_", ""] {
        assert_eq!(refusal(exchange(&bench, wrong).await), is(Code::Unauthenticated, "API_KEY_UNKNOWN"), "{wrong}");
    }
    let list = ListApiKeysRequest { user_id: ada.user_id.clone() };
    let listed = users.list_api_keys(call.request(list)).await.unwrap().into_inner().api_keys;
    let used: Vec<bool> = listed.iter().map(|key| key.last_use_time.is_some()).collect();
    assert_eq!(used, [false, true], "the newest first, and only the first one was used");

    let revoke = RevokeApiKeyRequest { request_id: request_id(), api_key_id: id.clone() };
    let foreign = users.revoke_api_key(as_customer("bob").request(revoke.clone())).await;
    assert_eq!(refusal(foreign), is(Code::NotFound, "API_KEY_NOT_FOUND"));
    users.revoke_api_key(call.request(revoke)).await.unwrap();
    assert_eq!(refusal(exchange(&bench, &created.key).await), is(Code::Unauthenticated, "API_KEY_UNKNOWN"));
    assert!(exchange(&bench, &second.key).await.is_ok(), "the other one works on");
    let revoked = bench.trust(0).await.revocations;
    assert_eq!(revoked.last().unwrap().target, Some(Target::SessionId(id)));
    users.create_api_key(call.request(create())).await.unwrap();
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_while_callers_go_on() {
    let settings =
        UserSettings { signing_key_announce_ms: 0, signing_key_check_interval_ms: 50, ..UserSettings::default() };
    let bench = Bench::with(settings).await;
    bench.register("ada").await;
    let session = bench.sign_in("ada").await;
    let mut users = bench.users();
    let message = RotateSigningKeysRequest { request_id: request_id() };
    let rotated = users.rotate_signing_keys(as_operator().request(message.clone())).await.unwrap().into_inner();
    let again = users.rotate_signing_keys(as_operator().request(message)).await.unwrap().into_inner();
    assert_eq!(again, rotated, "a repeated call makes no other key");
    let token = eventually("the new key signs", BOUND, || async {
        let token = bench.sign_in("ada").await.access_token;
        Some(token).filter(|token| peek(token).unwrap().key_id == rotated.key_id)
    })
    .await;
    assert_eq!(bench.trust(0).await.keys.len(), 2);
    bench.claims(&token).await;
    bench.claims(&session.access_token).await;
    let customer = RotateSigningKeysRequest { request_id: request_id() };
    let refused = refusal(users.rotate_signing_keys(as_customer("ada").request(customer)).await);
    assert_eq!(refused, is(Code::PermissionDenied, "ROLE_REQUIRED"));
    bench.close().await;
}

/// What the gateway asks every few seconds: nothing is missing, and nothing comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn revocations_follow_on_the_position_that_was_given_last() {
    use openorder_proto::user::v1::{SignOutRequest, sign_out_request};
    let bench = Bench::start().await;
    bench.register("ada").await;
    let (mut position, mut seen, mut ended) = (0, Vec::new(), Vec::new());
    for _ in 0..5 {
        let sessions = [bench.sign_in("ada").await, bench.sign_in("ada").await];
        for session in sessions {
            let target = Some(sign_out_request::Target::RefreshToken(session.refresh_token));
            bench.users().sign_out(tonic::Request::new(SignOutRequest { target })).await.unwrap();
            ended.push(session.session_id);
        }
        let trust = bench.trust(position).await;
        assert!(!trust.has_more);
        position = trust.position;
        for revocation in trust.revocations {
            let Some(Target::SessionId(session_id)) = revocation.target else { panic!("{revocation:?}") };
            seen.push(session_id);
        }
    }
    assert_eq!(seen, ended);
    assert!(bench.trust(position).await.revocations.is_empty());
    assert_eq!(bench.trust(position + 1_000).await.revocations.len(), 10, "a position of another database is none");
    bench.close().await;
}
