//! The task that writes one answer, and its end when nobody reads what it writes.
//!
//! HTTP/2 asks the body of an answer for more only while its reader gives it room. So a body that nobody reads is not
//! asked for anything, and cannot end itself. The task around it can: when it ends, the stream is reset and what still
//! waited to be sent is freed.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep};

thread_local! {
    /// What the answer that is being written on this thread said last.
    static READ_BY: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Called from within the body of an answer: until when its caller has to have taken what the body handed out. If it
/// has not by then, the stream is reset. `None`: nothing is unread.
pub fn read_by(deadline: Option<Instant>) {
    READ_BY.set(deadline);
}

/// Spawns the tasks of a connection's streams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamExecutor;

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(StreamTask { stream, read_by: None, timer: None });
    }
}

pin_project_lite::pin_project! {
    struct StreamTask<F> {
        #[pin]
        stream: F,
        read_by: Option<Instant>,
        // Made when the first answer waits for its reader: most never do.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> StreamTask<F> {
    fn poll_stream(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let outside = READ_BY.replace(*this.read_by);
        let polled = this.stream.poll(context);
        *this.read_by = READ_BY.replace(outside);
        polled
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // The stream is asked again after each deadline: what it waited for may have been read meanwhile.
        while self.as_mut().poll_stream(context).is_pending() {
            let this = self.as_mut().project();
            let Some(read_by) = *this.read_by else { return Poll::Pending };
            if read_by <= Instant::now() {
                tracing::debug!("a stream was reset: its answer was not read in time");
                return Poll::Ready(());
            }
            let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(read_by)));
            if timer.deadline() != read_by {
                timer.as_mut().reset(read_by);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}
