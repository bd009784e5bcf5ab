//! What a batch needs first is done before its transaction begins.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures::future::join_all;
use openorder_messaging::{Committer, RequestKey};
use openorder_telemetry::TraceContext;
use openorder_testing::{TestProducer, World, eventually};
use openorder_types::CallError;

use crate::common::{Add, Added, Instance, Ledger, request, send, start};

const BOUND: Duration = Duration::from_secs(60);

/// With time enough for many preparations one after the other, on a slow machine.
async fn submit(
    committer: &Committer<Ledger>,
    key: Option<RequestKey>,
    of: &str,
    number: i64,
) -> Result<Added, CallError> {
    let command = Add { key: of.to_owned(), number };
    committer.submit(key, command, TraceContext::default(), Some(Instant::now() + 3 * BOUND)).await
}

async fn watched(world: &World) -> Instance {
    let instance = start(world, world.role("ledger"), "ledger").await;
    let pool = sqlx::PgPool::connect_with(instance.pool().connect_options().as_ref().clone()).await.unwrap();
    instance.ledger.watched.set(pool).unwrap();
    instance
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_is_open_while_the_commands_of_callers_are_prepared() {
    let world = World::new();
    let instance = watched(&world).await;
    let committer = instance.committer();
    // Some fail before the transaction and some in it: those that are taken apart are prepared again.
    let calls = (0..60).map(|number| {
        let committer = committer.clone();
        async move {
            match number % 20 {
                7 => submit(&committer, None, "unprepared", number).await,
                11 => submit(&committer, None, "broken", number).await,
                _ => submit(&committer, None, &format!("good-{number}"), number).await,
            }
        }
    });
    for (number, answer) in join_all(calls).await.into_iter().enumerate() {
        match number % 20 {
            7 | 11 => assert_eq!(answer, Err(CallError::Internal), "{number}"),
            _ => assert_eq!(answer, Ok(Added(i64::try_from(number).unwrap()))),
        }
    }
    let prepared = instance.ledger.prepared.lock().unwrap().clone();
    assert!(prepared.iter().any(|key| key == "broken") && prepared.iter().any(|key| key == "good-59"), "{prepared:?}");
    assert_eq!(instance.count("event_log").await, 54);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_answered_when_it_cannot_be_prepared_any_more() {
    let world = World::new();
    let instance = watched(&world).await;
    let committer = instance.committer();
    let submit = |id: &'static str| submit(&committer, Some(request("anna", id, 1)), "unprepared", 1);
    instance.ledger.mended.store(true, Ordering::SeqCst);
    assert_eq!(submit("r1").await, Ok(Added(1)));
    instance.ledger.mended.store(false, Ordering::SeqCst);
    assert_eq!(submit("r1").await, Ok(Added(1)), "done before");
    assert_eq!(submit("r2").await, Err(CallError::Internal), "not done before");
    assert_eq!(instance.numbers("unprepared").await, [1]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_is_open_while_messages_are_prepared_and_prepared_again() {
    let world = World::new();
    let instance = watched(&world).await;
    instance.consumer();
    let producer = TestProducer::new(&world);
    for number in 1..=20 {
        send(&producer, &format!("good-{number}"), number).await;
    }
    send(&producer, "broken", 21).await;
    send(&producer, "broken", 22).await;
    eventually("parked", BOUND, || async { (instance.parked().await.len() == 2).then_some(()) }).await;
    // From here on it is the retries that prepare: what is parked, several together and one alone.
    instance.ledger.mended.store(true, Ordering::SeqCst);
    eventually("through", BOUND, || async { (instance.numbers("broken").await == [21, 22]).then_some(()) }).await;
    for number in 1..=20 {
        let good = format!("good-{number}");
        eventually("good", BOUND, || async { (instance.numbers(&good).await == [number]).then_some(()) }).await;
    }
    assert!(instance.parked().await.is_empty());
    let prepared = instance.ledger.prepared.lock().unwrap().clone();
    assert!(prepared.iter().filter(|key| *key == "broken").count() > 2, "{prepared:?}");
    world.close().await;
}
