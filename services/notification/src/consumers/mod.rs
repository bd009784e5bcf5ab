//! What other services' events mean to this one: a file a topic.

mod order_lifecycle;
mod user_profile;

use openorder_proto::order::v1::{OrderCancelled, OrderDelivered, OrderPaid, OrderRejected, OrderShipped};
use openorder_proto::user::v1::UserErased;
use openorder_service::subscription;

use crate::domain::Command;

subscription! {
    /// What the notification service follows.
    pub fn subscription() -> Subscription<Command>, injects = asks_to_fail {
        ORDER_LIFECYCLE {
            OrderPaid => order_lifecycle::paid,
            OrderShipped => order_lifecycle::shipped,
            OrderDelivered => order_lifecycle::delivered,
            OrderCancelled => order_lifecycle::cancelled,
            OrderRejected => order_lifecycle::rejected,
        }
        USER_PROFILE {
            UserErased => user_profile::erased,
        }
    }
}

/// With fault injection, customers whose id begins so cannot be notified.
const FAILING_CUSTOMERS: &str = "fail-";

fn asks_to_fail(command: &Command) -> bool {
    matches!(command, Command::Notify(notice) if notice.user_id.as_str().starts_with(FAILING_CUSTOMERS))
}
