//! OpenOrder as processes, with databases, topics and ports of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use openorder_runtime::has_all_but;
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::processes::Meter;
use crate::stack::{Stack, free_ports, without_settings};

const READY_BOUND: Duration = Duration::from_secs(60);
const STOP_BOUND: Duration = Duration::from_secs(45);
/// Processes that one system may have, each with an admin port.
const PROCESSES_MAX: usize = 16;
/// The roles that an order needs that has no coupon, and whose parcel is somebody else's.
const CORE: &[&str] = &["gateway", "product", "order", "inventory", "payment", "notification", "operations"];

/// A configured system; it may be started and stopped many times.
pub(crate) struct System {
    name: String,
    program: PathBuf,
    folder: PathBuf,
    keys: Vec<String>,
    roles: Vec<String>,
    gateway_port: u16,
    admin_ports: Vec<u16>,
    meter: Meter,
    server: String,
}

/// The processes of a started system.
pub(crate) struct Running {
    processes: Vec<Process>,
    meter: Meter,
    /// From the first process's start until all were ready.
    pub(crate) start_time: Duration,
}

struct Process {
    roles: String,
    child: Child,
}

#[derive(Deserialize)]
struct Setting {
    key: String,
}

impl System {
    /// Settings of a system named `name`; what settings there are the program says itself, so that a role more or
    /// less changes nothing here.
    pub(crate) async fn configure(program: &Path, stack: &Stack, name: &str) -> anyhow::Result<Self> {
        let folder = stack.folder().join(name);
        // Its settings hold the database's password.
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let mut command = Command::new(program);
        without_settings(&mut command);
        let output = command.args(["config", "--output", "json"]).current_dir(&folder).output().await?;
        ensure!(output.status.success(), "{} does not tell its settings", program.display());
        let settings: Vec<Setting> = serde_json::from_slice(&output.stdout)?;
        let keys: Vec<String> = settings.into_iter().map(|setting| setting.key).collect();

        let listeners: Vec<&str> = keys.iter().filter_map(|key| key.strip_suffix(".listen_address")).collect();
        let ports = free_ports(listeners.len())?;
        let port_of =
            |role: &str| listeners.iter().zip(&ports).find(|(known, _)| **known == role).map(|(_, port)| port);
        let mut lines = Vec::new();
        for key in &keys {
            let (section, field) = key.rsplit_once('.').unwrap_or(("", key));
            let value = match field {
                role if section == "services" => port_of(role).map(|port| format!("http://127.0.0.1:{port}")),
                "listen_address" => port_of(section).map(|port| format!("127.0.0.1:{port}")),
                "database_url" => Some(stack.database_url(&format!("{name}_{}", section.replace('.', "_")))?),
                "redis_url" => Some(stack.redis_url()),
                "brokers" => Some(stack.brokers()),
                "topic_prefix" => Some(format!("{name}.")),
                "otlp_endpoint" => Some(stack.otlp_endpoint()),
                // The load says which orders are traced.
                "incoming_trace" => Some("trust".to_owned()),
                // What a token costs is measured by itself.
                "anonymous" => Some("operator".to_owned()),
                _ => None,
            };
            if let Some(value) = value {
                lines.push(format!("{key} = \"{value}\"\n"));
            }
        }
        fs::write(folder.join("openorder.toml"), lines.concat())?;
        Ok(Self {
            name: name.to_owned(),
            program: program.to_owned(),
            gateway_port: *port_of("gateway").context("the program has no gateway")?,
            roles: listeners.iter().filter(|role| **role != "admin").map(|role| (*role).to_owned()).collect(),
            keys,
            admin_ports: free_ports(PROCESSES_MAX)?,
            meter: Meter {
                openorder: Vec::new(),
                beside: Vec::new(),
                postgres: stack.pid("postgres")?,
                kafka: stack.pid("kafka")?,
                load: None,
                jaeger: stack.pid("jaeger").ok(),
            },
            server: stack.database_url("")?,
            folder,
        })
    }

    /// The settings with which nothing is done in batches.
    pub(crate) fn without_batches(&self) -> Vec<String> {
        let parts = [".committer", ".consumer", ".relay"];
        let batches: Vec<String> = parts
            .iter()
            .flat_map(|part| ["batch_max", "linger_batch_min"].map(|setting| format!("{part}.{setting}")))
            .collect();
        let of_batches = self.keys.iter().filter(|key| batches.iter().any(|end| key.ends_with(end.as_str())));
        of_batches.map(|key| format!("{key}=1")).collect()
    }

    /// Every role of the program.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(String::as_str)
    }

    /// Every role that is none of the core.
    pub(crate) fn roles_beside(&self) -> Vec<&str> {
        self.roles().filter(|role| !CORE.contains(role)).collect()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("openorder.toml")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn gateway(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway_port)
    }

    /// Where the gateway is when it has a certificate.
    pub(crate) fn gateway_over_tls(&self) -> String {
        format!("https://127.0.0.1:{}", self.gateway_port)
    }

    /// Name of a service's database.
    pub(crate) fn database_name(&self, service: &str) -> String {
        format!("{}_{service}", self.name)
    }

    /// URL of a service's database.
    pub(crate) fn database_url(&self, service: &str) -> String {
        format!("{}{}", self.server, self.database_name(service))
    }

    /// Starts the roles of the core, in one process.
    pub(crate) async fn start_core(&self, settings: &[String]) -> anyhow::Result<Running> {
        self.start_core_as(&[CORE], settings).await
    }

    /// Starts these roles of the core, the first of them in a process of their own.
    pub(crate) async fn start_core_apart(&self, first: &[&str], settings: &[String]) -> anyhow::Result<Running> {
        let rest: Vec<&str> = CORE.iter().copied().filter(|role| !first.contains(role)).collect();
        self.start_core_as(&[first, &rest], settings).await
    }

    /// Starts all roles: those of the core in one process, which is the first, and the others in another one.
    pub(crate) async fn start_shop(&self) -> anyhow::Result<Running> {
        match self.roles_beside().as_slice() {
            [] => self.start(&[CORE], &[]).await,
            beside => self.start(&[CORE, beside], &[]).await,
        }
    }

    /// Starts processes of these roles, which take no steps of other roles.
    pub(crate) async fn start_core_as(&self, processes: &[&[&str]], settings: &[String]) -> anyhow::Result<Running> {
        // Nobody takes the steps of the other roles.
        let steps = "order.steps";
        let without = self.keys.iter().any(|key| key == steps).then(|| format!("{steps}="));
        self.start(processes, &without.into_iter().chain(settings.iter().cloned()).collect::<Vec<_>>()).await
    }

    /// Starts a process for each set of roles and waits until all are ready.
    pub(crate) async fn start(&self, processes: &[&[&str]], settings: &[String]) -> anyhow::Result<Running> {
        ensure!(processes.len() <= PROCESSES_MAX, "more than {PROCESSES_MAX} processes");
        let mut running = Running { processes: Vec::new(), meter: self.meter.clone(), start_time: Duration::ZERO };
        let started = Instant::now();
        for (roles, port) in processes.iter().zip(&self.admin_ports) {
            running.processes.push(self.spawn(roles, *port, settings)?);
        }
        let absent: Vec<&str> = self
            .roles()
            .filter(|role| !processes.iter().any(|roles| *roles == ["all"] || roles.contains(role)))
            .collect();
        let mut ready_time = Duration::ZERO;
        for (process, port) in running.processes.iter_mut().zip(&self.admin_ports) {
            let admin = SocketAddr::from(([127, 0, 0, 1], *port));
            while !has_all_but(admin, &absent).await {
                if let Some(status) = process.child.try_wait()? {
                    bail!("openorder serve {} ended with {status}:\n{}", process.roles, self.log_end());
                }
                if started.elapsed() > READY_BOUND {
                    bail!("openorder serve {} is not ready after {READY_BOUND:?}:\n{}", process.roles, self.log_end());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            ready_time = ready_time.max(started.elapsed());
        }
        running.start_time = ready_time;
        Ok(running)
    }

    fn spawn(&self, roles: &[&str], admin_port: u16, settings: &[String]) -> anyhow::Result<Process> {
        let log = File::options().create(true).append(true).open(self.folder.join("server.log"))?;
        let mut command = Command::new(&self.program);
        without_settings(&mut command);
        command.arg("--config").arg(self.config()).arg("serve").args(roles);
        command.args(["--set", &format!("admin.listen_address=127.0.0.1:{admin_port}")]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        Ok(Process { roles: roles.join(" "), child: command.spawn()? })
    }

    fn log_end(&self) -> String {
        let text = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Running {
    /// Whose CPU time counts.
    pub(crate) fn meter(&self) -> Meter {
        let openorder = self.processes.iter().filter_map(|process| process.child.id()).collect();
        Meter { openorder, ..self.meter.clone() }
    }

    /// The same, with all processes but the first told apart.
    pub(crate) fn meter_of_first(&self) -> Meter {
        let mut meter = self.meter();
        meter.beside = meter.openorder.split_off(1.min(meter.openorder.len()));
        meter
    }

    /// Roles and pid of each process.
    pub(crate) fn pids(&self) -> Vec<(String, u32)> {
        self.processes.iter().filter_map(|process| Some((process.roles.clone(), process.child.id()?))).collect()
    }

    /// Ends one process, as an operator would.
    pub(crate) async fn stop_process(&mut self, place: usize) -> anyhow::Result<()> {
        if place < self.processes.len() {
            stop(&mut self.processes.remove(place)).await?;
        }
        Ok(())
    }

    /// Ends all processes.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            stop(process).await?;
        }
        Ok(())
    }
}

async fn stop(process: &mut Process) -> anyhow::Result<()> {
    let Some(pid) = process.child.id() else { return Ok(()) };
    Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
    if tokio::time::timeout(STOP_BOUND, process.child.wait()).await.is_err() {
        process.child.kill().await?;
        bail!("openorder serve {} did not end within {STOP_BOUND:?}", process.roles);
    }
    Ok(())
}
