//! Answers that come bit by bit: taken off their connection as they come, whether they are read or not.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use openorder_rpc::{Refusal, UpstreamBody};
use tokio::sync::mpsc;
use tonic::Status;

use super::body::{Piece, Unsent, trailers, unread};
use super::{CallerAnswers, RETRY_AFTER, next_frame};
use crate::transcode::stream::Convert;

/// Pieces that may wait, however small they are.
const PIECES_MAX: usize = 1_024;

/// What ends a stream before its service does, and with what; nothing for most.
pub(crate) type Ending = Option<Pin<Box<dyn Future<Output = Status> + Send>>>;

/// The other end of a pump.
pub(super) struct Incoming {
    pub(super) pieces: mpsc::Receiver<Piece>,
    /// There when the last piece was received.
    pub(super) end: Arc<Mutex<Option<HeaderMap>>>,
    pub(super) unsent: Arc<Unsent>,
}

/// Starts a task that takes the answer off its connection until it ends, its caller goes away, or more of it than the
/// limit is unread. With `convert` another answer is made of it.
pub(super) fn pump(
    caller: &CallerAnswers,
    body: UpstreamBody,
    ending: Ending,
    convert: Option<Box<dyn Convert>>,
) -> Incoming {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let (end, unsent): (Arc<Mutex<Option<HeaderMap>>>, Arc<Unsent>) = Default::default();
    let pump = Pump { caller: caller.clone(), body, ending, sender, unsent: Arc::clone(&unsent), convert };
    let told = Arc::clone(&end);
    tokio::spawn(async move {
        let mut pump = pump;
        let last = pump.run().await;
        *told.lock().unwrap_or_else(PoisonError::into_inner) = last;
        // Only now does the receiver see the end.
        drop(pump);
    });
    Incoming { pieces, end, unsent }
}

struct Pump {
    caller: CallerAnswers,
    body: UpstreamBody,
    ending: Ending,
    sender: mpsc::Sender<Piece>,
    unsent: Arc<Unsent>,
    convert: Option<Box<dyn Convert>>,
}

impl Pump {
    /// Runs to the end of the answer, which is its trailers.
    async fn run(&mut self) -> Option<HeaderMap> {
        let end = self.run_to_end().await;
        let Some(convert) = &mut self.convert else { return end };
        // An answer without an end broke off, whatever it had said.
        let end = end.unwrap_or_else(|| trailers(&Refusal::upstream_unavailable(RETRY_AFTER)));
        let last = convert.end(&end);
        // Where nothing more may wait for its caller, the answer ends without a last word.
        if !last.is_empty()
            && let Ok(piece) = self.caller.piece(last)
        {
            drop(self.sender.try_send(piece.count(&self.unsent)));
        }
        Some(end)
    }

    async fn run_to_end(&mut self) -> Option<HeaderMap> {
        loop {
            let keep_alive = self.convert.as_ref().and_then(|convert| convert.keep_alive());
            let frame = tokio::select! {
                frame = next_frame(&mut self.body) => frame,
                () = self.sender.closed() => return None,
                status = ended(&mut self.ending) => return Some(trailers(&status)),
                bytes = pause(keep_alive) => {
                    // What its caller has not taken yet keeps the answer alive as well.
                    if self.unsent.bytes() == 0 && !self.send(bytes) {
                        return Some(unread());
                    }
                    continue;
                }
            };
            let data = match frame {
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => return frame.into_trailers().ok(),
                },
                Ok(None) => return None,
                Err(status) => return Some(trailers(&status)),
            };
            let data = match &mut self.convert {
                None => data,
                Some(convert) => match convert.data(&data) {
                    Ok(data) => data,
                    Err(status) => return Some(trailers(&status)),
                },
            };
            if !data.is_empty() && !self.send(data) {
                return Some(unread());
            }
        }
    }

    /// Hands a piece to the caller; whether so much may wait for it.
    fn send(&mut self, data: Bytes) -> bool {
        if self.unsent.bytes() + data.len() > self.caller.limits.stream_unread_bytes_max {
            return false;
        }
        let Ok(piece) = self.caller.piece(data) else { return false };
        self.sender.try_send(piece.count(&self.unsent)).is_ok()
    }
}

/// What ends the stream before its service does.
async fn ended(ending: &mut Ending) -> Status {
    match ending {
        Some(ending) => ending.await,
        None => std::future::pending().await,
    }
}

/// The bytes after their pause; never, where there are none.
async fn pause(keep_alive: Option<(Duration, Bytes)>) -> Bytes {
    match keep_alive {
        Some((after, bytes)) => {
            tokio::time::sleep(after).await;
            bytes
        }
        None => std::future::pending().await,
    }
}
