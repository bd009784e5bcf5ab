//! The services whose event logs hold what documents are made of.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, bail};
use chrono::DateTime;
use openorder_messaging::{RawHeaders, Received};
use openorder_pipeline::logged_event;
use openorder_proto::{
    internal::operations::v1::{CountEventsRequest, ReadEventsRequest, pipeline_service_client::PipelineServiceClient},
    operations::v1::EventFilter,
    topics,
};
use openorder_rpc::{CallContext, UpstreamChannel, Violations, fault_of, reason_of, status};
use openorder_service::Host;
use openorder_telemetry::TraceContext;
use openorder_types::{Caller, Fault, Role, Timestamp};
use tonic::{Request, Status};

use crate::{
    HistorySettings, consumers,
    domain::{Fact, Source},
};

/// Each service with the topic of its own that documents are made of.
const ALL: [(&str, &str); 4] = [
    ("order", topics::ORDER_LIFECYCLE),
    ("payment", topics::PAYMENT_TRANSACTION),
    ("shipping", topics::SHIPPING_SHIPMENT),
    ("notification", topics::NOTIFICATION_DELIVERY),
];

/// The logs, in the order in which they are read.
#[derive(Clone)]
pub struct Sources {
    logs: Vec<Log>,
    timeout: Duration,
    page_size: i32,
}

#[derive(Clone)]
struct Log {
    service: &'static str,
    topic: &'static str,
    client: PipelineServiceClient<UpstreamChannel>,
}

/// A part of a log.
pub(crate) struct Page {
    pub(crate) facts: Vec<Fact>,
    /// Events that were read, those without a fact among them.
    pub(crate) events: i64,
    pub(crate) skipped: i64,
    /// Where the next part begins; none at the end.
    pub(crate) next: Option<i64>,
    /// Where this part ends.
    pub(crate) position: i64,
}

/// What a log answers.
pub(crate) enum Answer<T> {
    Given(T),
    /// What comes behind this position is there; older events are pruned.
    Pruned {
        floor: i64,
        kept_from: Timestamp,
    },
}

impl Sources {
    /// The logs that `history.rebuild_sources` names.
    ///
    /// # Errors
    /// A name that is none of a service with such a log, or one that cannot be reached by its URL.
    pub fn new(host: &Host<HistorySettings>) -> anyhow::Result<Self> {
        let settings = &host.settings;
        let mut logs: Vec<Log> = Vec::new();
        for name in settings.rebuild_sources.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some((service, topic)) = ALL.into_iter().find(|(service, _)| *service == name) else {
                let known: Vec<&str> = ALL.iter().map(|(service, _)| *service).collect();
                bail!("history.rebuild_sources: {name:?} is none of {}", known.join(", "));
            };
            if logs.iter().any(|log| log.service == service) {
                bail!("history.rebuild_sources: {service} stands there twice");
            }
            let channel = host.channel(service, &settings.client).context("history.rebuild_sources")?;
            logs.push(Log { service, topic, client: PipelineServiceClient::new(channel) });
        }
        let timeout = Duration::from_millis(settings.rebuild_call_timeout_ms);
        Ok(Self { logs, timeout, page_size: settings.rebuild_page_size })
    }

    /// Their names.
    pub fn services(&self) -> impl Iterator<Item = &'static str> {
        self.logs.iter().map(|log| log.service)
    }

    /// How many events of use a log has.
    pub(crate) async fn count(&self, source: &Source, requested_by: &str) -> Result<Answer<i64>, Fault> {
        let mut log = self.find(&source.service)?;
        let (mut count, mut after_position) = (0_i64, source.position);
        loop {
            let message = CountEventsRequest { filter: Some(log.filter()), after_position };
            let counted = match log.client.count_events(self.request(requested_by, message)).await {
                Ok(counted) => counted.into_inner(),
                Err(status) => return pruned(log.service, &status),
            };
            count = count.saturating_add(counted.count);
            if counted.next_position == 0 {
                return Ok(Answer::Given(count));
            }
            after_position = counted.next_position;
        }
    }

    /// What comes next in a log.
    pub(crate) async fn read(&self, source: &Source, requested_by: &str) -> Result<Answer<Page>, Fault> {
        let mut log = self.find(&source.service)?;
        let message = ReadEventsRequest {
            filter: Some(log.filter()),
            after_position: source.position,
            page_size: self.page_size,
        };
        let read = match log.client.read_events(self.request(requested_by, message)).await {
            Ok(read) => read.into_inner(),
            Err(status) => return pruned(log.service, &status),
        };
        let next = Some(read.next_position).filter(|next| *next > 0);
        let mut page = Page { facts: Vec::new(), events: 0, skipped: 0, next, position: source.position };
        for message in read.events {
            page.events += 1;
            page.position = page.position.max(message.position);
            match fact(message) {
                Ok(fact) => page.facts.extend(fact),
                Err(detail) => {
                    page.skipped += 1;
                    tracing::warn!(
                        service = log.service,
                        position = page.position,
                        detail,
                        "no document is made of an event"
                    );
                }
            }
        }
        page.position = next.unwrap_or(page.position).max(page.position);
        Ok(Answer::Given(page))
    }

    fn find(&self, service: &str) -> Result<Log, Fault> {
        let found = self.logs.iter().find(|log| log.service == service).cloned();
        found.ok_or_else(|| Fault::permanent(format!("history.rebuild_sources does not name {service} any more")))
    }

    /// In the name of the operator who asked for the rebuild: a service is not shown others' logs.
    fn request<T>(&self, requested_by: &str, message: T) -> Request<T> {
        let caller = Caller::new(requested_by, [Role::Operator]);
        let call = CallContext { caller, trace: TraceContext::NONE, deadline: None };
        call.within(self.timeout).retry_safe_request(message)
    }
}

impl Log {
    fn filter(&self) -> EventFilter {
        EventFilter { topics: vec![self.topic.to_owned()], ..EventFilter::default() }
    }
}

/// An answer that is a refusal of what is pruned, or a failure.
fn pruned<T>(service: &'static str, refused: &Status) -> Result<Answer<T>, Fault> {
    if reason_of(refused).as_deref() != Some("EVENTS_PRUNED") {
        return Err(fault_of(service, refused).unwrap_or_else(|| Fault::retryable("no answer")));
    }
    let floor = status::metadata_of(refused, "floor_position").and_then(|text| i64::from_str(&text).ok());
    let kept_from = status::metadata_of(refused, "kept_from").and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    match floor.zip(kept_from) {
        Some((floor, kept_from)) => Ok(Answer::Pruned { floor, kept_from: kept_from.to_utc() }),
        None => {
            Err(Fault::permanent(format!("{service} does not say where its log begins; is it of another version?")))
        }
    }
}

/// What an event of a log says; as it came by Kafka it says the same.
fn fact(message: openorder_proto::internal::operations::v1::LoggedEvent) -> Result<Option<Fact>, String> {
    let mut violations = Violations::new();
    let event = logged_event("event", message, &mut violations);
    violations.finish().map_err(|rejection| rejection.to_string())?;
    let event = event.ok_or("no event")?;
    let mut room = openorder_types::IdText::default();
    let received = Received {
        topic: event.topic,
        partition: 0,
        offset: event.position,
        key: event.key.text(&mut room).as_bytes().to_vec().into(),
        event_id: event.event_id,
        event_type: event.event_type,
        position: Some(event.position),
        payload: event.payload,
        trace: event.trace,
        headers: RawHeaders::default(),
    };
    consumers::fact_of(&received).map_err(|error| error.to_string())
}
