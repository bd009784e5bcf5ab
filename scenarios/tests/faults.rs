//! Short forms of the scenarios that need nothing but the shared servers; `make scenarios` runs all of them in full.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use openorder_scenarios::Servers;
use openorder_scenarios::faults::{Length, hot_key, kill_at_random};

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_are_killed_at_random_lose_and_double_nothing() {
    let (_, outcome) = kill_at_random(Servers::shared(), Length::Short).await;
    assert!(outcome.is_sound(), "{}", outcome.line("kill"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hot_sku_exactly_the_pieces_are_sold() {
    let (_, outcome) = hot_key(Servers::shared(), Length::Short).await;
    assert!(outcome.is_sound(), "{}", outcome.line("hot-key"));
}
