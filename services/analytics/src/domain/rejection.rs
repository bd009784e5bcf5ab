//! Every legitimate "no" of the service.

use openorder_types::Rejection;
use uuid::Uuid;

/// One rebuild at a time.
pub fn rebuild_under_way(rebuild_id: Uuid) -> Rejection {
    Rejection::failed_precondition("REBUILD_UNDER_WAY", "another rebuild has not come to its end")
        .with("rebuild_id", rebuild_id)
}

/// There is no such rebuild.
pub fn rebuild_not_found() -> Rejection {
    Rejection::not_found("REBUILD_NOT_FOUND", "there is no such rebuild")
}

/// More rows than one answer has.
pub fn summary_too_large(rows_max: i64) -> Rejection {
    let text = format!("there are more than {rows_max} rows: ask for a shorter time, or for one currency");
    Rejection::failed_precondition("SUMMARY_TOO_LARGE", text).with("rows_max", rows_max)
}
