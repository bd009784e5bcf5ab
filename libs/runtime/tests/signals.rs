//! Signals to a real process: this test program runs itself as the child.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use openorder_runtime::{Shutdown, install_signals};

const DRAIN_FOREVER: &str = "SIGNALS_TEST_DRAIN_FOREVER";

/// The child: says when its handlers stand, waits for the first signal, and then either ends or
/// hangs in its drain.
#[test]
#[ignore = "run as a child by the other tests"]
fn child() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        install_signals(shutdown.clone()).unwrap();
        eprintln!("handlers stand");
        shutdown.requested().await;
        eprintln!("stop requested");
        if std::env::var_os(DRAIN_FOREVER).is_some() {
            std::future::pending::<()>().await;
        }
    });
}

struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Process {
    fn start(drain_forever: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child", "--exact", "--ignored", "--nocapture"]);
        if drain_forever {
            command.env(DRAIN_FOREVER, "1");
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut process = Self { child, lines };
        process.await_line("handlers stand");
        process
    }

    fn await_line(&mut self, wanted: &str) {
        let found = self.lines.any(|line| line.unwrap().contains(wanted));
        assert!(found, "the child ended without saying {wanted:?}");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    #[expect(clippy::disallowed_methods, reason = "a test without a runtime")]
    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_signal_asks() {
    for signal in ["TERM", "INT"] {
        let mut process = Process::start(false);
        process.signal(signal);
        process.await_line("stop requested");
        assert_eq!(process.exit_code(), Some(0), "{signal}");
    }
}

#[test]
fn the_second_signal_ends() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut process = Process::start(true);
        process.signal("TERM");
        process.await_line("stop requested");
        process.signal(signal);
        assert_eq!(process.exit_code(), Some(code), "{signal}");
    }
}
