//! A running system with databases, topics and ports of its own.

use std::{
    fmt::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use openorder_runtime::{asked, has_all_but};
use openorder_testing::{World, eventually, free_address};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

use crate::{Shop, Verified, roles};

/// How long a start may take, on a busy machine.
const START_BOUND: Duration = Duration::from_secs(60);
/// How long something that has to come may take, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// One process with all roles, or with those that were asked for.
pub struct Deployment {
    /// Its databases and topics.
    pub world: World,
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Where the admin port listens.
    pub admin: SocketAddr,
    folder: PathBuf,
    process: Option<Child>,
}

impl Deployment {
    /// Starts all roles in one process and waits until they are ready. `settings` are further lines of TOML, by
    /// section: `("order", "saga_step_timeout_ms = 500")`.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let mut deployment = Self::prepare(settings);
        deployment.launch();
        deployment.ready().await;
        deployment
    }

    /// Ports, databases and a configuration file; nothing runs yet.
    pub fn prepare(settings: &[(&str, &str)]) -> Self {
        let world = World::new();
        let (gateway, admin) = (free_address(), free_address());
        let folder = std::env::temp_dir().join(format!("openorder-{}", world.topic_prefix().trim_end_matches('.')));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        let mut deployment = Self { world, gateway, admin, folder, process: None };
        deployment.configure(settings);
        deployment
    }

    fn configure(&mut self, settings: &[(&str, &str)]) {
        let kafka = self.world.kafka();
        // Nobody signs in, but where a story is about it.
        let signs_in = settings.iter().any(|(section, lines)| *section == "gateway" && lines.contains("anonymous"));
        let anonymous = if signs_in { "" } else { "\nanonymous = \"operator\"" };
        let mut sections: Vec<(String, String)> = vec![
            ("admin".to_owned(), format!("listen_address = \"{}\"", self.admin)),
            (
                "kafka".to_owned(),
                format!(
                    "brokers = \"{}\"\ntopic_prefix = \"{}\"\npartitions = 3\nsession_timeout_ms = 6000",
                    kafka.brokers, kafka.topic_prefix
                ),
            ),
            ("gateway".to_owned(), format!("listen_address = \"{}\"{anonymous}", self.gateway)),
            ("order".to_owned(), format!("redis_url = \"{}\"", openorder_testing::redis_url())),
            ("notification".to_owned(), format!("redis_url = \"{}\"", openorder_testing::redis_url())),
            ("analytics".to_owned(), format!("redis_url = \"{}\"", openorder_testing::redis_url())),
            ("cart".to_owned(), format!("redis_url = \"{}\"", openorder_testing::redis_url())),
            ("user".to_owned(), format!("redis_url = \"{}\"", openorder_testing::redis_url())),
            (
                "telemetry".to_owned(),
                format!(
                    "otlp_endpoint = \"{}\"\nsampling_ratio = 1.0\nlog_directory = \"{}\"\nlog_stderr = false",
                    openorder_testing::variable("OPENORDER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
                    self.folder.display()
                ),
            ),
        ];
        for service in roles::behind_gateway() {
            let (address, url) = (free_address(), self.world.database_url(service));
            sections.push(("services".to_owned(), format!("{service} = \"http://{address}\"")));
            sections.push((
                (*service).to_owned(),
                format!("listen_address = \"{address}\"\ndatabase_url = \"{}\"", url.expose()),
            ));
            sections.push((format!("{service}.database"), "connections_max = 8\nprobe_interval_ms = 500".to_owned()));
        }
        sections.extend(settings.iter().map(|(section, lines)| ((*section).to_owned(), (*lines).to_owned())));
        // TOML wants each section once.
        let mut text = String::new();
        let mut names: Vec<&String> = sections.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            writeln!(text, "[{name}]").expect("text");
            for (_, lines) in sections.iter().filter(|(section, _)| section == name) {
                writeln!(text, "{lines}").expect("text");
            }
        }
        std::fs::write(self.config(), text).expect("a configuration file");
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("openorder.toml")
    }

    /// Starts the process.
    pub fn launch(&mut self) {
        let output =
            std::fs::File::options().create(true).append(true).open(self.folder.join("output")).expect("a log");
        let child = Command::new(program())
            .args(["serve", "all", "--config"])
            .arg(self.config())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        self.process = Some(child);
    }

    /// Waits until every role is ready.
    pub async fn ready(&mut self) {
        let admin = self.admin;
        let bound = tokio::time::Instant::now() + START_BOUND;
        loop {
            if has_all_but(admin, &[]).await {
                return;
            }
            let child = self.process.as_mut().expect("a running process");
            if let Some(status) = child.try_wait().expect("a process of ours") {
                panic!("openorder ended with {status}:\n{}", self.output());
            }
            assert!(tokio::time::Instant::now() < bound, "not ready within {START_BOUND:?}:\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the process at once, as a crash would.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().await.expect("SIGKILL");
        }
    }

    /// Asks the process to end, and returns whether it did so cleanly.
    pub async fn terminate(&mut self) -> bool {
        let Some(mut child) = self.process.take() else { return true };
        let id = child.id().expect("a running process").to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill");
        assert!(asked.success());
        let ended = tokio::time::timeout(START_BOUND, child.wait()).await.expect("it ends by itself");
        ended.expect("a process of ours").success()
    }

    /// The end of what the process said, for a failure's message.
    pub fn output(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("output")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(60).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Folder of the roles' log files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A connection to the gateway that heals by itself.
    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.gateway)).expect("an address").connect_lazy()
    }

    /// What `openorder verify` says of it.
    pub async fn verify(&self, arguments: &[&str]) -> Verified {
        Verified::run(&program(), &self.config(), arguments).await
    }

    /// A client that sells.
    pub fn shop(&self) -> Shop {
        Shop::new(self.channel())
    }

    /// Ends everything and removes what it left.
    pub async fn close(mut self) {
        self.kill().await;
        drop(std::fs::remove_dir_all(&self.folder));
        self.world.close().await;
    }

    /// Waits until `probe` gives something, 90 s at most.
    ///
    /// # Panics
    /// When it never does, naming `what`.
    pub async fn eventually<T, F: Future<Output = Option<T>>>(&self, what: &str, probe: impl FnMut() -> F) -> T {
        eventually(what, PATIENCE, probe).await
    }
}

/// The program beside this one: `cargo build -p openorder` makes it.
pub(crate) fn program() -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    // A test stands in target/<profile>/deps, a program in target/<profile>.
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join("openorder")).find(|file| file.exists());
    found.expect("the program is missing: run `cargo build -p openorder` first")
}

impl Deployment {
    /// The answer of the admin port, its head included.
    pub async fn admin_get(&self, path: &str) -> String {
        asked::get(self.admin, path).await.expect("the admin port answers")
    }
}
