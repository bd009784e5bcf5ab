//! The lag of a group's partitions.

use std::{sync::Arc, time::Duration};

use rdkafka::{Offset, consumer::Consumer as _};

use crate::{
    Application,
    consumer::{Consumer, receive::KafkaConsumer},
};

impl<A: Application> Consumer<A> {
    /// Tells the lag of each assigned partition, beside the work.
    pub(super) fn tell_lag(&self, consumer: Arc<KafkaConsumer>) {
        let (metrics, role) = (self.metrics, self.backbone.telemetry().role());
        let prefix = self.backbone.kafka().topic_prefix.clone();
        tokio::task::spawn_blocking(move || {
            let timeout = Duration::from_secs(5);
            let Ok(committed) = consumer.committed(timeout) else { return };
            for element in committed.elements() {
                let Ok((low, high)) = consumer.fetch_watermarks(element.topic(), element.partition(), timeout) else {
                    return;
                };
                let next = match element.offset() {
                    Offset::Offset(offset) => offset,
                    _ => low,
                };
                let topic = element.topic().strip_prefix(&prefix).unwrap_or(element.topic());
                metrics.lag(role, topic, element.partition(), messages_behind(next, high));
            }
        });
    }
}

/// Messages between the next one of a group and the end of a partition. The relays publish in transactions, and the end
/// mark of each takes an offset: one offset left is such a mark, not a message.
fn messages_behind(next: i64, high: i64) -> i64 {
    let offsets = (high - next).max(0);
    if offsets == 1 { 0 } else { offsets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_mark_of_a_transaction_is_no_lag() {
        assert_eq!(messages_behind(7, 8), 0);
        assert_eq!(messages_behind(7, 7), 0);
        assert_eq!(messages_behind(7, 9), 2);
        assert_eq!(messages_behind(9, 7), 0, "the log was cut meanwhile");
    }
}
