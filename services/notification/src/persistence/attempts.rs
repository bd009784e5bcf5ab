//! Table `delivery_attempt`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::Fault;
use sqlx::PgConnection;

use crate::domain::Delivery;

/// A row.
#[derive(Debug)]
pub struct Attempt {
    /// Which one it is, from 1, over all rounds of its notification.
    pub number: i32,
    pub delivery: Delivery,
}

static ATTEMPT: LazyLock<Table<Attempt>> = LazyLock::new(|| {
    // Rows are only added: no update needs a key.
    Table::new("delivery_attempt", "notification_id")
        .column("notification_id", |attempt: &Attempt| attempt.delivery.notification_id)
        .column("attempt", |attempt| attempt.number)
        .column("round", |attempt| attempt.delivery.round)
        .column("started_at", |attempt| attempt.delivery.started_at)
        .column("ended_at", |attempt| attempt.delivery.ended_at)
        .column("outcome", |attempt| attempt.delivery.outcome.number())
        .text("reason", |attempt| attempt.delivery.outcome.why().0)
        .text("detail", |attempt| attempt.delivery.outcome.why().1)
});

/// Writes attempts.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn insert(connection: &mut PgConnection, attempts: &[Attempt]) -> Result<(), Fault> {
    ATTEMPT.insert(connection, &attempts.iter().collect::<Vec<_>>()).await
}
