//! The shipments that a batch touches: loaded and locked once, changed by events in memory, written once.

use std::collections::{BTreeSet, HashSet};

use openorder_messaging::{Envelope, UnitOfWork};
use openorder_proto::shipping::v1::AddShipmentEventResponse;
use openorder_service::NewEvents;
use openorder_types::{Fault, Rejection};
use uuid::Uuid;

use crate::{
    application::{ShippingReply, events},
    domain::{
        CarrierEvent, CarrierEventId, Command, Decision, Event, Shipment, ShipmentKey, State, decide, evolve, not_found,
    },
    persistence, present,
};

type Outcome = Result<ShippingReply, Rejection>;

pub(crate) struct WorkingSet {
    state: State,
    stored: HashSet<Uuid>,
    changed: BTreeSet<Uuid>,
    /// Events of carriers that are to be recorded, each with its order.
    recorded: Vec<(Uuid, CarrierEvent)>,
    events: NewEvents,
    context: Decision,
}

impl WorkingSet {
    /// Locks every shipment that the batch names, and reads what is known of the carriers' events that it names: none is
    /// recorded meanwhile.
    pub(crate) async fn load(
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
        context: Decision,
    ) -> Result<Self, Fault> {
        let keys: HashSet<ShipmentKey> = batch.iter().map(|envelope| envelope.command.key()).collect();
        let shipments = persistence::lock_shipments(unit.connection(), &keys).await?;
        let ids: BTreeSet<&str> = batch.iter().filter_map(|envelope| named(envelope.command)).collect();
        let orders: Vec<Uuid> = shipments.iter().map(|shipment| shipment.order_id).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let named = persistence::find_named_events(unit.connection(), &orders, &ids).await?;
        Ok(Self {
            stored: orders.into_iter().collect(),
            state: State::of(shipments, named),
            changed: BTreeSet::new(),
            recorded: Vec::new(),
            events: NewEvents::default(),
            context,
        })
    }

    /// Decides one command, whose index in the batch this is, on what the commands before it have left.
    pub(crate) fn execute(&mut self, index: usize, command: &Command) -> Outcome {
        self.events.begin_command(index);
        let decided = decide(&self.state, command, &self.context)?;
        for event in &decided {
            evolve(&mut self.state, event);
            let order_id = event.order_id();
            self.changed.insert(order_id);
            if let Event::Progressed { event, .. } = event {
                self.recorded.push((order_id, event.clone()));
            }
            if let Some(shipment) = self.state.shipment(order_id) {
                events::publish(&mut self.events, event, shipment);
            }
        }
        self.reply(command, &decided)
    }

    fn reply(&self, command: &Command, decided: &[Event]) -> Outcome {
        match command {
            Command::Create(_) | Command::Follow { .. } => Ok(ShippingReply::Noted),
            // A parcel that has left is no rejection here: what the order's own event asks for is never refused.
            Command::Update(_) | Command::Cancel { .. } => {
                let shipment = self.state.find(&command.key())?;
                Ok(ShippingReply::Shipment(present::shipment(shipment)))
            }
            Command::AddEvent { key, event: asked } => {
                let shipment = self.state.find(key)?;
                let recorded = decided.iter().find_map(|event| match event {
                    Event::Progressed { event, .. } => Some(event),
                    _ => None,
                });
                let known = || self.state.carrier_event(shipment.order_id, asked.carrier_event_id.as_ref()?);
                let event = recorded.or_else(known).ok_or_else(|| not_found(key))?;
                Ok(ShippingReply::Recorded(AddShipmentEventResponse {
                    shipment: Some(present::shipment(shipment)),
                    event: Some(present::carrier_event(event)),
                }))
            }
        }
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let changed = self.changed.iter().filter_map(|order_id| self.state.shipment(*order_id));
        let (stored, new): (Vec<&Shipment>, Vec<&Shipment>) =
            changed.partition(|shipment| self.stored.contains(&shipment.order_id));
        persistence::save_shipments(unit.connection(), &new, &stored).await?;
        persistence::add_events(unit.connection(), &self.recorded).await?;
        self.events.append_to(unit);
        Ok(())
    }
}

/// The carrier's id of the event that a command has.
fn named(command: &Command) -> Option<&str> {
    match command {
        Command::AddEvent { event, .. } => event.carrier_event_id.as_ref().map(CarrierEventId::as_str),
        _ => None,
    }
}
