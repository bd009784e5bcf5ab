//! Callers in a closed loop: one unary method, bodies that are made once, answers that are not decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use openorder_rpc::{Outbound, Resend, RpcClientSettings, Upstream};
use prost::Message;

const CONNECTIONS: usize = 4;
const CALL_BOUND: Duration = Duration::from_secs(10);

/// `RESOURCE_EXHAUSTED`: the gateway admits as many calls as are answered in time.
const NO_ROOM: &str = "8";
/// Before a call that found no room is made again.
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// A method with the requests that are sent in turn.
pub(crate) struct Calls {
    upstream: Upstream,
    path: PathAndQuery,
    bodies: Vec<Bytes>,
    /// The `grpc-status` that is expected.
    status: &'static str,
}

impl Calls {
    pub(crate) fn new<M: Message>(
        gateway: &str,
        path: &'static str,
        requests: &[M],
        status: &'static str,
    ) -> anyhow::Result<Self> {
        let settings = RpcClientSettings { connections: CONNECTIONS, attempts_max: 1, ..Default::default() };
        let upstream = Upstream::new(gateway, &settings)?;
        let bodies = requests.iter().map(framed).collect();
        Ok(Self { upstream, path: PathAndQuery::from_static(path), bodies, status })
    }

    /// Calls answered a second by so many callers, and how many were answered.
    pub(crate) async fn run(self, callers: usize, duration: Duration) -> anyhow::Result<(f64, u64)> {
        let work = Arc::new(self);
        let (answered, begin) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let until = begin + duration;
        // No two ask for the same at about the same time.
        let apart = (work.bodies.len() / callers.max(1)).max(1);
        let callers: Vec<_> = (0..callers)
            .map(|caller| {
                let (work, answered) = (Arc::clone(&work), Arc::clone(&answered));
                tokio::spawn(async move {
                    let mut turn = caller * apart;
                    while Instant::now() < until {
                        if work.call(turn).await? {
                            answered.fetch_add(1, Ordering::Relaxed);
                            turn += 1;
                        } else {
                            tokio::time::sleep(ROOM_PAUSE).await;
                        }
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for caller in callers {
            caller.await??;
        }
        let count = answered.load(Ordering::Relaxed);
        Ok((count as f64 / begin.elapsed().as_secs_f64(), count))
    }

    /// Whether it was answered; if not, the gateway has no room.
    async fn call(&self, turn: usize) -> anyhow::Result<bool> {
        let deadline = Some(Instant::now() + CALL_BOUND);
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        let body = self.bodies.get(turn % self.bodies.len().max(1)).cloned().unwrap_or_default();
        let path = self.path.clone();
        let outbound = Outbound {
            path,
            headers,
            body,
            deadline,
            body_deadline: deadline,
            resend: Resend::Unsent,
            batchable: false,
        };
        let (head, body) = self.upstream.call(outbound).await?.into_parts();
        let body = body.collect().await?;
        let status = head.headers.get("grpc-status").or_else(|| body.trailers()?.get("grpc-status"));
        if status.is_some_and(|code| code == NO_ROOM) {
            return Ok(false);
        }
        anyhow::ensure!(status.is_some_and(|code| code == self.status), "{}: answered {status:?}", self.path);
        Ok(true)
    }
}

/// With the five bytes that gRPC puts before a message.
fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(5 + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message.encode_to_vec());
    framed.freeze()
}
