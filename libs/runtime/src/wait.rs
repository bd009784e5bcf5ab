//! Waiting for a dependency: patient, and never silent about what is waited for.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::readiness::Dependency;
use crate::shutdown::Shutdown;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const SAY_EVERY: Duration = Duration::from_secs(5);

/// A stop was requested before the dependency was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the process is stopping")]
pub struct Stopped;

/// Tries until it succeeds, pausing 0.1 s at first and up to 2 s later, with jitter so that
/// instances do not come back in step. The dependency is marked as waited for and then as ready;
/// the first failure and then one every five seconds is logged, an attempt that hangs as well.
///
/// # Errors
/// [`Stopped`] when a stop is requested first; the attempt under way is dropped.
pub async fn wait_for<T, E, F>(
    dependency: &Dependency,
    shutdown: &Shutdown,
    mut what: impl FnMut() -> F,
) -> Result<T, Stopped>
where
    E: fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let found = shutdown.unless_requested(attempts(dependency, &mut what)).await;
    found.ok_or(Stopped)
}

async fn attempts<T, E, F>(dependency: &Dependency, what: &mut impl FnMut() -> F) -> T
where
    E: fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    let mut voice = Voice::default();
    let mut pause = FIRST_PAUSE;
    loop {
        match said_while_pending(dependency, what(), &mut voice).await {
            Ok(value) => {
                dependency.ready();
                if voice.has_spoken() {
                    tracing::info!(
                        dependency = dependency.name(),
                        waited_ms = began.elapsed().as_millis(),
                        "{} is there",
                        dependency.name()
                    );
                }
                return value;
            }
            Err(error) => {
                let reason = format!("{error:#}");
                dependency.waiting(&reason);
                voice.say(dependency, &reason);
            }
        }
        sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
        pause = longer(pause);
    }
}

/// The pause after this one.
fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

/// Runs one attempt; one that hangs is reported too.
async fn said_while_pending<T, E, F>(dependency: &Dependency, attempt: F, voice: &mut Voice) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut ticks = interval_at(Instant::now() + SAY_EVERY, SAY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(attempt);
    loop {
        tokio::select! {
            result = &mut attempt => return result,
            _ = ticks.tick() => {
                dependency.waiting("no answer yet");
                voice.say(dependency, "no answer yet");
            }
        }
    }
}

/// Speaks at once, and then once in five seconds.
#[derive(Default)]
struct Voice {
    last: Option<Instant>,
}

impl Voice {
    fn has_spoken(&self) -> bool {
        self.last.is_some()
    }

    fn say(&mut self, dependency: &Dependency, reason: &str) {
        if self.last.is_some_and(|last| last.elapsed() < SAY_EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        tracing::warn!(dependency = dependency.name(), "waiting for {}: {reason}", dependency.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = std::iter::successors(Some(FIRST_PAUSE), |pause| Some(longer(*pause)));
        let pauses: Vec<_> = pauses.take(7).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
    }
}
