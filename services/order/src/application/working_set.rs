//! Everything that one batch touches, loaded and locked once, changed in memory, written once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use openorder_messaging::{Envelope, UnitOfWork};
use openorder_service::NewEvents;
use openorder_telemetry::TraceContext;
use openorder_types::{Fault, Rejection, Sku, Timestamp};
use uuid::Uuid;

use crate::{
    application::{Command, OrderReply, events},
    domain::{
        self, CatalogItem, Context, Creation, Event, ExpectedStep, NewOrder, OrderCommand, OrderEvent, ShipmentFact,
        rejection,
    },
    persistence::{self, Record},
    present,
    saga::{OpenSince, SagaSettings, Signal, Step},
};

type Outcome = Result<OrderReply, Rejection>;

/// The orders of a batch, and the catalogue that its new ones are priced by.
pub(crate) struct WorkingSet {
    records: HashMap<Uuid, Record>,
    catalogue: HashMap<Sku, CatalogItem>,
    catalogue_changes: Vec<CatalogItem>,
    made: BTreeSet<Uuid>,
    /// Orders whose step is written already, with the version that it leads to; in `records` they are as before it.
    stepped: HashMap<Uuid, (&'static ExpectedStep, i64)>,
    changed: BTreeSet<Uuid>,
    timers: BTreeMap<Uuid, Timestamp>,
    /// Compensations that failed, or no longer do.
    failed: BTreeMap<Uuid, bool>,
    /// Whether stock, money or a coupon is requested back.
    undoes: bool,
    events: NewEvents,
    settings: SagaSettings,
    now: Timestamp,
}

impl WorkingSet {
    pub(crate) async fn load(
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
        settings: SagaSettings,
    ) -> Result<Self, Fault> {
        let now = unit.now();
        let (mut records, stepped) = take_steps(unit, batch, settings.ships, now).await?;
        let orders: BTreeSet<Uuid> = batch.iter().filter_map(|envelope| envelope.command.order_id()).collect();
        let orders: Vec<Uuid> = orders.into_iter().filter(|order_id| !stepped.contains_key(order_id)).collect();
        if !orders.is_empty() {
            records.extend(persistence::lock_orders(unit.connection(), &orders).await?);
        }
        let skus: BTreeSet<&str> = batch.iter().flat_map(|envelope| envelope.command.skus()).collect();
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
            stepped,
            changed: BTreeSet::new(),
            timers: BTreeMap::new(),
            failed: BTreeMap::new(),
            undoes: false,
            events: NewEvents::default(),
            settings,
            now,
        })
    }

    /// Decides one command, whose index in the batch this is, on what the commands before it have left.
    pub(crate) fn decide(&mut self, index: usize, envelope: &Envelope<'_, Command>) -> Outcome {
        self.events.begin_command(index);
        match envelope.command {
            Command::Create(new) => self.create(new, envelope.trace),
            Command::Order { order_id, command } => self.change(*order_id, command),
            Command::Catalogue(item) => {
                self.catalogue_changes.push(item.as_ref().clone());
                Ok(OrderReply::Noted)
            }
        }
    }

    fn create(&mut self, new: &NewOrder, trace: &TraceContext) -> Outcome {
        let Creation { order, saga, events } = domain::create(new, &self.context())?;
        let order_id = order.order_id;
        let created = OrderEvent::Created { checkout_id: new.checkout_id };
        events::lifecycle(&mut self.events, &order, &created, None);
        self.records.insert(order_id, Record { order, saga, trace: trace.clone() });
        self.made.insert(order_id);
        self.apply(order_id, &events);
        self.arm(order_id, None);
        self.reply(order_id)
    }

    fn change(&mut self, order_id: Uuid, command: &OrderCommand) -> Outcome {
        let record = self.records.get(&order_id).ok_or_else(|| rejection::order_not_found(order_id))?;
        let events = domain::decide(record.state(), command, &self.context())?;
        self.apply(order_id, &events);
        match command {
            // The timer that is being looked at is forgotten: what the saga waits for now gets one of its own.
            OrderCommand::CheckDeadline(open) => self.arm(order_id, Some(open)),
            // Timers are looked at when they are due: only a compensation and a modification, which are rare, set their
            // own, and an order that a caller has to pay, whose time may be shorter than that of a step.
            _ if events.iter().any(is_unexpected) || self.waits_for_a_caller(order_id, &events) => {
                self.arm(order_id, None);
            }
            _ => {}
        }
        match command {
            // Facts have no caller: no answer is built for them.
            OrderCommand::Signal(_) | OrderCommand::Shipment(_) | OrderCommand::CheckDeadline(_) => {
                Ok(OrderReply::Noted)
            }
            _ => self.reply(order_id),
        }
    }

    fn context(&self) -> Context<'_> {
        Context { catalogue: &self.catalogue, settings: &self.settings, now: self.now }
    }

    /// Changes an order by what was decided, and takes down what is to be written and published.
    fn apply(&mut self, order_id: Uuid, events: &[Event]) {
        let Some(record) = self.records.get_mut(&order_id).filter(|_| !events.is_empty()) else { return };
        let failed_before = record.saga.step == Step::CompensationFailed;
        for event in events {
            let previous = record.order.status;
            domain::evolve(&mut record.order, &mut record.saga, event, self.now);
            match event {
                Event::Order(event) => {
                    log_failed_compensation(order_id, event);
                    events::lifecycle(&mut self.events, &record.order, event, Some(previous));
                }
                Event::ReleaseRequested { cause, answer_again } => {
                    self.undoes = true;
                    events::release(&mut self.events, record, *cause, *answer_again);
                }
                Event::RefundRequested { cause, answer_again } => {
                    self.undoes = true;
                    events::refund(&mut self.events, record, *cause, *answer_again);
                }
                Event::PaymentHoldRequested => events::hold(&mut self.events, record),
                Event::StockModificationRequested => events::modification(&mut self.events, record),
                Event::CouponHoldRequested | Event::CouponRedeemRequested => {
                    events::coupon(&mut self.events, record, event);
                }
                Event::CouponReleaseRequested { .. } => {
                    self.undoes = true;
                    events::coupon(&mut self.events, record, event);
                }
                Event::Saga(_) => {}
                Event::ParcelLost => {
                    tracing::error!(%order_id, "the parcel of a cancelled order has left: a person has to look");
                }
                Event::StockLost => {
                    tracing::error!(%order_id, "the stock of a shipped order was released: the counts of the warehouse are wrong");
                }
            }
        }
        let failed = record.saga.step == Step::CompensationFailed;
        if failed != failed_before {
            self.failed.insert(order_id, failed);
        }
        self.changed.insert(order_id);
    }

    fn arm(&mut self, order_id: Uuid, open: Option<&OpenSince>) {
        let record = self.records.get(&order_id);
        if let Some(deadline) = record.and_then(|record| record.state().deadline(&self.settings, open)) {
            self.timers.insert(order_id, deadline);
        }
    }

    /// Whether by these events the order has come to wait for a caller to pay it.
    fn waits_for_a_caller(&self, order_id: Uuid, events: &[Event]) -> bool {
        let is_confirmed = events.iter().any(|event| matches!(event, Event::Order(OrderEvent::Confirmed { .. })));
        let waits = |record: &Record| record.state().payment_deadline(None).is_some();
        is_confirmed && self.records.get(&order_id).is_some_and(waits)
    }

    fn reply(&self, order_id: Uuid) -> Outcome {
        let order = self.records.get(&order_id).map(|record| Box::new(present::order(record)));
        Ok(order.map_or(OrderReply::Noted, OrderReply::Order))
    }

    /// The orders that changed and are not written as they stand now.
    fn unwritten(&self) -> Result<Vec<&Record>, Fault> {
        // What was moved before it was decided on, and was not to be moved, must not stay so.
        if let Some(order_id) = self.stepped.keys().find(|order_id| !self.changed.contains(order_id)) {
            return Err(Fault::permanent(format!("the step of order {order_id} was expected and not decided")));
        }
        let changed = self.changed.difference(&self.made).filter_map(|order_id| self.records.get(order_id));
        let is_written = |record: &&Record| match self.stepped.get(&record.order.order_id) {
            Some((step, version)) => step.led_to(&record.order, &record.saga, *version, self.now),
            None => false,
        };
        Ok(changed.filter(|record| !is_written(record)).collect())
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        if self.undoes {
            openorder_faults::point(openorder_faults::SAGA_COMPENSATION).await?;
        }
        let made: Vec<&Record> = self.made.iter().filter_map(|order_id| self.records.get(order_id)).collect();
        persistence::insert_orders(unit.connection(), &made).await?;
        persistence::update_orders(unit.connection(), &self.unwritten()?).await?;
        let armed: Vec<(Uuid, Timestamp)> = self.timers.into_iter().collect();
        persistence::arm_timers(unit.connection(), &armed).await?;
        persistence::note_failed_compensations(unit.connection(), &self.failed).await?;
        let items: Vec<&CatalogItem> = self.catalogue_changes.iter().collect();
        persistence::upsert_catalogue(unit.connection(), &items).await?;
        self.events.append_to(unit);
        Ok(())
    }
}

/// Writes the steps of the batch that are the expected ones, where they are the first of what happens to their order.
/// Returns those orders as they stood before.
async fn take_steps(
    unit: &mut UnitOfWork,
    batch: &[Envelope<'_, Command>],
    ships: bool,
    now: Timestamp,
) -> Result<(Vec<Record>, HashMap<Uuid, (&'static ExpectedStep, i64)>), Fault> {
    let mut touched: HashSet<Uuid> = HashSet::new();
    let (mut confirming, mut paying, mut preparing) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for envelope in batch {
        let Command::Order { order_id, command } = envelope.command else { continue };
        if !touched.insert(*order_id) {
            continue;
        }
        match command {
            OrderCommand::Signal(Signal::StockReserved) => drop(confirming.insert(*order_id, None)),
            OrderCommand::Signal(Signal::PaymentCompleted { payment_id }) => {
                paying.insert(*order_id, Some(payment_id.as_str()));
            }
            OrderCommand::Shipment(ShipmentFact::Created) => drop(preparing.insert(*order_id, None)),
            _ => {}
        }
    }
    let (mut records, mut stepped) = (Vec::new(), HashMap::new());
    let pay = if ships { &domain::PAYING_TO_SHIP } else { &domain::PAYING };
    for (step, orders) in [(&domain::CONFIRMING, confirming), (pay, paying), (&domain::PREPARING, preparing)] {
        let orders: Vec<_> = orders.into_iter().collect();
        for record in persistence::take_steps(unit.connection(), step, &orders, now).await? {
            stepped.insert(record.order.order_id, (step, record.order.version + step.versions));
            records.push(record);
        }
    }
    Ok((records, stepped))
}

/// Whether the order has left its ordinary way, or comes back to it.
fn is_unexpected(event: &Event) -> bool {
    match event {
        Event::Saga(saga) => matches!(saga.step, Step::Compensating | Step::Modifying),
        Event::Order(event) => matches!(event, OrderEvent::Modified | OrderEvent::ModificationRejected { .. }),
        _ => false,
    }
}

fn log_failed_compensation(order_id: Uuid, event: &OrderEvent) {
    if let OrderEvent::CompensationFailed { stock_open, payment_open, coupon_open, undo_attempts } = event {
        let text = "COMPENSATION_FAILED: giving back was not answered; an operator has to look";
        tracing::error!(%order_id, stock_open, payment_open, coupon_open, undo_attempts, "{text}");
    }
}
