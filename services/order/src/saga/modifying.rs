//! The step at which the lines of an order are changed.

use openorder_types::Timestamp;

use crate::{
    domain::CancellationCause,
    saga::{Awaited, Effect, Modifying, Participant, Saga, SagaSettings, Signal, Step, next::unasked_release},
};

/// Why an order keeps its lines that was paid before they could be changed.
const ALREADY_PAID: &str = "ORDER_ALREADY_PAID";
/// Why an order keeps its lines, or is called off, when nobody answered.
const TIMED_OUT: &str = "MODIFICATION_TIMED_OUT";

/// The saga after a signal, and what is to be done.
pub(super) fn next(saga: &mut Saga, signal: &Signal, settings: &SagaSettings, now: Timestamp) -> Vec<Effect> {
    let Some(modifying) = saga.modifying else { return Vec::new() };
    let is_asked = |order_version: i64| order_version == modifying.order_version;
    match (signal, modifying.awaited) {
        (Signal::StockReserved, Awaited::Reservation) => {
            saga.stock = Participant::Done;
            saga.request_modification(modifying, now)
        }
        (Signal::StockRejected { reason, detail }, Awaited::Reservation) => {
            saga.stock = Participant::Refused;
            saga.reject(reason, detail, now)
        }
        (Signal::PaymentHeldBack { order_version }, Awaited::Payment) if is_asked(*order_version) => {
            saga.request_modification(modifying, now)
        }
        // The payment was first: it is for the lines that the order has.
        (Signal::PaymentCompleted { payment_id }, Awaited::Payment) => {
            let mut effects = saga.end_modifying(modifying, Some((ALREADY_PAID, "")), now);
            saga.payment = Participant::Done;
            effects.extend(saga.complete(payment_id, settings, now));
            effects
        }
        (Signal::StockModified { order_version }, Awaited::Change) if is_asked(*order_version) => {
            saga.end_modifying(modifying, None, now)
        }
        (Signal::StockModificationRejected { order_version, reason, detail }, Awaited::Change)
            if is_asked(*order_version) =>
        {
            saga.end_modifying(modifying, Some((reason.as_str(), detail.as_str())), now)
        }
        (Signal::StockReleased { expired }, _) => {
            saga.stock = Participant::Undone;
            let (cause, reason) = unasked_release(*expired);
            saga.give_back(cause, reason, now)
        }
        (Signal::PaymentRefunded, Awaited::Payment | Awaited::Change) => {
            saga.payment = Participant::Undone;
            saga.give_back(CancellationCause::PaymentFailed, "PAYMENT_REFUNDED", now)
        }
        // Nothing was changed yet.
        (Signal::DeadlinePassed, Awaited::Payment) => saga.end_modifying(modifying, Some((TIMED_OUT, "")), now),
        (Signal::DeadlinePassed, Awaited::Reservation) => {
            saga.give_back(CancellationCause::StepTimedOut, "RESERVATION_TIMED_OUT", now)
        }
        // Which lines are held is not known: all of them go back.
        (Signal::DeadlinePassed, Awaited::Change) => saga.give_back(CancellationCause::StepTimedOut, TIMED_OUT, now),
        (Signal::CancelRequested { cause, detail }, _) => saga.cancel(*cause, detail, now),
        _ => Vec::new(),
    }
}

impl Saga {
    pub(super) fn begin_to_modify(&mut self, awaited: Awaited, order_version: i64, now: Timestamp) {
        self.modifying = Some(Modifying { awaited, order_version, since: self.step_time });
        self.enter(Step::Modifying, now);
    }

    fn request_modification(&mut self, modifying: Modifying, now: Timestamp) -> Vec<Effect> {
        self.modifying = Some(Modifying { awaited: Awaited::Change, ..modifying });
        self.enter(Step::Modifying, now);
        self.releases += 1;
        vec![Effect::RequestModification]
    }

    /// The order has its new lines, or keeps those of before for this reason, and goes on where it was.
    fn end_modifying(&mut self, modifying: Modifying, refused: Option<(&str, &str)>, now: Timestamp) -> Vec<Effect> {
        self.modifying = None;
        let mut effects = vec![match refused {
            None => Effect::ApplyModification,
            Some((reason, detail)) => {
                Effect::RejectModification { reason: reason.to_owned(), detail: detail.to_owned() }
            }
        }];
        if self.payment == Participant::Asked {
            // It waits to be paid as if nothing had been.
            self.enter(Step::Paying, modifying.since);
        } else {
            self.enter(Step::Reserving, modifying.since);
            effects.extend(self.confirm_once_held(now));
        }
        effects
    }
}
