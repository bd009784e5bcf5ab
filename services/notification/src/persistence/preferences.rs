//! Table `preferences`.

use openorder_types::{Fault, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};

use crate::domain::{Kind, PhoneNumber, Preferences, PushToken};

/// What these users want, those of them who said so.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, users: &[&str]) -> Result<Vec<Preferences>, Fault> {
    let rows = sqlx::query(
        "select user_id, email_enabled, sms_enabled, push_enabled, muted_kinds, phone_number, push_token, version, \
                update_time \
         from preferences where user_id = any ($1)",
    )
    .bind(users)
    .fetch_all(executor)
    .await?;
    rows.iter().map(preferences).collect()
}

/// As [`find`], locked in one order for all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, users: &[&str]) -> Result<Vec<Preferences>, Fault> {
    let rows = sqlx::query(
        "select user_id, email_enabled, sms_enabled, push_enabled, muted_kinds, phone_number, push_token, version, \
                update_time \
         from preferences where user_id = any ($1) order by user_id for update",
    )
    .bind(users)
    .fetch_all(connection)
    .await?;
    rows.iter().map(preferences).collect()
}

/// Writes new preferences, which must not exist, and changed ones, which must be locked.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction made one of the new ones first.
pub async fn save(connection: &mut PgConnection, all: &[&Preferences]) -> Result<(), Fault> {
    let (new, changed): (Vec<&Preferences>, Vec<&Preferences>) = all.iter().partition(|one| one.version == 1);
    write(
        &mut *connection,
        "insert into preferences \
         (user_id, email_enabled, sms_enabled, push_enabled, muted_kinds, version, update_time, phone_number, \
          push_token) \
         select u, e, s, p, string_to_array(m, ',')::smallint[], v, t, f, a \
         from (select unnest($1::text[]) as u, unnest($2::bool[]) as e, unnest($3::bool[]) as s, \
                      unnest($4::bool[]) as p, unnest($5::text[]) as m, unnest($6::bigint[]) as v, \
                      unnest($7::timestamptz[]) as t, unnest($8::text[]) as f, unnest($9::text[]) as a) as n",
        &new,
    )
    .await?;
    write(
        connection,
        "update preferences set email_enabled = n.e, sms_enabled = n.s, push_enabled = n.p, \
                muted_kinds = string_to_array(n.m, ',')::smallint[], version = n.v, update_time = n.t, \
                phone_number = n.f, push_token = n.a \
         from (select unnest($1::text[]) as u, unnest($2::bool[]) as e, unnest($3::bool[]) as s, \
                      unnest($4::bool[]) as p, unnest($5::text[]) as m, unnest($6::bigint[]) as v, \
                      unnest($7::timestamptz[]) as t, unnest($8::text[]) as f, unnest($9::text[]) as a) as n \
         where preferences.user_id = n.u",
        &changed,
    )
    .await
}

async fn write(connection: &mut PgConnection, sql: &'static str, all: &[&Preferences]) -> Result<(), Fault> {
    if all.is_empty() {
        return Ok(());
    }
    let users: Vec<&str> = all.iter().map(|one| one.user_id.as_str()).collect();
    let email: Vec<bool> = all.iter().map(|one| one.email_enabled).collect();
    let sms: Vec<bool> = all.iter().map(|one| one.sms_enabled).collect();
    let push: Vec<bool> = all.iter().map(|one| one.push_enabled).collect();
    let muted: Vec<String> = all.iter().map(|one| kinds(one)).collect();
    let versions: Vec<i64> = all.iter().map(|one| one.version).collect();
    let times: Vec<_> = all.iter().map(|one| one.update_time).collect();
    let numbers: Vec<&str> =
        all.iter().map(|one| one.phone_number.as_ref().map(PhoneNumber::as_str).unwrap_or_default()).collect();
    let tokens: Vec<&str> =
        all.iter().map(|one| one.push_token.as_ref().map(PushToken::as_str).unwrap_or_default()).collect();
    let query = sqlx::query(sql).bind(users).bind(email).bind(sms).bind(push).bind(muted).bind(versions).bind(times);
    let query = query.bind(numbers).bind(tokens);
    query.execute(connection).await?;
    Ok(())
}

/// An array of arrays of different lengths cannot be unnested, so each goes as text.
fn kinds(preferences: &Preferences) -> String {
    let numbers: Vec<String> = preferences.muted_kinds.iter().map(|kind| (*kind as i16).to_string()).collect();
    numbers.join(",")
}

fn preferences(row: &PgRow) -> Result<Preferences, Fault> {
    let user: String = row.try_get("user_id")?;
    let muted: Vec<i16> = row.try_get("muted_kinds")?;
    let number: String = row.try_get("phone_number")?;
    let token: String = row.try_get("push_token")?;
    Ok(Preferences {
        user_id: UserId::parse(&user).map_err(Fault::permanent)?,
        email_enabled: row.try_get("email_enabled")?,
        sms_enabled: row.try_get("sms_enabled")?,
        push_enabled: row.try_get("push_enabled")?,
        muted_kinds: muted.into_iter().filter_map(Kind::from_number).collect(),
        phone_number: PhoneNumber::parse(&number).ok(),
        push_token: PushToken::parse(&token).ok(),
        version: row.try_get("version")?,
        update_time: Some(row.try_get("update_time")?),
    })
}
