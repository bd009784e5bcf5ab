//! Table `user_account`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{EmailAddress, Fault, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{PasswordHash, Roles, User, UserName, UserRole, UserState, parse_email};

static USER: LazyLock<Table<User>> = LazyLock::new(|| {
    Table::new("user_account", "user_id")
        .text("user_id", |user: &User| user.user_id.as_str())
        .column("registration_id", |user| user.registration_id)
        .column("create_time", |user| user.create_time)
        .changing()
        .text("email", |user| user.email.as_str())
        .text("display_name", |user| user.display_name.as_str())
        .column("roles", |user| user.roles.bits())
        .column("state", |user| user.state.number())
        .text("password", |user| user.password.as_str())
        .column("version", |user| user.version)
        .column("activity_count", |user| user.activity_count)
        .column("activity_version", |user| user.activity_version)
        .column("tokens_after", |user| user.tokens_after)
        .column("failure_time", |user| user.failure_time)
        .column("update_time", |user| user.update_time)
});

/// Where a page of users begins: after this one.
type Place = Uuid;

/// Conditions of a list; all must hold.
#[derive(Debug, Default)]
pub struct Filter {
    pub role: Option<UserRole>,
    pub state: Option<UserState>,
    pub email: Option<EmailAddress>,
    /// Registered before this one: the last of the page before.
    pub before: Option<Place>,
}

/// Locks the users with these ids or mail addresses, in one order for all transactions, so that none deadlock.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock_users(
    connection: &mut PgConnection,
    user_ids: Vec<String>,
    emails: Vec<String>,
) -> Result<Vec<User>, Fault> {
    let rows = USER
        .select("from user_account where user_id = any ($1) or email = any ($2) order by user_id for update")
        .bind(user_ids)
        .bind(emails)
        .fetch_all(connection)
        .await?;
    rows.iter().map(user).collect()
}

/// The user with this id as last committed.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_user(executor: impl PgExecutor<'_>, user_id: &UserId) -> Result<Option<User>, Fault> {
    let query = USER.select("from user_account where user_id = $1").bind(user_id.as_str().to_owned());
    query.fetch_optional(executor).await?.as_ref().map(user).transpose()
}

/// The user with this mail address as last committed.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_user_by_email(executor: impl PgExecutor<'_>, email: &EmailAddress) -> Result<Option<User>, Fault> {
    let query = USER.select("from user_account where email = $1").bind(email.as_str().to_owned());
    query.fetch_optional(executor).await?.as_ref().map(user).transpose()
}

/// The newest first, at most `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list_users(executor: impl PgExecutor<'_>, filter: &Filter, limit: i64) -> Result<Vec<User>, Fault> {
    let rows = USER
        .select(
            "from user_account where registration_id < $1 and ($2::smallint is null or roles & $2 <> 0) \
              and ($3::smallint is null or state = $3) and ($4::text is null or email = $4) \
             order by registration_id desc limit $5",
        )
        .bind(filter.before.unwrap_or(Uuid::max()))
        .bind(filter.role.and_then(|role| Roles::of([role])).map(Roles::bits))
        .bind(filter.state.map(UserState::number))
        .bind(filter.email.as_ref().map(|email| email.as_str().to_owned()))
        .bind(limit)
        .fetch_all(executor)
        .await?;
    rows.iter().map(user).collect()
}

/// Writes new users, which must not exist, and changed ones, which must be locked.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction made one of the new ones, or took a mail address, first.
pub async fn save_users(connection: &mut PgConnection, new: &[&User], changed: &[&User]) -> Result<(), Fault> {
    USER.update(&mut *connection, changed).await?;
    USER.insert(connection, new).await
}

fn user(row: &PgRow) -> Result<User, Fault> {
    let (user_id, email, name): (&str, &str, &str) =
        (row.try_get("user_id")?, row.try_get("email")?, row.try_get("display_name")?);
    Ok(User {
        user_id: UserId::parse(user_id).map_err(Fault::permanent)?,
        registration_id: row.try_get("registration_id")?,
        email: parse_email(email).map_err(Fault::permanent)?,
        display_name: UserName::parse(name).map_err(Fault::permanent)?,
        roles: Roles::from_stored(row.try_get("roles")?)?,
        state: UserState::from_stored(row.try_get("state")?)?,
        password: PasswordHash::new(row.try_get::<String, _>("password")?),
        version: row.try_get("version")?,
        activity_count: row.try_get("activity_count")?,
        activity_version: row.try_get("activity_version")?,
        tokens_after: row.try_get("tokens_after")?,
        failure_time: row.try_get("failure_time")?,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
    })
}
