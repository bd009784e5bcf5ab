//! Callers that come by a proxy: where they call from is what a proxy says that is trusted, and nobody else.

use openorder_gateway::{Anonymous, GatewaySettings};
use openorder_rpc::reason_of;
use openorder_testing::free_address;
use tonic::Request;

use super::world::{REACHED, World};
use crate::support::{GET_ORDER, call_with};

/// The one service that is told where a call came from.
const AUTHENTICATE: &str = "/openorder.user.v1.UserService/Authenticate";

/// All who call in this test come from here.
fn behind_a_proxy(settings: &mut GatewaySettings) {
    settings.trusted_proxies = vec!["127.0.0.0/8".to_owned(), "10.0.0.0/8".to_owned()];
}

/// What a call with these lines is answered with: its reason, and its text.
async fn says(world: &World, path: &'static str, lines: &[(&'static str, &str)]) -> (String, String) {
    let mut request = Request::new(String::new());
    for (name, value) in lines {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    let status = call_with(&world.channel, path, request).await.unwrap_err();
    (reason_of(&status).unwrap_or_else(|| format!("{status:?}")), status.message().to_owned())
}

#[tokio::test]
async fn where_a_call_came_from_is_what_a_trusted_proxy_says_and_nobody_else() {
    let proxied = World::ready(|settings| {
        behind_a_proxy(settings);
        settings.anonymous = Anonymous::Nobody;
    })
    .await;
    let direct = World::ready(|settings| settings.anonymous = Anonymous::Nobody).await;
    let token = format!("Bearer {}", proxied.users.token("ada", "s", &["customer"]));
    for (lines, address) in [
        (&[("x-forwarded-for", "192.0.2.7")][..], "192.0.2.7"),
        (&[("x-forwarded-for", "198.51.100.1, 192.0.2.7"), ("x-forwarded-for", "10.0.0.2")], "192.0.2.7"),
        (&[("forwarded", "for=\"[2001:db8::7]:4711\"")], "2001:db8::"),
        (&[("x-forwarded-for", "192.0.2.7, nonsense")], "127.0.0.1"),
        (&[], "127.0.0.1"),
    ] {
        let told = says(&proxied, AUTHENTICATE, lines).await;
        assert_eq!(told, (REACHED.to_owned(), format!("anonymous  - {address}")), "{lines:?}");
        let mut signed_in = lines.to_vec();
        signed_in.push(("authorization", token.as_str()));
        assert_eq!(says(&proxied, AUTHENTICATE, &signed_in).await.1, format!("ada customer s {address}"), "{lines:?}");
        let told = says(&direct, AUTHENTICATE, lines).await;
        assert_eq!(told.1, "anonymous  - 127.0.0.1", "who calls by itself is not believed: {lines:?}");
    }
}

#[tokio::test]
async fn each_address_behind_a_proxy_calls_as_often_as_one_that_calls_by_itself() {
    // Redis is away: the gateway counts by itself.
    let world = World::ready(|settings| {
        behind_a_proxy(settings);
        (settings.caller_rate_per_second, settings.caller_burst) = (1, 5);
        settings.redis_url = format!("redis://{}", free_address()).as_str().into();
    })
    .await;
    let reached = async |address: &str| {
        let mut reached = 0;
        for _ in 0..12 {
            let (reason, _) = says(&world, GET_ORDER, &[("x-forwarded-for", address)]).await;
            assert!(reason == REACHED || reason == "CALLER_RATE_EXCEEDED", "{reason}");
            reached += u32::from(reason == REACHED);
        }
        reached
    };
    let started = std::time::Instant::now();
    let all = [reached("192.0.2.1").await, reached("192.0.2.2").await, reached("2001:db8::1").await];
    let since = u32::try_from(started.elapsed().as_secs()).unwrap();
    assert!(all.iter().all(|reached| (5..=5 + since + 1).contains(reached)), "{all:?} in {since} s");
    assert!(reached("192.0.2.1").await <= since + 1, "whoever else has called since");
}
