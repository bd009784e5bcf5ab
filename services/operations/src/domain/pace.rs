//! How fast a replay of events may go.

use std::time::Duration;

/// How many slices a second the rate is cut into: small enough not to come in bursts.
const SLICES_PER_SECOND: u32 = 4;

/// A rate cut into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    rate_per_second: u32,
}

impl Pace {
    /// At most this many a second, at least one.
    #[must_use]
    pub fn new(rate_per_second: u32) -> Self {
        Self { rate_per_second: rate_per_second.max(1) }
    }

    /// The largest batch, within the bound.
    #[must_use]
    pub fn batch(&self, batch_max: u32) -> u32 {
        (self.rate_per_second / SLICES_PER_SECOND).clamp(1, batch_max.max(1))
    }

    /// The time that these are worth; the next batch is due so long after the last one began.
    #[must_use]
    pub fn time_of(&self, count: u32) -> Duration {
        Duration::from_secs(1).saturating_mul(count) / self.rate_per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_worth_their_time() {
        let pace = Pace::new(200);
        assert_eq!(pace.batch(1_000), 50);
        assert_eq!(pace.time_of(50), Duration::from_millis(250));
        assert_eq!(Pace::new(10_000).batch(200), 200);
        assert_eq!(Pace::new(1).batch(200), 1);
        assert_eq!(Pace::new(1).time_of(1), Duration::from_secs(1));
        assert_eq!(Pace::new(0), Pace::new(1), "never without end");
    }
}
