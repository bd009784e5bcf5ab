//! Answers that come bit by bit: taken off their connection as they come, whether they are read or not.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use openorder_rpc::UpstreamBody;
use tokio::sync::mpsc;

use super::body::{Piece, Unsent, trailers, unread};
use super::{CallerAnswers, next_frame};

/// Pieces that may wait, however small they are.
const PIECES_MAX: usize = 1_024;

/// The other end of a pump.
pub(super) struct Incoming {
    pub(super) pieces: mpsc::Receiver<Piece>,
    /// There when the last piece was received.
    pub(super) end: Arc<Mutex<Option<HeaderMap>>>,
    pub(super) unsent: Arc<Unsent>,
}

/// Starts a task that takes the answer off its connection until it ends, its caller goes away, or more of it than the
/// limit is unread.
pub(super) fn pump(caller: &CallerAnswers, body: UpstreamBody) -> Incoming {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let (end, unsent): (Arc<Mutex<Option<HeaderMap>>>, Arc<Unsent>) = Default::default();
    let pump = Pump { caller: caller.clone(), body, sender, unsent: Arc::clone(&unsent) };
    let ending = Arc::clone(&end);
    tokio::spawn(async move {
        let mut pump = pump;
        let last = pump.run().await;
        *ending.lock().unwrap_or_else(PoisonError::into_inner) = last;
        // Only now does the receiver see the end.
        drop(pump);
    });
    Incoming { pieces, end, unsent }
}

struct Pump {
    caller: CallerAnswers,
    body: UpstreamBody,
    sender: mpsc::Sender<Piece>,
    unsent: Arc<Unsent>,
}

impl Pump {
    /// Runs to the end of the answer, which is its trailers.
    async fn run(&mut self) -> Option<HeaderMap> {
        loop {
            let frame = tokio::select! {
                frame = next_frame(&mut self.body) => frame,
                () = self.sender.closed() => return None,
            };
            let data = match frame {
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => return frame.into_trailers().ok(),
                },
                Ok(None) => return None,
                Err(status) => return Some(trailers(&status)),
            };
            if data.is_empty() {
                continue;
            }
            if self.unsent.bytes() + data.len() > self.caller.limits.stream_unread_bytes_max {
                return Some(unread());
            }
            let Ok(piece) = self.caller.piece(data) else { return Some(unread()) };
            if self.sender.try_send(piece.count(&self.unsent)).is_err() {
                return Some(unread());
            }
        }
    }
}
