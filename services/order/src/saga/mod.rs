//! The order saga, pure: `next(saga, signal) → (saga, effects)`. Its runner is `application/`.
//!
//! | Step | asked for by | answered by | fails when | compensation, asked for by | answered by |
//! |---|---|---|---|---|---|
//! | reserve | `order.lifecycle.created` | `inventory.stock.reserved` | `rejected`, unknown product → REJECTED; deadline | `inventory.stock.release_requested` | `released` |
//! | hold the coupon, if there is one, at the same time | `promotion.coupon.hold_requested` | `promotion.coupon.held` | `rejected` → REJECTED; deadline | `promotion.coupon.release_requested` | `restored` |
//! | pay (the pivot), unless the coupon leaves nothing to pay | `order.lifecycle.confirmed` | `payment.transaction.completed` | `failed`, deadline, cancelled | `payment.transaction.refund_requested` | `refunded`, or `failed` if nothing was taken |
//! | the same in manual mode | a caller: `ProcessPayment` | `payment.transaction.completed`; what cannot be taken is told the caller alone | the order's payment deadline, cancelled | as above | as above |
//! | redeem the coupon | `promotion.coupon.redeem_requested` | — | — | as above | as above |
//! | prepare | `order.lifecycle.paid` | `shipping.shipment.created`; at once where there is no shipping service | — | `order.lifecycle.cancelled`; whoever cancels asks the shipping service first whether the parcel has left | — |
//!
//! The lines of an order may be changed at two of these steps, one change at a time: where its stock is not decided yet, and
//! where it waits for a caller to pay it. It then is at a step of its own and goes on where it was:
//!
//! | Change | asked for by | answered by | fails when | then |
//! |---|---|---|---|---|
//! | while reserving | — | `inventory.stock.reserved` | as reserve does | as reserve does: the order has its lines of before |
//! | while it waits to be paid | `payment.transaction.hold_requested` | `payment.transaction.initiated` | it was paid before (`completed`); deadline | the order keeps its lines and goes on |
//! | then, in both | `inventory.stock.modification_requested` | `inventory.stock.modified` | `modification_rejected` | the order keeps its lines and goes on |
//! | | | | deadline: what is held is not known | all is given back, as for pay |
//!
//! What happens otherwise (`docs/sagas.md` says it for operators; `tests/saga/` holds each case):
//!
//! - an order of a product that does not exist is rejected when it is made; stock that is held after all is asked back;
//! - an order whose stock or coupon is refused is rejected at once, and what else was held for it is asked back;
//! - stock and coupon are asked back at the same time: nothing of the one depends on the other;
//! - a deadline counts only while the way to the participant and back is open: an outage cancels nothing;
//! - an answer that is lost or late is a deadline that passes: reserve and pay are then compensated, giving back is
//!   asked for again with backoff, and after its last attempt the saga is COMPENSATION_FAILED;
//! - from COMPENSATION_FAILED a late answer still ends it; an operator has it tried again, or settles it by hand;
//! - stock that was released without being asked back (its time ran out) cancels the order at every step before it is
//!   shipped, and what was paid goes back; the same holds for money that was refunded without being asked back;
//! - a cancellation, and stock or money that is lost, end a change with the order;
//! - the time in which a caller has to pay goes on while the order is changed;
//! - everything that comes twice, too late or in another order has no effect.
//!
//! Customers learn of it by `order.lifecycle.*` alone: a side effect never fails an order.

mod effect;
mod modifying;
mod next;
mod state;

pub use effect::Effect;
pub use next::next;
pub use state::{Awaited, Modifying, OpenSince, Participant, Saga, SagaSettings, Signal, Step};
