//! The program's allocator, and how long it keeps freed memory. A program that links this crate uses it.

use std::ffi::c_long;
use std::time::Duration;

/// Messages and spans are made on one thread and freed on another: the C library's allocator spends a fifth of the
/// work on that. It also stands in for that one (feature `override`): librdkafka allocates each header of each message.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long freed memory is kept for the next batch before the system gets it back.
///
/// The allocator's own 10 ms are shorter than the pause between two batches: each then faulted its memory in again, an
/// eighth of the program's CPU under load.
pub const FREED_MEMORY_KEPT: Duration = Duration::from_secs(1);

/// `mi_option_purge_delay` of mimalloc 2 (`mimalloc.h`), in milliseconds; the bindings have no name for it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed memory for [`FREED_MEMORY_KEPT`]. The environment variable `MIMALLOC_PURGE_DELAY` (milliseconds) stands,
/// where it is set. Call it first.
pub fn keep_freed_memory() {
    let milliseconds = c_long::try_from(FREED_MEMORY_KEPT.as_millis()).unwrap_or(c_long::MAX);
    // SAFETY: writes one number of the allocator's table of options, whose index is in range; no other thread runs yet
    // that could read it meanwhile.
    #[expect(unsafe_code, reason = "the allocator has no other interface for it")]
    unsafe {
        libmimalloc_sys::mi_option_set_default(PURGE_DELAY, milliseconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purge_delay() -> c_long {
        // SAFETY: reads one number of the allocator's table of options.
        #[expect(unsafe_code, reason = "the allocator has no other interface for it")]
        unsafe {
            libmimalloc_sys::mi_option_get(PURGE_DELAY)
        }
    }

    #[test]
    fn the_option_is_the_one_whose_default_is_10_ms_and_takes_the_value() {
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
            assert_eq!(purge_delay(), 10);
            keep_freed_memory();
            assert_eq!(purge_delay(), 1_000);
        }
    }
}
