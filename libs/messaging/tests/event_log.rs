//! The event log: positions are drawn in the order of the commits; what is old is pruned, and nothing that is needed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::Utc;
use openorder_messaging::{
    Committer, DatabaseSettings, RelaySettings,
    desk::{EventFilter, Page},
};
use openorder_testing::{Tail, World, eventually, header};
use openorder_types::{Rejection, Timestamp};

use crate::common::{Instance, Ledger, TOPIC, add, start, start_on};

/// The advisory locks of the appenders and of the relay, of all versions.
const APPEND_LOCK: i64 = 0x6f70_656e_0001;
const RELAY_LOCK: i64 = 0x6f70_656e_0002;
const BOUND: Duration = Duration::from_secs(60);
const EVENTS: i64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn no_position_is_drawn_by_who_waits_for_the_append_lock() {
    let world = World::new();
    let one = start(&world, world.role("ledger"), "ledger").await;
    let two = start(&world, world.separate_role("ledger"), "ledger").await;
    let committers = [one.committer(), two.committer()];
    add(&committers[0], "before", 1).await.unwrap();
    let mut holder = one.pool().acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock($1)").bind(APPEND_LOCK).execute(&mut *holder).await.unwrap();
    let waiting = [0, 1].map(|index| {
        let committer = committers[index].clone();
        tokio::spawn(async move { add(&committer, &format!("after-{index}"), 2).await })
    });
    let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted and classid = $1::bigint::oid \
               and objid = $2::bigint::oid and database = (select oid from pg_database where datname = current_database())";
    eventually("both writers wait", Duration::from_secs(20), || async {
        let (high, low) = (APPEND_LOCK >> 32, APPEND_LOCK & 0xffff_ffff);
        let count: i64 = sqlx::query_scalar(sql).bind(high).bind(low).fetch_one(two.pool()).await.unwrap();
        (count == 2).then_some(())
    })
    .await;
    let drawn = "select last_value from event_log_position_seq";
    assert_eq!(sqlx::query_scalar::<_, i64>(drawn).fetch_one(two.pool()).await.unwrap(), 1);
    sqlx::query("select pg_advisory_unlock($1)").bind(APPEND_LOCK).execute(&mut *holder).await.unwrap();
    for writer in waiting {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(one.count("event_log").await, 3);
    two.stop().await;
    world.close().await;
}

/// An instance whose log is pruned after a day, with 30 events: the first one 28.5 hours old, each an hour younger than the
/// one before, and those of 2 aggregates: `old` up to position 10, `young` from then on.
async fn with_old_events(world: &World) -> (Instance, Committer<Ledger>) {
    let settings = DatabaseSettings {
        event_log_retention_days: 1,
        probe_interval_ms: 100,
        prune_every_probes: 1,
        ..world.database()
    };
    let instance = start_on(world, world.separate_role("ledger"), "ledger", world.kafka(), settings).await;
    let committer = instance.committer();
    for number in 1..=EVENTS {
        add(&committer, if number <= 10 { "old" } else { "young" }, number).await.unwrap();
    }
    let age = "update event_log set occurred_at = now() - make_interval(hours => ($1 - position)::int, mins => -30)";
    sqlx::query(age).bind(EVENTS).execute(instance.pool()).await.unwrap();
    (instance, committer)
}

fn relay(instance: &Instance) {
    let settings = RelaySettings { republish_events: 3, ..RelaySettings::default() };
    instance.backbone.relay(&settings, &[TOPIC]);
}

/// The first position that is there.
async fn first_position(instance: &Instance) -> i64 {
    sqlx::query_scalar("select min(position) from event_log").fetch_one(instance.pool()).await.unwrap()
}

async fn pruned_up_to(instance: &Instance, position: i64) {
    eventually("pruned", BOUND, || async { (first_position(instance).await == position + 1).then_some(()) }).await;
    // And not further.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(first_position(instance).await, position + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_published_or_still_needed_is_never_pruned_and_a_transaction_only_as_a_whole() {
    let world = World::new();
    let (instance, _committer) = with_old_events(&world).await;
    let needed = Arc::new(Mutex::new(None::<Timestamp>));
    let named = Arc::clone(&needed);
    instance.backbone.keep_events_since(move |_| {
        let since = *named.lock().unwrap();
        async move { Ok(since) }
    });
    // Another relay leads, and has come to position 7; it may publish the last 3 once more. 3 to 5 are of one transaction.
    let mut other = instance.pool().acquire().await.unwrap().detach();
    sqlx::query("select pg_advisory_lock($1)").bind(RELAY_LOCK).execute(&mut other).await.unwrap();
    let batch = "update event_log set occurred_at = (select occurred_at from event_log where position = 5) \
                 where position in (3, 4)";
    sqlx::query(batch).execute(instance.pool()).await.unwrap();
    sqlx::query("update relay_cursor set position = 7").execute(instance.pool()).await.unwrap();
    relay(&instance);
    pruned_up_to(&instance, 2).await;

    // All is published: what is older than a day goes, as long as the service does not need it.
    *needed.lock().unwrap() = Some(Utc::now() - chrono::Duration::hours(26) - chrono::Duration::minutes(30));
    drop(other);
    let tail = Tail::new(&world, TOPIC);
    let published = tail.take(26, BOUND).await;
    let mut positions: Vec<i64> =
        published.iter().map(|message| header(message, "ce_sequence").unwrap().parse().unwrap()).collect();
    // Each partition by itself is in order.
    positions.sort_unstable();
    assert_eq!(positions, (5..=EVENTS).collect::<Vec<_>>(), "nothing that had to be published is missing");
    // The third to fifth are 24.5 hours old since they were made one; the service needs them.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(first_position(&instance).await, 3);
    *needed.lock().unwrap() = None;
    pruned_up_to(&instance, 5).await;
    instance.stop().await;
    world.close().await;
}

/// The positions of a page, or the reason of its refusal.
fn told(page: Result<Page<openorder_messaging::LoggedEvent>, Rejection>) -> Result<Vec<i64>, &'static str> {
    page.map(|page| page.items.iter().map(|event| event.position).collect()).map_err(|refused| refused.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_read_is_not_pruned_and_what_was_pruned_is_refused_and_not_left_out() {
    let world = World::new();
    let (instance, _committer) = with_old_events(&world).await;
    let desk = instance.desk();
    let events = async |filter: EventFilter, after: Option<i64>| told(desk.events(&filter, after, 100).await.unwrap());
    assert_eq!(events(EventFilter::default(), None).await, Ok((1..=EVENTS).collect()));
    relay(&instance);
    Tail::new(&world, TOPIC).take(30, BOUND).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(first_position(&instance).await, 1, "somebody reads");
    // Five minutes later.
    let later = "update event_log_floor set read_at = read_at - interval '301 seconds'";
    sqlx::query(later).execute(instance.pool()).await.unwrap();
    pruned_up_to(&instance, 5).await;

    let of = |aggregate: &str| EventFilter { aggregate_id: Some(aggregate.to_owned()), ..EventFilter::default() };
    let since = |from: Timestamp| EventFilter { from: Some(from), ..EventFilter::default() };
    let kept_from: Timestamp =
        sqlx::query_scalar("select kept_from from event_log_floor").fetch_one(instance.pool()).await.unwrap();
    assert_eq!(events(EventFilter::default(), None).await, Err("EVENTS_PRUNED"));
    assert_eq!(events(since(kept_from - chrono::Duration::seconds(1)), None).await, Err("EVENTS_PRUNED"));
    assert_eq!(events(since(kept_from), None).await.unwrap().last(), Some(&EVENTS));
    assert_eq!(events(EventFilter::default(), Some(4)).await, Err("EVENTS_PRUNED"), "a page of a replay that was left");
    assert_eq!(events(EventFilter::default(), Some(5)).await, Ok((6..=EVENTS).collect()));
    assert_eq!(events(of("old"), None).await, Err("EVENTS_PRUNED"));
    assert_eq!(events(of("young"), None).await, Ok((11..=EVENTS).collect()), "of this one all is there");
    instance.stop().await;
    world.close().await;
}
