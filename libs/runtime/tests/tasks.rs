//! What the end of a task does to the process, and what a drain leaves behind.

use std::future::pending;
use std::time::Duration;

use openorder_runtime::{OnExit, Shutdown, Tasks};
use openorder_telemetry::testing::recording;

const BOUND: Duration = Duration::from_secs(10);

fn tasks() -> (Tasks, Shutdown) {
    let shutdown = Shutdown::new();
    (Tasks::new(shutdown.clone(), recording("order", 1.0).0), shutdown)
}

async fn settled(tasks: &Tasks) {
    while !tasks.running().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_failing_task_stops_the_process() {
    let (tasks, shutdown) = tasks();
    tasks.spawn("relay", OnExit::StopProcess, async { Err::<(), _>("lost its lock") });
    shutdown.requested().await;
    assert_eq!(shutdown.failure(), Some("task relay failed: lost its lock"));
}

#[tokio::test]
async fn a_panicking_task_stops_the_process() {
    let (tasks, shutdown) = tasks();
    tasks.spawn("relay", OnExit::StopOnFailure, async {
        tokio::task::yield_now().await;
        assert!(std::hint::black_box(false), "index {} is off", 7);
    });
    shutdown.requested().await;
    assert_eq!(shutdown.failure(), Some("task relay panicked: index 7 is off"));
}

#[tokio::test]
async fn a_task_that_ends_too_early_stops_the_process() {
    let (tasks, shutdown) = tasks();
    tasks.spawn("relay", OnExit::StopProcess, async {});
    shutdown.requested().await;
    assert_eq!(shutdown.failure(), Some("task relay ended although nobody asked it to"));
}

#[tokio::test]
async fn a_task_may_finish_its_work() {
    let (tasks, shutdown) = tasks();
    tasks.spawn("warm-up", OnExit::StopOnFailure, async { Ok::<(), String>(()) });
    settled(&tasks).await;
    assert!(!shutdown.is_requested());
}

#[tokio::test]
async fn failures_of_no_consequence_stop_nothing() {
    let (tasks, shutdown) = tasks();
    tasks.spawn("ping", OnExit::Ignore, async { Err::<(), _>("no answer") });
    tasks.spawn("pong", OnExit::Ignore, async {
        assert!(std::hint::black_box(false), "no answer");
    });
    settled(&tasks).await;
    assert!(!shutdown.is_requested());
    assert_eq!(shutdown.failure(), None);
}

#[tokio::test]
async fn a_drain_asks_and_waits() {
    let (tasks, shutdown) = tasks();
    let stop = shutdown.requested_owned();
    let (done, finished) = tokio::sync::oneshot::channel();
    tasks.spawn("relay", OnExit::StopProcess, async move {
        stop.await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = done.send("last batch acknowledged");
    });
    assert!(tasks.drain(BOUND).await.is_empty());
    assert_eq!(finished.await, Ok("last batch acknowledged"));
    assert_eq!(shutdown.failure(), None);
}

#[tokio::test]
async fn a_drain_names_and_aborts_what_did_not_end() {
    struct Dropped(Option<tokio::sync::oneshot::Sender<()>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            if let Some(dropped) = self.0.take() {
                let _ = dropped.send(());
            }
        }
    }
    let (tasks, shutdown) = tasks();
    let stop = shutdown.requested_owned();
    let (dropped, was_dropped) = tokio::sync::oneshot::channel();
    let guard = Dropped(Some(dropped));
    tasks.spawn("deaf", OnExit::StopProcess, async move {
        let _guard = guard;
        pending::<()>().await;
    });
    tasks.spawn("polite", OnExit::StopProcess, stop);
    assert_eq!(tasks.drain(Duration::from_secs(2)).await, vec!["deaf"]);
    assert!(was_dropped.await.is_ok(), "an aborted task is dropped");
    assert!(tasks.running().is_empty());
}

#[tokio::test]
async fn an_aborted_task_leaves_the_register() {
    let (tasks, shutdown) = tasks();
    let abort = tasks.spawn("watch", OnExit::StopProcess, pending::<()>());
    assert_eq!(tasks.running(), vec!["watch"]);
    abort.abort();
    settled(&tasks).await;
    assert!(!shutdown.is_requested(), "who aborts a task means it");
}

#[tokio::test]
async fn a_task_spawns_another() {
    let (tasks, shutdown) = tasks();
    let own = tasks.clone();
    tasks.spawn("parent", OnExit::StopOnFailure, async move {
        own.spawn("child", OnExit::StopProcess, async { Err::<(), _>("born to fail") });
    });
    shutdown.requested().await;
    assert_eq!(shutdown.failure(), Some("task child failed: born to fail"));
    assert!(tasks.drain(BOUND).await.is_empty());
}
