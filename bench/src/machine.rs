//! Where a run took place, and with what.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde::Serialize;
use tokio::process::Command;

/// Machine and versions.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) postgres: String,
    pub(crate) kafka: String,
    pub(crate) java: String,
    pub(crate) rustc: String,
    pub(crate) commit: String,
}

impl Machine {
    pub(crate) async fn read(repository: &Path, postgres: String) -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let memory = field(&file("/proc/meminfo"), "MemTotal");
        let kib: f64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        let pom = fs::read_to_string(repository.join("dev/kafka/pom.xml")).unwrap_or_default();
        let kafka = pom.split_once("<kafka.version>").and_then(|(_, rest)| rest.split_once('<'));
        let kafka = kafka.map_or("unknown", |(version, _)| version);
        Self {
            cpu: field(&file("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            postgres,
            kafka: kafka.to_owned(),
            java: first_line("java", &["-version"], repository).await,
            rustc: first_line("rustc", &["--version"], repository).await,
            commit: first_line("git", &["describe", "--always", "--dirty"], repository).await,
        }
    }
}

async fn first_line(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output().await;
    let Ok(output) = output else { return "unknown".to_owned() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
}
