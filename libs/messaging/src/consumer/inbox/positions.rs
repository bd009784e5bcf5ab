//! Events known by their positions: rows of 1,024 bits each, read and set in one statement.

use std::collections::BTreeMap;

use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, Row, types::BitVec};
use uuid::Uuid;

use super::Claim;

/// Positions that one row is of.
const CHUNK_POSITIONS: i64 = 1_024;

/// Reads the rows as they were, locks them and sets the bits. Rows of other partitions matter only where they have one of
/// the bits: the topic has more partitions than it had, or events were handed over. `own` is read before anything is
/// written, since the insert reads from it.
const TAKE: &str = "\
    with input as (\
      select * from unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::varbit[], $6::uuid[]) \
                    with ordinality as i (topic, source, chunk, partition, bits, newest, number)), \
    own as materialized (\
      select p.topic, p.source, p.chunk, p.partition, p.taken, p.newest_id \
      from inbox_position p join input using (topic, source, chunk, partition) \
      order by p.topic, p.source, p.chunk, p.partition for update of p), \
    written as (\
      insert into inbox_position as p (topic, source, chunk, partition, taken, newest_id, updated_at) \
      select topic, source, chunk, partition, bits::bit(1024), newest, $7 \
      from input left join own using (topic, source, chunk, partition) order by number \
      on conflict (topic, source, chunk, partition) do update \
      set taken = p.taken | excluded.taken, newest_id = greatest(p.newest_id, excluded.newest_id), \
          updated_at = excluded.updated_at \
      returning p.topic, p.source, p.chunk, p.partition, p.xmax = 0 as is_inserted) \
    select number, partition, is_inserted, own.taken, own.newest_id \
    from written join input using (topic, source, chunk, partition) left join own using (topic, source, chunk, partition) \
    union all \
    select i.number, p.partition, null, p.taken, p.newest_id \
    from inbox_position p join input i \
      on p.topic = i.topic and p.source = i.source and p.chunk = i.chunk and p.partition <> i.partition \
    where bit_count(p.taken & i.bits::bit(1024)) > 0";

/// Topic, source and chunk.
type ChunkKey<'a> = (&'a str, &'a str, i64);

/// What a claim comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is taken over by this transaction.
    Now,
    /// It was before: this is a copy.
    Before,
    /// Its position was taken by another event.
    ByAnother,
}

/// The rows of a batch as they were before it, and then event by event.
#[derive(Debug, Default)]
pub(super) struct Chunks<'a> {
    /// By partition.
    chunks: BTreeMap<ChunkKey<'a>, BTreeMap<i32, Chunk>>,
}

#[derive(Debug, Clone)]
struct Chunk {
    taken: BitVec,
    newest_id: Uuid,
}

impl Default for Chunk {
    fn default() -> Self {
        Self { taken: BitVec::from_elem(CHUNK_POSITIONS as usize, false), newest_id: Uuid::nil() }
    }
}

/// The row of a claim, and its bit there.
fn row_of<'a>(claim: &Claim<'a>) -> (ChunkKey<'a>, usize) {
    let (source, position) = claim.place.unwrap_or_default();
    let bit = usize::try_from(position.rem_euclid(CHUNK_POSITIONS)).unwrap_or_default();
    ((claim.topic, source, position.div_euclid(CHUNK_POSITIONS)), bit)
}

/// Sets the bits of these claims' events; beside each stands whether its id counts among those of its row. What each comes
/// to is said by [`Chunks::note`], in their order.
///
/// # Errors
/// [`Fault`] of the database; retryable when another instance made one of the rows meanwhile.
pub(super) async fn take<'a>(
    connection: &mut PgConnection,
    placed: impl Iterator<Item = (Claim<'a>, bool)>,
    now: Timestamp,
) -> Result<Chunks<'a>, Fault> {
    // In the order of their keys: two instances lock rows in one order.
    let mut wanted: BTreeMap<(ChunkKey<'a>, i32), Chunk> = BTreeMap::new();
    for (claim, is_trusted) in placed {
        let (key, bit) = row_of(&claim);
        let chunk = wanted.entry((key, claim.partition)).or_default();
        chunk.taken.set(bit, true);
        if is_trusted {
            chunk.newest_id = chunk.newest_id.max(claim.event_id);
        }
    }
    let mut taken = Chunks::default();
    if wanted.is_empty() {
        return Ok(taken);
    }
    let mut keys = Vec::with_capacity(wanted.len());
    let (mut topics, mut sources, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut partitions, mut bits, mut newest) = (Vec::new(), Vec::new(), Vec::new());
    for ((key, partition), chunk) in wanted {
        keys.push((key, partition));
        topics.push(key.0);
        sources.push(key.1);
        numbers.push(key.2);
        partitions.push(partition);
        bits.push(chunk.taken);
        newest.push(chunk.newest_id);
        taken.chunks.entry(key).or_default().insert(partition, Chunk::default());
    }
    let query = sqlx::query(TAKE).bind(topics).bind(sources).bind(numbers).bind(partitions).bind(bits).bind(newest);
    for row in query.bind(now).fetch_all(connection).await? {
        let number: i64 = row.try_get(0)?;
        let number = usize::try_from(number - 1).map_err(Fault::permanent)?;
        let (key, own) = *keys.get(number).ok_or_else(|| Fault::permanent("a row of another batch"))?;
        let partition: i32 = row.try_get(1)?;
        let is_inserted: Option<bool> = row.try_get(2)?;
        let Some(before) = row.try_get::<Option<BitVec>, _>(3)? else {
            if is_inserted == Some(false) {
                return Err(Fault::retryable("another instance took over events of the same positions meanwhile"));
            }
            continue;
        };
        let of_chunk = taken.chunks.entry(key).or_default();
        if partition == own || of_chunk.get(&partition).is_none_or(|known| known.newest_id.is_nil()) {
            of_chunk.insert(partition, Chunk { taken: before, newest_id: row.try_get(4)? });
        }
    }
    Ok(taken)
}

impl<'a> Chunks<'a> {
    /// Takes the next event.
    pub(super) fn note(&mut self, claim: &Claim<'a>) -> Taken {
        let (key, bit) = row_of(claim);
        let Some(chunks) = self.chunks.get_mut(&key) else { return Taken::Before };
        let mut taken = chunks.values().filter(|chunk| chunk.taken.get(bit).unwrap_or_default()).peekable();
        if taken.peek().is_some() {
            // Of a copy the row has seen the id.
            let is_copy = taken.any(|chunk| claim.event_id <= chunk.newest_id);
            return if is_copy { Taken::Before } else { Taken::ByAnother };
        }
        let own = chunks.entry(claim.partition).or_default();
        own.taken.set(bit, true);
        own.newest_id = own.newest_id.max(claim.event_id);
        Taken::Now
    }

    /// Writes the rows' newest ids anew, without those of events whose positions were taken by others: such an event counts as
    /// newer for ever.
    pub(super) async fn restore_newest_ids(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        for ((topic, source, chunk), of_chunk) in &self.chunks {
            for (partition, row) in of_chunk {
                sqlx::query(
                    "update inbox_position set newest_id = $5 \
                     where topic = $1 and source = $2 and chunk = $3 and partition = $4",
                )
                .bind(*topic)
                .bind(*source)
                .bind(chunk)
                .bind(partition)
                .bind(row.newest_id)
                .execute(&mut *connection)
                .await?;
            }
        }
        Ok(())
    }
}
