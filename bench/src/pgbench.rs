//! The reference: PostgreSQL alone, under `pgbench`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use sqlx::{ConnectOptions, Connection, Executor, postgres::PgConnectOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::processes::{MICROS, clients_seconds};
use crate::stack::Stack;

const DATABASE: &str = "bench_reference";
const CLIENTS: u32 = 64;
const JOBS: &str = "2";

const SCHEMA: &str = "\
create table naive_order (
    order_id bigint generated always as identity primary key,
    customer_id text not null, status smallint not null, total_minor bigint not null, currency text not null,
    create_time timestamptz not null default now());
create table naive_order_line (
    order_id bigint not null, line integer not null, sku text not null, quantity integer not null,
    unit_price_minor bigint not null, primary key (order_id, line));
create table naive_outbox (
    position bigint generated always as identity primary key,
    event_type text not null, aggregate_id bigint not null, payload jsonb not null,
    created_at timestamptz not null default now());";

/// What a service without batches does for an order: its row, two lines, one row for the outbox.
const ORDER: &str = r#"\set customer random(1, 1000)
\set product random(1, 100)
begin;
insert into naive_order (customer_id, status, total_minor, currency) values ('customer-' || :customer, 5, 300, 'EUR') returning order_id \gset
insert into naive_order_line values (:order_id, 1, 'SKU-' || :product, 1, 100);
insert into naive_order_line values (:order_id, 2, 'SKU-X' || :product, 2, 100);
insert into naive_outbox (event_type, aggregate_id, payload) values ('order.lifecycle.created', :order_id, '{"customer_id": "customer", "lines": [{"sku": "SKU-1", "quantity": 1, "unit_price_minor": 100}, {"sku": "SKU-X1", "quantity": 2, "unit_price_minor": 100}], "total_minor": 300, "currency": "EUR"}');
commit;
"#;

/// `pgbench` against the stack's PostgreSQL.
pub(crate) struct PgBench {
    bin: PathBuf,
    port: u16,
    folder: PathBuf,
    server: u32,
    postgres_url: String,
    password: String,
}

/// What one run found out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transactions {
    pub(crate) per_second: f64,
    pub(crate) p99_ms: f64,
    /// CPU microseconds of the server a transaction.
    pub(crate) cpu_us: f64,
}

impl Transactions {
    /// Between two slices: what T would have been meanwhile.
    pub(crate) fn mean(self, after: Self) -> Self {
        Self {
            per_second: f64::midpoint(self.per_second, after.per_second),
            p99_ms: f64::midpoint(self.p99_ms, after.p99_ms),
            cpu_us: f64::midpoint(self.cpu_us, after.cpu_us),
        }
    }
}

impl PgBench {
    /// Finds the program and makes the tables.
    pub(crate) async fn prepare(stack: &Stack) -> anyhow::Result<Self> {
        let folder = stack.folder().join("pgbench");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("order.sql"), ORDER)?;
        let options: PgConnectOptions = stack.database_url("postgres")?.parse()?;
        let mut connection = options.connect().await?;
        connection.execute(sqlx::AssertSqlSafe(format!("drop database if exists {DATABASE}"))).await?;
        connection.execute(sqlx::AssertSqlSafe(format!("create database {DATABASE}"))).await?;
        connection.close().await?;
        let mut connection = options.database(DATABASE).connect().await?;
        connection.execute(SCHEMA).await?;
        connection.close().await?;
        let (server, postgres_url) = (stack.pid("postgres")?, stack.database_url("postgres")?);
        let password = stack.postgres_password()?;
        Ok(Self { bin: bin()?, port: stack.postgres_port(), folder, server, postgres_url, password })
    }

    /// What `program --version` says.
    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        let output = Command::new(self.bin.join("postgres")).arg("--version").output().await?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Naive orders, in tables that are empty at first: a run of many slices measures the same thing each time, and leaves
    /// autovacuum nothing to do while others are measured.
    pub(crate) async fn orders(&self, duration: Duration) -> anyhow::Result<Transactions> {
        self.orders_of(CLIENTS, duration).await
    }

    /// The same, of so many clients.
    pub(crate) async fn orders_of(&self, clients: u32, duration: Duration) -> anyhow::Result<Transactions> {
        let mut connection = self.postgres_url.parse::<PgConnectOptions>()?.database(DATABASE).connect().await?;
        connection.execute("truncate naive_order, naive_order_line, naive_outbox restart identity").await?;
        connection.close().await?;
        self.run(DATABASE, &self.folder.join("order.sql"), clients, duration).await
    }

    /// Whatever the script reads, in that database.
    pub(crate) async fn reads(&self, database: &str, script: &str, duration: Duration) -> anyhow::Result<Transactions> {
        let file = self.folder.join("read.sql");
        fs::write(&file, script)?;
        self.run(database, &file, CLIENTS, duration).await
    }

    async fn run(
        &self,
        database: &str,
        script: &Path,
        clients: u32,
        duration: Duration,
    ) -> anyhow::Result<Transactions> {
        // Pages that others have changed are not written at these transactions' cost.
        let mut connection = self.postgres_url.parse::<PgConnectOptions>()?.connect().await?;
        connection.execute("checkpoint").await?;
        connection.close().await?;
        let log = self.folder.join("log");
        let mut command = Command::new(self.bin.join("pgbench"));
        command.env("PGPASSWORD", &self.password);
        command.args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-n",
            "-M",
            "prepared",
            "-P",
            "1",
            "-c",
            &clients.to_string(),
            "-j",
            JOBS,
        ]);
        command.args(["-p", &self.port.to_string(), "-T", &(duration.as_secs() + 2).to_string(), "-l"]);
        command.arg("--log-prefix").arg(&log);
        command.arg("-f").arg(script);
        command.arg(database).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let bound = duration + Duration::from_secs(60);
        let (per_second, cpu_us) =
            tokio::time::timeout(bound, self.follow(command, duration)).await.context("pgbench hangs")??;
        let p99_ms = percentile_99(&self.folder)?;
        Ok(Transactions { per_second, p99_ms, cpu_us })
    }

    /// Transactions a second and CPU microseconds a transaction, between the progress lines of the first second and of
    /// the last but one: then all clients are still there.
    async fn follow(&self, mut command: Command, duration: Duration) -> anyhow::Result<(f64, f64)> {
        let mut child = command.spawn().context("pgbench")?;
        let stderr = child.stderr.take().context("standard error of pgbench")?;
        let mut stdout = child.stdout.take().context("standard output of pgbench")?;
        let mut lines = BufReader::new(stderr).lines();
        let (mut begin, mut end, mut transactions) = (None, None, 0.0);
        let mut printed = Vec::new();
        while let Some(line) = lines.next_line().await? {
            let Some((second, rate)) = progress(&line) else {
                printed.push(line);
                continue;
            };
            if second > duration.as_secs_f64() + 1.5 {
                continue;
            }
            let mark = (clients_seconds(self.server), second);
            match (begin, end) {
                (None, _) => begin = Some(mark),
                (Some((_, first)), last) => {
                    transactions += rate * (second - last.map_or(first, |(_, last)| last));
                    end = Some(mark);
                }
            }
        }
        let mut text = String::new();
        stdout.read_to_string(&mut text).await?;
        let status = child.wait().await?;
        ensure!(status.success(), "pgbench failed: {}", printed.join("; "));
        let ((cpu_begin, first), (cpu_end, last)) = begin.zip(end).context("pgbench was too short")?;
        Ok((transactions / (last - first), (cpu_end - cpu_begin) * MICROS / transactions.max(1.0)))
    }
}

/// `progress: 1.0 s, 1234.5 tps, lat …`: the second and the rate.
fn progress(line: &str) -> Option<(f64, f64)> {
    let mut parts = line.strip_prefix("progress: ")?.split(", ");
    let second = parts.next()?.strip_suffix(" s")?.parse().ok()?;
    Some((second, parts.next()?.strip_suffix(" tps")?.parse().ok()?))
}

/// Of all transactions in the logs, which are removed; milliseconds.
fn percentile_99(folder: &Path) -> anyhow::Result<f64> {
    let mut micros = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.")) {
            let text = fs::read_to_string(&path)?;
            for time in text.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok()) {
                micros.saturating_record(time);
            }
            fs::remove_file(&path)?;
        }
    }
    Ok(micros.value_at_quantile(0.99) as f64 / 1_000.0)
}

/// The newest of the system's packages, else the one in `PATH`.
fn bin() -> anyhow::Result<PathBuf> {
    let version = |path: &PathBuf| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let packages = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let packages = packages.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("pgbench").exists());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path).find(|bin| bin.join("pgbench").exists());
    packages.max_by_key(version).or(others).context("pgbench is not installed (Debian: postgresql)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_line_tells_second_and_rate() {
        let line = "progress: 2.0 s, 1523.9 tps, lat 41.9 ms stddev 12.1, 0 failed";
        assert_eq!(progress(line), Some((2.0, 1523.9)));
        assert_eq!(progress("pgbench (15.8)"), None);
    }
}
