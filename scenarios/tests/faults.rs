//! Short forms of the scenarios that need nothing but the shared servers; `make scenarios` runs all of them in full.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use openorder_scenarios::Servers;
use openorder_scenarios::faults::{Length, hot_key, shop, sign_in};

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hot_sku_exactly_the_pieces_are_sold() {
    let (_, outcome) = hot_key(Servers::shared(), Length::Short).await;
    assert!(outcome.is_sound(), "{}", outcome.line("hot-key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_shop_goes_on_while_roles_are_killed_and_gives_nothing_twice() {
    let (_, outcome) = shop(Servers::shared(), Length::Short).await;
    assert!(outcome.is_sound(), "{}", outcome.line("shop"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_valid_token_goes_on_and_whoever_has_none_is_refused_everywhere() {
    let (_, outcome) = sign_in(Servers::shared(), Length::Short).await;
    assert!(outcome.is_sound(), "{}", outcome.line("sign-in"));
}
