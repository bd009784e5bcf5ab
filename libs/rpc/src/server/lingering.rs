//! A connection that is read on for a while after its last answer, where its client may still be sending.
//!
//! A request over HTTP/1.1 is often answered before all of it has come: it is too large, or its caller may not call. A
//! socket that is closed with bytes of it unread is reset, and a reset takes along what the client has not read yet: the
//! answer. So the end of what is sent is said first, and the rest of the request is read and dropped, within bounds.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::server::connections::Connection;
use crate::settings::ConnectionSettings;

/// Bytes that are read, and dropped, at a time.
const PIECE_BYTES: usize = 8_192;

/// How long, and for how many bytes, the rest of a request is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LingerLimits {
    timeout: Duration,
    bytes: usize,
}

impl LingerLimits {
    pub(crate) fn new(settings: &ConnectionSettings) -> Self {
        Self {
            timeout: Duration::from_millis(settings.http1_linger_timeout_ms),
            bytes: settings.http1_linger_bytes_max,
        }
    }
}

/// A connection whose end waits until its client has sent what it was sending.
pub(crate) struct Lingering<S> {
    stream: S,
    connection: Connection,
    limits: LingerLimits,
    /// Since this side has said that it sends no more; boxed, since hardly any connection comes to that.
    ending: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    pub(crate) fn new(stream: S, connection: Connection, limits: LingerLimits) -> Self {
        Self { stream, connection, limits, ending: None }
    }

    /// Reads and drops what comes, until the client says that it sends no more, or a bound is reached.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut piece = [0; PIECE_BYTES];
        while let Some(until) = &mut self.ending {
            if until.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut read = ReadBuf::new(&mut piece);
            let outcome = ready!(Pin::new(&mut self.stream).poll_read(context, &mut read));
            let length = read.filled().len();
            if outcome.is_err() || length == 0 || length > self.limits.bytes {
                return Poll::Ready(());
            }
            self.limits.bytes -= length;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ending.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.connection.leaves_unread() {
                return Poll::Ready(Ok(()));
            }
            this.ending = Some(Box::pin(sleep(this.limits.timeout)));
        }
        this.poll_rest(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::server::connections::Connections;

    /// A connection with what its client holds of it.
    fn lingering(leaves_unread: bool, timeout_ms: u64, bytes: usize) -> (Lingering<DuplexStream>, DuplexStream) {
        let settings = ConnectionSettings {
            http1_linger_timeout_ms: timeout_ms,
            http1_linger_bytes_max: bytes,
            ..ConnectionSettings::default()
        };
        let entered = Connections::new("test", &settings).enter(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        entered.connection.note_unread(leaves_unread);
        let (ours, theirs) = duplex(1_024);
        (Lingering::new(ours, entered.connection.clone(), LingerLimits::new(&settings)), theirs)
    }

    #[tokio::test]
    async fn a_client_that_is_still_sending_ends_before_its_connection_does() {
        let (mut ours, mut theirs) = lingering(true, 60_000, 1_000_000);
        let client = tokio::spawn(async move {
            theirs.write_all(&[7; 100_000]).await.unwrap();
            let mut answer = Vec::new();
            theirs.read_to_end(&mut answer).await.unwrap();
            answer
        });
        ours.write_all(b"too large").await.unwrap();
        ours.shutdown().await.unwrap();
        assert_eq!(client.await.unwrap(), b"too large");
    }

    #[tokio::test]
    async fn nothing_is_waited_for_where_nothing_was_left_unread() {
        let (mut ours, _theirs) = lingering(false, 60_000, 1_000_000);
        let begun = Instant::now();
        ours.shutdown().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn neither_a_client_that_sends_for_ever_nor_one_that_waits_holds_its_connection() {
        let (mut ours, mut theirs) = lingering(true, 60_000, 50_000);
        let begun = Instant::now();
        let sending = tokio::spawn(async move { while theirs.write_all(&[7; 1_000]).await.is_ok() {} });
        ours.shutdown().await.unwrap();
        drop(ours);
        sending.await.unwrap();
        let (mut ours, _silent) = lingering(true, 20, 50_000);
        ours.shutdown().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
