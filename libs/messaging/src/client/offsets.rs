//! What a group has committed, asked of its coordinator.

use std::time::{Duration, Instant};

use rdkafka::{
    TopicPartitionList,
    consumer::{Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

/// The pause before a coordinator that moves is asked for again.
const PAUSE: Duration = Duration::from_millis(100);

/// What the client's group has committed of these partitions, within about `timeout`. Waits on the calling thread.
///
/// The group's coordinator moves with the leader of a partition of `__consumer_offsets`: while it does, as when the
/// broker was too busy for its controller for a moment, the answer is that there is none. librdkafka looks for the new
/// one then, but hands that answer on: the question is put again until the time is over.
///
/// # Errors
/// What the broker answers, the last one when the time is over.
#[expect(clippy::disallowed_methods, reason = "the one place that may")]
pub fn group_offsets<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    partitions: TopicPartitionList,
    timeout: Duration,
) -> KafkaResult<TopicPartitionList> {
    ask_again(timeout, |left| consumer.committed_offsets(partitions.clone(), left))
}

#[expect(clippy::disallowed_methods, reason = "the question waits on this thread too")]
fn ask_again<T>(timeout: Duration, mut ask: impl FnMut(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match ask(left) {
            Err(error) if is_without_coordinator(&error) && left > PAUSE => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
}

/// Whether the group has no coordinator at this moment.
fn is_without_coordinator(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved() -> KafkaError {
        KafkaError::MetadataFetch(RDKafkaErrorCode::NotCoordinator)
    }

    #[test]
    fn a_coordinator_that_moves_is_asked_for_again() {
        let mut answers = vec![Ok(7), Err(moved()), Err(moved())];
        let answer = ask_again(Duration::from_secs(5), |_| answers.pop().expect("one more answer"));
        assert_eq!((answer, answers.len()), (Ok(7), 0));
    }

    #[test]
    fn a_coordinator_that_stays_away_is_given_up_within_the_time() {
        let begin = Instant::now();
        let mut asked = 0;
        let answer: KafkaResult<()> = ask_again(PAUSE * 5, |left| {
            assert!(left <= PAUSE * 5, "{left:?}");
            asked += 1;
            Err(moved())
        });
        assert_eq!(answer, Err(moved()));
        assert!((2..=6).contains(&asked), "{asked}");
        assert!(begin.elapsed() < PAUSE * 50);
    }

    #[test]
    fn another_refusal_is_told_at_once() {
        let refused = KafkaError::MetadataFetch(RDKafkaErrorCode::GroupAuthorizationFailed);
        let mut asked = 0;
        let answer: KafkaResult<()> = ask_again(Duration::from_secs(5), |_| {
            asked += 1;
            Err(refused.clone())
        });
        assert_eq!((answer, asked), (Err(refused), 1));
    }
}
