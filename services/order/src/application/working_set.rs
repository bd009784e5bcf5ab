//! Everything that one batch touches, loaded and locked once, changed in memory, written once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use openorder_messaging::{Envelope, NewEvent, UnitOfWork};
use openorder_types::{Fault, Rejection, Sku, Timestamp, UserId};
use uuid::Uuid;

use crate::{
    application::{OrderReply, events},
    domain::{
        CatalogItem, Command, CompensationRequest, NewOrder, Order, OrderEvent, OrderLine, PricedLines, price, reject,
    },
    persistence::{self, Record},
    present,
    saga::{Effect, OpenSince, Part, Saga, SagaTimeouts, Signal, Step, next},
};

type Outcome = Result<OrderReply, Rejection>;

/// The orders of a batch, and the catalogue that its new ones are priced by.
pub(crate) struct WorkingSet {
    records: HashMap<Uuid, Record>,
    catalogue: HashMap<Sku, CatalogItem>,
    catalogue_changes: Vec<CatalogItem>,
    made: BTreeSet<Uuid>,
    changed: BTreeSet<Uuid>,
    timers: BTreeMap<Uuid, Timestamp>,
    /// Compensations that failed, or no longer do.
    failed: BTreeMap<Uuid, bool>,
    /// Whether something is asked back.
    undoes: bool,
    events: Vec<NewEvent>,
    /// Why some of the events happened, by their indexes.
    reasons: HashMap<usize, String>,
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
            failed: BTreeMap::new(),
            undoes: false,
            events: Vec::new(),
            reasons: HashMap::new(),
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
                if event == OrderEvent::Shipped {
                    self.advance(*order_id, &Signal::Shipped, cause);
                }
                self.reply(*order_id)
            }
            Command::Compensation { order_id, request, operator, reason } => {
                self.compensation(*order_id, *request, operator, reason, cause)
            }
            Command::Signal { order_id, signal } => self.signal(*order_id, signal, cause),
            Command::CheckDeadline { order_id, open } => self.check_deadline(*order_id, open, cause),
            Command::Catalogue(item) => {
                self.catalogue_changes.push(item.as_ref().clone());
                Ok(OrderReply(None))
            }
        }
    }

    /// An order that cannot be fulfilled because a SKU does not exist is made and rejected at once: its customer
    /// finds it with its reason.
    fn create(&mut self, new: &NewOrder, envelope: &Envelope<Command>, cause: usize) -> Outcome {
        let priced = price(&new.lines, &self.catalogue, &new.asked)?;
        self.check_prices(new, &priced)?;
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
        let deadline = first_deadline(&record, &self.timeouts, None);
        self.records.insert(new.order_id, record);
        self.made.insert(new.order_id);
        if unknown.is_empty() {
            self.arm(new.order_id, deadline);
        } else {
            let detail = format!("unknown: {}", unknown.join(", "));
            self.reject_at_once(new.order_id, detail, cause);
        }
        self.reply(new.order_id)
    }

    /// Nothing is refused by the copy of the catalogue alone: what it does not have, or prices otherwise than the customer
    /// was shown, is asked of the product service first.
    fn check_prices(&self, new: &NewOrder, priced: &PricedLines) -> Result<(), Rejection> {
        let other = new.expected_total.zip(priced.total).filter(|(expected, total)| expected != total);
        let in_doubt =
            |line: &OrderLine| (line.price.is_none() || other.is_some()) && !new.asked.contains_key(&line.sku);
        if priced.lines.iter().any(in_doubt) {
            return Err(reject::catalogue_in_doubt());
        }
        other.map_or(Ok(()), |(expected, total)| Err(reject::price_changed(expected, total)))
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
        match self.advance(order_id, signal, cause) {
            None => Err(reject::order_not_found(order_id)),
            Some(false) => Err(reject::no_effect(order_id)),
            // Facts have no caller: no answer is built for them.
            Some(true) => Ok(OrderReply(None)),
        }
    }

    /// Tells the saga and does what it wants done. Whether the signal had an effect; `None` without such an order.
    fn advance(&mut self, order_id: Uuid, signal: &Signal, cause: usize) -> Option<bool> {
        let record = self.records.get_mut(&order_id)?;
        let (saga, effects) = next(&record.saga, signal, &self.timeouts, self.now);
        if saga == record.saga && effects.is_empty() {
            return Some(false);
        }
        let deadline = saga.deadline(&self.timeouts);
        let compensates = saga.step == Step::Compensating;
        let failed = [record.saga.step, saga.step].map(|step| step == Step::CompensationFailed);
        record.saga = saga;
        if let [before, after] = failed
            && before != after
        {
            self.failed.insert(order_id, after);
        }
        self.changed.insert(order_id);
        // Timers are looked at when they are due: only a compensation, which is rare, sets its own.
        if compensates {
            self.arm(order_id, deadline);
        }
        // Asking again by itself is for a request that is under way; an operator also has an answer given again.
        let answer_again = effects.iter().any(|effect| matches!(effect, Effect::NoteRetry { .. }));
        for effect in effects {
            self.perform(order_id, effect, answer_again, cause);
        }
        Some(true)
    }

    /// Only a compensation that failed is an operator's to decide on.
    fn compensation(
        &mut self,
        order_id: Uuid,
        request: CompensationRequest,
        operator: &str,
        reason: &str,
        cause: usize,
    ) -> Outcome {
        let step = self.records.get(&order_id).map(|record| record.saga.step);
        let step = step.ok_or_else(|| reject::order_not_found(order_id))?;
        if step != Step::CompensationFailed {
            return Err(reject::compensation_not_failed(order_id, step));
        }
        let (operator, reason) = (operator.to_owned(), reason.to_owned());
        let signal = match request {
            CompensationRequest::Retry => Signal::RetryRequested { operator, reason },
            CompensationRequest::Settle => Signal::SettleRequested { operator, reason },
        };
        self.signal(order_id, &signal, cause)?;
        self.reply(order_id)
    }

    fn perform(&mut self, order_id: Uuid, effect: Effect, answer_again: bool, cause: usize) {
        let event = match effect {
            Effect::Confirm => OrderEvent::Confirmed,
            Effect::MarkPaid { payment_id } => OrderEvent::Paid { payment_id },
            Effect::Prepare => OrderEvent::Preparing,
            Effect::Reject { reason, detail } => OrderEvent::Rejected { reason, detail },
            Effect::Cancel { cause, reason, detail } => OrderEvent::Cancelled { cause, reason, detail },
            Effect::RequestRelease { cause: why } => {
                self.undoes = true;
                let asked = self.records.get(&order_id).map(|record| events::release(record, why, answer_again, cause));
                self.events.extend(asked);
                return;
            }
            Effect::RequestRefund { cause: why } => {
                self.undoes = true;
                let asked = self.records.get(&order_id).map(|record| events::refund(record, why, answer_again, cause));
                self.events.extend(asked);
                return;
            }
            Effect::FailCompensation { stock_open, payment_open, undo_attempts } => {
                let text = "COMPENSATION_FAILED: giving back was not answered; an operator has to look";
                tracing::error!(%order_id, stock_open, payment_open, undo_attempts, "{text}");
                OrderEvent::CompensationFailed { stock_open, payment_open, undo_attempts }
            }
            Effect::NoteRetry { operator, reason } => OrderEvent::CompensationRetried { operator, reason },
            Effect::NoteSettlement { operator, reason, stock, payment } => {
                OrderEvent::CompensationSettled { operator, reason, stock, payment }
            }
            Effect::ReportStockLost => {
                tracing::error!(%order_id, "the stock of a shipped order was released: the counts of the warehouse are wrong");
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
            if let OrderEvent::Cancelled { reason, .. } | OrderEvent::Rejected { reason, .. } = event {
                self.reasons.insert(self.events.len(), reason.clone());
            }
            self.events.push(events::lifecycle(&record.order, event, Some(previous), cause));
            self.changed.insert(order_id);
        }
    }

    fn check_deadline(&mut self, order_id: Uuid, open: &OpenSince, cause: usize) -> Outcome {
        let Some(record) = self.records.get(&order_id) else {
            return Err(reject::order_not_found(order_id));
        };
        let passed = first_deadline(record, &self.timeouts, Some(open)).is_some_and(|deadline| deadline <= self.now);
        let outcome = if passed { self.signal(order_id, &Signal::DeadlinePassed, cause) } else { Ok(OrderReply(None)) };
        // The timer that is being looked at is forgotten: what the saga waits for now gets one of its own.
        let record = self.records.get(&order_id);
        let deadline = record.and_then(|record| first_deadline(record, &self.timeouts, Some(open)));
        self.arm(order_id, deadline);
        outcome
    }

    fn arm(&mut self, order_id: Uuid, deadline: Option<Timestamp>) {
        if let Some(deadline) = deadline {
            self.timers.insert(order_id, deadline);
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
        if self.undoes {
            openorder_faults::point(openorder_faults::SAGA_COMPENSATION).await?;
        }
        let made: Vec<&Record> = self.made.iter().filter_map(|order_id| self.records.get(order_id)).collect();
        persistence::insert_orders(unit.connection(), &made).await?;
        let changed = self.changed.difference(&self.made).filter_map(|order_id| self.records.get(order_id));
        persistence::update_orders(unit.connection(), &changed.collect::<Vec<_>>()).await?;
        let armed: Vec<(Uuid, Timestamp)> = self.timers.into_iter().collect();
        persistence::arm_timers(unit.connection(), &armed).await?;
        persistence::note_failed_compensations(unit.connection(), &self.failed).await?;
        let items: Vec<&CatalogItem> = self.catalogue_changes.iter().collect();
        persistence::upsert_catalogue(unit.connection(), &items).await?;
        for (index, event) in self.events.into_iter().enumerate() {
            unit.append_because(event, self.reasons.get(&index).map_or("", String::as_str));
        }
        Ok(())
    }
}

/// When an order has to be looked at: at the deadline of its step, on an open way where `open` is given, or when its
/// whole time is up.
fn first_deadline(record: &Record, timeouts: &SagaTimeouts, open: Option<&OpenSince>) -> Option<Timestamp> {
    let step = match open {
        Some(open) => record.saga.deadline_on_open_way(timeouts, open),
        None => record.saga.deadline(timeouts),
    };
    let whole = record.saga.completion_deadline(timeouts, record.order.create_time);
    whole.map_or(step, |whole| step.map(|step| step.min(whole)))
}

fn order_of(command: &Command) -> Option<Uuid> {
    match command {
        Command::Cancel { order_id, .. }
        | Command::UpdateStatus { order_id, .. }
        | Command::Compensation { order_id, .. }
        | Command::Signal { order_id, .. }
        | Command::CheckDeadline { order_id, .. } => Some(*order_id),
        Command::Create(_) | Command::Catalogue(_) => None,
    }
}

fn skus_of(command: &Command) -> Vec<&str> {
    match command {
        Command::Create(new) => new.lines.iter().map(|line| line.sku.as_str()).collect(),
        _ => Vec::new(),
    }
}
