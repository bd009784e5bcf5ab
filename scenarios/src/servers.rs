//! Kafka, PostgreSQL and Redis: the shared ones, or a stack of a scenario's own that it may break.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::signal::{Signal, send};

/// How long a part may take to start, on a busy machine.
const START_BOUND: Duration = Duration::from_secs(120);
/// Variables that name servers: a stack of its own must not take them for its own.
const ADDRESSES: [&str; 6] = [
    "OPENORDER_KAFKA_BROKERS",
    "OPENORDER_POSTGRES_URL",
    "OPENORDER_REDIS_URL",
    "OPENORDER_OTLP_ENDPOINT",
    "OPENORDER_JAEGER_URL",
    "OPENORDER_DATA_DIR",
];

/// A server of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The broker.
    Kafka,
    /// All databases.
    Postgres,
    /// Claims and limits.
    Redis,
}

impl Part {
    /// As `dev/stack` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }
}

/// Where the servers are.
#[derive(Debug)]
pub struct Servers {
    /// Of Kafka.
    pub brokers: String,
    /// Of PostgreSQL, without a database's name.
    pub postgres: String,
    /// Of Redis.
    pub redis: String,
    own: Option<OwnStack>,
}

/// A stack that nobody else uses.
#[derive(Debug)]
struct OwnStack {
    folder: PathBuf,
    ports: [(&'static str, u16); 3],
}

impl Servers {
    /// Those of the environment, which others use too: nothing of them may be broken.
    pub fn shared() -> Self {
        let postgres = openorder_testing::database_url_of("");
        Self {
            brokers: openorder_testing::brokers(),
            postgres: postgres.trim_end_matches('/').to_owned(),
            redis: openorder_testing::redis_url(),
            own: None,
        }
    }

    /// Starts a stack of its own.
    pub async fn own() -> Self {
        let number = rand_number();
        let folder = PathBuf::from(format!("/var/tmp/openorder-scenarios-{number:08x}"));
        // Kafka's controller takes the port behind the broker's.
        let kafka = openorder_testing::free_ports(&[0, 1]);
        let (postgres, redis) = (openorder_testing::free_address().port(), openorder_testing::free_address().port());
        let ports =
            [("OPENORDER_KAFKA_PORT", kafka), ("OPENORDER_POSTGRES_PORT", postgres), ("OPENORDER_REDIS_PORT", redis)];
        let own = OwnStack { folder, ports };
        own.run(&["up", "kafka", "postgres", "redis"]).await;
        let password = openorder_testing::stack_password(&own.folder);
        Self {
            brokers: format!("127.0.0.1:{kafka}"),
            postgres: format!("postgres://postgres{password}@127.0.0.1:{postgres}"),
            redis: format!("redis://127.0.0.1:{redis}"),
            own: Some(own),
        }
    }

    fn stack(&self) -> &OwnStack {
        self.own.as_ref().expect("only a stack of its own may be broken")
    }

    /// Sends a signal to a server. After SIGKILL it is gone when this returns.
    pub async fn signal(&self, part: Part, signal: Signal) {
        let pid = self.stack().pid(part);
        send(pid, signal).await;
        if signal == Signal::Kill {
            self.stack().wait_gone(pid).await;
        }
    }

    /// Stops a server as an administrator would.
    pub async fn stop(&self, part: Part) {
        self.stack().run(&["down", part.name()]).await;
    }

    /// Starts a server that is down, with the data that it had.
    pub async fn start(&self, part: Part) {
        self.stack().run(&["up", part.name()]).await;
    }

    /// Starts a server that is down, without the data that it had.
    pub async fn start_empty(&self, part: Part) {
        let data = self.stack().folder.join(part.name());
        std::fs::remove_dir_all(&data).expect("the data of a server that is down");
        self.start(part).await;
    }

    /// Stops the stack, if it is its own, and forgets its data.
    pub async fn close(self) {
        if let Some(own) = &self.own {
            own.run(&["clean"]).await;
            drop(std::fs::remove_dir_all(&own.folder));
        }
    }
}

impl OwnStack {
    async fn run(&self, arguments: &[&str]) {
        let mut command = Command::new(script("stack"));
        for name in ADDRESSES {
            command.env_remove(name);
        }
        command.env("OPENORDER_DATA_DIR", &self.folder).env("OPENORDER_DEV_KAFKA_JVM", "-Xms256m -Xmx512m");
        for (name, port) in self.ports {
            command.env(name, port.to_string());
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let done = tokio::time::timeout(START_BOUND, command.output()).await;
        let output = done.expect("dev/stack ends in time").expect("dev/stack runs");
        let output_text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "dev/stack {arguments:?}: {output_text}");
    }

    fn pid(&self, part: Part) -> u32 {
        let file = self.folder.join(part.name()).join("pid");
        let text = std::fs::read_to_string(&file).expect("the pid of a server that runs");
        text.trim().parse().expect("a pid")
    }

    async fn wait_gone(&self, pid: u32) {
        let gone = || {
            // A zombie, whose parent is not us, counts as gone: it has no command line.
            std::fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty())
        };
        openorder_testing::eventually("a killed server is gone", Duration::from_secs(10), || async {
            gone().then_some(())
        })
        .await;
    }
}

impl Drop for OwnStack {
    /// A scenario that was cut leaves nothing running: its processes are known by their files.
    fn drop(&mut self) {
        for part in [Part::Kafka, Part::Postgres, Part::Redis] {
            let file = self.folder.join(part.name()).join("pid");
            let Ok(pid) = std::fs::read_to_string(file) else { continue };
            let Ok(pid) = pid.trim().parse() else { continue };
            if is_alive_with(pid, &self.folder) {
                drop(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status());
            }
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Whether a process lives and its command line names this folder: a pid alone may be another's by now.
pub(crate) fn is_alive_with(pid: u32, folder: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy())
}

/// A script of the repository's `dev` folder.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dev").join(name)
}

/// A number that no other run has.
pub fn rand_number() -> u32 {
    uuid::Uuid::new_v4().as_fields().0
}
