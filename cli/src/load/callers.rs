//! Who places the orders: callers in a closed loop, or a plan in an open one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use openorder_rpc::status::reason_or_code;
use openorder_rpc::{Outbound, Refusal, Resend, RpcClientSettings, Upstream, timeout};
use openorder_runtime::Shutdown;
use prost::Message;
use tokio::sync::Semaphore;
use tonic::Status;
use uuid::Uuid;

use super::request::{FRAME_HEADER_LENGTH, Template};
use super::world::World;
use super::{LoadArgs, Shared};
use crate::gateway_client::Address;

const CREATE_ORDER: &str = "/openorder.order.v1.OrderService/CreateOrder";
/// An order that was due in time is sent this late at most: a timer fires a little after its time.
const LATE_MAX: Duration = Duration::from_millis(10);
/// How often an order is sent while the gateway or a service is away.
const ATTEMPTS_MAX: u32 = 1_000;
/// Orders a second that may be sent again, however many are sent.
const RETRIES_PER_SECOND: u32 = 10_000;

/// All callers of a run.
pub(super) struct Callers {
    work: Arc<Work>,
    callers: u32,
}

struct Work {
    upstream: Upstream,
    path: PathAndQuery,
    headers: HeaderMap,
    template: Template,
    customers: u32,
    products: u32,
    rate: Option<f64>,
    length: Duration,
    timeout: Duration,
    /// Of 2^64, how many orders ask to be traced.
    sampled_share: Option<u64>,
    next: AtomicU64,
    places: Arc<Semaphore>,
    statistics: Shared,
    shutdown: Shutdown,
}

/// An order that is about to be sent.
struct Turn {
    number: u64,
    /// When it was due; in a closed loop that is now.
    due: Instant,
    measured: bool,
}

/// The part of CreateOrder's answer that is looked at; the rest is not even decoded.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    order: Option<AnsweredOrder>,
}

#[derive(Clone, PartialEq, Message)]
struct AnsweredOrder {
    #[prost(string, tag = "1")]
    order_id: String,
}

impl Callers {
    pub(super) fn new(
        gateway: &Address,
        authorization: Option<&HeaderValue>,
        args: &LoadArgs,
        world: &World,
        statistics: Shared,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        let settings = RpcClientSettings {
            connections: usize::from(args.connections),
            // The order's time is the bound.
            attempts_max: ATTEMPTS_MAX,
            retry_percent: 100,
            retries_per_second_min: RETRIES_PER_SECOND,
            // A caller that waits for its answer also waits until there is room; orders at a fixed rate do not wait.
            waits_for_room: args.rate.is_none(),
            ..Default::default()
        };
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert(timeout::GRPC_TIMEOUT, timeout::header(args.timeout));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let work = Work {
            upstream: gateway.upstream(&settings)?,
            path: PathAndQuery::from_static(CREATE_ORDER),
            headers,
            template: Template::new(&world.names, args.lines),
            customers: args.customers,
            products: args.products,
            rate: args.rate,
            length: args.warm_up + args.duration,
            timeout: args.timeout,
            sampled_share: args.sampled_ratio.map(|ratio| (ratio * u64::MAX as f64) as u64),
            next: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(args.in_flight_orders_max as usize)),
            statistics,
            shutdown,
        };
        Ok(Self { work: Arc::new(work), callers: args.callers })
    }

    /// A place for each order that may be in flight: taken when it is sent, given back when it is completed.
    pub(super) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.work.places)
    }

    pub(super) fn describe(&self) -> String {
        match self.work.rate {
            None => format!("{} callers, each waiting for its answer", self.callers),
            Some(rate) => format!("{rate} orders/s, at most {} waiting for answers", self.callers),
        }
    }

    /// Sends orders until the time is over, and waits for the last answers.
    pub(super) async fn run(self, started: Instant) {
        let callers: Vec<_> = (0..self.callers).map(|_| tokio::spawn(Arc::clone(&self.work).call(started))).collect();
        for caller in callers {
            // One that panicked has said so; the others go on.
            drop(caller.await);
        }
    }
}

impl Work {
    /// One caller's day.
    async fn call(self: Arc<Self>, started: Instant) {
        while let Some(turn) = self.turn(started).await {
            self.place(turn).await;
        }
    }

    /// The next order, when it is due and there is a place for it; none when the time is over.
    async fn turn(&self, started: Instant) -> Option<Turn> {
        let end = started + self.length;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut due = Instant::now();
        let mut until = end;
        if let Some(rate) = self.rate {
            due = started + Duration::from_secs_f64(number as f64 / rate);
            if due >= end {
                return None;
            }
            until += LATE_MAX;
            self.shutdown.unless_requested(tokio::time::sleep_until(due.into())).await?;
        }
        let place = tokio::time::timeout_at(until.into(), self.shutdown.unless_requested(self.places.acquire()));
        let Ok(Some(Ok(place))) = place.await else { return None };
        let now = Instant::now();
        if now >= until || self.shutdown.is_requested() {
            return None;
        }
        place.forget();
        if self.rate.is_none() {
            due = now;
        }
        let measured = self.statistics.lock().offered(now);
        Some(Turn { number, due, measured })
    }

    async fn place(&self, turn: Turn) {
        // Spread over customers and products without a generator to share.
        let dice = mix(turn.number);
        let body = self.template.fill(turn.number, (dice % u64::from(self.customers)) as u32, |line| {
            ((dice >> 32).wrapping_add(u64::from(line)) % u64::from(self.products)) as u32
        });
        let outcome = self.send(&turn, dice, body).await;
        let answered = Instant::now();
        let mut statistics = self.statistics.lock();
        let ended = match outcome {
            Ok(order_id) => statistics.accepted(order_id.as_u128(), turn.due, answered, turn.measured),
            Err(status) => {
                statistics.refused(&reason_or_code(&status), answered, turn.measured);
                true
            }
        };
        drop(statistics);
        if ended {
            self.places.add_permits(1);
        }
    }

    /// Sent until it is answered, with the same request id each time: an order that was accepted without our knowing is
    /// answered, not made twice.
    async fn send(&self, turn: &Turn, dice: u64, body: Bytes) -> Result<Uuid, Status> {
        let mut headers = self.headers.clone();
        if let Some(share) = self.sampled_share {
            headers.insert("traceparent", traceparent(dice, mix(dice) <= share));
        }
        let deadline = Some(Instant::now() + self.timeout);
        let outbound = Outbound {
            path: self.path.clone(),
            headers,
            body,
            deadline,
            body_deadline: deadline,
            resend: Resend::Safe,
            batchable: false,
        };
        let again = || {
            if self.shutdown.is_requested() {
                return false;
            }
            self.statistics.lock().retried(turn.measured);
            true
        };
        let (head, body) = self.upstream.call_while(outbound, again).await?.into_parts();
        refused(Some(&head.headers))?;
        let body = body.collect().await?;
        refused(body.trailers())?;
        order_id(&body.to_bytes()).ok_or_else(Refusal::internal)
    }
}

/// The status in an answer's head or trailers, unless it is one of success.
fn refused(headers: Option<&HeaderMap>) -> Result<(), Status> {
    match headers.and_then(|headers| Some((headers, headers.get("grpc-status")?))) {
        Some((_, code)) if code == "0" => Ok(()),
        Some((headers, _)) => Err(Status::from_header_map(headers).unwrap_or_else(Refusal::internal)),
        None => Ok(()),
    }
}

fn order_id(framed: &[u8]) -> Option<Uuid> {
    let answer = Answer::decode(framed.get(FRAME_HEADER_LENGTH..)?).ok()?;
    Uuid::try_parse(&answer.order?.order_id).ok()
}

/// A trace of its own for each order. Nobody records its first span: the gateway's hangs below one that is missing.
fn traceparent(dice: u64, sampled: bool) -> HeaderValue {
    let (high, low, span) = (mix(dice ^ 1), mix(dice ^ 2), mix(dice ^ 3) | 1);
    let text = format!("00-{high:016x}{low:016x}-{span:016x}-0{}", u8::from(sampled));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// SplitMix64: neighbouring numbers give values that have nothing to do with each other.
fn mix(number: u64) -> u64 {
    let mut value = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use openorder_proto::order::v1::{CreateOrderResponse, Order};

    use super::*;

    #[test]
    fn the_order_id_is_found_in_a_whole_answer() {
        let id = Uuid::now_v7();
        let order = Order { order_id: id.to_string(), customer_id: "ada".to_owned(), version: 1, ..Default::default() };
        let mut framed = vec![0; FRAME_HEADER_LENGTH];
        CreateOrderResponse { order: Some(order) }.encode(&mut framed).unwrap();
        assert_eq!(order_id(&framed), Some(id));
        assert_eq!(order_id(&framed[..3]), None);
        assert_eq!(order_id(&[0; FRAME_HEADER_LENGTH]), None);
    }

    #[test]
    fn a_status_is_read_from_head_or_trailers() {
        let headers = |code: &'static str| {
            HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
        };
        assert!(refused(None).is_ok());
        assert!(refused(Some(&HeaderMap::new())).is_ok());
        assert!(refused(Some(&headers("0"))).is_ok());
        assert!(openorder_rpc::status::is_unavailable(&refused(Some(&headers("14"))).unwrap_err()));
    }

    #[test]
    fn traces_are_valid_and_sampled_as_asked() {
        for dice in [0, 1, u64::MAX] {
            for sampled in [true, false] {
                let text = traceparent(dice, sampled);
                let context = openorder_telemetry::TraceContext::parse(text.to_str().unwrap(), None).unwrap();
                assert_eq!(context.is_sampled(), sampled);
            }
        }
    }

    #[test]
    fn mixed_numbers_spread_evenly() {
        let mut counts = [0_u32; 10];
        for number in 0..10_000_u64 {
            counts[(mix(number) % 10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
