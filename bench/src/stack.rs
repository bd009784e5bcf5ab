//! A local stack of the run's own: `dev/stack` with a data folder and ports that nobody else uses.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::output::say;

/// Starting, with Jaeger's first build.
const UP_BOUND: Duration = Duration::from_secs(20 * 60);
const DOWN_BOUND: Duration = Duration::from_secs(120);

/// Kafka, PostgreSQL, Redis and Jaeger.
pub(crate) struct Stack {
    repository: PathBuf,
    folder: PathBuf,
    ports: Vec<(&'static str, u16)>,
}

impl Stack {
    /// Chooses a folder and ports; nothing runs yet.
    pub(crate) fn prepare(repository: &Path) -> anyhow::Result<Self> {
        let folder = PathBuf::from(format!("/var/tmp/openorder-bench.{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        fs::write(folder.join(".openorder"), "")?;
        let names = ["KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "POSTGRES_PORT", "REDIS_PORT", "JAEGER_PORT", "OTLP_PORT"];
        let ports = names.into_iter().zip(free_ports(names.len())?).collect();
        Ok(Self { repository: repository.to_owned(), folder, ports })
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn up(&self) -> anyhow::Result<()> {
        say("the stack is started: Kafka, PostgreSQL, Redis, Jaeger");
        self.run(&["up", "kafka", "postgres", "redis", "jaeger"], UP_BOUND).await
    }

    /// Ends it and removes its data.
    pub(crate) async fn clean(&self) {
        say("the stack is stopped, its data is removed");
        if let Err(error) = self.run(&["clean"], DOWN_BOUND).await {
            say(format_args!("{error:#}; what it left is in {}", self.folder.display()));
            return;
        }
        drop(fs::remove_dir_all(&self.folder));
    }

    async fn run(&self, arguments: &[&str], bound: Duration) -> anyhow::Result<()> {
        let mut command = Command::new(self.repository.join("dev/stack"));
        without_settings(&mut command);
        command.args(arguments).env("OPENORDER_DATA_DIR", &self.folder).stdin(Stdio::null()).stdout(Stdio::null());
        for (name, port) in &self.ports {
            command.env(format!("OPENORDER_{name}"), port.to_string());
        }
        let mut child = command.kill_on_drop(true).spawn().context("dev/stack")?;
        let status = tokio::time::timeout(bound, child.wait()).await;
        let status = status.with_context(|| format!("dev/stack {arguments:?} took more than {bound:?}"))??;
        ensure!(status.success(), "dev/stack {arguments:?} failed");
        Ok(())
    }

    /// Folder for files of the run.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port("KAFKA_PORT"))
    }

    pub(crate) fn postgres_port(&self) -> u16 {
        self.port("POSTGRES_PORT")
    }

    /// Of PostgreSQL's superuser; the stack has made it once it is up.
    pub(crate) fn postgres_password(&self) -> anyhow::Result<String> {
        let file = self.folder.join("postgres/password");
        let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(text.trim().to_owned())
    }

    pub(crate) fn database_url(&self, name: &str) -> anyhow::Result<String> {
        Ok(format!("postgres://postgres:{}@127.0.0.1:{}/{name}", self.postgres_password()?, self.postgres_port()))
    }

    pub(crate) fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port("REDIS_PORT"))
    }

    pub(crate) fn otlp_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port("OTLP_PORT"))
    }

    /// The first process of a part.
    pub(crate) fn pid(&self, part: &str) -> anyhow::Result<u32> {
        let file = self.folder.join(part).join("pid");
        let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        text.trim().parse().with_context(|| format!("{} holds no pid", file.display()))
    }

    fn port(&self, name: &str) -> u16 {
        self.ports.iter().find(|(known, _)| *known == name).map_or(0, |(_, port)| *port)
    }
}

/// Takes the settings of the shell's own OpenOrder away from a child.
pub(crate) fn without_settings(command: &mut Command) {
    let ours = |name: &OsString| name.to_string_lossy().starts_with("OPENORDER_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
}

/// Ports on which nobody listens, all different.
pub(crate) fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    /// Below the ephemeral range, where nobody gets a port without asking for it.
    const PORTS: std::ops::Range<u32> = 20_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut ports = Vec::with_capacity(count);
    for _ in PORTS {
        if ports.len() == count {
            return Ok(ports);
        }
        // Each is given once in a run, and two runs begin elsewhere.
        let place = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
            % (PORTS.end - PORTS.start);
        let port = u16::try_from(PORTS.start + place)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
    }
    bail!("no free ports in {PORTS:?}")
}
