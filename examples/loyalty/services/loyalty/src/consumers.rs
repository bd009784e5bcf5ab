//! What the events of others mean here.

use openorder_proto::order::v1::OrderPaid;
use openorder_service::subscription;
use openorder_types::{UserId, ValueError};

use crate::domain::Command;

subscription! {
    /// What the loyalty service follows.
    pub fn subscription() -> Subscription<Command> {
        ORDER_LIFECYCLE {
            OrderPaid => paid,
        }
    }
}

fn paid(event: OrderPaid) -> Result<Command, ValueError> {
    let points = event.total.map_or(0, |total| total.units);
    Ok(Command::Earn { customer_id: UserId::parse(&event.customer_id)?, points })
}
