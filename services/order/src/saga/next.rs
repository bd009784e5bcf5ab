//! The step function.

use openorder_types::Timestamp;

use crate::{
    domain::CancellationCause,
    saga::{Part, Saga, SagaTimeouts, Signal, Step},
};

/// What is to be done; the runner does it, in this order, in one transaction with the new saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The order becomes CONFIRMED: payment is asked for by that.
    Confirm,
    /// The order becomes PAID.
    MarkPaid {
        /// Of the payment service.
        payment_id: String,
    },
    /// The order becomes PREPARING.
    Prepare,
    /// The order becomes REJECTED.
    Reject {
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// The order becomes CANCELLED.
    Cancel {
        /// By whom or by what.
        cause: CancellationCause,
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// Stock is asked back.
    RequestRelease {
        /// Why.
        cause: CancellationCause,
    },
    /// Money is asked back, or never to be taken.
    RequestRefund {
        /// Why.
        cause: CancellationCause,
    },
    /// An operator has to look.
    ReportCompensationFailed,
}

/// The saga after a signal, and what is to be done. No effect and the same saga: the signal was late, doubled or
/// overtaken, and means nothing any more.
pub fn next(saga: &Saga, signal: &Signal, timeouts: &SagaTimeouts, now: Timestamp) -> (Saga, Vec<Effect>) {
    let mut saga = saga.clone();
    let effects = match saga.step {
        Step::Reserving => reserving(&mut saga, signal, now),
        Step::Paying => paying(&mut saga, signal, now),
        Step::Completed => completed(&mut saga, signal, now),
        Step::Compensating | Step::CompensationFailed => compensating(&mut saga, signal, timeouts, now),
        Step::Compensated => compensated(&mut saga, signal, now),
        Step::Rejected => rejected(&mut saga, signal, now),
    };
    (saga, effects)
}

fn reserving(saga: &mut Saga, signal: &Signal, now: Timestamp) -> Vec<Effect> {
    match signal {
        Signal::StockReserved => {
            saga.stock = Part::Done;
            saga.payment = Part::Asked;
            saga.enter(Step::Paying, now);
            vec![Effect::Confirm]
        }
        Signal::StockRejected { reason, detail } => {
            saga.stock = Part::Refused;
            saga.enter(Step::Rejected, now);
            vec![Effect::Reject { reason: reason.clone(), detail: detail.clone() }]
        }
        // Given back before it was held: by an operator.
        Signal::StockReleased => {
            saga.stock = Part::Undone;
            saga.give_back(CancellationCause::ReservationExpired, "RESERVATION_EXPIRED", now)
        }
        Signal::DeadlinePassed => saga.give_back(CancellationCause::StepTimedOut, "RESERVATION_TIMED_OUT", now),
        Signal::CancelRequested { cause, detail } => saga.cancel(*cause, detail, now),
        Signal::PaymentCompleted { .. } | Signal::PaymentFailed { .. } | Signal::PaymentRefunded | Signal::MovedOn => {
            Vec::new()
        }
    }
}

fn paying(saga: &mut Saga, signal: &Signal, now: Timestamp) -> Vec<Effect> {
    match signal {
        Signal::PaymentCompleted { payment_id } => {
            saga.payment = Part::Done;
            saga.enter(Step::Completed, now);
            vec![Effect::MarkPaid { payment_id: payment_id.clone() }, Effect::Prepare]
        }
        Signal::PaymentFailed { reason } => {
            saga.payment = Part::Refused;
            saga.give_back(CancellationCause::PaymentFailed, reason, now)
        }
        Signal::PaymentRefunded => {
            saga.payment = Part::Undone;
            saga.give_back(CancellationCause::PaymentFailed, "PAYMENT_REFUNDED", now)
        }
        // The held stock is gone before the payment was decided: what may have been taken goes back.
        Signal::StockReleased => {
            saga.stock = Part::Undone;
            saga.give_back(CancellationCause::ReservationExpired, "RESERVATION_EXPIRED", now)
        }
        Signal::DeadlinePassed => saga.give_back(CancellationCause::StepTimedOut, "PAYMENT_TIMED_OUT", now),
        Signal::CancelRequested { cause, detail } => saga.cancel(*cause, detail, now),
        Signal::StockReserved | Signal::StockRejected { .. } | Signal::MovedOn => Vec::new(),
    }
}

/// Past the pivot: only a cancellation turns back.
fn completed(saga: &mut Saga, signal: &Signal, now: Timestamp) -> Vec<Effect> {
    match signal {
        Signal::CancelRequested { cause, detail } => saga.cancel(*cause, detail, now),
        _ => Vec::new(),
    }
}

fn compensating(saga: &mut Saga, signal: &Signal, timeouts: &SagaTimeouts, now: Timestamp) -> Vec<Effect> {
    match signal {
        Signal::StockReleased => saga.stock = Part::Undone,
        Signal::PaymentRefunded => saga.payment = Part::Undone,
        // A payment that failed was not taken and never will be.
        Signal::PaymentFailed { .. } if saga.payment.is_open() => saga.payment = Part::Refused,
        // Nobody asked for it, or it was refused before: it has to go back all the same.
        Signal::PaymentCompleted { .. } if saga.payment != Part::Undoing && saga.payment != Part::Undone => {
            saga.payment = Part::Undoing;
            saga.refunds += 1;
            return vec![Effect::RequestRefund { cause: CancellationCause::StepTimedOut }];
        }
        Signal::CancelRequested { cause, detail } if saga.pending.is_some() => {
            saga.pending = None;
            return vec![cancel_effect(*cause, detail)];
        }
        Signal::DeadlinePassed if saga.step == Step::Compensating => return saga.ask_again(timeouts, now),
        // Reserved or refused before the release was seen; the release is answered in any case.
        _ => return Vec::new(),
    }
    saga.settle(now)
}

/// All was given back; what still comes is late. A payment that was taken after all goes back too.
fn compensated(saga: &mut Saga, signal: &Signal, now: Timestamp) -> Vec<Effect> {
    match signal {
        Signal::PaymentCompleted { .. } if saga.payment == Part::Idle => {
            saga.payment = Part::Undoing;
            saga.refunds += 1;
            saga.enter(Step::Compensating, now);
            vec![Effect::RequestRefund { cause: CancellationCause::StepTimedOut }]
        }
        _ => Vec::new(),
    }
}

/// Rejected before the stock answered (a SKU was unknown when the order was made): what is held after all goes back.
fn rejected(saga: &mut Saga, signal: &Signal, now: Timestamp) -> Vec<Effect> {
    match signal {
        Signal::StockReserved if saga.stock == Part::Asked => {
            saga.stock = Part::Undoing;
            saga.releases += 1;
            saga.enter(Step::Compensating, now);
            vec![Effect::RequestRelease { cause: CancellationCause::StepTimedOut }]
        }
        Signal::StockRejected { .. } if saga.stock == Part::Asked => {
            saga.stock = Part::Refused;
            Vec::new()
        }
        _ => Vec::new(),
    }
}

impl Saga {
    fn enter(&mut self, step: Step, now: Timestamp) {
        self.step = step;
        self.step_time = now;
    }

    /// Begins to give back; the order is cancelled once all is.
    fn give_back(&mut self, cause: CancellationCause, reason: &str, now: Timestamp) -> Vec<Effect> {
        self.pending = Some((cause, reason.to_owned()));
        let mut effects = self.ask_back(cause, now);
        effects.extend(self.settle(now));
        effects
    }

    /// The order is cancelled at once; giving back follows.
    fn cancel(&mut self, cause: CancellationCause, detail: &str, now: Timestamp) -> Vec<Effect> {
        self.pending = None;
        let mut effects = vec![cancel_effect(cause, detail)];
        effects.extend(self.ask_back(cause, now));
        effects.extend(self.settle(now));
        effects
    }

    fn ask_back(&mut self, cause: CancellationCause, now: Timestamp) -> Vec<Effect> {
        self.enter(Step::Compensating, now);
        self.undo_attempts = 0;
        let mut effects = Vec::new();
        if self.payment.is_open() {
            self.payment = Part::Undoing;
            self.refunds += 1;
            effects.push(Effect::RequestRefund { cause });
        }
        if self.stock.is_open() {
            self.stock = Part::Undoing;
            self.releases += 1;
            effects.push(Effect::RequestRelease { cause });
        }
        effects
    }

    /// Asks again for what was not answered, up to the bound.
    fn ask_again(&mut self, timeouts: &SagaTimeouts, now: Timestamp) -> Vec<Effect> {
        self.undo_attempts += 1;
        if self.undo_attempts > timeouts.compensation_attempts_max {
            self.enter(Step::CompensationFailed, now);
            return vec![Effect::ReportCompensationFailed];
        }
        self.step_time = now;
        let cause = self.pending.as_ref().map_or(CancellationCause::Operator, |(cause, _)| *cause);
        let mut effects = Vec::new();
        if self.payment == Part::Undoing {
            self.refunds += 1;
            effects.push(Effect::RequestRefund { cause });
        }
        if self.stock == Part::Undoing {
            self.releases += 1;
            effects.push(Effect::RequestRelease { cause });
        }
        effects
    }

    /// Ends the compensation once nothing is held and nothing taken.
    fn settle(&mut self, now: Timestamp) -> Vec<Effect> {
        if self.stock.is_open() || self.payment.is_open() {
            return Vec::new();
        }
        self.enter(Step::Compensated, now);
        match self.pending.take() {
            Some((cause, reason)) => vec![Effect::Cancel { cause, reason, detail: String::new() }],
            None => Vec::new(),
        }
    }
}

fn cancel_effect(cause: CancellationCause, detail: &str) -> Effect {
    let reason = match cause {
        CancellationCause::Customer => "CANCELLED_BY_CUSTOMER",
        _ => "CANCELLED_BY_OPERATOR",
    };
    Effect::Cancel { cause, reason: reason.to_owned(), detail: detail.to_owned() }
}
