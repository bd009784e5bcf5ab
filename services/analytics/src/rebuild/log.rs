//! The order service's log of events, read page by page.

use std::time::Duration;

use openorder_messaging::{RawHeaders, Received};
use openorder_proto::{
    internal::operations::v1::{
        LoggedEvent as LoggedEventMessage, ReadEventsRequest, pipeline_service_client::PipelineServiceClient,
    },
    operations::v1::EventFilter,
    topics,
};
use openorder_rpc::{CallContext, UpstreamChannel, fault_of, reason_of};
use openorder_telemetry::TraceContext;
use openorder_types::{Caller, Fault, Role, parse_uuid};
use tonic::Status;
use uuid::Uuid;

use crate::{
    consumers::{self, ORDER_SERVICE},
    domain::{Fact, Failure},
};

/// The events of a page, in the order of the log.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) facts: Vec<Fact>,
    /// All events of orders in the page, those that mean nothing here and those that cannot be read included.
    pub(super) events: i64,
    pub(super) unreadable: i64,
    /// The newest id among them.
    pub(super) newest_id: Uuid,
    /// Up to where the log is read now.
    pub(super) position: i64,
    /// Whether nothing stood behind it when it was read.
    pub(super) is_last: bool,
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum NoPage {
    /// There never will be one.
    Failed(Failure, String),
    /// Later.
    Away(Fault),
}

#[derive(Clone)]
pub(super) struct OrderLog(PipelineServiceClient<UpstreamChannel>);

impl OrderLog {
    pub(super) fn new(channel: UpstreamChannel) -> Self {
        Self(PipelineServiceClient::new(channel))
    }

    /// Events of orders behind a position of the log, in the name of the operator who wants them.
    pub(super) async fn read(
        &self,
        operator: &str,
        after_position: i64,
        page_size: i32,
        bound: Duration,
    ) -> Result<Page, NoPage> {
        let filter = EventFilter { topics: vec![topics::ORDER_LIFECYCLE.to_owned()], ..EventFilter::default() };
        let request = ReadEventsRequest { filter: Some(filter), after_position, page_size };
        let caller = Caller::new(operator, [Role::Operator]);
        let call = CallContext { caller, trace: TraceContext::NONE, deadline: None }.within(bound);
        let answer =
            self.0.clone().read_events(call.retry_safe_request(request)).await.map_err(|status| no_page(&status))?;
        let answer = answer.into_inner();
        Ok(page(answer.events, after_position, answer.next_position))
    }
}

fn page(events: Vec<LoggedEventMessage>, after_position: i64, next_position: i64) -> Page {
    let mut page = Page {
        facts: Vec::with_capacity(events.len()),
        events: i64::try_from(events.len()).unwrap_or(i64::MAX),
        unreadable: 0,
        newest_id: Uuid::nil(),
        position: next_position.max(after_position),
        is_last: next_position == 0,
    };
    for event in events {
        page.position = page.position.max(event.position);
        match received(event) {
            Some(message) => {
                page.newest_id = page.newest_id.max(message.event_id);
                match consumers::fact(&message) {
                    Ok(fact) => page.facts.extend(fact),
                    Err(error) => {
                        tracing::warn!(%error, event_id = %message.event_id, "an event is not counted: it cannot be read");
                        page.unreadable += 1;
                    }
                }
            }
            None => page.unreadable += 1,
        }
    }
    page
}

/// The event as a consumer receives it.
fn received(event: LoggedEventMessage) -> Option<Received> {
    let event_id = parse_uuid(&event.event_id, "EVENT_ID_MALFORMED").ok()?;
    let source = format!("/openorder/{ORDER_SERVICE}");
    Some(Received {
        topic: event.topic.into(),
        partition: 0,
        offset: 0,
        key: event.key.into(),
        event_id,
        event_type: event.event_type.into(),
        position: Some(event.position),
        payload: event.payload.into(),
        trace: TraceContext::NONE,
        headers: RawHeaders::from_iter([("ce_source", source.as_bytes())]),
    })
}

fn no_page(status: &Status) -> NoPage {
    if reason_of(status).as_deref() == Some("EVENTS_PRUNED") {
        return NoPage::Failed(Failure::EventsPruned, status.message().to_owned());
    }
    match fault_of(ORDER_SERVICE, status) {
        Some(Fault::Permanent { detail, .. }) => NoPage::Failed(Failure::LogRefused, detail),
        Some(fault) => NoPage::Away(fault),
        None => NoPage::Away(Fault::retryable("the order service gave no answer")),
    }
}

#[cfg(test)]
mod tests {
    use openorder_proto::{
        EventMessage,
        order::v1::{OrderCompensationFailed, OrderConfirmed},
    };

    use super::*;

    fn logged<M: EventMessage>(position: i64, event_id: Uuid, message: &M) -> LoggedEventMessage {
        LoggedEventMessage {
            position,
            event_id: event_id.to_string(),
            event_type: M::EVENT_TYPE.to_owned(),
            topic: M::TOPIC.to_owned(),
            payload: message.encode_to_vec(),
            ..LoggedEventMessage::default()
        }
    }

    #[test]
    fn a_page_knows_up_to_where_it_is_and_what_of_it_is_counted() {
        let confirmed = |order_id: Uuid| OrderConfirmed { order_id: order_id.to_string(), ..Default::default() };
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        let events = vec![
            logged(3, second, &confirmed(Uuid::now_v7())),
            logged(4, first, &OrderCompensationFailed::default()),
            logged(7, first, &confirmed(Uuid::nil())),
        ];
        let read = page(events.clone(), 2, 0);
        assert_eq!((read.facts.len(), read.events, read.unreadable), (1, 3, 1));
        assert_eq!((read.position, read.newest_id, read.is_last), (7, second.max(first), true));
        assert_eq!(read.facts[0].origin.position, Some(3));
        let more = page(events, 2, 50_000);
        assert_eq!((more.position, more.is_last), (50_000, false), "behind them is nothing of orders");
        let empty = page(Vec::new(), 9, 0);
        assert_eq!((empty.position, empty.is_last, empty.newest_id), (9, true, Uuid::nil()));
    }
}
