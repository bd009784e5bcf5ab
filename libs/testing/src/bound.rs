//! A bound for each test program: one that hangs is ended, says what hung, and leaves the others their time.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// How long one test program may run; the longest takes three minutes on a quiet machine.
const BOUND: Duration = Duration::from_secs(15 * 60);

/// Ends this process when its tests take too long.
pub(crate) fn end_what_hangs() {
    let until = Instant::now() + BOUND;
    let wait = move || {
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        eprintln!("the tests of this program take longer than {BOUND:?} and are ended; its threads, each named by its");
        eprintln!("test or its library: {}", threads().join(", "));
        std::process::abort();
    };
    thread::Builder::new().name("test-bound".to_owned()).spawn(wait).expect("a thread");
}

/// The names of all threads, as the kernel keeps them: the first 15 bytes.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.filter_map(|task| Some(fs::read_to_string(task.path().join("comm")).ok()?.trim().to_owned())).collect()
}
