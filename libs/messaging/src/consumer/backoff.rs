//! When a message that failed is tried again.

use std::time::Duration;

use openorder_types::Timestamp;
use rand::Rng;

use crate::ConsumerSettings;

/// When the next attempt is due, after `attempts` failed ones: exponential, capped, with full jitter.
pub(crate) fn next_attempt_at(settings: &ConsumerSettings, attempts: i32, now: Timestamp) -> Timestamp {
    now + Duration::from_millis(rand::rng().random_range(0..=ceiling_ms(settings, attempts)))
}

fn ceiling_ms(settings: &ConsumerSettings, attempts: i32) -> u64 {
    let exponent = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(32);
    let factor = 1_u64.checked_shl(exponent).unwrap_or(u64::MAX);
    settings.retry_delay_base_ms.saturating_mul(factor).min(settings.retry_delay_max_ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_its_cap() {
        let settings =
            ConsumerSettings { retry_delay_base_ms: 500, retry_delay_max_ms: 3_000, ..ConsumerSettings::default() };
        let ceilings: Vec<u64> = (1..=5).map(|attempts| ceiling_ms(&settings, attempts)).collect();
        assert_eq!(ceilings, [500, 1_000, 2_000, 3_000, 3_000]);
    }

    proptest! {
        #[test]
        fn the_wait_never_exceeds_its_cap(attempts in 0..i32::MAX) {
            let settings = ConsumerSettings::default();
            let now = chrono::Utc::now();
            let wait = next_attempt_at(&settings, attempts, now) - now;
            prop_assert!(wait.num_milliseconds() >= 0);
            prop_assert!(wait.num_milliseconds().unsigned_abs() <= settings.retry_delay_max_ms);
        }
    }
}
