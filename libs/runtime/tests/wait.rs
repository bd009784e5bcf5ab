//! Waiting for a dependency.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::future::pending;
use std::time::{Duration, Instant};

use openorder_runtime::{Readiness, Shutdown, State, Stopped, wait_for};

#[tokio::test]
async fn it_tries_until_it_succeeds_and_marks_the_dependency() {
    let readiness = Readiness::new();
    let postgres = readiness.dependency("order", "postgres");
    let tries = Cell::new(0);
    let seen = Cell::new(None);
    let began = Instant::now();
    let found = wait_for(&postgres, &Shutdown::new(), || {
        tries.set(tries.get() + 1);
        let answer = if tries.get() < 5 { Err("connection refused") } else { Ok(42) };
        seen.set(readiness.snapshot().pop());
        async move { answer }
    })
    .await;
    assert_eq!(found, Ok(42));
    assert_eq!(tries.get(), 5);
    let before_the_last = seen.take().unwrap();
    assert_eq!(before_the_last.state, State::Waiting);
    assert_eq!(before_the_last.detail, "connection refused");
    assert!(readiness.is_ready());
    // Four pauses: 0.1, 0.2, 0.4, 0.8 seconds, each between half and all of it.
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(750), "{waited:?}");
}

#[tokio::test]
async fn a_stop_ends_the_waiting_even_within_an_attempt_that_hangs() {
    let readiness = Readiness::new();
    let kafka = readiness.dependency("order", "kafka");
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        // An attempt that hangs is reported after five seconds.
        tokio::time::sleep(Duration::from_millis(6_500)).await;
        stop.trigger();
    });
    let found = wait_for(&kafka, &shutdown, pending::<Result<(), String>>).await;
    assert_eq!(found, Err(Stopped));
    let shown = readiness.snapshot().pop().unwrap();
    assert_eq!((shown.state, shown.detail.as_str()), (State::Waiting, "no answer yet"));
}

#[tokio::test]
async fn nothing_is_tried_once_a_stop_was_requested() {
    let redis = Readiness::new().dependency("order", "redis");
    let shutdown = Shutdown::new();
    shutdown.trigger();
    let tries = Cell::new(0);
    let found = wait_for(&redis, &shutdown, || {
        tries.set(tries.get() + 1);
        pending::<Result<(), String>>()
    })
    .await;
    assert_eq!(found, Err(Stopped));
    assert!(tries.get() <= 1);
}
