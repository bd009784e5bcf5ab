//! SIGTERM and SIGINT: the first one asks, the second one ends.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shutdown::Shutdown;

/// Exit code of a process that SIGINT ended, by the convention of shells: 128 + 2.
const EXIT_INTERRUPTED: i32 = 130;
/// Exit code of a process that SIGTERM ended: 128 + 15.
const EXIT_TERMINATED: i32 = 143;

/// Requests a stop at the first SIGTERM or SIGINT and exits at once at the second, for somebody who
/// does not want to wait for the drain. Must be called within a tokio runtime.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn install_signals(shutdown: Shutdown) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let (name, _) = next(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "stopping; a second signal ends the process at once");
        shutdown.trigger();
        let (name, code) = next(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "ending at once");
        std::process::exit(code);
    });
    Ok(())
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = terminate.recv() => ("SIGTERM", EXIT_TERMINATED),
        _ = interrupt.recv() => ("SIGINT", EXIT_INTERRUPTED),
    }
}
