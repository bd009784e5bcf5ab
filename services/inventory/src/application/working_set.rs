//! Everything that one batch touches, loaded and locked once, changed in memory, written once.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use openorder_messaging::{Envelope, UnitOfWork};
use openorder_types::{Fault, Rejection, Sku, Timestamp};
use uuid::Uuid;

use crate::{
    application::{InventoryReply, Seeds, events::Events, seeds::Seed},
    domain::{Command, Line, Reservation, ReservationState, StockLevel},
    persistence, present,
};

type Outcome = Result<InventoryReply, Rejection>;

/// The levels and reservations of a batch.
pub(crate) struct WorkingSet {
    levels: HashMap<Sku, StockLevel>,
    reservations: HashMap<Uuid, Reservation>,
    stored_levels: HashSet<Sku>,
    stored_reservations: HashSet<Uuid>,
    changed_levels: BTreeSet<String>,
    changed_reservations: BTreeSet<Uuid>,
    events: Events,
    rules: Rules,
    now: Timestamp,
}

/// What the settings say about stock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Available pieces at which a stock counts as low.
    pub(crate) low_threshold: i64,
    /// After how long it is looked at whether an order still needs its stock.
    pub(crate) reservation_ttl: Duration,
}

impl WorkingSet {
    /// Locks reservations first, then levels, each sorted: no two transactions wait for each other in a circle.
    pub(crate) async fn load(
        unit: &mut UnitOfWork,
        batch: &[Envelope<Command>],
        seeds: &Seeds,
        rules: Rules,
    ) -> Result<Self, Fault> {
        let now = unit.now();
        let orders: BTreeSet<Uuid> = batch.iter().filter_map(|envelope| order_of(&envelope.command)).collect();
        let orders: Vec<Uuid> = orders.into_iter().collect();
        let found = if orders.is_empty() {
            Vec::new()
        } else {
            persistence::lock_reservations(unit.connection(), &orders).await?
        };
        let mut skus: BTreeSet<&Sku> = batch.iter().flat_map(|envelope| skus_of(&envelope.command)).collect();
        skus.extend(found.iter().flat_map(|reservation| reservation.lines.iter().map(|line| &line.sku)));
        let names: Vec<&str> = skus.iter().map(|sku| sku.as_str()).collect();
        let locked = persistence::lock_levels(unit.connection(), &names).await?;
        let levels: HashMap<Sku, StockLevel> =
            locked.into_iter().map(|(level, _)| (level.sku.clone(), level)).collect();
        let mut set = Self {
            stored_levels: levels.keys().cloned().collect(),
            stored_reservations: found.iter().map(|reservation| reservation.order_id).collect(),
            levels,
            changed_levels: BTreeSet::new(),
            changed_reservations: BTreeSet::new(),
            events: Events::default(),
            rules,
            now,
            reservations: HashMap::new(),
        };
        for (sku, seed) in seeds.found(skus.into_iter()) {
            let cause = batch.iter().position(|envelope| skus_of(&envelope.command).contains(&&sku)).unwrap_or(0);
            set.seed(&sku, seed, false, cause);
        }
        set.reservations = found.into_iter().map(|reservation| (reservation.order_id, reservation)).collect();
        Ok(set)
    }

    /// Decides one command on what the commands before it have left.
    pub(crate) fn decide(&mut self, command: &Command, cause: usize) -> Outcome {
        match command {
            Command::Seed { sku, product_number, initial_quantity } => {
                let seed = Seed { product_number: *product_number, initial_quantity: *initial_quantity };
                self.seed(sku, seed, true, cause);
                Ok(InventoryReply::Noted)
            }
            Command::Adjust { sku, delta, reason } => self.adjust(sku, *delta, reason, cause),
            Command::Reserve { order_id, lines } => self.reserve(*order_id, lines, cause),
            Command::Release { order_id, reason, answer_again } => {
                self.release(*order_id, reason, *answer_again, cause)
            }
            Command::Expire { order_id } => {
                let due = self.reservations.get(order_id).is_some_and(|reservation| reservation.is_expired(self.now));
                if due { self.release(*order_id, "EXPIRED", false, cause) } else { Err(not_due(*order_id)) }
            }
            Command::Reconcile { order_id } => {
                let state = self.reservations.get(order_id).map(|reservation| reservation.state);
                if state == Some(ReservationState::Held) {
                    self.release(*order_id, "RECONCILED", false, cause)
                } else {
                    Err(not_due(*order_id))
                }
            }
            Command::Ship { order_id } => self.ship(*order_id, cause),
        }
    }

    /// Only the first seed of a product counts, whether it came by event or by asking the catalogue; that of a later
    /// product with the same SKU begins the stock anew.
    fn seed(&mut self, sku: &Sku, seed: Seed, is_new: bool, cause: usize) {
        let Seed { product_number, initial_quantity } = seed;
        match self.levels.get_mut(sku) {
            None => {
                let mut level = StockLevel::new(sku.clone(), product_number, initial_quantity);
                self.events.seeded(&mut level, initial_quantity, self.now, cause);
                self.levels.insert(sku.clone(), level);
            }
            Some(level) if level.product_number >= product_number => return,
            // A level of before there were numbers, and a product that may have been its own all along.
            Some(level) if level.product_number == 0 && !is_new => level.product_number = product_number,
            Some(level) => {
                let delta = level.replace(product_number, initial_quantity);
                self.events.replaced(level, delta, self.now, cause);
            }
        }
        self.changed_levels.insert(sku.to_string());
    }

    fn adjust(&mut self, sku: &Sku, delta: i64, reason: &str, cause: usize) -> Outcome {
        let level = self.levels.get_mut(sku).ok_or_else(|| unknown_sku(sku))?;
        let before = level.available_quantity();
        level.adjust(delta)?;
        self.events.adjusted(level, delta, reason, self.now, cause);
        self.events.crossed(level, before, self.rules.low_threshold, self.now, cause);
        self.changed_levels.insert(sku.to_string());
        Ok(InventoryReply::Stock(present::stock(level, self.now)))
    }

    fn reserve(&mut self, order_id: Uuid, lines: &[Line], cause: usize) -> Outcome {
        if let Some(existing) = self.reservations.get(&order_id) {
            return answer_again(existing, lines);
        }
        let before: Vec<(Sku, i64)> = self.available(lines);
        let expire_time = self.now + self.rules.reservation_ttl;
        let (reservation, shortfalls) =
            Reservation::decide(order_id, lines.to_vec(), &mut self.levels, self.now, expire_time);
        self.changed_reservations.insert(order_id);
        if shortfalls.is_empty() {
            self.events.reserved(&reservation, cause);
            self.touched(before, cause);
        } else {
            self.events.rejected(&reservation, &shortfalls, cause);
        }
        // A refusal is a fact that was committed and told, not a command without effect: the reply carries it.
        let reply = InventoryReply::Reservation(present::reservation(&reservation));
        self.reservations.insert(order_id, reservation);
        Ok(reply)
    }

    fn release(&mut self, order_id: Uuid, reason: &str, answer_again: bool, cause: usize) -> Outcome {
        let Some(reservation) = self.reservations.get_mut(&order_id) else {
            let tombstone = Reservation::tombstone(order_id, reason.to_owned(), self.now);
            self.events.released(&tombstone, &[], cause);
            let reply = InventoryReply::Reservation(present::reservation(&tombstone));
            self.changed_reservations.insert(order_id);
            self.reservations.insert(order_id, tombstone);
            return Ok(reply);
        };
        if reservation.state == ReservationState::Released && !answer_again {
            // Done and published before: an event would tell of nothing.
            return Ok(InventoryReply::Reservation(present::reservation(reservation)));
        }
        let Some(given_back) = reservation.release(reason.to_owned(), &mut self.levels, self.now) else {
            let text = "the pieces of this order have left the warehouse";
            return Err(Rejection::failed_precondition("RESERVATION_SHIPPED", text).with("order_id", order_id));
        };
        self.events.released(reservation, &given_back, cause);
        self.changed_reservations.insert(order_id);
        self.changed_levels.extend(given_back.iter().map(|line| line.sku.to_string()));
        for line in &given_back {
            if let Some(level) = self.levels.get_mut(&line.sku).filter(|level| level.is_later_than(line.product_number))
            {
                self.events.replaced(level, -line.quantity.get(), self.now, cause);
            }
        }
        Ok(InventoryReply::Reservation(present::reservation(reservation)))
    }

    fn ship(&mut self, order_id: Uuid, cause: usize) -> Outcome {
        let Some(reservation) = self.reservations.get_mut(&order_id) else {
            let text = "nothing is held for this order";
            return Err(Rejection::not_found("RESERVATION_NOT_FOUND", text).with("order_id", order_id));
        };
        let left = reservation.ship(&mut self.levels, self.now);
        if left.is_empty() {
            let text = "nothing is held for this order any more";
            return Err(Rejection::failed_precondition("RESERVATION_NOT_HELD", text).with("order_id", order_id));
        }
        for line in &left {
            if let Some(level) = self.levels.get_mut(&line.sku) {
                self.events.shipped(level, line.quantity.get(), order_id, self.now, cause);
                self.changed_levels.insert(line.sku.to_string());
            }
        }
        self.changed_reservations.insert(order_id);
        Ok(InventoryReply::Noted)
    }

    fn available(&self, lines: &[Line]) -> Vec<(Sku, i64)> {
        let known = lines.iter().filter_map(|line| self.levels.get(&line.sku));
        known.map(|level| (level.sku.clone(), level.available_quantity())).collect()
    }

    fn touched(&mut self, before: Vec<(Sku, i64)>, cause: usize) {
        for (sku, available_before) in before {
            if let Some(level) = self.levels.get_mut(&sku) {
                self.events.crossed(level, available_before, self.rules.low_threshold, self.now, cause);
            }
            self.changed_levels.insert(sku.into_string());
        }
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let changed = self.levels.values().filter(|level| self.changed_levels.contains(level.sku.as_str()));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|level| self.stored_levels.contains(&level.sku));
        persistence::save_levels(unit.connection(), &new, &stored, self.now).await?;
        let changed = self.changed_reservations.iter().filter_map(|order_id| self.reservations.get(order_id));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|one| self.stored_reservations.contains(&one.order_id));
        persistence::save_reservations(unit.connection(), &new, &stored).await?;
        self.events.append_to(unit);
        Ok(())
    }
}

fn order_of(command: &Command) -> Option<Uuid> {
    match command {
        Command::Reserve { order_id, .. }
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
        Command::Reserve { lines, .. } => lines.iter().map(|line| &line.sku).collect(),
        Command::Release { .. } | Command::Expire { .. } | Command::Reconcile { .. } | Command::Ship { .. } => {
            Vec::new()
        }
    }
}

/// What is asked for again is answered again; other lines for the same order are refused.
fn answer_again(existing: &Reservation, lines: &[Line]) -> Outcome {
    let same_lines = existing.lines.len() == lines.len()
        && existing.lines.iter().zip(lines).all(|(held, asked)| held.is_same(asked));
    let same = same_lines || existing.state == ReservationState::Released;
    if !same {
        let text = "this order has a reservation with other lines";
        return Err(Rejection::already_exists("RESERVATION_ALREADY_EXISTS", text).with("order_id", existing.order_id));
    }
    Ok(InventoryReply::Reservation(present::reservation(existing)))
}

/// What was to be given back is not held any more, or for good.
fn not_due(order_id: Uuid) -> Rejection {
    Rejection::failed_precondition("RESERVATION_NOT_DUE", "there is nothing to give back").with("order_id", order_id)
}

fn unknown_sku(sku: &Sku) -> Rejection {
    Rejection::not_found("UNKNOWN_SKU", "there is no such SKU").with("sku", sku)
}
