//! Streams of answers that break off, and are opened again.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tonic::{Status, Streaming};

use crate::status::is_unavailable;

/// How a stream is opened again after it broke off, for a caller that needs all of it: one that begins with how things
/// stand, or is given a request id.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    /// Before the stream is opened again.
    pub pause: Duration,
    /// How often in a row it is opened again without an answer in between.
    pub times_max: u32,
    /// When it is not opened again any more.
    pub deadline: Option<Instant>,
}

impl Resume {
    /// Opens a stream and hands its answers to `each`, until the stream ends or `each` has enough. While the one who
    /// answers is unavailable, `interrupted` is given the status, and the stream is opened again.
    ///
    /// # Errors
    /// The status that the stream was refused with, or ended with: `UNAVAILABLE` once the bounds are reached.
    pub async fn follow<T, F>(
        &self,
        open: impl Fn() -> F,
        mut each: impl FnMut(T) -> ControlFlow<()>,
        mut interrupted: impl FnMut(&Status),
    ) -> Result<(), Status>
    where
        F: Future<Output = Result<Streaming<T>, Status>>,
    {
        let mut times = 0;
        loop {
            let ended = async {
                let mut answers = open().await?;
                while let Some(answer) = answers.message().await? {
                    times = 0;
                    if each(answer).is_break() {
                        break;
                    }
                }
                Ok(())
            };
            let status: Status = match ended.await {
                Ok(()) => return Ok(()),
                Err(status) => status,
            };
            let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if !is_unavailable(&status) || times >= self.times_max || left == Some(Duration::ZERO) {
                return Err(status);
            }
            times += 1;
            interrupted(&status);
            tokio::time::sleep(left.map_or(self.pause, |left| self.pause.min(left))).await;
        }
    }
}
