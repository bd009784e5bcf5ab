//! The step function.

use openorder_types::Timestamp;

use crate::{
    domain::CancellationCause,
    saga::{Awaited, Effect, Participant, Saga, SagaSettings, Signal, Step, modifying},
};

/// The saga after a signal, and what is to be done. No effect and the same saga: the signal was late, doubled or
/// overtaken, and means nothing any more.
pub fn next(saga: &Saga, signal: &Signal, settings: &SagaSettings, now: Timestamp) -> (Saga, Vec<Effect>) {
    let mut saga = saga.clone();
    let effects = match saga.step {
        Step::Reserving => reserving(&mut saga, signal, now),
        Step::Paying => paying(&mut saga, signal, settings, now),
        Step::Modifying => modifying::next(&mut saga, signal, settings, now),
        Step::Completed => completed(&mut saga, signal, now),
        Step::Compensating | Step::CompensationFailed => compensating(&mut saga, signal, settings, now),
        Step::Compensated => compensated(&mut saga, signal, now),
        Step::Rejected => rejected(&mut saga, signal, now),
    };
    (saga, effects)
}

fn reserving(saga: &mut Saga, signal: &Signal, now: Timestamp) -> Vec<Effect> {
    match signal {
        Signal::StockReserved if saga.stock == Participant::Asked => {
            saga.stock = Participant::Done;
            saga.confirm_once_held(now)
        }
        Signal::CouponHeld { line_discounts } if saga.coupon == Participant::Asked => {
            saga.coupon = Participant::Done;
            saga.line_discounts.clone_from(line_discounts);
            saga.confirm_once_held(now)
        }
        Signal::StockRejected { reason, detail } if saga.stock == Participant::Asked => {
            saga.stock = Participant::Refused;
            saga.reject(reason, detail, now)
        }
        Signal::CouponRejected { reason, detail } if saga.coupon == Participant::Asked => {
            saga.coupon = Participant::Refused;
            saga.reject(reason, detail, now)
        }
        // The stock was asked for by the order's first event all the same: if it is held after all, it is asked back.
        Signal::ProductsUnknown { detail } => {
            saga.enter(Step::Rejected, now);
            vec![Effect::Reject { reason: "UNKNOWN_SKU".to_owned(), detail: detail.clone() }]
        }
        // Given back before its being held was heard of here.
        Signal::StockReleased { expired } => {
            saga.stock = Participant::Undone;
            let (cause, reason) = unasked_release(*expired);
            saga.give_back(cause, reason, now)
        }
        Signal::DeadlinePassed => {
            let is_held = saga.stock == Participant::Done;
            let reason = if is_held { "COUPON_TIMED_OUT" } else { "RESERVATION_TIMED_OUT" };
            saga.give_back(CancellationCause::StepTimedOut, reason, now)
        }
        Signal::CancelRequested { cause, detail } => saga.cancel(*cause, detail, now),
        Signal::ModificationRequested { order_version } if saga.coupon == Participant::Idle => {
            saga.begin_to_modify(Awaited::Reservation, *order_version, now);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn paying(saga: &mut Saga, signal: &Signal, settings: &SagaSettings, now: Timestamp) -> Vec<Effect> {
    match signal {
        Signal::PaymentCompleted { payment_id } => {
            saga.payment = Participant::Done;
            saga.complete(payment_id, settings, now)
        }
        Signal::NothingToPay => {
            saga.payment = Participant::Idle;
            saga.complete("", settings, now)
        }
        Signal::PaymentFailed { reason } => {
            saga.payment = Participant::Refused;
            saga.give_back(CancellationCause::PaymentFailed, reason, now)
        }
        Signal::PaymentRefunded => {
            saga.payment = Participant::Undone;
            saga.give_back(CancellationCause::PaymentFailed, "PAYMENT_REFUNDED", now)
        }
        // The held stock is gone before the payment was decided: what may have been taken goes back.
        Signal::StockReleased { expired } => {
            saga.stock = Participant::Undone;
            let (cause, reason) = unasked_release(*expired);
            saga.give_back(cause, reason, now)
        }
        Signal::DeadlinePassed => saga.give_back(CancellationCause::StepTimedOut, "PAYMENT_TIMED_OUT", now),
        // A payment may be under way all the same: what was taken goes back, and later ones are not.
        Signal::PaymentDeadlinePassed => {
            saga.give_back(CancellationCause::PaymentFailed, "PAYMENT_DEADLINE_EXCEEDED", now)
        }
        Signal::CancelRequested { cause, detail } => saga.cancel(*cause, detail, now),
        // Whoever is first in the payment's row: this, or a payment of the order as it stands.
        Signal::ModificationRequested { order_version } if saga.coupon == Participant::Idle => {
            saga.begin_to_modify(Awaited::Payment, *order_version, now);
            saga.refunds += 1;
            vec![Effect::RequestHold]
        }
        _ => Vec::new(),
    }
}

/// Past the pivot: only a cancellation turns back, or the loss of what was held or paid. Such an order must not go
/// its way: it is cancelled at once, as by an operator.
fn completed(saga: &mut Saga, signal: &Signal, now: Timestamp) -> Vec<Effect> {
    let shipped = saga.stock == Participant::Used;
    match signal {
        Signal::ShipmentCreated if saga.shipment == Participant::Asked => {
            saga.shipment = Participant::Done;
            vec![Effect::Prepare]
        }
        Signal::Shipped => {
            saga.stock = Participant::Used;
            if saga.shipment.is_open() {
                saga.shipment = Participant::Used;
            }
            Vec::new()
        }
        Signal::CancelRequested { cause, detail } if !shipped => saga.cancel(*cause, detail, now),
        Signal::StockReleased { expired } if !shipped => {
            saga.stock = Participant::Undone;
            let (cause, reason) = unasked_release(*expired);
            saga.cancel_for(cause, reason, "", now)
        }
        Signal::StockReleased { .. } => vec![Effect::ReportStockLost],
        Signal::PaymentRefunded if !shipped => {
            saga.payment = Participant::Undone;
            saga.cancel_for(CancellationCause::Operator, "PAYMENT_REFUNDED", "", now)
        }
        _ => Vec::new(),
    }
}

fn compensating(saga: &mut Saga, signal: &Signal, settings: &SagaSettings, now: Timestamp) -> Vec<Effect> {
    let failed = saga.step == Step::CompensationFailed;
    match signal {
        Signal::StockReleased { .. } => saga.stock = Participant::Undone,
        Signal::PaymentRefunded => saga.payment = Participant::Undone,
        Signal::CouponRestored => saga.coupon = Participant::Undone,
        Signal::CouponRejected { .. } if saga.coupon.is_open() => saga.coupon = Participant::Refused,
        // A payment that failed was not taken and never will be.
        Signal::PaymentFailed { .. } if saga.payment.is_open() => saga.payment = Participant::Refused,
        // Nobody asked for it, or it was refused before: it has to go back all the same.
        Signal::PaymentCompleted { .. }
            if saga.payment != Participant::Undoing && saga.payment != Participant::Undone =>
        {
            saga.payment = Participant::Undoing;
            saga.refunds += 1;
            return vec![Effect::RequestRefund { cause: CancellationCause::StepTimedOut }];
        }
        Signal::CancelRequested { cause, detail } if saga.pending.is_some() => {
            saga.pending = None;
            let reason = cancelled_by(*cause).to_owned();
            return vec![Effect::Cancel { cause: *cause, reason, detail: detail.clone() }];
        }
        Signal::DeadlinePassed if !failed => return saga.ask_again(settings, now),
        Signal::RetryRequested { operator, reason } if failed => {
            saga.enter(Step::Compensating, now);
            saga.undo_attempts = 0;
            let mut effects = vec![Effect::NoteRetry { operator: operator.clone(), reason: reason.clone() }];
            effects.extend(saga.request_undoing());
            return effects;
        }
        Signal::SettleRequested { operator, reason } if failed => return saga.settle_by_hand(operator, reason, now),
        // Reserved or refused before the release was seen; the release is answered by an event of its own.
        _ => return Vec::new(),
    }
    saga.settle(now)
}

/// All was given back; what still comes is late. A payment that was taken after all goes back too.
fn compensated(saga: &mut Saga, signal: &Signal, now: Timestamp) -> Vec<Effect> {
    match signal {
        Signal::PaymentCompleted { .. } if saga.payment == Participant::Idle => {
            saga.payment = Participant::Undoing;
            saga.refunds += 1;
            saga.undo_attempts = 0;
            saga.enter(Step::Compensating, now);
            vec![Effect::RequestRefund { cause: CancellationCause::StepTimedOut }]
        }
        _ => Vec::new(),
    }
}

/// Rejected before the stock answered (a SKU was unknown when the order was made): what is held after all goes back.
fn rejected(saga: &mut Saga, signal: &Signal, now: Timestamp) -> Vec<Effect> {
    match signal {
        Signal::StockReserved if saga.stock == Participant::Asked => {
            saga.stock = Participant::Undoing;
            saga.releases += 1;
            saga.enter(Step::Compensating, now);
            vec![Effect::RequestRelease { cause: CancellationCause::StepTimedOut }]
        }
        Signal::StockRejected { .. } if saga.stock == Participant::Asked => {
            saga.stock = Participant::Refused;
            Vec::new()
        }
        // It was held and ran out of time, or was found to be held for nothing.
        Signal::StockReleased { .. } if saga.stock == Participant::Asked => {
            saga.stock = Participant::Undone;
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// What an order is cancelled for whose stock was given back without its having asked.
pub(super) fn unasked_release(expired: bool) -> (CancellationCause, &'static str) {
    let reason = if expired { "RESERVATION_EXPIRED" } else { "RESERVATION_RELEASED" };
    (CancellationCause::ReservationExpired, reason)
}

impl Saga {
    pub(super) fn enter(&mut self, step: Step, now: Timestamp) {
        self.step = step;
        self.step_time = now;
    }

    /// Goes on to the payment once all is held that the order has need of.
    pub(super) fn confirm_once_held(&mut self, now: Timestamp) -> Vec<Effect> {
        let has_coupon = matches!(self.coupon, Participant::Idle | Participant::Done);
        if self.stock != Participant::Done || !has_coupon {
            return Vec::new();
        }
        self.payment = Participant::Asked;
        self.enter(Step::Paying, now);
        vec![Effect::Confirm { line_discounts: self.line_discounts.clone() }]
    }

    /// Past the pivot: what is held is used, and the order goes its way.
    pub(super) fn complete(&mut self, payment_id: &str, settings: &SagaSettings, now: Timestamp) -> Vec<Effect> {
        self.enter(Step::Completed, now);
        let mut effects = vec![Effect::MarkPaid { payment_id: payment_id.to_owned() }];
        if self.coupon == Participant::Done {
            self.coupon_requests += 1;
            effects.push(Effect::RequestRedemption);
        }
        if settings.ships {
            self.shipment = Participant::Asked;
        } else {
            effects.push(Effect::Prepare);
        }
        effects
    }

    /// The order is rejected at once; what else was held for it, or may come to be, is asked back.
    pub(super) fn reject(&mut self, reason: &str, detail: &str, now: Timestamp) -> Vec<Effect> {
        self.modifying = None;
        let mut effects = vec![Effect::Reject { reason: reason.to_owned(), detail: detail.to_owned() }];
        if self.stock.is_open() || self.coupon.is_open() {
            effects.extend(self.ask_back(CancellationCause::Operator, now));
        } else {
            self.enter(Step::Rejected, now);
        }
        effects
    }

    /// Begins to give back; the order is cancelled once all is.
    pub(super) fn give_back(&mut self, cause: CancellationCause, reason: &str, now: Timestamp) -> Vec<Effect> {
        self.pending = Some((cause, reason.to_owned()));
        let mut effects = self.ask_back(cause, now);
        effects.extend(self.settle(now));
        effects
    }

    /// Called off: the order is cancelled at once; giving back follows.
    pub(super) fn cancel(&mut self, cause: CancellationCause, detail: &str, now: Timestamp) -> Vec<Effect> {
        self.cancel_for(cause, cancelled_by(cause), detail, now)
    }

    fn cancel_for(&mut self, cause: CancellationCause, reason: &str, detail: &str, now: Timestamp) -> Vec<Effect> {
        self.pending = None;
        let mut effects = vec![Effect::Cancel { cause, reason: reason.to_owned(), detail: detail.to_owned() }];
        effects.extend(self.ask_back(cause, now));
        effects.extend(self.settle(now));
        effects
    }

    fn ask_back(&mut self, cause: CancellationCause, now: Timestamp) -> Vec<Effect> {
        self.enter(Step::Compensating, now);
        self.undo_attempts = 0;
        self.modifying = None;
        let mut effects = Vec::new();
        if self.payment.is_open() {
            self.payment = Participant::Undoing;
            self.refunds += 1;
            effects.push(Effect::RequestRefund { cause });
        }
        if self.stock.is_open() {
            self.stock = Participant::Undoing;
            self.releases += 1;
            effects.push(Effect::RequestRelease { cause });
        }
        if self.coupon.is_open() {
            self.coupon = Participant::Undoing;
            self.coupon_requests += 1;
            effects.push(Effect::RequestCouponRelease);
        }
        // Whoever sends parcels hears that the order is cancelled; a parcel that has left was asked about before.
        if self.shipment.is_open() {
            self.shipment = Participant::Undone;
        }
        effects
    }

    /// Asks again for what was not answered, up to the bound.
    fn ask_again(&mut self, settings: &SagaSettings, now: Timestamp) -> Vec<Effect> {
        if self.undo_attempts >= settings.compensation_attempts_max {
            self.enter(Step::CompensationFailed, now);
            return vec![Effect::FailCompensation {
                stock_open: self.stock.is_open(),
                payment_open: self.payment.is_open(),
                coupon_open: self.coupon.is_open(),
                undo_attempts: self.undo_attempts,
            }];
        }
        self.undo_attempts += 1;
        self.step_time = now;
        self.request_undoing()
    }

    fn request_undoing(&mut self) -> Vec<Effect> {
        let cause = self.pending.as_ref().map_or(CancellationCause::Operator, |(cause, _)| *cause);
        let mut effects = Vec::new();
        if self.payment == Participant::Undoing {
            self.refunds += 1;
            effects.push(Effect::RequestRefund { cause });
        }
        if self.stock == Participant::Undoing {
            self.releases += 1;
            effects.push(Effect::RequestRelease { cause });
        }
        if self.coupon == Participant::Undoing {
            self.coupon_requests += 1;
            effects.push(Effect::RequestCouponRelease);
        }
        effects
    }

    /// What is open is no longer this saga's to give back. An order that waited for it is cancelled, for what it was
    /// to be cancelled for and with the operator's words.
    fn settle_by_hand(&mut self, operator: &str, reason: &str, now: Timestamp) -> Vec<Effect> {
        let (stock, payment, coupon) = (self.stock.is_open(), self.payment.is_open(), self.coupon.is_open());
        for (open, part) in [(stock, &mut self.stock), (payment, &mut self.payment), (coupon, &mut self.coupon)] {
            if open {
                *part = Participant::Settled;
            }
        }
        self.enter(Step::Compensated, now);
        let (operator, words) = (operator.to_owned(), reason.to_owned());
        let mut effects = vec![Effect::NoteSettlement { operator, reason: words.clone(), stock, payment, coupon }];
        if let Some((cause, reason)) = self.pending.take() {
            effects.push(Effect::Cancel { cause, reason, detail: words });
        }
        effects
    }

    /// Ends the compensation once nothing is held and nothing taken.
    fn settle(&mut self, now: Timestamp) -> Vec<Effect> {
        if self.stock.is_open() || self.payment.is_open() || self.coupon.is_open() {
            return Vec::new();
        }
        self.enter(Step::Compensated, now);
        match self.pending.take() {
            Some((cause, reason)) => vec![Effect::Cancel { cause, reason, detail: String::new() }],
            None => Vec::new(),
        }
    }
}

fn cancelled_by(cause: CancellationCause) -> &'static str {
    match cause {
        CancellationCause::Customer => "CANCELLED_BY_CUSTOMER",
        _ => "CANCELLED_BY_OPERATOR",
    }
}
