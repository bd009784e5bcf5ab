//! How often a caller may call: counted in Redis by all gateways together, and by each alone while that is away.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openorder_gateway::GatewaySettings;
use openorder_rpc::reason_of;
use openorder_rpc::status::retry_after_of;
use openorder_testing::free_address;
use tonic::Request;

use super::world::{REACHED, Users, World};
use crate::support::{GET_ORDER, call_with};

const EXCEEDED: &str = "CALLER_RATE_EXCEEDED";

/// Five calls at once, then one a second.
fn limited(settings: &mut GatewaySettings, prefix: &str) {
    (settings.caller_rate_per_second, settings.caller_burst) = (1, 5);
    settings.redis_url = redis_url().as_str().into();
    (settings.redis_prefix, settings.redis_timeout_ms) = (prefix.to_owned(), 2_000);
}

#[expect(clippy::disallowed_methods, reason = "tests have no settings of a process")]
fn redis_url() -> String {
    std::env::var("OPENORDER_REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:16379".to_owned())
}

/// Nobody else's.
fn prefix() -> String {
    format!("test-{}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos())
}

/// How many of so many calls at once reach their service.
async fn reached(world: &World, token: &str, calls: u32) -> u32 {
    let mut reached = 0;
    for _ in 0..calls {
        let (reason, _) = world.says(GET_ORDER, token).await;
        assert!(reason == REACHED || reason == EXCEEDED, "{reason}");
        reached += u32::from(reason == REACHED);
    }
    reached
}

#[tokio::test]
async fn gateways_count_the_calls_of_a_caller_together_and_no_other_callers() {
    let (users, prefix) = (Users::new(), prefix());
    let first = World::with(users.clone(), |settings| limited(settings, &prefix)).await;
    let second = World::with(users.clone(), |settings| limited(settings, &prefix)).await;
    crate::support::until(async || {
        let token = users.token("anybody", "s", &["viewer"]);
        // Where a caller is refused, its token was believed.
        let (one, other) = (first.says(GET_ORDER, &token).await.0, second.says(GET_ORDER, &token).await.0);
        one != "SIGN_IN_UNAVAILABLE" && other != "SIGN_IN_UNAVAILABLE"
    })
    .await;
    let started = Instant::now();
    // Two tokens of one caller, by two gateways.
    let (ada, again) = (users.token("ada", "1", &["customer"]), users.token("ada", "2", &["customer"]));
    let all = reached(&first, &ada, 6).await + reached(&second, &again, 6).await;
    let since = u32::try_from(started.elapsed().as_secs()).unwrap();
    assert!((5..=5 + since + 1).contains(&all), "{all} in {since} s");
    assert!(reached(&second, &users.token("bob", "3", &["customer"]), 5).await == 5, "another caller has its own");
    // Who has no token is told by its address.
    let strangers = reached(&first, "", 6).await + reached(&second, "", 6).await;
    assert!((5..12).contains(&strangers), "{strangers}");

    let mut request = Request::new(String::new());
    request.metadata_mut().insert("authorization", format!("Bearer {ada}").parse().unwrap());
    if let Err(status) = call_with(&first.channel, GET_ORDER, request).await
        && reason_of(&status).as_deref() == Some(EXCEEDED)
    {
        let wait = retry_after_of(&status).unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
        tokio::time::sleep(wait + Duration::from_millis(20)).await;
        assert_eq!(reached(&first, &ada, 1).await, 1, "who waits as long as it is told");
    }
}

#[tokio::test]
async fn while_redis_is_away_each_gateway_counts_for_itself() {
    let world = World::ready(|settings| {
        limited(settings, &prefix());
        settings.redis_url = format!("redis://{}", free_address()).as_str().into();
    })
    .await;
    let started = Instant::now();
    let reached = reached(&world, &world.users.token("ada", "1", &["customer"]), 12).await;
    let since = u32::try_from(started.elapsed().as_secs()).unwrap();
    assert!((5..=5 + since + 1).contains(&reached), "{reached} in {since} s");
}
