//! What a command leads to: state, command and context in, events or a rejection out. [`evolve`] is the state after one
//! of them.

use std::collections::HashMap;

use openorder_types::{Rejection, Sku, Timestamp};

use crate::{
    domain::{
        CatalogItem, CompensationRequest, Event, NewOrder, Order, OrderCommand, OrderEvent, OrderStatus, check_prices,
        modification, price, rejection, shipment,
    },
    saga::{Effect, OpenSince, Participant, Saga, SagaSettings, Signal, Step, next},
};

/// One order as the rules see it.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    pub order: &'a Order,
    pub saga: &'a Saga,
}

impl State<'_> {
    /// Whether the shipping service makes its parcel, or has made it and not sent it yet: it decides whether that leaves.
    pub(super) fn has_shipment(self) -> bool {
        self.saga.step == Step::Completed && matches!(self.saga.shipment, Participant::Asked | Participant::Done)
    }

    /// When the order has to be looked at: at the deadline of its step, on an open way where `open` is given, or when
    /// its whole time is up; none while it may wait for ever.
    pub fn deadline(self, settings: &SagaSettings, open: Option<&OpenSince>) -> Option<Timestamp> {
        let step = self.step_deadline(settings, open);
        // How long its customer may take to pay is what the order itself says.
        if self.payment_deadline(open).is_some() {
            return step;
        }
        let whole = self.saga.completion_deadline(settings, self.order.create_time);
        whole.map_or(step, |whole| step.map(|step| step.min(whole)))
    }

    /// When the time of its step is up, on an open way where `open` is given; none for a step that may take for ever.
    pub fn step_deadline(self, settings: &SagaSettings, open: Option<&OpenSince>) -> Option<Timestamp> {
        self.payment_deadline(open).or_else(|| match open {
            Some(open) => self.saga.deadline_on_open_way(settings, open),
            None => self.saga.deadline(settings),
        })
    }

    /// Until when a caller has to pay it, on an open way where `open` is given; none while it does not wait for that.
    pub fn payment_deadline(self, open: Option<&OpenSince>) -> Option<Timestamp> {
        let window = self.order.payment_window.filter(|_| self.saga.step == Step::Paying)?;
        let began = self.saga.step_time;
        Some(open.map_or(began, |open| began.max(open.payment)) + window)
    }
}

/// What a decision depends on beside the order.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The copy of the catalogue, with at least what it has of the SKUs of a new order.
    pub catalogue: &'a HashMap<Sku, CatalogItem>,
    /// Which steps the saga has, and how long it waits.
    pub settings: &'a SagaSettings,
    /// Of the batch.
    pub now: Timestamp,
}

/// A new order as [`OrderEvent::Created`] describes it, and what follows at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// PENDING, at version 1.
    pub order: Order,
    /// Its stock is asked for by the order's first event.
    pub saga: Saga,
    /// None, unless the order cannot be fulfilled or has a coupon.
    pub events: Vec<Event>,
}

/// Decides on a new order. One that cannot be fulfilled because a SKU does not exist is made and rejected at once: its
/// customer finds it with its reason.
///
/// # Errors
/// `CURRENCY_MISMATCH`; `TOTAL_TOO_LARGE`; `PRICE_CHANGED`; `CATALOGUE_IN_DOUBT`, which no caller sees.
pub fn create(new: &NewOrder, context: &Context<'_>) -> Result<Creation, Rejection> {
    let priced = price(&new.lines, context.catalogue, &new.product_answers)?;
    check_prices(new.expected_total, &new.product_answers, &priced)?;
    let order = Order::created(new, priced, context.settings.payment_window, context.now);
    let unknown = order.lines.iter().filter(|line| line.price.is_none());
    let unknown: Vec<&str> = unknown.map(|line| line.sku.as_str()).collect();
    if !unknown.is_empty() {
        let detail = format!("unknown: {}", unknown.join(", "));
        let saga = Saga::begin(context.now);
        let events = advance(&saga, &Signal::ProductsUnknown { detail }, context).unwrap_or_default();
        return Ok(Creation { order, saga, events });
    }
    let (saga, events) = match order.issued_coupon_id {
        Some(_) => (Saga::begin_with_coupon(context.now), vec![Event::CouponHoldRequested]),
        None => (Saga::begin(context.now), Vec::new()),
    };
    Ok(Creation { order, saga, events })
}

/// Decides on a command to an order that exists. No event: the command is answered, and nothing changes.
///
/// # Errors
/// `ORDER_NOT_FOUND` when the order belongs to somebody else; `ORDER_NOT_CANCELLABLE`; `ORDER_TRANSITION_NOT_ALLOWED`;
/// `ORDER_STATUS_MISMATCH`; those of a modification; `COMPENSATION_NOT_FAILED`; `SIGNAL_WITHOUT_EFFECT`;
/// `DISCOUNT_MALFORMED`; and `SHIPMENT_IN_DOUBT`, which no caller sees.
pub fn decide(state: State<'_>, command: &OrderCommand, context: &Context<'_>) -> Result<Vec<Event>, Rejection> {
    match command {
        OrderCommand::Cancel { cause, detail, owner, is_held_back } => {
            // The shipping service's event may have been faster than its answer.
            if *is_held_back && state.order.status == OrderStatus::Cancelled {
                return Ok(Vec::new());
            }
            state.order.check_cancellable(owner.as_ref())?;
            if state.has_shipment() && !is_held_back {
                return Err(rejection::shipment_in_doubt());
            }
            signal(state, &Signal::CancelRequested { cause: *cause, detail: detail.clone() }, context)
        }
        OrderCommand::Modify(wanted) => modification::decide(state, wanted, context),
        OrderCommand::UpdateStatus { previous, current, is_agreed } => {
            if *is_agreed && state.order.status == *current {
                return Ok(Vec::new());
            }
            if state.order.status == *previous && *current == OrderStatus::Shipped && state.has_shipment() && !is_agreed
            {
                return Err(rejection::shipment_in_doubt());
            }
            let event = state.order.update_status(*previous, *current)?;
            let is_shipped = event == OrderEvent::Shipped;
            let mut events = vec![Event::Order(event)];
            if is_shipped {
                events.extend(advance(state.saga, &Signal::Shipped, context).unwrap_or_default());
            }
            Ok(events)
        }
        OrderCommand::Compensation { request, operator, reason } => {
            compensation(state, *request, operator, reason, context)
        }
        OrderCommand::Shipment(fact) => shipment::decide(state, fact, context),
        OrderCommand::Signal(received) => {
            if let Signal::CouponHeld { line_discounts } = received {
                state.order.check_discounts(line_discounts)?;
            }
            signal(state, received, context)
        }
        OrderCommand::CheckDeadline(open) => {
            let deadline = state.deadline(context.settings, Some(open));
            if deadline.is_none_or(|deadline| deadline > context.now) {
                return Ok(Vec::new());
            }
            let is_to_be_paid = state.payment_deadline(None).is_some();
            let passed = if is_to_be_paid { Signal::PaymentDeadlinePassed } else { Signal::DeadlinePassed };
            signal(state, &passed, context)
        }
    }
}

/// The order and its saga after one more event.
pub fn evolve(order: &mut Order, saga: &mut Saga, event: &Event, now: Timestamp) {
    match event {
        Event::Order(event) => order.evolve(event, now),
        Event::Saga(after) => saga.clone_from(after),
        Event::PaymentHoldRequested
        | Event::StockModificationRequested
        | Event::ReleaseRequested { .. }
        | Event::RefundRequested { .. }
        | Event::CouponHoldRequested
        | Event::CouponRedeemRequested
        | Event::CouponReleaseRequested { .. }
        | Event::StockLost
        | Event::ParcelLost => {}
    }
}

/// Only a compensation that failed is an operator's to decide on.
fn compensation(
    state: State<'_>,
    request: CompensationRequest,
    operator: &str,
    reason: &str,
    context: &Context<'_>,
) -> Result<Vec<Event>, Rejection> {
    if state.saga.step != Step::CompensationFailed {
        return Err(rejection::compensation_not_failed(state.order.order_id, state.saga.step));
    }
    let (operator, reason) = (operator.to_owned(), reason.to_owned());
    let requested = match request {
        CompensationRequest::Retry => Signal::RetryRequested { operator, reason },
        CompensationRequest::Settle => Signal::SettleRequested { operator, reason },
    };
    signal(state, &requested, context)
}

pub(super) fn signal(state: State<'_>, signal: &Signal, context: &Context<'_>) -> Result<Vec<Event>, Rejection> {
    let no_effect = || rejection::no_effect(state.order.order_id);
    let mut events = advance(state.saga, signal, context).ok_or_else(no_effect)?;
    if events.iter().any(is_discounted) {
        let (mut order, mut saga) = (state.order.clone(), state.saga.clone());
        for event in &events {
            evolve(&mut order, &mut saga, event, context.now);
        }
        // A coupon may leave nothing to pay.
        if order.total.is_some_and(|total| total.is_zero()) {
            events.extend(advance(&saga, &Signal::NothingToPay, context).unwrap_or_default());
        }
    }
    Ok(events)
}

/// Whether the order is confirmed at less than its lines cost.
fn is_discounted(event: &Event) -> bool {
    match event {
        Event::Order(OrderEvent::Confirmed { line_discounts }) => !line_discounts.is_empty(),
        _ => false,
    }
}

/// The events of a step of the saga; `None` when the signal has no effect. The saga comes first: requests to give back
/// are numbered by it.
pub(super) fn advance(saga: &Saga, signal: &Signal, context: &Context<'_>) -> Option<Vec<Event>> {
    let (after, effects) = next(saga, signal, context.settings, context.now);
    if after == *saga && effects.is_empty() {
        return None;
    }
    // Asking again by itself is for a request that is under way; an operator also has an answer given again.
    let answer_again = effects.iter().any(|effect| matches!(effect, Effect::NoteRetry { .. }));
    let mut events = Vec::with_capacity(1 + effects.len());
    events.push(Event::Saga(after));
    events.extend(effects.into_iter().map(|effect| event(effect, answer_again)));
    Some(events)
}

fn event(effect: Effect, answer_again: bool) -> Event {
    Event::Order(match effect {
        Effect::Confirm { line_discounts } => OrderEvent::Confirmed { line_discounts },
        Effect::MarkPaid { payment_id } => OrderEvent::Paid { payment_id },
        Effect::Prepare => OrderEvent::Preparing,
        Effect::Reject { reason, detail } => OrderEvent::Rejected { reason, detail },
        Effect::Cancel { cause, reason, detail } => OrderEvent::Cancelled { cause, reason, detail },
        Effect::FailCompensation { stock_open, payment_open, coupon_open, undo_attempts } => {
            OrderEvent::CompensationFailed { stock_open, payment_open, coupon_open, undo_attempts }
        }
        Effect::NoteRetry { operator, reason } => OrderEvent::CompensationRetried { operator, reason },
        Effect::NoteSettlement { operator, reason, stock, payment, coupon } => {
            OrderEvent::CompensationSettled { operator, reason, stock, payment, coupon }
        }
        Effect::ApplyModification => OrderEvent::Modified,
        Effect::RejectModification { reason, detail } => OrderEvent::ModificationRejected { reason, detail },
        Effect::RequestHold => return Event::PaymentHoldRequested,
        Effect::RequestModification => return Event::StockModificationRequested,
        Effect::RequestRelease { cause } => return Event::ReleaseRequested { cause, answer_again },
        Effect::RequestRefund { cause } => return Event::RefundRequested { cause, answer_again },
        Effect::RequestRedemption => return Event::CouponRedeemRequested,
        Effect::RequestCouponRelease => return Event::CouponReleaseRequested { answer_again },
        Effect::ReportStockLost => return Event::StockLost,
    })
}

#[cfg(test)]
mod tests;
