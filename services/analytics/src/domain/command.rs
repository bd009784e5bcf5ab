//! What the service is told or asked to do.

use uuid::Uuid;

use crate::domain::Fact;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// An event of an order is counted.
    Count(Box<Fact>),
    /// The ranking is written anew; orders are counted anew before.
    StartRebuild {
        /// UUID version 7, drawn by whoever makes the command.
        rebuild_id: Uuid,
        from_events: bool,
        /// Who asks for it.
        requested_by: String,
        /// Why.
        reason: String,
    },
    CancelRebuild {
        rebuild_id: Uuid,
    },
}
