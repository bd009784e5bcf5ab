//! Breaks a system of its own while orders flow, and judges: `scenarios [--short] [--keep] [NAME…]`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]
#![allow(clippy::expect_used, reason = "a story that cannot go on fails")]

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use openorder_scenarios::faults::{KEEP, Length, SCENARIOS, Scenario};
use openorder_scenarios::{Outcome, Servers};
use tokio::task::{JoinError, JoinHandle};

/// How long a system that is kept may be looked at.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let length = if arguments.iter().any(|one| one == "--short") { Length::Short } else { Length::Full };
    let names: Vec<&String> = arguments.iter().filter(|one| !one.starts_with("--")).collect();
    let unknown = names.iter().find(|name| SCENARIOS.iter().all(|one| one.name != name.as_str()));
    if unknown.is_some() || arguments.iter().any(|one| one.starts_with("--") && one != "--short" && one != "--keep") {
        let known: Vec<&str> = SCENARIOS.iter().map(|one| one.name).collect();
        eprintln!("scenarios [--short] [--keep] [NAME…]: {}", known.join(" "));
        return ExitCode::from(2);
    }
    KEEP.store(arguments.iter().any(|one| one == "--keep"), Ordering::Relaxed);
    let chosen: Vec<&Scenario> =
        SCENARIOS.iter().filter(|one| names.is_empty() || names.iter().any(|name| *name == one.name)).collect();
    // Interrupted, the program lets go of what it holds: processes and servers end with it.
    let sound = tokio::select! {
        sound = run(chosen, length) => sound,
        () = interrupted() => {
            eprintln!("interrupted: ending what was started");
            false
        }
    };
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One after the other, on one stack for as long as it is whole; whether all came out well.
async fn run(scenarios: Vec<&Scenario>, length: Length) -> bool {
    let started = Instant::now();
    let mut servers = None;
    let mut lines = Vec::new();
    let mut is_sound = true;
    for scenario in scenarios {
        eprintln!("[{:>4} s] {} …", started.elapsed().as_secs(), scenario.name);
        let given = match servers.take() {
            Some(servers) => servers,
            None => Servers::own().await,
        };
        // A scenario that panics or is cut takes its processes and servers with it; the next one gets new ones.
        let running = Running(tokio::spawn((scenario.run)(given, length)));
        let bound = if KEEP.load(Ordering::Relaxed) { KEPT } else { scenario.bound };
        let line = match tokio::time::timeout(bound, running).await {
            Ok(Ok((given, outcome))) => {
                servers = Some(given);
                is_sound &= outcome.is_sound();
                outcome.line(scenario.name)
            }
            Ok(Err(error)) => {
                is_sound = false;
                format!("{:<14} FAILED  {error}", scenario.name)
            }
            Err(_) => {
                is_sound = false;
                format!("{:<14} FAILED  not within {:?}", scenario.name, scenario.bound)
            }
        };
        eprintln!("[{:>4} s] {line}", started.elapsed().as_secs());
        lines.push(line);
    }
    if let Some(servers) = servers {
        servers.close().await;
    }
    lines.iter().for_each(|line| println!("{line}"));
    is_sound
}

/// SIGINT or SIGTERM.
async fn interrupted() {
    let terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let Ok(mut terminated) = terminated else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// A scenario under way; dropped, it is cut, and what it holds ends.
struct Running(JoinHandle<(Servers, Outcome)>);

impl Future for Running {
    type Output = Result<(Servers, Outcome), JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}
