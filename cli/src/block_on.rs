//! The thread of a command that asks and waits.

use anyhow::Context;

/// Runs a command's work on this thread.
///
/// # Errors
/// The system gives no resources for it.
pub(crate) fn block_on<F: Future>(work: F) -> anyhow::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("the command's thread cannot be set up")?.block_on(work))
}
