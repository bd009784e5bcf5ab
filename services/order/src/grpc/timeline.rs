//! GetOrderTimeline: the events of one order out of the event log.

use std::collections::BTreeMap;

use openorder_messaging::{LoggedEvent, event_log};
use openorder_proto::{
    event_types,
    google::r#type::Money as MoneyMessage,
    order::v1::{self as proto, GetOrderTimelineRequest, GetOrderTimelineResponse, OrderStatus, OrderTimelineEntry},
};
use openorder_rpc::{CallContext, money_from_proto, page_size, query_failed, timestamp_to_proto};
use openorder_types::{CallError, Rejection};
use prost::Message;

use crate::grpc::{OrderGrpc, parse};

/// Name of the list in page tokens.
const TIMELINE: &str = "order.timeline";
const PAGE_SIZE_DEFAULT: u32 = 100;
const PAGE_SIZE_MAX: u32 = 500;

/// Where a page begins: behind this position of the log, the order standing so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    position: i64,
    status: OrderStatus,
    version: i64,
}

impl Place {
    const BEGINNING: Self = Self { position: 0, status: OrderStatus::Unspecified, version: 0 };

    fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.position.to_be_bytes());
        bytes[8..12].copy_from_slice(&(self.status as i32).to_be_bytes());
        bytes[12..].copy_from_slice(&self.version.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (position, rest) = bytes.split_first_chunk()?;
        let (status, version) = rest.split_first_chunk()?;
        Some(Self {
            position: i64::from_be_bytes(*position),
            status: OrderStatus::try_from(i32::from_be_bytes(*status)).ok()?,
            version: i64::from_be_bytes(version.try_into().ok()?),
        })
    }
}

impl OrderGrpc {
    pub(super) async fn timeline(
        &self,
        call: CallContext,
        message: GetOrderTimelineRequest,
    ) -> Result<GetOrderTimelineResponse, CallError> {
        let order_id = parse::order_id(&message.order_id)?;
        let size = page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
            .map_err(|error| Rejection::invalid_field("page_size", error.reason, error.message))?;
        let conditions = order_id.into_bytes().to_vec();
        let list = self.page_tokens.open_by(TIMELINE, &call, conditions, &message.page_token)?;
        let mut place = list.cursor().and_then(Place::from_bytes).unwrap_or(Place::BEGINNING);
        self.visible(&call.caller, order_id).await?;
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let limit = i64::from(size) + 1;
        let found = event_log::history(&mut *read, &order_id.to_string(), place.position, limit).await;
        let found = found.map_err(query_failed)?;
        // Who of the operators did what is no customer's business.
        let staff = call.caller.is_staff();
        let mut rows = Vec::with_capacity(found.len());
        for event in &found {
            let mut described = describe(event);
            described.details.retain(|name, _| staff || name != OPERATOR);
            // A request to another service changes neither.
            if let Some(after) = described.status {
                place.status = after;
                place.version = event.aggregate_version;
            }
            place.position = event.position;
            rows.push((entry(event, described, place.status, place.version), place));
        }
        let (events, next_page_token) =
            list.page(size, &rows, |(entry, _)| entry.clone(), |(_, place)| place.to_bytes());
        Ok(GetOrderTimelineResponse { events, next_page_token })
    }
}

/// Name of the detail that says which operator did it.
const OPERATOR: &str = "operator";

/// What an event adds to the order and to its entry.
#[derive(Default)]
struct TimelineDetail {
    status: Option<OrderStatus>,
    reason: String,
    details: BTreeMap<String, String>,
}

impl TimelineDetail {
    fn at(status: OrderStatus) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    fn add(&mut self, name: &str, value: impl ToString) {
        self.details.insert(name.to_owned(), value.to_string());
    }
}

fn entry(event: &LoggedEvent, described: TimelineDetail, status: OrderStatus, version: i64) -> OrderTimelineEntry {
    OrderTimelineEntry {
        event_id: event.event_id.to_string(),
        event_type: event.event_type.to_string(),
        version,
        occurred_at: Some(timestamp_to_proto(&event.occurred_at)),
        status: status.into(),
        reason: described.reason,
        trace_id: event.trace.trace_id(),
        details: described.details,
    }
}

/// An event of an older version that no longer decodes is shown without its details.
fn describe(event: &LoggedEvent) -> TimelineDetail {
    let mut described = match event.event_type.as_ref() {
        event_types::ORDER_CREATED => of(event, OrderStatus::Pending, |created: proto::OrderCreated, described| {
            described.add("lines", created.lines.len());
            described.add("reservation_mode", created.reservation_mode().as_str_name());
        }),
        event_types::ORDER_CONFIRMED => {
            of(event, OrderStatus::Confirmed, |confirmed: proto::OrderConfirmed, described| {
                described.details.extend(amount("discount", confirmed.discount.as_ref()));
            })
        }
        event_types::ORDER_PAID => of(event, OrderStatus::Paid, |paid: proto::OrderPaid, described| {
            described.add("payment_id", paid.payment_id);
        }),
        event_types::ORDER_PREPARING => TimelineDetail::at(OrderStatus::Preparing),
        event_types::ORDER_SHIPPED => TimelineDetail::at(OrderStatus::Shipped),
        event_types::ORDER_DELIVERED => TimelineDetail::at(OrderStatus::Delivered),
        event_types::ORDER_CANCELLED => {
            of(event, OrderStatus::Cancelled, |cancelled: proto::OrderCancelled, described| {
                described.reason = cancelled.status_reason;
                described.add("detail", cancelled.status_detail);
            })
        }
        event_types::ORDER_REJECTED => of(event, OrderStatus::Rejected, |rejected: proto::OrderRejected, described| {
            described.reason = rejected.status_reason;
            described.add("detail", rejected.status_detail);
        }),
        event_type => match modification(event_type, event) {
            Some(described) => described,
            None => compensation(event_type, event),
        },
    };
    described.details.retain(|_, value| !value.is_empty());
    described
}

/// What events of a modification say, which leaves an order at the status that they name.
fn modification(event_type: &str, event: &LoggedEvent) -> Option<TimelineDetail> {
    Some(match event_type {
        event_types::ORDER_MODIFICATION_REQUESTED => {
            stays(event, |requested: proto::OrderModificationRequested, described| {
                described.add("requested_lines", requested.requested_lines.len());
                described.details.extend(amount("requested_total", requested.requested_total.as_ref()));
                requested.status()
            })
        }
        event_types::ORDER_MODIFIED => stays(event, |modified: proto::OrderModified, described| {
            described.add("lines", modified.lines.len());
            described.details.extend(amount("total", modified.total.as_ref()));
            modified.status()
        }),
        event_types::ORDER_MODIFICATION_REJECTED => {
            stays(event, |rejected: proto::OrderModificationRejected, described| {
                let status = rejected.status();
                described.reason = rejected.reason;
                described.add("detail", rejected.detail);
                status
            })
        }
        _ => return None,
    })
}

/// What events of a compensation that failed say; nothing of other events.
fn compensation(event_type: &str, event: &LoggedEvent) -> TimelineDetail {
    match event_type {
        event_types::ORDER_COMPENSATION_FAILED => stays(event, |failed: proto::OrderCompensationFailed, described| {
            described.add("still_open", parts(failed.stock_open, failed.payment_open, failed.coupon_open));
            described.add("undo_attempts", failed.undo_attempts);
            failed.status()
        }),
        event_types::ORDER_COMPENSATION_RETRIED => {
            stays(event, |retried: proto::OrderCompensationRetried, described| {
                let status = retried.status();
                described.add(OPERATOR, retried.operator);
                described.add("detail", retried.reason);
                status
            })
        }
        event_types::ORDER_COMPENSATION_SETTLED => {
            stays(event, |settled: proto::OrderCompensationSettled, described| {
                let status = settled.status();
                described.add("settled", parts(settled.stock_settled, settled.payment_settled, settled.coupon_settled));
                described.add(OPERATOR, settled.operator);
                described.add("detail", settled.reason);
                status
            })
        }
        _ => TimelineDetail::default(),
    }
}

/// An event that leads to a status, with what its message says besides.
fn of<M: Message + Default>(
    event: &LoggedEvent,
    status: OrderStatus,
    add: impl FnOnce(M, &mut TimelineDetail),
) -> TimelineDetail {
    let mut described = TimelineDetail::at(status);
    if let Ok(message) = M::decode(&*event.payload) {
        add(message, &mut described);
    }
    described
}

/// An event whose message says at which status the order is.
fn stays<M: Message + Default>(
    event: &LoggedEvent,
    add: impl FnOnce(M, &mut TimelineDetail) -> OrderStatus,
) -> TimelineDetail {
    let mut described = TimelineDetail::default();
    if let Ok(message) = M::decode(&*event.payload) {
        described.status = Some(add(message, &mut described));
    }
    described
}

/// A detail that is an amount; none where there is none, or none that can be read.
fn amount(name: &str, money: Option<&MoneyMessage>) -> Option<(String, String)> {
    let money = money_from_proto(money?).ok()?;
    Some((name.to_owned(), money.to_string()))
}

fn parts(stock: bool, payment: bool, coupon: bool) -> String {
    let parts = [(stock, "stock"), (payment, "payment"), (coupon, "coupon")];
    parts.iter().filter(|(open, _)| *open).map(|(_, part)| *part).collect::<Vec<_>>().join(", ")
}
