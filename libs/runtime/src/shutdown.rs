//! The one switch that ends a process.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// The request to stop. Clones share one switch; once thrown it stays thrown.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    failure: Arc<OnceLock<String>>,
}

impl Shutdown {
    /// A switch that nobody has thrown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to stop.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Asks everybody to stop because something failed. The first failure is kept, for the process's
    /// last words and its exit code.
    pub fn fail(&self, failure: impl Into<String>) {
        // A request that came before is an ordinary stop; what breaks during it is logged where it breaks.
        if !self.is_requested() {
            let _ = self.failure.set(failure.into());
        }
        self.trigger();
    }

    /// Why the process stops, if it is because something failed.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Waits until a stop is requested.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// As [`Shutdown::requested`], for a future that must own what it waits for.
    pub fn requested_owned(&self) -> impl Future<Output = ()> + Send + 'static {
        self.token.clone().cancelled_owned()
    }

    /// Whether a stop was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Runs the future until it ends or a stop is requested; `None` when it was cut off.
    pub async fn unless_requested<F: Future>(&self, future: F) -> Option<F::Output> {
        self.token.run_until_cancelled(future).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_is_kept_and_stops() {
        let shutdown = Shutdown::new();
        shutdown.clone().fail("first");
        shutdown.fail("second");
        shutdown.requested().await;
        assert_eq!(shutdown.failure(), Some("first"));
    }

    #[tokio::test]
    async fn a_failure_during_a_requested_stop_is_not_the_cause() {
        let shutdown = Shutdown::new();
        shutdown.trigger();
        shutdown.fail("connection closed");
        assert_eq!(shutdown.failure(), None);
    }

    #[tokio::test]
    async fn work_is_cut_off() {
        let shutdown = Shutdown::new();
        assert_eq!(shutdown.unless_requested(async { 1 }).await, Some(1));
        shutdown.trigger();
        let never = std::future::pending::<()>();
        assert_eq!(shutdown.unless_requested(never).await, None);
    }
}
