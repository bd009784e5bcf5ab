//! A topic, read from its beginning: the last version of each aggregate, gaps, and what the groups should have taken over.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::Context;
use futures::future::try_join_all;
use openorder_messaging::{Scanned, Sequence, TopicScan, committed_offsets};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Check;
use super::aggregates::{Kind, Slice, key_of};
use super::floor::Floor;
use super::report::Findings;
use super::services::{Consumed, Service};

/// Messages read, and looked up in the inboxes, at a time.
const PAGE_MESSAGES: usize = 5_000;

/// What was seen of an aggregate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) last: i64,
}

/// What one reading of a topic gave.
pub(super) struct Pass {
    pub(super) topic: &'static str,
    /// Whether the topic's first messages are among what was read.
    pub(super) is_whole: bool,
    pub(super) slice: Slice,
    aggregates: HashMap<u128, Seen>,
    scan: TopicScan,
    /// Of those who publish to the topic.
    logs: Vec<PublisherLog>,
}

/// The log of a service that publishes to a topic.
struct PublisherLog {
    service: Service,
    connection: PgConnection,
    floor: Floor,
}

/// What a log says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// The version that the message gave its aggregate.
    Version(i64),
    /// The log no longer goes back to it.
    Pruned,
    /// The log has another event at its position, or none.
    No,
}

/// A message of the slice, until its version is known.
struct Noted {
    key: u128,
    kind: Kind,
    event_id: Uuid,
    sequence: Sequence,
    source: String,
    subject: String,
    partition: i32,
    offset: i64,
}

/// A message whose version is not the one behind the last message's of its aggregate.
struct Jump<'a> {
    to: &'a Noted,
    from: i64,
    version: i64,
}

/// A group that consumes the topic, with the messages that should be in its inbox.
struct Group {
    service: Service,
    consumed: Consumed,
    committed: HashMap<i32, i64>,
    connection: PgConnection,
    /// Inboxes forget what is older, milliseconds since 1970.
    remembers_from_ms: i64,
    pending: Vec<Pending>,
}

/// A message that a group has consumed.
struct Pending {
    event_id: Uuid,
    source: String,
    /// In the log of its source; none where the message does not say it.
    position: Option<i64>,
    partition: i32,
    offset: i64,
}

impl Pass {
    /// Reads the topic; none when the slice has more aggregates than may be kept in memory.
    pub(super) async fn read(
        check: &Check<'_>,
        topic: &'static str,
        slice: Slice,
        findings: &mut Findings,
    ) -> anyhow::Result<Option<Self>> {
        // First how far the groups are, then what there is: what they have consumed by now is in their inboxes.
        let mut groups = if slice.number == 0 { groups(check, topic).await? } else { Vec::new() };
        let opened = TopicScan::open(&check.settings.kafka, topic, check.topics_from).await;
        let scan = opened.with_context(|| format!("topic {topic}"))?;
        let (is_whole, logs) = (scan.is_whole(), logs(check, topic).await?);
        let mut pass = Self { topic, is_whole, slice, aggregates: HashMap::new(), scan, logs };
        loop {
            let mut page = Vec::new();
            let each = |message: &Scanned<'_>| {
                if slice.number == 0 {
                    findings.count("messages", 1);
                    if message.sequence.is_none() {
                        findings.count("messages of others", 1);
                    }
                }
                page.extend(Noted::of(message, slice));
                groups.iter_mut().for_each(|group| group.note(topic, message));
            };
            let is_end = pass.scan.read(PAGE_MESSAGES, each).await.with_context(|| format!("topic {topic}"))?;
            pass.take_over(page, findings).await?;
            for group in &mut groups {
                group.look_up(topic, findings).await?;
            }
            if pass.aggregates.len() > check.aggregates_max {
                return Ok(None);
            }
            if is_end {
                return Ok(Some(pass));
            }
        }
    }

    /// Reads what came behind the end, for a time.
    pub(super) async fn read_on(&mut self, bound: Duration) -> anyhow::Result<()> {
        let (topic, slice, mut noted) = (self.topic, self.slice, Vec::new());
        let each = |message: &Scanned<'_>| noted.extend(Noted::of(message, slice));
        self.scan.read_on(bound, each).await.map(drop).with_context(|| format!("topic {topic}"))?;
        for page in noted.chunks(PAGE_MESSAGES) {
            let versions = self.versions(page).await?;
            for (one, version) in page.iter().zip(versions) {
                let Known::Version(version) = version else { continue };
                let seen = self.aggregates.entry(one.key).or_insert(Seen { last: 0 });
                seen.last = seen.last.max(version);
            }
        }
        Ok(())
    }

    /// Follows each aggregate of a page from version to version.
    async fn take_over(&mut self, page: Vec<Noted>, findings: &mut Findings) -> anyhow::Result<()> {
        let versions = self.versions(&page).await?;
        let mut jumps = Vec::new();
        for (one, version) in page.iter().zip(versions) {
            match version {
                Known::Version(version) => {
                    let begins_later = !self.is_whole || self.floor_of(&one.source).may_hide(&one.subject);
                    jumps.extend(one.follow(version, self.topic, begins_later, &mut self.aggregates, findings));
                }
                Known::Pruned => {
                    findings.count("messages whose events are pruned", 1);
                    self.aggregates.remove(&one.key);
                }
                Known::No => {
                    let detail =
                        format!("{} is from {}, whose log does not have it", one.place(self.topic), one.source);
                    findings.violated("NOT_IN_LOG", &one.subject, detail);
                }
            }
        }
        self.look_between(jumps, findings).await
    }

    /// Where versions may have gaps, what the log has between two of them has to be in the topic between them.
    async fn look_between(&mut self, jumps: Vec<Jump<'_>>, findings: &mut Findings) -> anyhow::Result<()> {
        for PublisherLog { service, connection, .. } in &mut self.logs {
            let of_service: Vec<_> =
                jumps.iter().filter(|jump| service_of(&jump.to.source) == service.name()).collect();
            if of_service.is_empty() {
                continue;
            }
            let ids: Vec<&str> = of_service.iter().map(|jump| jump.to.subject.as_str()).collect();
            let (from, to): (Vec<i64>, Vec<i64>) = of_service.iter().map(|jump| (jump.from, jump.version)).unzip();
            let sql = "select exists (select from event_log where aggregate_id = id and topic = $4 \
                                         and aggregate_version > after and aggregate_version < before) \
                       from unnest($1::text[], $2::bigint[], $3::bigint[]) with ordinality as jump (id, after, before, place) \
                       order by place";
            let passed: Vec<bool> = sqlx::query_scalar(sql)
                .bind(ids)
                .bind(from)
                .bind(to)
                .bind(self.topic)
                .fetch_all(&mut *connection)
                .await
                .with_context(|| service.database())?;
            for (jump, _) in of_service.iter().zip(passed).filter(|(_, passed)| *passed) {
                findings.violated("TOPIC_GAP", &jump.to.subject, jump.text(self.topic));
            }
        }
        Ok(())
    }

    /// The version that each message gave its aggregate: as the log has it at the message's position, or as the message
    /// says itself. A log is read after the message: what is published was committed before.
    async fn versions(&mut self, page: &[Noted]) -> anyhow::Result<Vec<Known>> {
        let mut versions = vec![Known::No; page.len()];
        for (one, version) in page.iter().zip(&mut versions) {
            if let Sequence::Version(known) = one.sequence {
                *version = Known::Version(known);
            }
        }
        for PublisherLog { service, connection, floor } in &mut self.logs {
            let of_service = page.iter().filter(|one| service_of(&one.source) == service.name());
            let positions: Vec<i64> = of_service.filter_map(Noted::position).collect();
            if positions.is_empty() {
                continue;
            }
            let sql = "select position, event_id, aggregate_version from event_log where position = any($1)";
            let rows: Vec<(i64, Uuid, i64)> = sqlx::query_as(sql)
                .bind(&positions)
                .fetch_all(&mut *connection)
                .await
                .with_context(|| service.database())?;
            if rows.len() < positions.len() {
                // Raised before anything is deleted: what was missing just now is below it.
                *floor = Floor::read(connection, *service).await?;
            }
            let rows: HashMap<i64, (Uuid, i64)> =
                rows.into_iter().map(|(at, id, version)| (at, (id, version))).collect();
            for (one, version) in page.iter().zip(&mut versions) {
                let position = one.position().filter(|_| service_of(&one.source) == service.name());
                let Some(position) = position else { continue };
                match rows.get(&position) {
                    Some((event_id, known)) if *event_id == one.event_id => *version = Known::Version(*known),
                    None if position <= floor.position() => *version = Known::Pruned,
                    _ => {}
                }
            }
        }
        Ok(versions)
    }

    fn floor_of(&self, source: &str) -> Floor {
        let log = self.logs.iter().find(|log| log.service.name() == service_of(source));
        log.map_or_else(Floor::default, |log| log.floor)
    }

    pub(super) fn is_of(&self, service: &str, aggregate: (Kind, &str)) -> bool {
        self.slice.holds(key_of(service, aggregate))
    }

    pub(super) fn seen(&self, service: &str, aggregate: (Kind, &str)) -> Option<Seen> {
        self.aggregates.get(&key_of(service, aggregate)).copied()
    }

    /// What was seen of an aggregate that a log knows.
    pub(super) fn take(&mut self, service: &str, aggregate: (Kind, &str)) -> Option<Seen> {
        self.aggregates.remove(&key_of(service, aggregate))
    }

    /// What is left was seen in the topic and no log knows it; the topic is read again for its names.
    pub(super) async fn report_unknown(&mut self, check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<()> {
        let mut unknown = std::mem::take(&mut self.aggregates);
        if unknown.is_empty() {
            return Ok(());
        }
        let topic = self.topic;
        for log in &mut self.logs {
            log.floor = Floor::read(&mut log.connection, log.service).await?;
        }
        let mut scan = TopicScan::open(&check.settings.kafka, topic, check.topics_from).await?;
        let mut each = |message: &Scanned<'_>| {
            let floor = self.floor_of(message.source);
            let is_pruned = match message.sequence {
                Some(Sequence::Position(position)) => position <= floor.position(),
                _ => floor.is_before(message.timestamp_ms),
            };
            if is_pruned {
                return;
            }
            if unknown.remove(&key(message)).is_some() {
                let detail = format!("{topic} has it from {}, whose log does not", message.source);
                findings.violated("NOT_IN_LOG", message.subject, detail);
            }
        };
        while !scan.read(PAGE_MESSAGES, &mut each).await? {}
        Ok(())
    }
}

impl Noted {
    /// `None` for a message of others, or of another slice.
    fn of(message: &Scanned<'_>, slice: Slice) -> Option<Self> {
        let (sequence, key) = (message.sequence?, key(message));
        slice.holds(key).then(|| Self {
            key,
            kind: Kind::of(message.event_type),
            event_id: message.event_id(),
            sequence,
            source: message.source.to_owned(),
            subject: message.subject.to_owned(),
            partition: message.partition,
            offset: message.offset,
        })
    }

    fn position(&self) -> Option<i64> {
        if let Sequence::Position(position) = self.sequence { Some(position) } else { None }
    }

    fn place(&self, topic: &str) -> String {
        format!("{topic} partition {} offset {}", self.partition, self.offset)
    }

    /// Returns where versions were passed over that another topic may have.
    fn follow(
        &self,
        version: i64,
        topic: &str,
        begins_later: bool,
        aggregates: &mut HashMap<u128, Seen>,
        findings: &mut Findings,
    ) -> Option<Jump<'_>> {
        let mut jump = None;
        match aggregates.get_mut(&self.key) {
            // Published again after a relay had lost its place: consumers drop it by its id.
            Some(seen) if version <= seen.last => findings.count("messages published again", 1),
            Some(seen) => {
                if version != seen.last + 1 {
                    let passed = Jump { to: self, from: seen.last, version };
                    if self.kind == Kind::Wallet {
                        jump = Some(passed);
                    } else {
                        findings.violated("TOPIC_GAP", &self.subject, passed.text(topic));
                    }
                }
                seen.last = version;
            }
            None => {
                if version != 1 && !begins_later {
                    let detail = format!("{}: begins with version {version}", self.place(topic));
                    findings.violated("TOPIC_GAP", &self.subject, detail);
                }
                aggregates.insert(self.key, Seen { last: version });
            }
        }
        jump
    }
}

impl Jump<'_> {
    fn text(&self, topic: &str) -> String {
        format!("{}: version {} after {}", self.to.place(topic), self.version, self.from)
    }
}

/// A connection to the log of each service that publishes to the topic.
async fn logs(check: &Check<'_>, topic: &str) -> anyhow::Result<Vec<PublisherLog>> {
    let mut logs = Vec::new();
    for service in Service::ALL.iter().filter(|service| service.publishes().contains(&topic)) {
        let mut connection = check.databases.connect(*service).await?;
        let floor = Floor::read(&mut connection, *service).await?;
        logs.push(PublisherLog { service: *service, connection, floor });
    }
    Ok(logs)
}

async fn groups(check: &Check<'_>, topic: &str) -> anyhow::Result<Vec<Group>> {
    let following = Service::ALL.iter().filter_map(|service| {
        let consumed = service.consumed().filter(|consumed| consumed.is_of(topic))?;
        Some(async move {
            let committed = committed_offsets(&check.settings.kafka, service.name(), topic).await;
            let committed = committed.with_context(|| format!("offsets of {service} in topic {topic}"))?;
            anyhow::Ok((service, consumed, committed))
        })
    });
    let mut groups = Vec::new();
    // Together: each client has to find the coordinator of its group first.
    for (service, consumed, committed) in try_join_all(following).await? {
        let hours = i64::from(service.database_settings(check.settings).inbox_retention_hours);
        let remembers_from = chrono::Utc::now() - chrono::Duration::hours(hours) + chrono::Duration::minutes(10);
        groups.push(Group {
            service: *service,
            consumed,
            committed,
            connection: check.databases.connect(*service).await?,
            remembers_from_ms: remembers_from.timestamp_millis(),
            pending: Vec::new(),
        });
    }
    Ok(groups)
}

impl Group {
    fn note(&mut self, topic: &str, message: &Scanned<'_>) {
        let is_consumed = self.committed.get(&message.partition).is_some_and(|next| message.offset < *next);
        if is_consumed
            && message.timestamp_ms >= self.remembers_from_ms
            && self.consumed.takes(topic, message.event_type, &|| message.received())
        {
            let position =
                if let Some(Sequence::Position(position)) = message.sequence { Some(position) } else { None };
            let source = service_of(message.source).to_owned();
            let (event_id, partition, offset) = (message.event_id(), message.partition, message.offset);
            self.pending.push(Pending { event_id, source, position, partition, offset });
        }
    }

    /// What the group has consumed and neither applied nor parked, it has lost.
    async fn look_up(&mut self, topic: &str, findings: &mut Findings) -> anyhow::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = self.pending.iter().map(|one| one.event_id).collect();
        let sources: Vec<&str> = self.pending.iter().map(|one| one.source.as_str()).collect();
        let positions: Vec<Option<i64>> = self.pending.iter().map(|one| one.position).collect();
        let sql = "select id from unnest($1::uuid[], $2::text[], $3::bigint[]) as of_message (id, source, position) \
                   where not coalesce(is_taken_over(id, $4, source, position), false) \
                     and not exists (select from inbox where event_id = id) \
                     and not exists (select from parked_message where event_id = id)";
        let lost: Vec<Uuid> = sqlx::query_scalar(sql)
            .bind(ids)
            .bind(sources)
            .bind(positions)
            .bind(topic)
            .fetch_all(&mut self.connection)
            .await
            .with_context(|| self.service.database())?;
        let lost: HashSet<Uuid> = lost.into_iter().collect();
        findings.count("messages consumed", i128::try_from(self.pending.len()).unwrap_or_default());
        for Pending { event_id: id, partition, offset, .. } in self.pending.drain(..) {
            if lost.contains(&id) {
                let detail = format!(
                    "{} consumed {topic} partition {partition} offset {offset} and did not keep it",
                    self.service
                );
                findings.violated("NOT_IN_INBOX", id, detail);
            }
        }
        Ok(())
    }
}

/// An aggregate's stream: several services may publish to one topic, each its own streams.
fn key(message: &Scanned<'_>) -> u128 {
    key_of(service_of(message.source), (Kind::of(message.event_type), message.subject))
}

/// `order` of `/openorder/order`.
fn service_of(source: &str) -> &str {
    source.rsplit('/').next().unwrap_or(source)
}
