//! Everything that one batch touches, loaded and locked once, changed in memory, written once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use openorder_messaging::{Envelope, NewEvent, UnitOfWork};
use openorder_types::{Fault, Rejection, Sku, Timestamp, UserId};
use uuid::Uuid;

use crate::{
    application::{OrderReply, events},
    domain::{CatalogItem, Command, NewOrder, Order, OrderEvent, price, reject},
    persistence::{self, Record},
    present,
    saga::{Effect, Part, Saga, SagaTimeouts, Signal, Step, next},
};

type Outcome = Result<OrderReply, Rejection>;

/// The orders of a batch, and the catalogue that its new ones are priced by.
pub(crate) struct WorkingSet {
    records: HashMap<Uuid, Record>,
    catalogue: HashMap<Sku, CatalogItem>,
    catalogue_changes: Vec<CatalogItem>,
    made: BTreeSet<Uuid>,
    changed: BTreeSet<Uuid>,
    timers: BTreeMap<Uuid, Option<Timestamp>>,
    events: Vec<NewEvent>,
    timeouts: SagaTimeouts,
    now: Timestamp,
}

impl WorkingSet {
    pub(crate) async fn load(
        unit: &mut UnitOfWork,
        batch: &[Envelope<Command>],
        timeouts: SagaTimeouts,
    ) -> Result<Self, Fault> {
        let now = unit.now();
        let orders: BTreeSet<Uuid> = batch.iter().filter_map(|envelope| order_of(&envelope.command)).collect();
        let orders: Vec<Uuid> = orders.into_iter().collect();
        let records =
            if orders.is_empty() { Vec::new() } else { persistence::lock_orders(unit.connection(), &orders).await? };
        let skus: BTreeSet<&str> = batch.iter().flat_map(|envelope| skus_of(&envelope.command)).collect();
        let skus: Vec<&str> = skus.into_iter().collect();
        let catalogue = if skus.is_empty() {
            Vec::new()
        } else {
            persistence::load_catalogue(&mut *unit.connection(), &skus).await?
        };
        Ok(Self {
            records: records.into_iter().map(|record| (record.order.order_id, record)).collect(),
            catalogue: catalogue.into_iter().map(|item| (item.sku.clone(), item)).collect(),
            catalogue_changes: Vec::new(),
            made: BTreeSet::new(),
            changed: BTreeSet::new(),
            timers: BTreeMap::new(),
            events: Vec::new(),
            timeouts,
            now,
        })
    }

    /// Decides one command on what the commands before it have left.
    pub(crate) fn decide(&mut self, envelope: &Envelope<Command>, cause: usize) -> Outcome {
        match &envelope.command {
            Command::Create(new) => self.create(new, envelope, cause),
            Command::Cancel { order_id, cause: by, detail, owner } => {
                let order = self.visible(*order_id, owner.as_ref())?;
                if !order.status.is_cancellable() {
                    return Err(reject::not_cancellable(*order_id, order.status));
                }
                let signal = Signal::CancelRequested { cause: *by, detail: detail.clone() };
                self.signal(*order_id, &signal, cause)?;
                self.reply(*order_id)
            }
            Command::UpdateStatus { order_id, previous, current } => {
                let event = self.visible(*order_id, None)?.update_status(*previous, *current)?;
                self.happen(*order_id, &event, cause);
                self.reply(*order_id)
            }
            Command::Signal { order_id, signal } => self.signal(*order_id, signal, cause),
            Command::CheckDeadline { order_id } => self.check_deadline(*order_id, cause),
            Command::Catalogue(item) => {
                self.catalogue_changes.push(item.as_ref().clone());
                Ok(OrderReply(None))
            }
        }
    }

    /// An order that cannot be fulfilled because a SKU does not exist is made and rejected at once: its customer
    /// finds it with its reason.
    fn create(&mut self, new: &NewOrder, envelope: &Envelope<Command>, cause: usize) -> Outcome {
        let priced = price(&new.lines, &self.catalogue)?;
        let unknown: Vec<String> =
            priced.lines.iter().filter(|line| line.price.is_none()).map(|line| line.sku.to_string()).collect();
        let created = OrderEvent::Created {
            customer_id: new.customer_id.clone(),
            customer_email: new.customer_email.clone(),
            lines: priced.lines,
            total: priced.total,
            reservation_mode: new.reservation_mode,
            payment_mode: new.payment_mode,
        };
        let Some(order) = Order::created(new.order_id, &created, self.now) else {
            return Err(reject::order_not_found(new.order_id));
        };
        self.events.push(events::lifecycle(&order, &created, None, cause));
        let record = Record { order, saga: Saga::begin(self.now), trace: envelope.trace.clone() };
        let deadline = record.saga.deadline(&self.timeouts);
        self.records.insert(new.order_id, record);
        self.made.insert(new.order_id);
        if unknown.is_empty() {
            self.timers.insert(new.order_id, deadline);
        } else {
            let detail = format!("unknown: {}", unknown.join(", "));
            self.reject_at_once(new.order_id, detail, cause);
        }
        self.reply(new.order_id)
    }

    /// The stock has been asked for by `created` all the same: its answer, should it hold anything, is asked back.
    fn reject_at_once(&mut self, order_id: Uuid, detail: String, cause: usize) {
        if let Some(record) = self.records.get_mut(&order_id) {
            record.saga.step = Step::Rejected;
            record.saga.stock = Part::Asked;
        }
        let event = OrderEvent::Rejected { reason: "UNKNOWN_SKU".to_owned(), detail };
        self.happen(order_id, &event, cause);
    }

    fn signal(&mut self, order_id: Uuid, signal: &Signal, cause: usize) -> Outcome {
        let Some(record) = self.records.get_mut(&order_id) else {
            return Err(reject::order_not_found(order_id));
        };
        let (saga, effects) = next(&record.saga, signal, &self.timeouts, self.now);
        if saga == record.saga && effects.is_empty() {
            return Err(reject::no_effect(order_id));
        }
        let deadline = saga.deadline(&self.timeouts);
        let compensates = saga.step == Step::Compensating;
        record.saga = saga;
        self.changed.insert(order_id);
        // Timers are looked at when they are due: only a compensation, which is rare, sets its own.
        if compensates {
            self.timers.insert(order_id, deadline);
        }
        for effect in effects {
            self.perform(order_id, effect, cause);
        }
        // Facts have no caller: no answer is built for them.
        Ok(OrderReply(None))
    }

    fn perform(&mut self, order_id: Uuid, effect: Effect, cause: usize) {
        let event = match effect {
            Effect::Confirm => OrderEvent::Confirmed,
            Effect::MarkPaid { payment_id } => OrderEvent::Paid { payment_id },
            Effect::Prepare => OrderEvent::Preparing,
            Effect::Reject { reason, detail } => OrderEvent::Rejected { reason, detail },
            Effect::Cancel { cause, reason, detail } => OrderEvent::Cancelled { cause, reason, detail },
            Effect::RequestRelease { cause: why } => {
                self.events.extend(self.records.get(&order_id).map(|record| events::release(record, why, cause)));
                return;
            }
            Effect::RequestRefund { cause: why } => {
                self.events.extend(self.records.get(&order_id).map(|record| events::refund(record, why, cause)));
                return;
            }
            Effect::ReportCompensationFailed => {
                tracing::error!(%order_id, "COMPENSATION_FAILED: giving back was not answered; an operator has to look");
                return;
            }
        };
        self.happen(order_id, &event, cause);
    }

    /// A fact about an order: its state follows, and the event is told.
    fn happen(&mut self, order_id: Uuid, event: &OrderEvent, cause: usize) {
        if let Some(record) = self.records.get_mut(&order_id) {
            let previous = record.order.status;
            record.order.evolve(event, self.now);
            self.events.push(events::lifecycle(&record.order, event, Some(previous), cause));
            self.changed.insert(order_id);
        }
    }

    fn check_deadline(&mut self, order_id: Uuid, cause: usize) -> Outcome {
        let Some(record) = self.records.get(&order_id) else {
            self.timers.insert(order_id, None);
            return Err(reject::order_not_found(order_id));
        };
        match record.saga.deadline(&self.timeouts) {
            Some(deadline) if deadline <= self.now => {
                let outcome = self.signal(order_id, &Signal::DeadlinePassed, cause);
                let deadline = self.records.get(&order_id).and_then(|record| record.saga.deadline(&self.timeouts));
                self.timers.insert(order_id, deadline);
                outcome
            }
            later => {
                self.timers.insert(order_id, later);
                Ok(OrderReply(None))
            }
        }
    }

    /// The order, if there is one and it belongs to `owner`.
    fn visible(&self, order_id: Uuid, owner: Option<&UserId>) -> Result<&Order, Rejection> {
        let record = self.records.get(&order_id);
        let visible = record.filter(|record| owner.is_none_or(|owner| record.order.customer_id == *owner));
        visible.map(|record| &record.order).ok_or_else(|| reject::order_not_found(order_id))
    }

    fn reply(&self, order_id: Uuid) -> Outcome {
        Ok(OrderReply(self.records.get(&order_id).map(|record| Box::new(present::order(record)))))
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let made: Vec<&Record> = self.made.iter().filter_map(|order_id| self.records.get(order_id)).collect();
        persistence::insert_orders(unit.connection(), &made).await?;
        let changed = self.changed.difference(&self.made).filter_map(|order_id| self.records.get(order_id));
        persistence::update_orders(unit.connection(), &changed.collect::<Vec<_>>()).await?;
        let armed: Vec<(Uuid, Timestamp)> =
            self.timers.iter().filter_map(|(order_id, due)| due.map(|due| (*order_id, due))).collect();
        persistence::arm_timers(unit.connection(), &armed).await?;
        let cleared = self.timers.iter().filter(|(_, due)| due.is_none()).map(|(order_id, _)| *order_id);
        persistence::clear_timers(unit.connection(), &cleared.collect::<Vec<_>>()).await?;
        let items: Vec<&CatalogItem> = self.catalogue_changes.iter().collect();
        persistence::upsert_catalogue(unit.connection(), &items).await?;
        for event in self.events {
            unit.append(event);
        }
        Ok(())
    }
}

fn order_of(command: &Command) -> Option<Uuid> {
    match command {
        Command::Cancel { order_id, .. }
        | Command::UpdateStatus { order_id, .. }
        | Command::Signal { order_id, .. }
        | Command::CheckDeadline { order_id } => Some(*order_id),
        Command::Create(_) | Command::Catalogue(_) => None,
    }
}

fn skus_of(command: &Command) -> Vec<&str> {
    match command {
        Command::Create(new) => new.lines.iter().map(|line| line.sku.as_str()).collect(),
        _ => Vec::new(),
    }
}
