//! CPU seconds of processes, from `/proc` (Linux).

use std::fs;
use std::time::Instant;

use serde::Serialize;

/// Clock ticks a second in `/proc`: `USER_HZ`, which is 100 on every architecture that Linux shows it to.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process used while the load was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cost {
    /// The process; `load` for this one.
    pub(super) process: String,
    /// User and system time of all its threads.
    pub(super) cpu_seconds: f64,
}

/// Readings at the beginning of the measurement.
pub(super) struct Begun(Vec<(String, String, f64)>);

/// Takes the first reading when the measurement begins.
pub(super) async fn measure_from(begin: Instant, pids: Vec<u32>) -> Begun {
    tokio::time::sleep_until(begin.into()).await;
    let own = ("load".to_owned(), "/proc/self/stat".to_owned());
    let others = pids.into_iter().map(|pid| (pid.to_string(), format!("/proc/{pid}/stat")));
    let readings = std::iter::once(own).chain(others).filter_map(|(name, path)| {
        let seconds = read(&path)?;
        Some((name, path, seconds))
    });
    Begun(readings.collect())
}

impl Begun {
    /// What was used since; processes that are gone are left out.
    pub(super) fn end(self) -> Vec<Cost> {
        let used = self
            .0
            .into_iter()
            .filter_map(|(process, path, before)| Some(Cost { process, cpu_seconds: read(&path)? - before }));
        used.collect()
    }
}

fn read(path: &str) -> Option<f64> {
    seconds_of(&fs::read_to_string(path).ok()?)
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc(5)); the name in field 2 may hold anything, even brackets.
fn seconds_of(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 10 0 0 0 250 150 0 0 20 0 4 0 100 0 0";
        assert_eq!(seconds_of(stat), Some(4.0));
        assert_eq!(seconds_of("42 (short) S 1"), None);
    }

    #[test]
    fn this_process_uses_some() {
        assert!(read("/proc/self/stat").is_some_and(|seconds| seconds >= 0.0));
        assert_eq!(read("/proc/0/stat"), None);
    }
}
