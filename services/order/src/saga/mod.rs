//! The order saga, pure: `next(saga, signal) → (saga, effects)`. Its runner is `application/`.
//!
//! | Step | asked for by | answered by | fails when | compensation, asked for by | answered by |
//! |---|---|---|---|---|---|
//! | reserve | `order.lifecycle.created` | `inventory.stock.reserved` | `rejected` → REJECTED; deadline | `inventory.stock.release_requested` | `released` |
//! | pay (the pivot) | `order.lifecycle.confirmed` | `payment.transaction.completed` | `failed`, deadline, cancelled | `payment.transaction.refund_requested` | `refunded`, or `failed` if nothing was taken |
//! | prepare | `order.lifecycle.preparing` | — until there is a shipping service | — | — | — |
//!
//! Customers are told by `order.lifecycle.*` alone: a side effect never fails an order.

mod next;
mod state;

pub use next::{Effect, next};
pub use state::{Part, Saga, SagaTimeouts, Signal, Step};
