//! Every legitimate "no".

use std::time::Duration;

use openorder_types::Rejection;
use uuid::Uuid;

/// There is no such order, or the caller may not see it.
pub fn order_not_found(order_id: Uuid) -> Rejection {
    Rejection::not_found("ORDER_NOT_FOUND", format!("there is no order {order_id}"))
}

/// The document has not come to the version that was asked for.
pub fn view_behind(order_id: Uuid, version: i64, min_version: i64, retry_after: Duration) -> Rejection {
    let text = format!("order {order_id} is known in version {version}, and {min_version} has not come yet");
    Rejection::aborted("VIEW_BEHIND", text).with("order_version", version).passing_after(retry_after)
}

/// Somebody else's orders.
pub fn not_yours() -> Rejection {
    Rejection::permission_denied("CUSTOMER_MISMATCH", "customers may only see orders of their own")
}

/// There is one under way.
pub fn rebuild_under_way(rebuild_id: Uuid) -> Rejection {
    let text = format!("rebuild {rebuild_id} is under way");
    Rejection::failed_precondition("REBUILD_UNDER_WAY", text).with("rebuild_id", rebuild_id)
}

/// There is no such rebuild, or never was one.
pub fn rebuild_not_found() -> Rejection {
    Rejection::not_found("REBUILD_NOT_FOUND", "there is no such rebuild")
}
