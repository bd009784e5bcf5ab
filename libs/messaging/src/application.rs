//! The one shape of all work: a use case takes a batch.

use std::future::Future;

use openorder_telemetry::TraceContext;
use openorder_types::{Fault, Rejection};

use crate::UnitOfWork;

/// A command that is lent to a use case, with the trace that it belongs to.
#[derive(Debug)]
pub struct Envelope<'a, C> {
    /// What is asked for; time and ids are data of the command or of the unit of work.
    pub command: &'a C,
    /// Parent of the spans that the command causes.
    pub trace: &'a TraceContext,
}

impl<C> Clone for Envelope<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Envelope<'_, C> {}

/// A reply that can be kept under its request id and given again.
pub trait Reply: Clone + Send + Sync + 'static {
    /// The stored form.
    fn encode(&self) -> Vec<u8>;
    /// Reads the stored form; `None` when it is not one.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// For services that only consume.
impl Reply for () {
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(_: &[u8]) -> Option<Self> {
        Some(())
    }
}

/// What each command of a batch ended in, in the batch's order.
pub type Outcomes<R> = Vec<Result<R, Rejection>>;

/// All work of a service, fed by the committer (gRPC callers) and the consumer (Kafka).
///
/// An implementation loads what the batch needs, decides each command in order with the pure domain, and
/// writes the changes of all with one statement a table. It opens no transaction of its own.
pub trait Application: Send + Sync + 'static {
    /// Everything that the service can be asked or told.
    type Command: Send + Sync + 'static;
    /// What a caller gets back.
    type Reply: Reply;

    /// Work that a batch needs first, such as asking another service. It runs before the batch's transaction begins: no
    /// connection is held and no row is locked meanwhile. Some of the commands may turn out to be done already, and are
    /// not executed then. The default does nothing.
    ///
    /// # Errors
    /// As [`Self::execute`], and only if one of the commands is executed.
    fn prepare(&self, commands: &[&Self::Command]) -> impl Future<Output = Result<(), Fault>> + Send {
        let _ = commands;
        async { Ok(()) }
    }

    /// Executes the batch within `unit`. Exactly one outcome a command, in the same order; a rejection leaves
    /// nothing behind and does not disturb its neighbours.
    ///
    /// # Errors
    /// A [`Fault`] fails the whole batch: nothing of it is kept, and the runner splits or repeats it.
    fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Self::Command>],
    ) -> impl Future<Output = Result<Outcomes<Self::Reply>, Fault>> + Send;
}
