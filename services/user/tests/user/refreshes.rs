//! Refresh tokens: used once, given again to who lost the answer, and deadly to their session when they come again later.

use std::time::Duration;

use futures::future::join_all;
use openorder_proto::internal::user::v1::revocation::Target;
use openorder_proto::{topics, user::v1::UserSessionCompromised};
use openorder_testing::Message as _;
use openorder_testing::{Tail, eventually};
use openorder_user::UserSettings;
use prost::Message as _;
use tonic::Code;

use crate::world::{BOUND, Bench, is, refusal};

/// What a lost answer, a doubled click, or 64 tabs of a browser do.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_refreshes_at_once_give_one_successor() {
    let bench = Bench::start().await;
    bench.register("ada").await;
    let session = bench.sign_in("ada").await;
    let refreshed = join_all((0..64).map(|_| bench.refresh(&session.refresh_token))).await;
    let tokens: Vec<String> = refreshed.into_iter().map(|session| session.unwrap().refresh_token).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0] && *token != session.refresh_token));
    let next = bench.refresh(&tokens[0]).await.unwrap();
    assert_eq!(next.session_id, session.session_id);
    assert!(bench.trust(0).await.revocations.is_empty(), "nobody was taken for a thief");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_again_later_ends_its_session_for_the_thief_and_the_user() {
    let bench = Bench::with(UserSettings { refresh_grace_ms: 0, ..UserSettings::default() }).await;
    let ada = bench.register("ada").await;
    let (session, other) = (bench.sign_in("ada").await, bench.sign_in("ada").await);
    let stolen = bench.refresh(&session.refresh_token).await.unwrap();
    // Microseconds are told apart.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let reused = refusal(bench.refresh(&session.refresh_token).await);
    assert_eq!(reused, is(Code::Unauthenticated, "REFRESH_TOKEN_REUSED"));
    for token in [&session.refresh_token, &stolen.refresh_token] {
        assert_eq!(refusal(bench.refresh(token).await), is(Code::Unauthenticated, "REFRESH_TOKEN_REFUSED"));
    }
    assert!(bench.refresh(&other.refresh_token).await.is_ok(), "it is about one session");
    let revoked = bench.trust(0).await.revocations;
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].target, Some(Target::SessionId(session.session_id.clone())));

    let tail = Tail::new(&bench.world, topics::USER_SESSION);
    let message = eventually("the event is published", BOUND, || tail.next(Duration::from_secs(1))).await;
    let event = UserSessionCompromised::decode(message.payload().unwrap()).unwrap().activity.unwrap();
    assert_eq!((event.user_id, event.session_id), (ada.user_id, session.session_id));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guessed_token_ends_no_session_and_a_crash_none_either() {
    let mut bench = Bench::start().await;
    bench.register("ada").await;
    let session = bench.sign_in("ada").await;
    let next = bench.refresh(&session.refresh_token).await.unwrap();
    let mut parts: Vec<&str> = next.refresh_token.split('.').collect();
    let code = parts.pop().unwrap();
    let older = format!("{}.0.{code}", parts[0]);
    let wrong = format!("{}.1.{}", parts[0], code.chars().rev().collect::<String>());
    for guessed in [older.as_str(), &wrong, "x", "a.b.c"] {
        assert_eq!(
            refusal(bench.refresh(guessed).await),
            is(Code::Unauthenticated, "REFRESH_TOKEN_REFUSED"),
            "{guessed}"
        );
    }
    bench.crash().await;
    let again = bench.refresh(&session.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, next.refresh_token, "the same successor from the next process");
    let after = bench.refresh(&next.refresh_token).await.unwrap();
    bench.claims(&after.access_token).await;
    bench.claims(&session.access_token).await;
    bench.close().await;
}
