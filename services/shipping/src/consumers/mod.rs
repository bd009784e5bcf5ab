//! What other services' events mean to this one: a file a topic.

mod order_lifecycle;

use openorder_proto::order::v1::{OrderCancelled, OrderDelivered, OrderPaid, OrderShipped};
use openorder_service::subscription;

use crate::domain::Command;

subscription! {
    /// What the shipping service follows.
    pub fn subscription() -> Subscription<Command> {
        ORDER_LIFECYCLE {
            OrderPaid => order_lifecycle::paid,
            OrderShipped => order_lifecycle::shipped,
            OrderDelivered => order_lifecycle::delivered,
            OrderCancelled => order_lifecycle::cancelled,
        }
    }
}

#[cfg(test)]
mod tests;
