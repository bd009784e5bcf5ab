//! Table `generation`: which sums count, and who may change them.
//!
//! Whoever counts shares one lock, and has the rows of one shard to itself. Whoever switches to other sums has that lock
//! alone: nobody counts meanwhile.

use openorder_types::Fault;
use sqlx::{PgConnection, Row};

use crate::domain::Base;

/// Guards which sums count.
const GENERATION_LOCK: i64 = 0x6f70_656e_0101;
/// The first of the shards' locks; that of a shard is so much behind it.
const SHARD_LOCKS: i64 = 0x6f70_656e_0200;

/// What a batch counts in, until the end of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counting {
    pub(crate) generation: i64,
    pub(crate) base: Base,
    pub(crate) shard: i16,
}

/// Has a free shard of the sums that count for this transaction, the first one that is free: so many are in use as
/// batches are counted at the same time. With all of them taken, waits for one.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn begin_counting(connection: &mut PgConnection, shards: i16) -> Result<Counting, Fault> {
    // Before the statement that looks: it sees what was switched to meanwhile.
    sqlx::query("select pg_advisory_xact_lock_shared($1)").bind(GENERATION_LOCK).execute(&mut *connection).await?;
    let row = sqlx::query(
        "select generation, base_position, base_newest_id, \
           (select shard::smallint from generate_series(0, $2 - 1) as shard where pg_try_advisory_xact_lock($1 + shard) \
            limit 1) as shard \
         from generation where state = 1",
    )
    .bind(SHARD_LOCKS)
    .bind(i32::from(shards))
    .fetch_one(&mut *connection)
    .await?;
    let shard = match row.try_get::<Option<i16>, _>("shard")? {
        Some(shard) => shard,
        None => {
            let shard = rand::random_range(0..shards.max(1));
            let lock = SHARD_LOCKS + i64::from(shard);
            sqlx::query("select pg_advisory_xact_lock($1)").bind(lock).execute(connection).await?;
            shard
        }
    };
    let base = Base { position: row.try_get("base_position")?, newest_id: row.try_get("base_newest_id")? };
    Ok(Counting { generation: row.try_get("generation")?, base, shard })
}

/// Waits until nobody counts; nobody begins to before the end of this transaction.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn begin_switch(connection: &mut PgConnection) -> Result<(), Fault> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(GENERATION_LOCK).execute(connection).await?;
    Ok(())
}
