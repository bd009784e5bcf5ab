//! Invariant 4: per aggregate, versions rise by one: in the event logs, and as every consumer sees them in the topics.
//! What a log has published is in its topic, what is in a topic is in its log, and what a group has consumed was taken over.

use std::time::Duration;

use anyhow::Context;
use openorder_proto::topics;
use sqlx::Row;

use super::Check;
use super::aggregates::{Kind, Slice};
use super::database::{Snapshot, column};
use super::debits::{Debits, Versions};
use super::report::Findings;
use super::services::Service;
use super::topics::{Pass, Seen};

/// How often a topic is looked at for what should be in it, and a relay for how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How far a service's relay has to have come.
struct Published {
    service: Service,
    /// What it has published for certain.
    position: i64,
    /// The last event that is older than what publishing may take.
    due: i64,
}

pub(super) async fn check(check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<()> {
    let mut published = Vec::new();
    for service in Service::ALL {
        published.push(published_by(check, *service).await?);
    }
    for topic in topics::ALL {
        topic_in_slices(check, topic, &published, findings).await?;
    }
    for one in &published {
        overdue(check, one, findings).await?;
    }
    Ok(())
}

async fn published_by(check: &Check<'_>, service: Service) -> anyhow::Result<Published> {
    let mut connection = check.databases.connect(service).await?;
    let sql = "select c.position, (select max(e.position) from event_log e \
                                   where e.position > c.position and e.occurred_at < now() - make_interval(secs => $1)) \
                                  as due \
               from relay_cursor c";
    let row = sqlx::query(sql).bind(check.settle.as_secs_f64()).fetch_one(&mut connection).await;
    let row = row.with_context(|| service.database())?;
    let due: Option<i64> = row.try_get("due")?;
    Ok(Published { service, position: row.try_get("position")?, due: due.unwrap_or_default() })
}

/// A topic with more aggregates than may be kept in memory is read several times, a slice of them each time.
async fn topic_in_slices(
    check: &Check<'_>,
    topic: &'static str,
    published: &[Published],
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut slices = 1;
    loop {
        let mut scratch = Findings::like(findings);
        if all_slices(check, topic, slices, published, &mut scratch).await? {
            findings.absorb(scratch);
            return Ok(());
        }
        slices *= 2;
    }
}

/// Whether every slice had room.
async fn all_slices(
    check: &Check<'_>,
    topic: &'static str,
    slices: u64,
    published: &[Published],
    findings: &mut Findings,
) -> anyhow::Result<bool> {
    for number in 0..slices {
        let slice = Slice { number, of: slices };
        let Some(pass) = Pass::read(check, topic, slice, findings).await? else { return Ok(false) };
        against_logs(check, topic, published, pass, findings).await?;
    }
    Ok(true)
}

/// Compares what was seen in the topic with the logs of those who publish to it. The logs are read after the topic: an
/// event that is in the topic and not in them never was.
async fn against_logs(
    check: &Check<'_>,
    topic: &'static str,
    published: &[Published],
    mut pass: Pass,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for one in published.iter().filter(|one| one.service.publishes().contains(&topic)) {
        let mut snapshot = check.databases.snapshot(one.service).await?;
        let floor = snapshot.floor;
        findings.note_floor(one.service, &floor);
        let debits = match topic {
            topics::PAYMENT_WALLET => Some(Debits::read(&mut snapshot, pass.slice, usize::MAX).await?),
            _ => None,
        };
        let sql = format!(
            "select aggregate_id, aggregate_version, position, event_type from event_log \
             where topic = '{topic}' and position > {} order by aggregate_id, topic, aggregate_version",
            floor.position()
        );
        let mut rows = snapshot.rows(&sql).await?;
        // Those of one id: one of each kind.
        let mut aggregates: Vec<Aggregate> = Vec::new();
        while let Some(row) = rows.next(&mut snapshot).await? {
            let id: &str = column(&row, "aggregate_id")?;
            let (version, position): (i64, i64) = (column(&row, "aggregate_version")?, column(&row, "position")?);
            let kind = Kind::of(column(&row, "event_type")?);
            if aggregates.first().is_some_and(|known| known.id != id) {
                let ended = aggregates.drain(..);
                missing
                    .extend(ended.filter_map(|ended| ended.compare(one.service, debits.as_ref(), &mut pass, findings)));
            }
            let known = match aggregates.iter().position(|known| known.kind == kind) {
                Some(index) => index,
                None => {
                    aggregates.push(Aggregate { is_cut: floor.may_hide(id), ..Aggregate::new(kind, id) });
                    aggregates.len() - 1
                }
            };
            if let Some(aggregate) = aggregates.get_mut(known) {
                aggregate.add(version, position <= one.position, one.service, &pass, findings);
            }
        }
        let ended = aggregates.into_iter();
        missing.extend(ended.filter_map(|ended| ended.compare(one.service, debits.as_ref(), &mut pass, findings)));
    }
    // Before the topic is read on: what comes then is younger than what was read of the logs.
    pass.report_unknown(check, findings).await?;
    wait_for(check, &mut pass, missing, findings).await
}

/// One aggregate's stream in a log.
struct Aggregate {
    kind: Kind,
    id: String,
    /// Its first events may be pruned.
    is_cut: bool,
    last: i64,
    last_published: i64,
    /// Of one whose versions are not all in this topic.
    versions: Versions,
}

/// What has to come to the topic.
struct Missing {
    service: Service,
    kind: Kind,
    id: String,
    version: i64,
}

impl Aggregate {
    fn new(kind: Kind, id: &str) -> Self {
        Self { kind, id: id.to_owned(), is_cut: false, last: 0, last_published: 0, versions: Versions::default() }
    }

    fn add(&mut self, version: i64, is_published: bool, service: Service, pass: &Pass, findings: &mut Findings) {
        let begins_later = self.last == 0 && self.is_cut;
        if self.kind == Kind::Wallet {
            self.versions.note(version);
        } else if version != self.last + 1 && !begins_later && pass.is_of(service.name(), (self.kind, &self.id)) {
            let detail = format!("log of {service}, {}: version {version} after {}", pass.topic, self.last);
            findings.violated("LOG_GAP", &self.id, detail);
        }
        self.last = version;
        if is_published {
            self.last_published = version;
        }
    }

    fn compare(
        mut self,
        service: Service,
        debits: Option<&Debits>,
        pass: &mut Pass,
        findings: &mut Findings,
    ) -> Option<Missing> {
        if !pass.is_of(service.name(), (self.kind, &self.id)) {
            return None;
        }
        findings.checked();
        if self.kind == Kind::Wallet {
            if let Some(debit) = debits.and_then(|debits| debits.of(&self.id)) {
                self.versions.merge(&debit.versions);
            }
            let begins_later = self.versions.lowest() != Some(1) && !self.is_cut;
            if begins_later || !self.versions.are_gapless() {
                let detail = format!("log of {service}: its charges and payments are not each of its versions once");
                findings.violated("LOG_GAP", &self.id, detail);
            }
        }
        let kind = self.kind;
        let seen = pass.take(service.name(), (kind, &self.id));
        let Some(Seen { last }) = seen else {
            // What is not whole may begin behind this aggregate.
            let owed = self.last_published > 0 && pass.is_whole;
            return owed.then_some(Missing { service, kind, id: self.id, version: self.last_published });
        };
        if last > self.last {
            let detail = format!("{} has version {last}, the log of {service} ends with {}", pass.topic, self.last);
            findings.violated("NOT_IN_LOG", &self.id, detail);
        }
        (last < self.last_published).then_some(Missing { service, kind, id: self.id, version: self.last_published })
    }
}

/// A transaction's messages become visible a moment after its publisher was told.
async fn wait_for(
    check: &Check<'_>,
    pass: &mut Pass,
    mut missing: Vec<Missing>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + check.settle;
    while !missing.is_empty() && tokio::time::Instant::now() < until {
        pass.read_on(LOOK_INTERVAL).await?;
        missing.retain(|one| {
            pass.seen(one.service.name(), (one.kind, &one.id)).is_none_or(|seen| seen.last < one.version)
        });
    }
    for one in missing {
        let detail = format!("version {} was published by {} and is not in {}", one.version, one.service, pass.topic);
        findings.violated("NOT_IN_TOPIC", &one.id, detail);
    }
    Ok(())
}

/// Events that should have been published long ago; the relay gets the bound once more.
async fn overdue(check: &Check<'_>, published: &Published, findings: &mut Findings) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + check.settle;
    let service = published.service;
    loop {
        let mut snapshot = check.databases.snapshot(service).await?;
        let position = position(&mut snapshot).await?;
        if position >= published.due {
            return Ok(());
        }
        if tokio::time::Instant::now() >= until {
            let sql = format!(
                "select event_id, aggregate_id, aggregate_version from event_log \
                 where position > {position} and position <= {} order by position",
                published.due
            );
            let mut rows = snapshot.rows(&sql).await?;
            while let Some(row) = rows.next(&mut snapshot).await? {
                let (aggregate, version): (String, i64) =
                    (column(&row, "aggregate_id")?, column(&row, "aggregate_version")?);
                let event: uuid::Uuid = column(&row, "event_id")?;
                findings.violated("NOT_PUBLISHED", event, format!("{service}: version {version} of {aggregate}"));
            }
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn position(snapshot: &mut Snapshot) -> anyhow::Result<i64> {
    let position = sqlx::query_scalar("select position from relay_cursor").fetch_one(&mut snapshot.connection).await;
    position.with_context(|| snapshot.service.database())
}
