//! Signals to processes that a scenario started, by their id.

use tokio::process::Command;

/// What can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ends it at once.
    Kill,
    /// Asks it to end.
    Terminate,
    /// Freezes it.
    Stop,
    /// Wakes it.
    Continue,
}

/// Sends a signal.
///
/// # Panics
/// When there is no such process.
pub async fn send(pid: u32, signal: Signal) {
    let name = match signal {
        Signal::Kill => "-KILL",
        Signal::Terminate => "-TERM",
        Signal::Stop => "-STOP",
        Signal::Continue => "-CONT",
    };
    let sent = Command::new("kill").args([name, &pid.to_string()]).status().await.expect("kill runs");
    assert!(sent.success(), "{name} to process {pid}");
}
