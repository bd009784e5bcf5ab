//! What tells of a person beside the row of its user.

use openorder_types::Fault;
use sqlx::PgConnection;

/// Takes out of entries and API keys of these users what tells of a person: network addresses, and names of keys in their
/// own words. Their rows are locked.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn forget_persons(connection: &mut PgConnection, user_ids: Vec<String>) -> Result<(), Fault> {
    if user_ids.is_empty() {
        return Ok(());
    }
    sqlx::query("update user_activity set peer_hash = '' where user_id = any ($1) and peer_hash <> ''")
        .bind(user_ids.clone())
        .execute(&mut *connection)
        .await?;
    sqlx::query("update api_key set display_name = '' where user_id = any ($1) and display_name <> ''")
        .bind(user_ids)
        .execute(connection)
        .await?;
    Ok(())
}
