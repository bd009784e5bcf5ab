//! The order saga, pure: `next(saga, signal) → (saga, effects)`. Its runner is `application/`.
//!
//! | Step | asked for by | answered by | fails when | compensation, asked for by | answered by |
//! |---|---|---|---|---|---|
//! | reserve | `order.lifecycle.created` | `inventory.stock.reserved` | `rejected`, unknown product → REJECTED; deadline | `inventory.stock.release_requested` | `released` |
//! | pay (the pivot) | `order.lifecycle.confirmed` | `payment.transaction.completed` | `failed`, deadline, cancelled | `payment.transaction.refund_requested` | `refunded`, or `failed` if nothing was taken |
//! | prepare | `order.lifecycle.preparing` | — until there is a shipping service | — | — | — |
//!
//! What happens otherwise (`docs/sagas.md` says it for operators; `tests/saga/` holds each case):
//!
//! - an order of a product that does not exist is rejected when it is made; stock that is held after all is asked back;
//! - a deadline counts only while the way to the participant and back is open: an outage cancels nothing;
//! - an answer that is lost or late is a deadline that passes: reserve and pay are then compensated, giving back is
//!   asked for again with backoff, and after its last attempt the saga is COMPENSATION_FAILED;
//! - from COMPENSATION_FAILED a late answer still ends it; an operator has it tried again, or settles it by hand;
//! - stock that was released without being asked back (its time ran out) cancels the order at every step before it is
//!   shipped, and what was paid goes back; the same holds for money that was refunded without being asked back;
//! - everything that comes twice, too late or in another order has no effect.
//!
//! Customers learn of it by `order.lifecycle.*` alone: a side effect never fails an order.

mod effect;
mod next;
mod state;

pub use effect::Effect;
pub use next::next;
pub use state::{OpenSince, Participant, Saga, SagaTimeouts, Signal, Step};
