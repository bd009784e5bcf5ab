//! A snapshot of a service's database: read only, in pages, each statement bounded.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use openorder_config::Secret;
use openorder_types::Timestamp;
use prost::Message;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, Row};

use crate::settings::ProcessSettings;

use super::floor::Floor;
use super::services::Service;

/// Rows fetched at a time: what is kept of a table in memory.
const PAGE_ROWS: usize = 5_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the services keep their data.
pub(super) struct Databases {
    urls: Vec<(Service, Secret)>,
    statement_timeout: Duration,
}

impl Databases {
    pub(super) fn new(settings: &ProcessSettings, statement_timeout: Duration) -> Self {
        let urls = Service::ALL.iter().map(|service| (*service, service.database_url(settings).clone()));
        Self { urls: urls.collect(), statement_timeout }
    }

    /// The database as it stands now, and goes on standing for whoever reads this snapshot.
    pub(super) async fn snapshot(&self, service: Service) -> anyhow::Result<Snapshot> {
        let mut connection = self.connect(service).await?;
        let begin = "begin isolation level repeatable read read only";
        connection.execute(begin).await.with_context(|| service.database())?;
        let now = sqlx::query_scalar("select now()").fetch_one(&mut connection).await;
        let now = now.with_context(|| service.database())?;
        let floor = Floor::read(&mut connection, service).await?;
        Ok(Snapshot { connection, service, now, floor, cursors: 0 })
    }

    /// A connection that sees what is committed at each statement.
    pub(super) async fn connect(&self, service: Service) -> anyhow::Result<PgConnection> {
        let url = self.urls.iter().find(|(known, _)| *known == service).map(|(_, url)| url.expose());
        // The parser's own error would show the URL.
        let options = PgConnectOptions::from_str(url.unwrap_or_default())
            .map_err(|_| anyhow!("{service}.database_url is not a PostgreSQL URL"))?
            .application_name("openorder-verify")
            .options([
                ("statement_timeout", self.statement_timeout.as_millis().to_string().as_str()),
                ("default_transaction_read_only", "on"),
                // Rows come in the order of an index; sorting a whole log would fill the disk.
                ("enable_sort", "off"),
                ("jit", "off"),
            ])
            .disable_statement_logging();
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
        connected.with_context(|| format!("{}: no answer", service.database()))?.with_context(|| service.database())
    }
}

/// One database at one moment.
pub(super) struct Snapshot {
    pub(super) connection: PgConnection,
    pub(super) service: Service,
    /// The moment, by the database's clock.
    pub(super) now: Timestamp,
    /// Where its event log begins.
    pub(super) floor: Floor,
    cursors: u32,
}

impl Snapshot {
    /// Begins to read the rows of a query; several may be read in turns.
    pub(super) async fn rows(&mut self, sql: &str) -> anyhow::Result<Rows> {
        self.cursors += 1;
        let name = format!("verify_{}", self.cursors);
        let declare = format!("declare {name} no scroll cursor for {sql}");
        self.connection.execute(AssertSqlSafe(declare)).await.with_context(|| self.service.database())?;
        let fetch = format!("fetch {PAGE_ROWS} from {name}");
        Ok(Rows { fetch, page: VecDeque::new(), is_last: false })
    }
}

/// The rows of a query, a page in memory at a time.
pub(super) struct Rows {
    fetch: String,
    page: VecDeque<PgRow>,
    is_last: bool,
}

impl Rows {
    pub(super) async fn next(&mut self, snapshot: &mut Snapshot) -> anyhow::Result<Option<PgRow>> {
        if self.page.is_empty() && !self.is_last {
            let fetch = sqlx::query(AssertSqlSafe(self.fetch.clone()));
            let rows = fetch.fetch_all(&mut snapshot.connection).await;
            self.page = rows.with_context(|| snapshot.service.database())?.into();
            self.is_last = self.page.len() < PAGE_ROWS;
        }
        Ok(self.page.pop_front())
    }
}

/// Rows that are in order of a key, to be met with others in the order of the same key.
pub(super) struct Keyed<K, T> {
    rows: Rows,
    read: fn(&PgRow) -> sqlx::Result<(K, T)>,
    ahead: Option<(K, T)>,
}

/// What is met at a key.
pub(super) enum Met<K, T> {
    /// A row with that key.
    Same(T),
    /// A row with a smaller key: nothing was asked for it. Ask again.
    Before(K, T),
    /// No row has that key.
    None,
}

impl<K: Ord, T> Keyed<K, T> {
    /// `sql` has to give its rows in ascending order of the key.
    pub(super) async fn read(
        snapshot: &mut Snapshot,
        sql: &str,
        read: fn(&PgRow) -> sqlx::Result<(K, T)>,
    ) -> anyhow::Result<Self> {
        Ok(Self { rows: snapshot.rows(sql).await?, read, ahead: None })
    }

    /// The next row, whatever its key.
    pub(super) async fn next(&mut self, snapshot: &mut Snapshot) -> anyhow::Result<Option<(K, T)>> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        match self.rows.next(snapshot).await? {
            Some(row) => Ok(Some((self.read)(&row).with_context(|| snapshot.service.database())?)),
            None => Ok(None),
        }
    }

    /// Goes on to a key; keys have to be asked for in ascending order.
    pub(super) async fn meet(&mut self, snapshot: &mut Snapshot, key: &K) -> anyhow::Result<Met<K, T>> {
        match self.next(snapshot).await? {
            Some((found, row)) if found == *key => Ok(Met::Same(row)),
            Some((found, row)) if found < *key => Ok(Met::Before(found, row)),
            ahead => {
                self.ahead = ahead;
                Ok(Met::None)
            }
        }
    }
}

/// A column that is read by its name: the tables' own order of columns does not matter.
pub(super) fn column<'r, T>(row: &'r PgRow, name: &str) -> sqlx::Result<T>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(name)
}

/// A column that is a protobuf message.
pub(super) fn decoded<M: Message + Default>(bytes: &[u8]) -> sqlx::Result<M> {
    M::decode(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
}
