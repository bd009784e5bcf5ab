//! Reading the headers of a Kafka record, whoever wrote it.
//!
//! A header's name may be any bytes but NUL. The client gives names as text, and panics at one that is none; it has no
//! other way to a name, and none to its bytes. So each header is read with that panic caught. What could be read
//! stays, and the record counts as unreadable.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use rdkafka::{
    Message,
    message::{Header, Headers},
};

thread_local! {
    /// Whether a panic of this thread is one that is expected and handled.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Hands `each` the headers of a record whose names are text, in order, with the value as it came (empty for none).
/// `false` when the name of one or more is not.
pub(crate) fn read_headers<'a>(message: &'a impl Message, mut each: impl FnMut(&'a str, &'a [u8])) -> bool {
    let Some(headers) = message.headers() else { return true };
    let mut is_whole = true;
    for index in 0..headers.count() {
        match header_at(headers, index) {
            Some(header) => each(header.key, header.value.unwrap_or_default()),
            None => is_whole = false,
        }
    }
    is_whole
}

/// The first value of that name, as it came.
pub(crate) fn header<'a>(message: &'a impl Message, name: &str) -> Option<&'a [u8]> {
    let headers = message.headers()?;
    let named = (0..headers.count()).find_map(|index| header_at(headers, index).filter(|header| header.key == name));
    named?.value
}

/// The first value of that name, if it is text.
pub(crate) fn header_text<'a>(message: &'a impl Message, name: &str) -> Option<&'a str> {
    std::str::from_utf8(header(message, name)?).ok()
}

/// `None` when the header's name is not text.
fn header_at<H: Headers>(headers: &H, index: usize) -> Option<Header<'_, &[u8]>> {
    quietly(|| headers.try_get(index)).ok().flatten()
}

/// Runs work that may panic at what it reads: the panic is its result, and nothing is printed of it, because whoever
/// writes records could fill the log so.
fn quietly<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !EXPECTED.get() {
                before(info);
            }
        }));
    });
    EXPECTED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(false);
    result
}

/// Runs the decoding of one message; `None` when it panics. That is a mistake in the code, and is printed.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> T) -> Option<T> {
    panic::catch_unwind(AssertUnwindSafe(decode)).ok()
}
