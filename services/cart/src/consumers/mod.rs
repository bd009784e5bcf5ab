//! What other services' events mean to this one: a file a topic.

mod order_lifecycle;
mod user_profile;

use openorder_proto::order::v1::{OrderCreated, OrderRejected};
use openorder_proto::user::v1::UserErased;
use openorder_service::subscription;

use crate::domain::Command;

subscription! {
    /// What the cart service follows.
    pub fn subscription() -> Subscription<Command> {
        ORDER_LIFECYCLE {
            OrderCreated => order_lifecycle::created,
            OrderRejected => order_lifecycle::rejected,
        }
        USER_PROFILE {
            UserErased => user_profile::erased,
        }
    }
}
