//! A token bucket: it fills at the rate, up to the burst, and a call takes one out.

use std::time::{Duration, Instant};

use super::Rate;

pub(crate) struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: f64::from(rate.burst), at: now }
    }

    /// Takes one.
    ///
    /// # Errors
    ///
    /// How long it takes until there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * f64::from(rate.per_second)).min(f64::from(rate.burst));
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / f64::from(rate.per_second)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_and_never_less_to_who_waits(
            per_second in 1_u32..1_000,
            burst in 1_u32..1_000,
            pauses in proptest::collection::vec(0_u64..50, 1..300),
        ) {
            let (rate, start) = (Rate { per_second, burst }, Instant::now());
            let mut bucket = Bucket::full(rate, start);
            let (mut now, mut taken) = (start, 0_u32);
            for pause in pauses {
                now += Duration::from_millis(pause);
                match bucket.take(rate, now) {
                    Ok(()) => taken += 1,
                    Err(wait) => {
                        prop_assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
                        now += wait + Duration::from_nanos(1_000);
                        prop_assert!(bucket.take(rate, now).is_ok(), "who waits as long as it is told");
                        taken += 1;
                    }
                }
                let allowed = f64::from(burst) + now.duration_since(start).as_secs_f64() * f64::from(per_second);
                prop_assert!(f64::from(taken) <= allowed + 0.001);
            }
        }
    }
}
