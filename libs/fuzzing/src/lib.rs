//! Inputs that nobody meant, for tests of what reads them.
//!
//! A target is a test whose name begins with `fuzz_`: [`fuzz`] calls it with one [`Random`] after the other, out of which it
//! makes an input and reads it. Among the other tests it runs for a moment; `dev/fuzz` runs it as often as one likes.
//! An input is known by its seed and its number, and made again from both.

mod random;

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use random::Random;

/// How many inputs each target is given (`dev/fuzz --inputs`).
const INPUTS: &str = "OPENORDER_FUZZ_INPUTS";
/// Out of what they are made (`dev/fuzz --seed`).
const SEED: &str = "OPENORDER_FUZZ_SEED";
/// The number of the one input that is made (`dev/fuzz --at`).
const AT: &str = "OPENORDER_FUZZ_AT";

/// How long a target runs among the other tests.
const TEST_TIME: Duration = Duration::from_millis(1_500);
/// Inputs that it is given then all the same, however slow the machine is.
const INPUTS_MIN: u64 = 300;
/// So many say whether a target reads some of its inputs, and refuses some.
const BOTH_WAYS_FROM: u64 = 5_000;
/// Inputs between two looks at the clock.
const CLOCK_INTERVAL: u64 = 64;
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// What a target is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    seed: u64,
    first: u64,
    /// None for as many as there is time for.
    inputs: Option<u64>,
}

/// Gives a target inputs. It makes each out of what it is given, reads it, and says whether it was read or refused; it
/// panics where neither is right. The seed and the number of an input that fails are told.
///
/// # Panics
///
/// When the target does, and when none of many inputs was read, or none refused: then hardly any reached what is to be tried.
pub fn fuzz(target: &str, mut read: impl FnMut(&mut Random) -> bool) {
    let plan = Plan::of(|name| std::env::var_os(name).as_deref().and_then(OsStr::to_str).map(str::to_owned));
    let (begun, number) = (Instant::now(), Cell::new(plan.first));
    let (mut count, mut taken, mut told) = (0_u64, 0_u64, begun);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        while plan.goes_on(count, begun) {
            number.set(plan.first + count);
            taken += u64::from(read(&mut Random::of(plan.seed, number.get())));
            count += 1;
            if count.is_multiple_of(CLOCK_INTERVAL) && plan.inputs.is_some() && told.elapsed() >= PROGRESS_INTERVAL {
                told = Instant::now();
                say(format_args!("{target}: {count} inputs in {:.0} s", begun.elapsed().as_secs_f64()));
            }
        }
    }));
    if let Err(panic) = outcome {
        let (seed, number) = (plan.seed, number.get());
        say(format_args!(
            "{target}: input {number} of seed {seed} fails: dev/fuzz --seed {seed} --at {number} {target}"
        ));
        resume_unwind(panic);
    }
    if plan.inputs.is_some() {
        let seconds = begun.elapsed().as_secs_f64();
        say(format_args!("{target}: {count} inputs of seed {} in {seconds:.1} s, {taken} of them read", plan.seed));
    }
    assert!(count < BOTH_WAYS_FROM || taken > 0, "{target}: none of {count} inputs was read");
    assert!(count < BOTH_WAYS_FROM || taken < count, "{target}: none of {count} inputs was refused");
}

impl Plan {
    fn of(setting: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| {
            let text = setting(name)?;
            let number: Option<u64> = text.parse().ok();
            assert!(number.is_some(), "{name} is {text:?} and not a number");
            number
        };
        let of_now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
        let seed = number(SEED).unwrap_or_else(of_now);
        match number(AT) {
            Some(first) => Self { seed, first, inputs: Some(1) },
            None => Self { seed, first: 0, inputs: number(INPUTS) },
        }
    }

    fn goes_on(&self, count: u64, begun: Instant) -> bool {
        match self.inputs {
            Some(inputs) => count < inputs,
            None => count < INPUTS_MIN || !count.is_multiple_of(CLOCK_INTERVAL) || begun.elapsed() < TEST_TIME,
        }
    }
}

/// To standard error, also where the output of tests is kept back.
fn say(text: impl std::fmt::Display) {
    drop(writeln!(io::stderr().lock(), "fuzz: {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_reads_nothing_or_refuses_nothing_has_not_been_tried() {
        let tried = |read: fn(&mut Random) -> bool| catch_unwind(|| fuzz("a test", read)).is_ok();
        assert!(tried(|random| random.chance(50)));
        assert!(!tried(|_| true));
        assert!(!tried(|_| false));
    }

    #[test]
    fn a_target_that_panics_fails() {
        let failed = catch_unwind(|| {
            fuzz("a test", |random| {
                assert!(!random.chance(2), "one in fifty");
                random.chance(50)
            });
        });
        assert!(failed.is_err());
    }

    #[test]
    fn what_is_tried_is_said_by_settings() {
        let plan = |pairs: &[(&str, &str)]| {
            let find = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
            Plan::of(find)
        };
        assert_eq!(plan(&[(SEED, "7"), (INPUTS, "1000")]), Plan { seed: 7, first: 0, inputs: Some(1_000) });
        assert_eq!(plan(&[(SEED, "7"), (AT, "9")]), Plan { seed: 7, first: 9, inputs: Some(1) });
        assert_eq!(plan(&[(SEED, "7")]).inputs, None);
        assert!(catch_unwind(|| plan(&[(INPUTS, "many")])).is_err());
    }
}
