//! What a message means to the service, whatever it holds.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    Application, DecodeError, Received, Subscription, UnknownTypes,
    consumer::{Consumer, failure},
    record,
};

/// How often messages of unknown types are logged at most: a foreign producer may write millions.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

impl<C> Subscription<C> {
    /// What a message means: [`Subscription::decode`], whose panic is this message's error.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn meaning(&self, message: &Received) -> Result<Option<C>, DecodeError> {
        record::guarded(|| (self.decode)(message)).unwrap_or(Err(DecodeError::Panicked))
    }
}

impl<A: Application> Consumer<A> {
    /// What a message means here: one of an unknown type means nothing, where the settings say so.
    pub(super) fn meaning(&self, message: &Received) -> Result<Option<A::Command>, DecodeError> {
        match self.subscription.meaning(message) {
            Err(DecodeError::UnknownType(_)) if self.settings.unknown_types == UnknownTypes::Skip => {
                self.metrics.unknown_type(self.backbone.telemetry().role(), &message.topic);
                self.passed_over.record(message);
                Ok(None)
            }
            meaning => meaning,
        }
    }
}

/// Messages of unknown types since the last log line.
#[derive(Default)]
pub(super) struct PassedOver(Mutex<(u64, Option<Instant>)>);

impl PassedOver {
    fn record(&self, message: &Received) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, logged_at) = &mut *state;
        *count += 1;
        if logged_at.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        tracing::warn!(
            topic = &*message.topic,
            partition = message.partition,
            offset = message.offset,
            event_type = failure::cut(&message.event_type),
            count = std::mem::take(count),
            "messages of unknown types are passed over (consumer.unknown_types); this is the last one of them"
        );
        *logged_at = Some(Instant::now());
    }
}
