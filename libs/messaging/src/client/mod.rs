//! Long-lived Kafka clients: how they are watched, replaced and closed.
//!
//! librdkafka forgets all its brokers after a metadata answer that names none, and does not return to
//! `bootstrap.servers`: such a client stays silent for ever, and closing it never ends
//! (confluentinc/librdkafka#5301). So a client that gets no answer while a new one does is abandoned and made anew
//! ([`ClientHealth`]), and every client is closed on a thread of its own ([`KafkaClient`]). A consumer that is closed
//! while its group shares out partitions may never end either: librdkafka asks its own thread, which has ended by then.

mod closing;
mod health;
mod offsets;
mod probe;

use std::{ops::Deref, sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext,
    config::{FromClientConfig, FromClientConfigAndContext},
    error::KafkaError,
};
use tokio::sync::watch;

pub(crate) use health::{ClientHealth, ask};
pub use offsets::group_offsets;
pub(crate) use probe::{Answer, answer_to_new, broker_answers};

/// A client that is closed on a thread of its own when its last handle is dropped: closing may take for ever, and
/// must not hold up a task, a replacement or the end of the process.
pub struct KafkaClient<T: Send + Sync + 'static> {
    // Dropped before `last`, which then holds the only reference.
    client: Arc<T>,
    last: Last<T>,
}

/// The reference that is dropped on the closing thread.
struct Last<T: Send + Sync + 'static> {
    client: Option<Arc<T>>,
    // Its receivers see the end of the closing as the end of the channel.
    closed: Option<watch::Sender<()>>,
}

impl<T: Send + Sync + 'static> KafkaClient<T> {
    /// Holds a client from now on.
    pub fn new(client: T) -> Self {
        let client = Arc::new(client);
        let (closed, _) = watch::channel(());
        let last = Last { client: Some(Arc::clone(&client)), closed: Some(closed) };
        Self { client, last }
    }

    /// A client of this configuration.
    ///
    /// # Errors
    /// The configuration does not stand.
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn create(config: &ClientConfig) -> Result<Self, KafkaError>
    where
        T: FromClientConfig,
    {
        Ok(Self::new(config.create()?))
    }

    /// A client of this configuration that hands what befalls it to `context`.
    ///
    /// # Errors
    /// The configuration does not stand.
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn create_with_context<C: ClientContext>(config: &ClientConfig, context: C) -> Result<Self, KafkaError>
    where
        T: FromClientConfigAndContext<C>,
    {
        Ok(Self::new(config.create_with_context(context)?))
    }

    /// Drops this handle and waits until the client is closed, at most for `bound`; false when it was not, because
    /// the closing takes longer or because others hold the client.
    pub(crate) async fn close(client: Arc<Self>, bound: Duration) -> bool {
        let Some(mut closed) = client.last.closed.as_ref().map(watch::Sender::subscribe) else { return true };
        drop(client);
        // Nothing is ever sent: the only change is the end of the channel.
        tokio::time::timeout(bound, closed.changed()).await.is_ok()
    }
}

impl<T: Send + Sync + 'static> Deref for KafkaClient<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.client
    }
}

impl<T: Send + Sync + 'static> Drop for Last<T> {
    fn drop(&mut self) {
        if let (Some(client), Some(closed)) = (self.client.take(), self.closed.take()) {
            closing::close(client, closed);
        }
    }
}
