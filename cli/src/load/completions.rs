//! Learns from Kafka when orders are completed, as any consumer of the events would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openorder_messaging::{Received, Tail};
use openorder_proto::event_types;
use openorder_proto::order::v1::{OrderCancelled, OrderRejected};
use prost::Message;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::Shared;
use super::statistics::Outcome;
use crate::output::note;

/// Pause after the broker could not be read.
const BROKER_PAUSE: Duration = Duration::from_millis(200);

/// The events that an order of a load ends with.
const LAST_EVENTS: &[&str] = &[event_types::ORDER_PREPARING, event_types::ORDER_REJECTED, event_types::ORDER_CANCELLED];

/// What all events of an order begin with; the rest is not decoded.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(string, tag = "1")]
    order_id: String,
    #[prost(string, tag = "2")]
    customer_id: String,
}

/// Reads last events until aborted; orders of customers with other ids are not ours.
pub(super) async fn read(tail: Tail, customer_prefix: String, statistics: Shared, places: Arc<Semaphore>) {
    let tail = tail.only(LAST_EVENTS);
    let mut warned = false;
    loop {
        match tail.next().await {
            Ok(event) => {
                if let Some((order_id, outcome)) = completion(&event, &customer_prefix)
                    && statistics.lock().completed(order_id, outcome, Instant::now())
                {
                    places.add_permits(1);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    note(format_args!("events cannot be read, trying on: {error}"));
                }
                tokio::time::sleep(BROKER_PAUSE).await;
            }
        }
    }
}

fn completion(event: &Received, customer_prefix: &str) -> Option<(u128, Outcome)> {
    let head = event.decode::<Head>().ok().filter(|head| head.customer_id.starts_with(customer_prefix))?;
    let order_id = Uuid::try_parse(&head.order_id).ok()?.as_u128();
    let outcome = match &*event.event_type {
        event_types::ORDER_PREPARING => Outcome::Succeeded,
        event_types::ORDER_REJECTED => Outcome::Rejected(event.decode::<OrderRejected>().ok()?.status_reason),
        event_types::ORDER_CANCELLED => Outcome::Cancelled(event.decode::<OrderCancelled>().ok()?.status_reason),
        _ => return None,
    };
    Some((order_id, outcome))
}

#[cfg(test)]
mod tests {
    use openorder_proto::order::v1::OrderPreparing;
    use openorder_telemetry::TraceContext;

    use super::*;

    fn event(event_type: &str, payload: Vec<u8>) -> Received {
        Received {
            topic: "order.lifecycle.v1".into(),
            partition: 0,
            offset: 1,
            key: Vec::new().into(),
            event_id: Uuid::nil(),
            event_type: event_type.to_owned().into(),
            position: None,
            payload: payload.into(),
            trace: TraceContext::NONE,
            headers: openorder_messaging::RawHeaders::default(),
        }
    }

    #[test]
    fn the_last_event_says_how_an_order_of_ours_ended() {
        let id = Uuid::now_v7();
        let (order_id, customer_id) = (id.to_string(), "load-1-7".to_owned());
        let preparing = OrderPreparing {
            order_id: order_id.clone(),
            customer_id: customer_id.clone(),
            version: 4,
            ..Default::default()
        };
        let preparing = event(event_types::ORDER_PREPARING, preparing.encode_to_vec());
        assert_eq!(completion(&preparing, "load-1-"), Some((id.as_u128(), Outcome::Succeeded)));
        assert_eq!(completion(&preparing, "load-2-"), None, "another run's");

        let cancelled = OrderCancelled {
            order_id,
            customer_id,
            status_reason: "INSUFFICIENT_BALANCE".to_owned(),
            ..Default::default()
        };
        let cancelled = event(event_types::ORDER_CANCELLED, cancelled.encode_to_vec());
        let expected = Outcome::Cancelled("INSUFFICIENT_BALANCE".to_owned());
        assert_eq!(completion(&cancelled, "load-1-"), Some((id.as_u128(), expected)));
        assert_eq!(completion(&event(event_types::ORDER_REJECTED, vec![0xff]), "load-1-"), None, "not readable");
    }
}
