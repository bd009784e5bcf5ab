//! Every role a process of its own, as many instances as wanted, each of which can be killed, frozen and started again.

mod balancer;
mod config;
mod instance;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tonic::transport::{Channel, Endpoint};

use crate::{Servers, Shop, Verified, deployment::program, roles, servers::rand_number};

use balancer::Balancer;
pub use instance::Instance;

/// The process that serves every role.
pub const WHOLE: &str = "all";

/// A system of many processes.
pub struct Fleet {
    /// What it stands on.
    pub servers: Servers,
    /// Its processes, those that are down as well.
    pub instances: Vec<Instance>,
    name: String,
    folder: PathBuf,
    /// In front of each role: callers know one address, however many instances there are.
    balancers: Vec<(&'static str, Balancer)>,
    environment: Vec<(String, String)>,
}

impl Fleet {
    /// One instance a role, all ready. `settings` are further lines of TOML, by section.
    pub async fn start(servers: Servers, settings: &[(&str, &str)]) -> Self {
        Self::start_without(servers, settings, &[]).await
    }

    /// The same without these roles, which may be added later.
    pub async fn start_without(servers: Servers, settings: &[(&str, &str)], without: &[&str]) -> Self {
        let (name, folder) = place();
        let mut balancers = Vec::new();
        for role in roles::all().iter().copied() {
            balancers.push((role, Balancer::start().await));
        }
        let addresses: Vec<_> = balancers.iter().map(|(role, balancer)| (*role, balancer.address())).collect();
        config::write(&folder.join("openorder.toml"), &name, &servers, &addresses, settings);
        let mut fleet = Self { servers, instances: Vec::new(), name, folder, balancers, environment: Vec::new() };
        for role in roles::all().iter().copied().filter(|role| !without.contains(role)) {
            fleet.add(role).await;
        }
        fleet.ready().await;
        fleet
    }

    /// One process that serves every role, ready. `settings` are further lines of TOML, by section.
    pub async fn start_whole(servers: Servers, settings: &[(&str, &str)]) -> Self {
        let (name, folder) = place();
        let addresses: Vec<_> = roles::all().iter().map(|role| (*role, openorder_testing::free_address())).collect();
        let listen: Vec<_> =
            addresses.iter().map(|(role, address)| (*role, format!("listen_address = \"{address}\""))).collect();
        let mut lines = settings.to_vec();
        lines.extend(listen.iter().map(|(role, line)| (*role, line.as_str())));
        config::write(&folder.join("openorder.toml"), &name, &servers, &addresses, &lines);
        let mut instance = Instance::new(WHOLE, &folder, 0);
        let gateway = addresses.iter().find(|(role, _)| *role == "gateway").expect("a gateway");
        instance.listen = gateway.1;
        let balancers = vec![("gateway", Balancer::start().await)];
        let instances = vec![instance];
        let mut fleet = Self { servers, instances, name, folder, balancers, environment: Vec::new() };
        fleet.launch(0).await;
        fleet.ready().await;
        fleet
    }

    /// A variable of the environment of processes that are started from now on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Takes a variable away again.
    pub fn unset_variable(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Starts one more instance of a role; its index. It may not be ready yet.
    pub async fn add(&mut self, role: &'static str) -> usize {
        let instance = Instance::new(role, &self.folder, self.instances.len());
        self.instances.push(instance);
        let index = self.instances.len() - 1;
        self.launch(index).await;
        index
    }

    /// Starts an instance that is down.
    pub async fn launch(&mut self, index: usize) {
        let instance = &mut self.instances[index];
        instance.launch(&program(), &self.folder.join("openorder.toml"), &self.environment);
        self.balance(self.instances[index].role).await;
    }

    /// Ends an instance at once, as a crash would.
    pub async fn kill(&mut self, index: usize) {
        self.instances[index].kill().await;
        self.balance(self.instances[index].role).await;
    }

    /// Asks an instance to end, and waits until it has.
    pub async fn remove(&mut self, index: usize) {
        let role = self.instances[index].role;
        // First no more callers, then the drain.
        self.instances[index].is_leaving = true;
        self.balance(role).await;
        self.instances[index].terminate().await;
        self.instances[index].is_leaving = false;
    }

    /// Instances of a role that run.
    pub fn running(&self, role: &str) -> Vec<usize> {
        let indexes = self.instances.iter().enumerate();
        indexes.filter(|(_, one)| one.role == role && one.is_running()).map(|(index, _)| index).collect()
    }

    /// Starts again what has ended by itself or was killed, one instance a role at least, and waits for all.
    pub async fn heal(&mut self) {
        for index in 0..self.instances.len() {
            let role = self.instances[index].role;
            self.instances[index].notice_end();
            if !self.instances[index].is_running() && self.running(role).is_empty() {
                self.launch(index).await;
            }
        }
        self.ready().await;
    }

    /// Waits until every process that runs is ready.
    pub async fn ready(&mut self) {
        let is_served =
            |role: &&str| self.instances.iter().any(|one| one.is_running() && [*role, WHOLE].contains(&one.role));
        let absent: Vec<&str> = roles::all().iter().copied().filter(|role| !is_served(role)).collect();
        for instance in &mut self.instances {
            if instance.is_running() {
                instance.ready(&absent).await;
            }
        }
    }

    async fn balance(&self, role: &str) {
        let targets = self.instances.iter().filter(|one| one.role == role && one.is_running() && !one.is_leaving);
        let targets = targets.map(|one| one.listen).collect();
        let role = if role == WHOLE { "gateway" } else { role };
        if let Some((_, balancer)) = self.balancers.iter().find(|(known, _)| *known == role) {
            balancer.set_targets(targets);
        }
    }

    /// A client that sells, through the gateway, over a connection that heals by itself.
    pub fn shop(&self) -> Shop {
        Shop::new(self.channel())
    }

    /// Where the gateway is.
    pub fn gateway(&self) -> String {
        let gateway = self.balancers.iter().find(|(role, _)| *role == "gateway").expect("a gateway");
        format!("http://{}", gateway.1.address())
    }

    fn channel(&self) -> Channel {
        Endpoint::from_shared(self.gateway())
            .expect("an address")
            .connect_timeout(Duration::from_secs(1))
            .connect_lazy()
    }

    /// What `openorder verify` says of it.
    pub async fn verify(&self, arguments: &[&str]) -> Verified {
        Verified::run(&program(), &self.folder.join("openorder.toml"), arguments).await
    }

    /// Runs another command of the program with the settings of this system; its exit code and what it wrote.
    pub fn command(&self, arguments: &[&str]) -> impl Future<Output = (i32, String)> + Send + use<> {
        let mut command = tokio::process::Command::new(program());
        command.args(arguments).arg("--config").arg(self.config()).env_clear().kill_on_drop(true);
        async move {
            let output = command.output().await.expect("the program runs");
            let text = [output.stdout, output.stderr].concat();
            (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
        }
    }

    /// Prefix of its topics and groups.
    pub fn topic_prefix(&self) -> String {
        format!("{}.", self.name)
    }

    /// URL of a service's database.
    pub fn database_url(&self, service: &str) -> String {
        format!("{}/{}_{service}", self.servers.postgres, self.name)
    }

    /// A connection to a service's database.
    pub async fn database(&self, service: &str) -> PgConnection {
        PgConnection::connect(&self.database_url(service)).await.expect("the database")
    }

    /// A statement of the administrator's, not within any database of the system.
    pub async fn administer(&self, sql: &str) {
        let url = format!("{}/postgres", self.servers.postgres);
        let mut connection = PgConnection::connect(&url).await.expect("PostgreSQL");
        connection.execute(AssertSqlSafe(sql.to_owned())).await.expect("the statement runs");
        drop(connection.close().await);
    }

    /// Name of a service's database.
    pub fn database_name(&self, service: &str) -> String {
        format!("{}_{service}", self.name)
    }

    /// Folder with the settings, and with what each process wrote.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The settings' file, to be changed between two starts.
    pub fn config(&self) -> PathBuf {
        self.folder.join("openorder.toml")
    }

    /// Ends everything and gives the servers back.
    pub async fn close(mut self) -> Servers {
        for instance in &mut self.instances {
            instance.kill().await;
        }
        for service in roles::behind_gateway() {
            let name = self.database_name(service);
            self.administer(&format!("drop database if exists \"{name}\" with (force)")).await;
        }
        drop(std::fs::remove_dir_all(&self.folder));
        self.servers
    }
}

/// Name and folder of a new fleet. Its settings hold the databases' passwords.
fn place() -> (String, PathBuf) {
    let name = format!("s{:08x}", rand_number());
    let folder = std::env::temp_dir().join(format!("openorder-{name}"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).expect("a folder for the scenario");
    (name, folder)
}
