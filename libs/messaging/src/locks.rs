//! Advisory locks, in a service's own database.

/// What an advisory lock guards. The numbers are the same in all versions, which share a database for a while; that no two
/// locks have one number, the compiler sees to. Services have those from `0x6f70_656e_0101` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum AdvisoryLock {
    /// Appending to the event log.
    Append = 0x6f70_656e_0001,
    /// Being the active relay.
    Relay = 0x6f70_656e_0002,
    /// Publishing dead letters.
    DeadLetters = 0x6f70_656e_0003,
    /// Taking messages over: consumers share it, and who hands events over to the service has it alone.
    Inbox = 0x6f70_656e_0004,
    /// Pruning the event log.
    Prune = 0x6f70_656e_0005,
}

impl AdvisoryLock {
    /// The number that PostgreSQL knows it by.
    pub(crate) const fn number(self) -> i64 {
        self as i64
    }
}
