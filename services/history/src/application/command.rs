//! What the service can be asked or told.

use uuid::Uuid;

use crate::domain::Fact;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Takes an event over into the document of its order.
    Hear(Fact),
    /// Begins to build all documents anew.
    Rebuild { rebuild_id: Uuid, requested_by: String, reason: String },
    /// Calls a rebuild off.
    CancelRebuild { rebuild_id: Uuid },
}
