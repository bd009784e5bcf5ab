//! Named background tasks: none ends unseen.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::shutdown::Shutdown;

/// What the end of a task means for the process. A panic counts as a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExit {
    /// The process cannot do without the task: any end before a stop was requested stops it.
    StopProcess,
    /// The task may finish its work; a failure stops the process.
    StopOnFailure,
    /// A failure is reported and nothing else happens.
    Ignore,
}

/// What a task may return: nothing, or a result whose error can be shown.
pub trait TaskResult {
    /// The failure as text, if there is one.
    fn failure(self) -> Option<String>;
}

impl TaskResult for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> TaskResult for Result<(), E> {
    fn failure(self) -> Option<String> {
        // The alternate form shows the whole chain of causes where the error has one.
        self.err().map(|error| format!("{error:#}"))
    }
}

/// The background tasks of one role. Clones share them, so a task can spawn another.
#[derive(Clone)]
pub struct Tasks {
    shutdown: Shutdown,
    role: RoleTelemetry,
    tracker: TaskTracker,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running(Mutex<Register>);

#[derive(Default)]
struct Register {
    next: u64,
    tasks: BTreeMap<u64, (&'static str, Option<AbortHandle>)>,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, Register> {
        // Nothing under this lock can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a task off the register however it ends, by abort too.
struct Registered {
    running: Arc<Running>,
    id: u64,
}

impl Registered {
    fn new(running: &Arc<Running>, name: &'static str) -> Self {
        let mut register = running.lock();
        let id = register.next;
        register.next += 1;
        register.tasks.insert(id, (name, None));
        Self { running: Arc::clone(running), id }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.running.lock().tasks.remove(&self.id);
    }
}

/// A task's work, and why it failed.
type Boxed = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

enum Ending {
    Finished,
    Failed(String),
    Panicked(String),
}

impl Tasks {
    /// No task yet. The log lines of all of them carry the role.
    #[must_use]
    pub fn new(shutdown: Shutdown, role: RoleTelemetry) -> Self {
        Self { shutdown, role, tracker: TaskTracker::new(), running: Arc::default() }
    }

    /// The switch that these tasks watch.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// The role whose tasks these are.
    #[must_use]
    pub fn role(&self) -> &RoleTelemetry {
        &self.role
    }

    /// Starts a task. It must end by itself soon after a stop is requested; [`Tasks::drain`] aborts
    /// what does not. Must be called within a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, on_exit: OnExit, future: F) -> AbortHandle
    where
        F: Future + Send + 'static,
        F::Output: TaskResult + Send + 'static,
    {
        // Boxed: what follows is compiled once, and not for each task.
        self.spawn_boxed(name, on_exit, Box::pin(async move { future.await.failure() }))
    }

    fn spawn_boxed(&self, name: &'static str, on_exit: OnExit, future: Boxed) -> AbortHandle {
        let registered = Registered::new(&self.running, name);
        let id = registered.id;
        let shutdown = self.shutdown.clone();
        let role = self.role.clone();
        let handle = self.tracker.spawn(async move {
            let watched = async {
                let ending = match AssertUnwindSafe(future).catch_unwind().await {
                    Ok(None) => Ending::Finished,
                    Ok(Some(failure)) => Ending::Failed(failure),
                    Err(panic) => Ending::Panicked(panic_message(panic.as_ref())),
                };
                report(name, on_exit, &shutdown, ending);
            };
            role.scope(&TraceContext::default(), watched).await;
            drop(registered);
        });
        let abort = handle.abort_handle();
        // The task may have ended already; then there is no entry any more.
        if let Some(entry) = self.running.lock().tasks.get_mut(&id) {
            entry.1 = Some(abort.clone());
        }
        abort
    }

    /// The names of the tasks that run now.
    #[must_use]
    pub fn running(&self) -> Vec<&'static str> {
        let register = self.running.lock();
        register.tasks.values().map(|(name, _)| *name).collect()
    }

    /// Requests a stop, waits for all tasks at most as long as the bound, aborts the others and
    /// returns their names.
    pub async fn drain(&self, bound: Duration) -> Vec<&'static str> {
        self.shutdown.trigger();
        self.tracker.close();
        if tokio::time::timeout(bound, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let late = std::mem::take(&mut self.running.lock().tasks);
        for (_, abort) in late.values() {
            if let Some(abort) = abort {
                abort.abort();
            }
        }
        late.into_values().map(|(name, _)| name).collect()
    }
}

fn report(name: &'static str, on_exit: OnExit, shutdown: &Shutdown, ending: Ending) {
    let stopping = shutdown.is_requested();
    let cause = match ending {
        Ending::Finished if stopping || on_exit != OnExit::StopProcess => {
            tracing::debug!(task = name, "task ended");
            return;
        }
        Ending::Finished => "ended although nobody asked it to".to_owned(),
        Ending::Failed(failure) => format!("failed: {failure}"),
        Ending::Panicked(message) => format!("panicked: {message}"),
    };
    tracing::error!(task = name, stops_process = on_exit != OnExit::Ignore, "task {cause}");
    if on_exit != OnExit::Ignore {
        shutdown.fail(format!("task {name} {cause}"));
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "without a message".to_owned()
    }
}
