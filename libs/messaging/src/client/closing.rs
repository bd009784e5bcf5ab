//! Closing of clients, on threads of their own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::watch;

/// Clients of this process that are being closed, those that never will be included.
static CLOSING: AtomicUsize = AtomicUsize::new(0);

/// How many clients of this process are being closed.
pub(super) fn count() -> usize {
    CLOSING.load(Ordering::Relaxed)
}

/// Drops the last reference to a client on a new thread, then `closed`. The process does not wait for the thread.
pub(super) fn close(client: Arc<dyn Send + Sync>, closed: watch::Sender<()>) {
    CLOSING.fetch_add(1, Ordering::Relaxed);
    // Over a channel: without a thread the client has to stay here.
    let (hand_over, taken) = mpsc::channel::<Arc<dyn Send + Sync>>();
    let work = move || {
        drop(taken.recv());
        CLOSING.fetch_sub(1, Ordering::Relaxed);
        drop(closed);
    };
    match thread::Builder::new().name("kafka-close".to_owned()).spawn(work) {
        Ok(_) => drop(hand_over.send(client)),
        Err(error) => {
            tracing::error!(%error, "no thread to close a Kafka client on; it stays open");
            std::mem::forget(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        time::{Duration, Instant},
    };

    use super::super::KafkaClient;
    use super::*;

    /// A client whose closing waits for a word.
    struct Hanging(std::sync::Mutex<Receiver<()>>);

    impl Drop for Hanging {
        fn drop(&mut self) {
            let _ = self.0.lock().unwrap().recv();
        }
    }

    fn hanging() -> (Sender<()>, Arc<KafkaClient<Hanging>>) {
        let (word, heard) = channel();
        (word, Arc::new(KafkaClient::new(Hanging(heard.into()))))
    }

    #[tokio::test]
    async fn nobody_waits_for_a_client_that_cannot_be_closed() {
        let (word, client) = hanging();
        let started = Instant::now();
        let is_closed = KafkaClient::close(Arc::clone(&client), Duration::from_millis(50)).await;
        assert!(!is_closed, "another handle holds it");
        assert!(!KafkaClient::close(client, Duration::from_millis(50)).await, "its closing hangs");
        assert!(started.elapsed() < Duration::from_secs(20));
        assert!(count() >= 1);
        drop(word);
    }

    #[tokio::test]
    async fn a_client_that_closes_is_waited_for() {
        let (word, client) = hanging();
        word.send(()).unwrap();
        assert!(KafkaClient::close(client, Duration::from_secs(20)).await);
    }
}
