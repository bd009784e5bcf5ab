//! Table `view_freshness`: what the instances know of the partitions.

use openorder_messaging::Seen;
use openorder_types::{Fault, Timestamp};
use sqlx::{PgPool, Row};

/// Writes what this instance knows: of its partitions, up to when everything is taken over; and which partitions there are.
/// One that is no more, because its topic was made again with fewer, holds nothing back.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn note_freshness(pool: &PgPool, seen: &Seen) -> Result<(), Fault> {
    let (mut topics, mut partitions, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for key in &seen.known {
        topics.push(key.0.as_str());
        partitions.push(key.1);
        times.push(seen.included_until.get(key).copied());
    }
    sqlx::query(
        "with told as (select * from unnest($1::text[], $2::int[], $3::timestamptz[]) as t (topic, partition, until)), \
              gone as (delete from view_freshness f where topic = any ($1) \
                         and not exists (select from told where told.topic = f.topic and told.partition = f.partition)) \
         insert into view_freshness as f (topic, partition, included_until) \
         select topic, partition, until from told order by topic, partition \
         on conflict (topic, partition) do update set included_until = excluded.included_until \
         where excluded.included_until > coalesce(f.included_until, '-infinity')",
    )
    .bind(topics)
    .bind(partitions)
    .bind(times)
    .execute(pool)
    .await?;
    Ok(())
}

/// Up to when everything in these topics is taken over; none while that is not known of a partition.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn included_until(pool: &PgPool, topics: &[&str]) -> Result<Option<Timestamp>, Fault> {
    let row = sqlx::query(
        "select count(distinct topic), count(*) filter (where included_until is null), min(included_until) \
         from view_freshness where topic = any ($1)",
    )
    .bind(topics)
    .fetch_one(pool)
    .await?;
    let (known_topics, unknown): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let all_known = unknown == 0 && usize::try_from(known_topics).is_ok_and(|known| known == topics.len());
    Ok(if all_known { row.try_get(2)? } else { None })
}
