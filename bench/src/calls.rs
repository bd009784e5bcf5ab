//! Callers in a closed loop: one unary method, requests that are encoded once, answers that are not decoded.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use openorder_rpc::tls::ClientTls;
use openorder_rpc::{Outbound, Resend, RpcClientSettings, Upstream};
use prost::Message;

use crate::orders::{Form, Orders};

const CONNECTIONS: usize = 4;
const CALL_BOUND: Duration = Duration::from_secs(10);
/// What stands before a message in gRPC: a flag and its length.
const PREFIX_LENGTH: usize = 5;

/// `RESOURCE_EXHAUSTED`: the gateway admits as many calls as are answered in time.
const NO_ROOM: &str = "8";
/// `UNAVAILABLE`: a service that is called with all that the machine has is away for a moment.
const AWAY: &str = "14";
/// Before a call is made again that found no room.
const ROOM_PAUSE: Duration = Duration::from_millis(5);
/// Before an order is sent again that found no room, or nobody; doubled each time up to the longest, as `openorder load` does
/// it. Refusals cost what is measured here, too.
const ORDER_PAUSE: Duration = Duration::from_millis(50);
const ORDER_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Both, as HTTP says them.
const AGAIN: [StatusCode; 2] = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];

/// A method with the requests that are sent to it.
pub(crate) struct Calls {
    upstream: Upstream,
    path: PathAndQuery,
    headers: HeaderMap,
    requests: Requests,
    answer: Answer,
}

enum Requests {
    /// These in turn.
    InTurn(Vec<Bytes>),
    /// A new order each.
    Orders(Orders),
}

/// What answer is expected.
#[derive(Clone, Copy)]
enum Answer {
    /// With this `grpc-status`.
    Grpc(&'static str),
    /// JSON, with HTTP's status 200.
    Json,
}

/// The gateway in the clear.
pub(crate) fn upstream(gateway: &str) -> anyhow::Result<Upstream> {
    Ok(Upstream::new(gateway, &settings())?)
}

/// The gateway over TLS, with a certificate by this authority.
pub(crate) fn upstream_over_tls(gateway: &str, ca_file: &Path) -> anyhow::Result<Upstream> {
    let tls = ClientTls::trusting("the authority", ca_file.to_str().context("a path that is no text")?)?;
    Ok(Upstream::over_tls(gateway, &settings(), &tls)?)
}

fn settings() -> RpcClientSettings {
    RpcClientSettings { connections: CONNECTIONS, attempts_max: 1, ..Default::default() }
}

/// One call by gRPC, and its answer; with a token, where there is one.
pub(crate) async fn ask<A: Message + Default>(
    upstream: &Upstream,
    path: &'static str,
    token: Option<&str>,
    request: &impl Message,
) -> anyhow::Result<A> {
    let headers = headers(Form::Grpc, token)?;
    let outbound = outbound(PathAndQuery::from_static(path), headers, framed(request));
    let (head, body) = upstream.call(outbound).await?.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let said = |name: &str| head.headers.get(name).or_else(|| trailers.get(name)).cloned();
    let status = said("grpc-status");
    ensure!(status.as_ref().is_some_and(|code| code == "0"), "{path}: answered {status:?}, {:?}", said("grpc-message"));
    let bytes = body.to_bytes();
    Ok(A::decode(bytes.get(PREFIX_LENGTH..).context("an answer without a message")?)?)
}

impl Calls {
    /// These requests in turn; `status` is the `grpc-status` that is expected.
    pub(crate) fn new<M: Message>(
        gateway: &str,
        path: &'static str,
        requests: &[M],
        status: &'static str,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            upstream: upstream(gateway)?,
            path: PathAndQuery::from_static(path),
            headers: headers(Form::Grpc, None)?,
            requests: Requests::InTurn(requests.iter().map(framed).collect()),
            answer: Answer::Grpc(status),
        })
    }

    /// CreateOrder, each time another order; with a token, where there is one.
    pub(crate) fn orders(upstream: Upstream, form: Form, token: Option<&str>) -> anyhow::Result<Self> {
        Ok(Self {
            upstream,
            path: PathAndQuery::from_static(form.path()),
            headers: headers(form, token)?,
            requests: Requests::Orders(Orders::new(form)?),
            answer: if form == Form::Grpc { Answer::Grpc("0") } else { Answer::Json },
        })
    }

    /// Calls answered a second by so many callers, and how many were answered.
    pub(crate) async fn run(self, callers: usize, duration: Duration) -> anyhow::Result<(f64, u64)> {
        let work = Arc::new(self);
        let (answered, begin) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let until = begin + duration;
        // No two ask for the same at about the same time.
        let apart = (work.requests.count() / callers.max(1)).max(1);
        let callers: Vec<_> = (0..callers)
            .map(|caller| {
                let (work, answered) = (Arc::clone(&work), Arc::clone(&answered));
                tokio::spawn(async move {
                    let (mut turn, mut refused) = (caller * apart, 0);
                    while Instant::now() < until {
                        if work.call(turn).await? {
                            answered.fetch_add(1, Ordering::Relaxed);
                            (turn, refused) = (turn + 1, 0);
                        } else {
                            tokio::time::sleep(work.requests.pause(refused)).await;
                            refused += 1;
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

    /// Whether it was answered; if not, the gateway has no room, or an order finds nobody.
    async fn call(&self, turn: usize) -> anyhow::Result<bool> {
        let outbound = outbound(self.path.clone(), self.headers.clone(), self.requests.get(turn));
        let (head, body) = self.upstream.call(outbound).await?.into_parts();
        let body = body.collect().await?;
        match self.answer {
            Answer::Grpc(expected) => {
                let status = head.headers.get("grpc-status").or_else(|| body.trailers()?.get("grpc-status"));
                let is_order = matches!(self.requests, Requests::Orders(_));
                if status.is_some_and(|code| code == NO_ROOM || (is_order && code == AWAY)) {
                    return Ok(false);
                }
                ensure!(status.is_some_and(|code| code == expected), "{}: answered {status:?}", self.path);
            }
            Answer::Json if AGAIN.contains(&head.status) => return Ok(false),
            Answer::Json => {
                let text = body.to_bytes();
                let (path, text) = (&self.path, String::from_utf8_lossy(&text));
                ensure!(head.status == StatusCode::OK, "{path}: answered {}: {text}", head.status);
            }
        }
        Ok(true)
    }
}

impl Requests {
    /// How many different ones there are; 0 where they are made.
    fn count(&self) -> usize {
        match self {
            Self::InTurn(requests) => requests.len(),
            Self::Orders(_) => 0,
        }
    }

    /// Before a call is made again that was refused so often.
    fn pause(&self, refused: u32) -> Duration {
        match self {
            Self::InTurn(_) => ROOM_PAUSE,
            Self::Orders(_) => ORDER_PAUSE.saturating_mul(1 << refused.min(16)).min(ORDER_PAUSE_MAX),
        }
    }

    fn get(&self, turn: usize) -> Bytes {
        match self {
            Self::InTurn(requests) => requests.get(turn % requests.len().max(1)).cloned().unwrap_or_default(),
            Self::Orders(orders) => orders.next(),
        }
    }
}

fn headers(form: Form, token: Option<&str>) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert("content-type", HeaderValue::from_static(form.media_type()));
    if form == Form::Grpc {
        headers.insert("te", HeaderValue::from_static("trailers"));
    }
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).context("the token")?;
        value.set_sensitive(true);
        headers.insert("authorization", value);
    }
    Ok(headers)
}

fn outbound(path: PathAndQuery, headers: HeaderMap, body: Bytes) -> Outbound {
    let deadline = Some(Instant::now() + CALL_BOUND);
    Outbound { path, headers, body, deadline, body_deadline: deadline, resend: Resend::Unsent, batchable: false }
}

/// With the five bytes that gRPC puts before a message.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX_LENGTH + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message.encode_to_vec());
    framed.freeze()
}
