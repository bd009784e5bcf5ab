//! Working off what is in hand: through outages and long work the group is polled on, with the partitions paused.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::atomic::Ordering,
    time::{Duration, Instant, SystemTime},
};

use openorder_runtime::Shutdown;
use openorder_telemetry::Series;
use openorder_types::Fault;
use rdkafka::{Message as _, Offset, TopicPartitionList, consumer::Consumer as _};

use crate::{
    Application,
    consumer::{Consumer, gather::Gathered, receive::KafkaConsumer},
    database::POSTGRES,
};

/// First wait of an outage; doubled up to the setting.
const OUTAGE_DELAY_FIRST_MS: u64 = 50;

impl<A: Application> Consumer<A> {
    /// Handles what is in hand, waiting out outages, then commits the offsets. What comes meanwhile (a rebalance
    /// brings partitions that are not paused) goes to `early`.
    pub(super) async fn work_off(
        &self,
        consumer: &KafkaConsumer,
        in_hand: &Gathered<A::Command>,
        early: &mut Gathered<A::Command>,
        shutdown: &Shutdown,
    ) {
        let (started, began) = (SystemTime::now(), Instant::now());
        let mut delay_ms = OUTAGE_DELAY_FIRST_MS;
        let mut paused = false;
        let mut outage = Outage { consumer: self, under_way: None };
        loop {
            let fault = match self.handle_polling(consumer, in_hand, early, &mut paused).await {
                Ok(()) => break,
                Err(fault) => fault,
            };
            outage.begin(&fault, in_hand.items.len());
            if shutdown.is_requested() {
                // Nothing was committed to Kafka: the batch comes again.
                return;
            }
            paused = true;
            let delay = Duration::from_millis(delay_ms);
            tokio::select! {
                never = self.poll_paused(consumer, early) => match never {},
                () = tokio::time::sleep(delay) => {}
                () = shutdown.requested() => {}
            }
            delay_ms = (delay_ms * 2).min(self.settings.outage_delay_max_ms);
        }
        outage.end();
        let done = in_hand.next_offsets.iter();
        self.freshness.done(done.map(|((topic, partition), next)| (*topic, *partition, *next)));
        if paused {
            resume(consumer);
        }
        let ended = SystemTime::now();
        let linger = self.settings.linger().after(in_hand.items.len(), began.elapsed());
        self.linger_us.store(u64::try_from(linger.as_micros()).unwrap_or(0), Ordering::Relaxed);
        let role = self.backbone.telemetry().role();
        for (topic, count) in &in_hand.by_topic {
            self.metrics.processed(role, topic, *count, started, ended);
        }
        self.note_offsets(consumer, &in_hand.next_offsets);
    }

    /// Handles the batch; once it takes long, with the partitions paused and the group polled beside it. A rebalance
    /// does not touch the batch: it is finished, and what another instance has taken over and done is dropped by the inbox.
    async fn handle_polling(
        &self,
        consumer: &KafkaConsumer,
        in_hand: &Gathered<A::Command>,
        early: &mut Gathered<A::Command>,
        paused: &mut bool,
    ) -> Result<(), Fault> {
        let handling = std::pin::pin!(self.handler.handle(&in_hand.items));
        let mut handling = handling;
        tokio::select! {
            result = &mut handling => return result,
            () = tokio::time::sleep(Duration::from_millis(self.settings.slow_batch_ms)), if !*paused => {}
            never = self.poll_paused(consumer, early), if *paused => match never {},
        }
        *paused = true;
        tracing::info!(messages = in_hand.items.len(), "a batch takes long; its partitions are paused meanwhile");
        tokio::select! {
            result = handling => result,
            never = self.poll_paused(consumer, early) => match never {},
        }
    }

    /// Pauses all partitions and polls on: the group must not take a patient consumer for a dead one.
    async fn poll_paused(&self, consumer: &KafkaConsumer, early: &mut Gathered<A::Command>) -> Infallible {
        pause_assigned(consumer);
        loop {
            match consumer.recv().await {
                // A partition that a rebalance brought meanwhile.
                Ok(message) if early.items.len() < self.settings.batch_max => {
                    self.take(early, &message);
                    drop(message);
                    pause_assigned(consumer);
                }
                Ok(message) => {
                    // No room: it has to come again from its place.
                    let (topic, partition) = (message.topic().to_owned(), message.partition());
                    let place = Offset::Offset(message.offset());
                    drop(message);
                    pause_assigned(consumer);
                    // A failure means that the partition is another's by now.
                    drop(consumer.seek(&topic, partition, place, Duration::ZERO));
                }
                Err(error) => {
                    // A fatal one shows again when the batch is done.
                    drop(self.broker_error(error));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Notes where the partitions stand, of those that are still this instance's: another one may be further. The client
    /// commits it to Kafka, soon and before it gives a partition away; a request for each batch would cost more than it
    /// saves, since the inbox drops what comes again.
    fn note_offsets(&self, consumer: &KafkaConsumer, next_offsets: &HashMap<(&'static str, i32), i64>) {
        let Ok(assigned) = consumer.assignment() else { return };
        let mut offsets = TopicPartitionList::with_capacity(next_offsets.len());
        for ((topic, partition), offset) in next_offsets {
            let name = self.backbone.kafka().topic(topic);
            if assigned.find_partition(&name, *partition).is_none() {
                continue;
            }
            if let Err(error) = offsets.add_partition_offset(&name, *partition, Offset::Offset(*offset)) {
                tracing::warn!(%error, topic, partition, "offset not committed; the inbox drops what comes again");
            }
        }
        if offsets.count() == 0 {
            return;
        }
        if let Err(error) = consumer.store_offsets(&offsets) {
            tracing::debug!(%error, "offsets not committed; the inbox drops what comes again");
        }
    }
}

/// What log, readiness and metric say of an outage, from its begin to its end.
struct Outage<'a, A: Application> {
    consumer: &'a Consumer<A>,
    /// The dependency, and the series of its outage.
    under_way: Option<(&'static str, Series)>,
}

impl<A: Application> Outage<'_, A> {
    fn begin(&mut self, fault: &Fault, messages: usize) {
        let role = self.consumer.backbone.telemetry().role();
        self.consumer.dependency.down(fault);
        let dependency = match fault {
            Fault::Outage { dependency, .. } => *dependency,
            // The failing message could not be parked: its row is what the database did not take.
            Fault::Retryable { .. } | Fault::Permanent { .. } => POSTGRES,
        };
        if self.under_way.as_ref().is_some_and(|(known, _)| *known == dependency) {
            return;
        }
        tracing::error!(%fault, messages, "partitions are paused until it is over");
        self.under_way = Some((dependency, self.consumer.metrics.outage(role, dependency)));
    }

    fn end(&mut self) {
        let Some((dependency, _)) = self.under_way.take() else { return };
        tracing::info!(dependency, "the outage is over; partitions flow again");
        self.consumer.dependency.ready();
    }
}

fn pause_assigned(consumer: &KafkaConsumer) {
    if let Ok(assigned) = consumer.assignment() {
        // A failure shows in the next poll.
        drop(consumer.pause(&assigned));
    }
}

fn resume(consumer: &KafkaConsumer) {
    if let Ok(assigned) = consumer.assignment() {
        drop(consumer.resume(&assigned));
    }
}
