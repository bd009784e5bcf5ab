//! From a state and a command to the facts that follow, and from those to the next state. Pure: time arrives in
//! [`Decision`], ids in the command.

use std::collections::HashMap;

use openorder_types::{Rejection, Timestamp};
use uuid::Uuid;

use crate::domain::{
    CancelReason, CarrierEvent, CarrierEventId, Command, Event, NewCarrierEvent, NewShipment, Shipment, ShipmentKey,
    ShipmentState, Target, Update, rejection,
};

/// Shipments that commands are decided on, and those of their carriers' events that commands name. What is missing does
/// not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    shipments: HashMap<Uuid, Shipment>,
    /// Orders by the ids of their shipments.
    orders: HashMap<Uuid, Uuid>,
    events: HashMap<(Uuid, CarrierEventId), CarrierEvent>,
}

impl State {
    /// The state of these shipments, each once, and of these events, each with the order that it is of.
    pub fn of(shipments: Vec<Shipment>, events: Vec<(Uuid, CarrierEvent)>) -> Self {
        let named = events.into_iter().filter_map(|(order_id, event)| {
            let id = event.carrier_event_id.clone()?;
            Some(((order_id, id), event))
        });
        Self {
            orders: shipments.iter().map(|shipment| (shipment.shipment_id, shipment.order_id)).collect(),
            shipments: shipments.into_iter().map(|shipment| (shipment.order_id, shipment)).collect(),
            events: named.collect(),
        }
    }

    pub fn shipment(&self, order_id: Uuid) -> Option<&Shipment> {
        self.shipments.get(&order_id)
    }

    /// The shipment that a caller names.
    ///
    /// # Errors
    /// `SHIPMENT_NOT_FOUND`.
    pub fn find(&self, key: &ShipmentKey) -> Result<&Shipment, Rejection> {
        let order_id = match key {
            ShipmentKey::Order(id) => Some(id),
            ShipmentKey::Shipment(id) => self.orders.get(id),
        };
        order_id.and_then(|id| self.shipments.get(id)).ok_or_else(|| rejection::not_found(key))
    }

    /// The event of this order's carrier with this id.
    pub fn carrier_event(&self, order_id: Uuid, id: &CarrierEventId) -> Option<&CarrierEvent> {
        self.events.get(&(order_id, id.clone()))
    }
}

/// What a decision depends on besides the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub now: Timestamp,
    /// Events of the carrier that a shipment may have, those aside that move it.
    pub events_max: i32,
    /// No event of a carrier is later than this.
    pub event_time_max: Timestamp,
}

/// Decides one command. No events: nothing would change.
///
/// # Errors
/// Of an update `SHIPMENT_NOT_FOUND`, `SHIPMENT_VERSION_MISMATCH`, `SHIPMENT_CANCELLED`, `SHIPMENT_NOT_SHIPPED`; of an
/// event of the carrier `SHIPMENT_NOT_FOUND`, `SHIPMENT_CANCELLED`, `CARRIER_EVENT_ID_REUSED`, `SHIPMENT_EVENT_IN_FUTURE`,
/// `SHIPMENT_EVENT_LIMIT_REACHED`. Then nothing changes. What the order's events ask for is never refused.
pub fn decide(state: &State, command: &Command, context: &Decision) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Create(new) => Ok(match state.shipment(new.order_id) {
            Some(_) => Vec::new(),
            None => vec![Event::Made(Box::new(Shipment::create(NewShipment::clone(new), context.now)))],
        }),
        Command::Follow { order_id, target } => Ok(match state.shipment(*order_id) {
            Some(shipment) => moves(shipment, *target, context.now, context.now),
            // Paid before there were shipments.
            None => Vec::new(),
        }),
        Command::Cancel { shipment_id, order_id, customer_id, reason, detail } => Ok(match state.shipment(*order_id) {
            Some(shipment) => cancel(shipment, *reason, detail, context.now),
            None => {
                let (shipment_id, order_id, customer_id) = (*shipment_id, *order_id, customer_id.clone());
                let new = NewShipment { shipment_id, order_id, customer_id, lines: Vec::new(), address: None };
                let shipment = Shipment {
                    state: ShipmentState::Cancelled,
                    cancel_reason: Some(*reason),
                    cancel_detail: detail.clone(),
                    ..Shipment::create(new, context.now)
                };
                vec![Event::Made(Box::new(shipment))]
            }
        }),
        Command::Update(changes) => update(state.find(&command.key())?, changes, context.now),
        Command::AddEvent { key, event } => add_event(state, state.find(key)?, event, context),
    }
}

/// The parcel leaves or is called off: whoever is first decides, and the other finds it so.
fn cancel(shipment: &Shipment, reason: CancelReason, detail: &str, time: Timestamp) -> Vec<Event> {
    if shipment.state != ShipmentState::Created {
        return Vec::new();
    }
    vec![Event::Cancelled { order_id: shipment.order_id, reason, detail: detail.to_owned(), time }]
}

fn update(shipment: &Shipment, changes: &Update, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    if changes.expected_version.is_some_and(|expected| expected != shipment.version) {
        return Err(rejection::version_mismatch(shipment));
    }
    match (shipment.state, changes.target) {
        (ShipmentState::Cancelled, _) => return Err(rejection::cancelled(shipment)),
        (ShipmentState::Created, Some(Target::Delivered)) => return Err(rejection::not_shipped(shipment)),
        _ => {}
    }
    let carrier = changes.carrier.clone().or_else(|| shipment.carrier.clone());
    let tracking_number = changes.tracking_number.clone().or_else(|| shipment.tracking_number.clone());
    let mut events = Vec::new();
    if (&carrier, &tracking_number) != (&shipment.carrier, &shipment.tracking_number) {
        events.push(Event::Updated { order_id: shipment.order_id, carrier, tracking_number, time: now });
    }
    if let Some(target) = changes.target {
        events.extend(moves(shipment, target, now, now));
    }
    Ok(events)
}

fn add_event(
    state: &State,
    shipment: &Shipment,
    asked: &NewCarrierEvent,
    context: &Decision,
) -> Result<Vec<Event>, Rejection> {
    let known = asked.carrier_event_id.as_ref().and_then(|id| state.carrier_event(shipment.order_id, id));
    if let Some(known) = known {
        let is_same = known.event_type == asked.event_type
            && known.location == asked.location
            && asked.event_time.is_none_or(|time| time == known.event_time);
        return if is_same { Ok(Vec::new()) } else { Err(rejection::carrier_event_id_reused(shipment, known)) };
    }
    if shipment.state == ShipmentState::Cancelled {
        return Err(rejection::cancelled(shipment));
    }
    let event_time = asked.event_time.unwrap_or(context.now);
    if event_time > context.event_time_max {
        return Err(rejection::event_in_future(context.event_time_max));
    }
    let moved = match asked.event_type.implies() {
        Some(target) => moves(shipment, target, event_time, context.now),
        None => Vec::new(),
    };
    // What a shipment needs to come to its end always has room.
    if shipment.event_count >= context.events_max && moved.is_empty() {
        return Err(rejection::event_limit_reached(shipment, context.events_max));
    }
    let event = CarrierEvent {
        shipment_event_id: asked.shipment_event_id,
        ordinal: shipment.event_count + 1,
        event_type: asked.event_type,
        event_time,
        location: asked.location.clone(),
        carrier_event_id: asked.carrier_event_id.clone(),
        create_time: context.now,
    };
    Ok([Event::Progressed { order_id: shipment.order_id, event }].into_iter().chain(moved).collect())
}

/// The steps to a target that are still ahead; never back, and none for a parcel that is called off.
fn moves(shipment: &Shipment, target: Target, happened: Timestamp, time: Timestamp) -> Vec<Event> {
    let order_id = shipment.order_id;
    let shipped = Event::Shipped { order_id, ship_time: happened, time };
    let delivered = Event::Delivered { order_id, deliver_time: happened, time };
    match (shipment.state, target) {
        (ShipmentState::Created, Target::Shipped) => vec![shipped],
        (ShipmentState::Created, Target::Delivered) => vec![shipped, delivered],
        (ShipmentState::Shipped, Target::Delivered) => vec![delivered],
        (ShipmentState::Shipped, Target::Shipped) | (ShipmentState::Delivered | ShipmentState::Cancelled, _) => {
            Vec::new()
        }
    }
}

/// Applies an event to the state that it was decided on. A shipment that the state lacks is not changed.
pub fn evolve(state: &mut State, event: &Event) {
    if let Event::Made(shipment) = event {
        state.orders.insert(shipment.shipment_id, shipment.order_id);
        state.shipments.insert(shipment.order_id, Shipment::clone(shipment));
        return;
    }
    let Some(shipment) = state.shipments.get_mut(&event.order_id()) else { return };
    shipment.version += 1;
    shipment.update_time = match event {
        Event::Made(_) => return,
        Event::Updated { carrier, tracking_number, time, .. } => {
            shipment.carrier.clone_from(carrier);
            shipment.tracking_number.clone_from(tracking_number);
            *time
        }
        Event::Progressed { event, .. } => {
            shipment.event_count = event.ordinal;
            if let Some(id) = event.carrier_event_id.clone() {
                state.events.insert((shipment.order_id, id), event.clone());
            }
            event.create_time
        }
        Event::Shipped { ship_time, time, .. } => {
            (shipment.state, shipment.ship_time) = (ShipmentState::Shipped, Some(*ship_time));
            *time
        }
        Event::Delivered { deliver_time, time, .. } => {
            (shipment.state, shipment.deliver_time) = (ShipmentState::Delivered, Some(*deliver_time));
            *time
        }
        Event::Cancelled { reason, detail, time, .. } => {
            (shipment.state, shipment.cancel_reason) = (ShipmentState::Cancelled, Some(*reason));
            shipment.cancel_detail.clone_from(detail);
            *time
        }
    };
}

#[cfg(test)]
mod tests;
