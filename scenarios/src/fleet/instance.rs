//! One process of one role.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use openorder_runtime::has_all_but;
use tokio::process::{Child, Command};

use super::WHOLE;
use crate::signal::{Signal, send};

/// How long a start or a drain may take, on a busy machine.
const BOUND: Duration = Duration::from_secs(90);

/// A process, or what is needed to start it.
pub struct Instance {
    /// Its role.
    pub role: &'static str,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it tells its readiness.
    pub admin: SocketAddr,
    /// It gets no more callers.
    pub(super) is_leaving: bool,
    output: PathBuf,
    process: Option<Child>,
}

impl Instance {
    pub(super) fn new(role: &'static str, folder: &Path, number: usize) -> Self {
        let (listen, admin) = (openorder_testing::free_address(), openorder_testing::free_address());
        let output = folder.join(format!("{role}-{number}.output"));
        Self { role, listen, admin, is_leaving: false, output, process: None }
    }

    pub(super) fn launch(&mut self, program: &Path, config: &Path, environment: &[(String, String)]) {
        assert!(self.process.is_none(), "{} runs already", self.role);
        let output = std::fs::File::options().create(true).append(true).open(&self.output).expect("a file for output");
        let mut command = Command::new(program);
        command.args(["serve", self.role, "--config"]).arg(config);
        if self.role != WHOLE {
            command.args(["--set", &format!("{}.listen_address={}", self.role, self.listen)]);
        }
        let child = command
            .args(["--set", &format!("admin.listen_address={}", self.admin)])
            .env_clear()
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        self.process = Some(child);
    }

    /// Whether it was started and not ended by the scenario.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The process; none when it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }

    /// Memory of the process in MiB, as the system counts it; none when it does not run.
    pub fn resident_mib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.as_ref()?.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1_024)
    }

    /// Whether it ended by itself since it was started; then it may be started again.
    pub fn notice_end(&mut self) -> bool {
        let ended = self.process.as_mut().is_some_and(|child| child.try_wait().expect("a process of ours").is_some());
        if ended {
            self.process = None;
        }
        ended
    }

    pub(super) async fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            // It may have ended by itself, at a fault point.
            drop(child.kill().await);
        }
    }

    pub(super) async fn terminate(&mut self) {
        let Some(mut child) = self.process.take() else { return };
        if let Some(pid) = child.id() {
            send(pid, Signal::Terminate).await;
        }
        let ended = tokio::time::timeout(BOUND, child.wait()).await.expect("it ends by itself");
        let status = ended.expect("a process of ours");
        assert!(status.success(), "{} ended with {status}:\n{}", self.role, self.tail());
    }

    /// Freezes it or wakes it.
    pub async fn signal(&self, signal: Signal) {
        let pid = self.process.as_ref().and_then(Child::id).expect("a running process");
        send(pid, signal).await;
    }

    /// Waits until it has everything but these roles, which nobody serves.
    pub(super) async fn ready(&mut self, absent: &[&str]) {
        let bound = tokio::time::Instant::now() + BOUND;
        while !has_all_but(self.admin, absent).await {
            let child = self.process.as_mut().expect("a running process");
            if let Some(status) = child.try_wait().expect("a process of ours") {
                panic!("{} ended with {status}:\n{}", self.role, self.tail());
            }
            assert!(tokio::time::Instant::now() < bound, "{} is not ready in {BOUND:?}:\n{}", self.role, self.tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The end of what it wrote.
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}
