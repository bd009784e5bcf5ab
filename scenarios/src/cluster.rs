//! Three brokers of a scenario's own; a write needs two of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;

use crate::servers::{is_alive_with, rand_number, script};
use crate::signal::{Signal, send};

/// How many there are.
pub const BROKERS: u16 = 3;
const BOUND: Duration = Duration::from_secs(120);
/// A broker and its controller, this many ports further on.
const CONTROLLER_OFFSET: u16 = 10;

/// Brokers by number, from 1.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
}

impl Cluster {
    /// Makes and starts all of them.
    pub async fn start() -> Self {
        let ports: Vec<_> = (0..BROKERS).flat_map(|number| [number, number + CONTROLLER_OFFSET]).collect();
        let port = openorder_testing::free_ports(&ports);
        let cluster = Self { folder: format!("/var/tmp/openorder-brokers-{:08x}", rand_number()).into(), port };
        cluster.run("make", &[&port.to_string(), &BROKERS.to_string()]).await;
        for number in 1..=BROKERS {
            cluster.launch(number).await;
        }
        for number in 1..=BROKERS {
            cluster.answers(number).await;
        }
        cluster
    }

    /// As clients want them.
    pub fn brokers(&self) -> String {
        (0..BROKERS).map(|number| format!("127.0.0.1:{}", self.port + number)).collect::<Vec<_>>().join(",")
    }

    /// Ends a broker at once, as a crash would.
    pub async fn kill(&self, number: u16) {
        send(self.pid(number).expect("a broker that runs"), Signal::Kill).await;
    }

    /// Starts a broker that was killed.
    pub async fn launch(&self, number: u16) {
        self.run("start", &[&number.to_string()]).await;
    }

    /// Waits until a broker answers.
    pub async fn answers(&self, number: u16) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port + number - 1));
        openorder_testing::eventually("a broker answers", BOUND, || async {
            TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
    }

    fn pid(&self, number: u16) -> Option<u32> {
        let text = std::fs::read_to_string(self.folder.join(number.to_string()).join("pid")).ok()?;
        text.trim().parse().ok().filter(|pid| is_alive_with(*pid, &self.folder))
    }

    async fn run(&self, command: &str, arguments: &[&str]) {
        let mut script = Command::new(script("brokers"));
        script.arg(command).arg(&self.folder).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let done = tokio::time::timeout(BOUND, script.output()).await.expect("dev/brokers ends in time");
        let output = done.expect("dev/brokers runs");
        assert!(output.status.success(), "dev/brokers {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for pid in (1..=BROKERS).filter_map(|number| self.pid(number)) {
            drop(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status());
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
