//! A service's own PostgreSQL database: connecting and migrating. What its errors mean is in `openorder_types::database`.

mod sessions;

use std::{borrow::Cow, str::FromStr, sync::LazyLock, time::Duration};

use openorder_config::Secret;
use openorder_migrations::migrations;
use openorder_runtime::compiled_here;
pub use openorder_types::database::POSTGRES;
pub(crate) use openorder_types::database::is_timeout;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, SqlStr,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::DatabaseSettings;

static MESSAGING: LazyLock<Migrator> = migrations!();

/// How much the planner has to know of the tables, whichever service's they are.
const STATISTICS: &str = include_str!("statistics.sql");

/// Connects, creates the database when it is missing and the setting allows it, and brings its schema up to date.
///
/// # Errors
/// The error of the first step that failed, for the log; it names no secret.
#[compiled_here]
pub async fn open(
    url: &Secret,
    settings: &DatabaseSettings,
    application_name: &str,
    own: &Migrator,
) -> Result<PgPool, OpenError> {
    let options = PgConnectOptions::from_str(url.expose())
        .map_err(|_| OpenError::Url)?
        .application_name(application_name)
        .options([
            ("statement_timeout", settings.statement_timeout_ms.to_string()),
            ("idle_in_transaction_session_timeout", settings.transaction_idle_max_ms.to_string()),
        ])
        .log_statements(tracing::log::LevelFilter::Trace);
    let first = connect(&options, settings.create_if_missing).await?;
    let pool = || {
        PgPoolOptions::new()
            .max_connections(settings.connections_max)
            .acquire_timeout(Duration::from_millis(settings.acquire_timeout_ms))
            .test_before_acquire(false)
    };
    let connected = pool().connect_with(options.clone()).await?;
    let pool = if sessions::keep_settings(first, &connected, settings.statement_timeout_ms).await? {
        connected
    } else {
        connected.close().await;
        let session = format!(
            "set statement_timeout = {}; set idle_in_transaction_session_timeout = {}",
            settings.statement_timeout_ms, settings.transaction_idle_max_ms
        );
        let with_settings = pool().after_connect(move |connection, _| {
            let session = session.clone();
            Box::pin(async move { connection.execute(AssertSqlSafe(session)).await.map(drop) })
        });
        with_settings.connect_with(options).await?
    };
    migrate(&pool, &MESSAGING).await?;
    migrate(&pool, own).await?;
    sqlx::raw_sql(STATISTICS).execute(&pool).await?;
    Ok(pool)
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The setting is no PostgreSQL URL.
    #[error("database_url is not a PostgreSQL URL (postgres://user:password@host:port/database)")]
    Url,
    /// A pooler is in front of PostgreSQL that does not keep sessions.
    #[error(
        "a connection pooler is in front of PostgreSQL that does not keep sessions; connect to PostgreSQL itself, or to \
         PgBouncer with pool_mode = session and ignore_startup_parameters = extra_float_digits, options"
    )]
    Pooler,
    /// PostgreSQL refused or could not be reached.
    #[error("{0}")]
    Database(sqlx::Error),
    /// A migration failed.
    #[error("migration failed: {0}")]
    Migrate(#[from] MigrateError),
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        if sessions::is_refusal_of_pooler(&error) { Self::Pooler } else { Self::Database(error) }
    }
}

/// Migrations as [`migrations!`] has read them: version, description, SQL.
#[must_use]
pub fn migrator(files: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |(version, description, sql): &(i64, &'static str, &'static str)| {
        let outside_of_a_transaction = sql.starts_with("-- no-transaction");
        let sql = SqlStr::from_static(sql);
        Migration::new(*version, Cow::Borrowed(*description), MigrationType::Simple, sql, outside_of_a_transaction)
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}

#[tracing::instrument(target = "openorder.span", name = "migrate database", skip_all)]
async fn migrate(pool: &PgPool, migrator: &Migrator) -> Result<(), MigrateError> {
    // Two sets of migrations share one table, so each has to accept the other's.
    let mut migrator = Migrator::with_migrations(migrator.migrations.to_vec());
    migrator.set_ignore_missing(true);
    migrator.run(pool).await
}

/// A connection to the database, which is created when it is missing and may be. Nearly always it is there: that it is
/// costs no connection of its own.
async fn connect(options: &PgConnectOptions, create_if_missing: bool) -> Result<PgConnection, sqlx::Error> {
    match options.connect().await {
        Err(error) if create_if_missing && may_be_missing(&error) => {
            create_missing(options).await?;
            options.connect().await
        }
        connected => connected,
    }
}

/// PostgreSQL says 3D000 of a missing database, and poolers what they like.
fn may_be_missing(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(_)) && !sessions::is_refusal_of_pooler(error)
}

/// Creates the database unless it is there, by the one that always is.
async fn create_missing(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let Some(name) = options.get_database() else { return Ok(()) };
    let mut connection = options.clone().database("postgres").connect().await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        let quoted = format!("create database \"{}\"", name.replace('"', "\"\""));
        match connection.execute(AssertSqlSafe(quoted)).await {
            // Another instance was faster: 42P04 duplicate_database, or 23505 on the catalogue.
            Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42P04" | "23505")) => {}
            other => {
                other?;
            }
        }
    }
    connection.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database that sqlx's own macro has migrated is continued: it compares versions and checksums.
    #[tokio::test]
    async fn migrations_are_the_ones_that_sqlx_reads() {
        let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"));
        let read = Migrator::new(folder).await.unwrap();
        let of = |migrator: &Migrator| {
            let migrations = migrator.iter();
            migrations
                .map(|one| (one.version, one.description.clone(), one.checksum.clone(), one.no_tx))
                .collect::<Vec<_>>()
        };
        assert!(!read.migrations.is_empty());
        assert_eq!(of(&MESSAGING), of(&read));
    }
}
