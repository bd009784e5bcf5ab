//! Everything that one batch touches: loaded and locked once, changed by events in memory, written once.

use std::collections::{BTreeSet, HashMap, HashSet};

use openorder_messaging::{Envelope, UnitOfWork};
use openorder_service::NewEvents;
use openorder_types::{Fault, Rejection, Sku};
use uuid::Uuid;

use crate::{
    application::{
        InventoryReply, Rules, Seeds,
        events::{self, Decided},
        seeds::Seed,
    },
    domain::{Command, Decision, Event, Line, SeedSource, State, StockLevel, decide, evolve},
    persistence, present,
};

type Outcome = Result<InventoryReply, Rejection>;

pub(crate) struct WorkingSet {
    state: State,
    stored_levels: HashSet<Sku>,
    stored_reservations: HashSet<Uuid>,
    changed_levels: BTreeSet<Sku>,
    changed_reservations: BTreeSet<Uuid>,
    events: NewEvents,
    context: Decision,
}

impl WorkingSet {
    /// Locks reservations first, then levels, each sorted: no two transactions wait for each other in a circle.
    pub(crate) async fn load(
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
        seeds: &Seeds,
        rules: Rules,
    ) -> Result<Self, Fault> {
        let orders: BTreeSet<Uuid> = batch.iter().filter_map(|envelope| order_of(envelope.command)).collect();
        let orders: Vec<Uuid> = orders.into_iter().collect();
        let found = if orders.is_empty() {
            Vec::new()
        } else {
            persistence::lock_reservations(unit.connection(), &orders).await?
        };
        let mut skus: BTreeSet<&Sku> = batch.iter().flat_map(|envelope| skus_of(envelope.command)).collect();
        skus.extend(found.iter().flat_map(|reservation| reservation.lines.iter().map(|line| &line.sku)));
        let names: Vec<&str> = skus.iter().map(|sku| sku.as_str()).collect();
        let locked = persistence::lock_levels(unit.connection(), &names).await?;
        let levels: HashMap<Sku, StockLevel> =
            locked.into_iter().map(|(level, _)| (level.sku.clone(), level)).collect();
        let mut set = Self {
            stored_levels: levels.keys().cloned().collect(),
            stored_reservations: found.iter().map(|reservation| reservation.order_id).collect(),
            state: State { levels, reservations: HashMap::new() },
            changed_levels: BTreeSet::new(),
            changed_reservations: BTreeSet::new(),
            events: NewEvents::default(),
            context: rules.at(unit.now()),
        };
        for (sku, seed) in seeds.found(skus.into_iter()) {
            let first = batch.iter().position(|envelope| skus_of(envelope.command).contains(&&sku));
            set.events.begin_command(first.unwrap_or(0));
            set.seed(sku, seed);
        }
        set.state.reservations = found.into_iter().map(|reservation| (reservation.order_id, reservation)).collect();
        Ok(set)
    }

    /// The catalogue answered before the event of the product's creation arrived.
    fn seed(&mut self, sku: Sku, seed: Seed) {
        let Seed { product_number, initial_quantity } = seed;
        let command = Command::Seed { sku, product_number, initial_quantity, source: SeedSource::Catalogue };
        // A seed is never rejected.
        for event in decide(&self.state, &command, &self.context).unwrap_or_default() {
            self.apply(&event);
        }
    }

    /// Decides one command, whose index in the batch this is, on what the commands before it have left.
    pub(crate) fn execute(&mut self, index: usize, command: &Command) -> Outcome {
        self.events.begin_command(index);
        for event in decide(&self.state, command, &self.context)? {
            self.apply(&event);
        }
        Ok(self.reply(command))
    }

    fn apply(&mut self, event: &Event) {
        evolve(&mut self.state, event);
        self.mark_changed(event);
        events::publish(&mut self.events, &Decided { event, state: &self.state, now: self.context.now });
    }

    fn mark_changed(&mut self, event: &Event) {
        match event {
            Event::StockSeeded { sku, .. }
            | Event::ProductNumbered { sku, .. }
            | Event::StockReplaced { sku, .. }
            | Event::StockAdjusted { sku, .. }
            | Event::StockLow { sku, .. }
            | Event::StockDepleted { sku }
            | Event::FormerStockRetired { sku, .. }
            | Event::StockShipped { sku, .. } => self.mark_levels(std::iter::once(sku)),
            Event::Reserved(reservation) => {
                self.mark_levels(reservation.lines.iter().map(|line| &line.sku));
                self.changed_reservations.insert(reservation.order_id);
            }
            Event::ReservationModified { order_id, given_back, lines, .. } => {
                self.mark_levels(given_back.iter().chain(lines).map(|line: &Line| &line.sku));
                self.changed_reservations.insert(*order_id);
            }
            Event::ModificationRejected { order_id, .. } => {
                self.changed_reservations.insert(*order_id);
            }
            Event::Released { order_id, given_back, .. } => {
                self.mark_levels(given_back.iter().map(|line: &Line| &line.sku));
                self.changed_reservations.insert(*order_id);
            }
            Event::ReservationRejected { reservation, .. } => {
                self.changed_reservations.insert(reservation.order_id);
            }
            Event::ReservationShipped { order_id, .. } => {
                self.changed_reservations.insert(*order_id);
            }
        }
    }

    fn mark_levels<'a>(&mut self, skus: impl Iterator<Item = &'a Sku>) {
        for sku in skus {
            if !self.changed_levels.contains(sku) {
                self.changed_levels.insert(sku.clone());
            }
        }
    }

    /// What the command left. A refused reservation is a fact that was committed and published: the reply carries it.
    fn reply(&self, command: &Command) -> InventoryReply {
        let stock = |sku| {
            let level = self.state.levels.get(sku)?;
            Some(InventoryReply::Stock(present::stock(level, self.context.now)))
        };
        let reservation = |order_id| {
            let reservation = self.state.reservations.get(order_id)?;
            Some(InventoryReply::Reservation(present::reservation(reservation)))
        };
        let reply = match command {
            Command::Adjust { sku, .. } => stock(sku),
            Command::Reserve { order_id, .. }
            | Command::Release { order_id, .. }
            | Command::Expire { order_id }
            | Command::Reconcile { order_id } => reservation(order_id),
            Command::Seed { .. } | Command::Modify { .. } | Command::Ship { .. } => None,
        };
        reply.unwrap_or(InventoryReply::Noted)
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let changed = self.changed_levels.iter().filter_map(|sku| self.state.levels.get(sku));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|level| self.stored_levels.contains(&level.sku));
        persistence::save_levels(unit.connection(), &new, &stored, self.context.now).await?;
        let changed = self.changed_reservations.iter().filter_map(|order_id| self.state.reservations.get(order_id));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|one| self.stored_reservations.contains(&one.order_id));
        persistence::save_reservations(unit.connection(), &new, &stored).await?;
        self.events.append_to(unit);
        Ok(())
    }
}

fn order_of(command: &Command) -> Option<Uuid> {
    match command {
        Command::Reserve { order_id, .. }
        | Command::Modify { order_id, .. }
        | Command::Release { order_id, .. }
        | Command::Expire { order_id }
        | Command::Reconcile { order_id }
        | Command::Ship { order_id } => Some(*order_id),
        Command::Seed { .. } | Command::Adjust { .. } => None,
    }
}

fn skus_of(command: &Command) -> Vec<&Sku> {
    match command {
        Command::Seed { sku, .. } | Command::Adjust { sku, .. } => vec![sku],
        Command::Reserve { lines, .. } | Command::Modify { lines, .. } => lines.iter().map(|line| &line.sku).collect(),
        Command::Release { .. } | Command::Expire { .. } | Command::Reconcile { .. } | Command::Ship { .. } => {
            Vec::new()
        }
    }
}
