//! What the order makes of its parcel: it follows the shipment, unless it was there before.

use openorder_types::Rejection;

use crate::{
    domain::{
        Context, Event, OrderEvent, OrderStatus, ShipmentFact, State,
        decide::{advance, evolve, signal},
        rejection,
    },
    saga::{Signal, Step},
};

/// Decides on a fact about the parcel. Facts may come twice, late, or without those before them.
///
/// # Errors
/// `SIGNAL_WITHOUT_EFFECT`.
pub(super) fn decide(state: State<'_>, fact: &ShipmentFact, context: &Context<'_>) -> Result<Vec<Event>, Rejection> {
    let no_effect = || rejection::no_effect(state.order.order_id);
    match fact {
        ShipmentFact::Created => signal(state, &Signal::ShipmentCreated, context),
        ShipmentFact::Cancelled { cause, detail } if state.order.status.is_cancellable() => {
            let requested = Signal::CancelRequested { cause: *cause, detail: detail.clone() };
            signal(state, &requested, context)
        }
        ShipmentFact::Cancelled { .. } => Err(no_effect()),
        // Its stock or its money was lost after it was made ready, and the parcel was faster than the news.
        ShipmentFact::Shipped if state.order.status == OrderStatus::Cancelled => Ok(vec![Event::ParcelLost]),
        ShipmentFact::Shipped => moved_to(OrderStatus::Shipped, state, context).ok_or_else(no_effect),
        ShipmentFact::Delivered => moved_to(OrderStatus::Delivered, state, context).ok_or_else(no_effect),
    }
}

/// Each step up to `goal` that the order has not taken; none when there is none, or when it is not on its way.
fn moved_to(goal: OrderStatus, state: State<'_>, context: &Context<'_>) -> Option<Vec<Event>> {
    if state.saga.step != Step::Completed {
        return None;
    }
    let (mut order, mut saga) = (state.order.clone(), state.saga.clone());
    let mut all = Vec::new();
    while order.status < goal {
        let events = match order.status {
            OrderStatus::Paid => advance(&saga, &Signal::ShipmentCreated, context)?,
            OrderStatus::Preparing => {
                let mut events = vec![Event::Order(OrderEvent::Shipped)];
                events.extend(advance(&saga, &Signal::Shipped, context).unwrap_or_default());
                events
            }
            OrderStatus::Shipped => vec![Event::Order(OrderEvent::Delivered)],
            _ => return None,
        };
        for event in &events {
            evolve(&mut order, &mut saga, event, context.now);
        }
        all.extend(events);
    }
    (!all.is_empty()).then_some(all)
}
