//! Calls that the gateway sends together: each is answered as if it had come by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use futures::future::join_all;
use openorder_gateway::GatewaySettings;
use openorder_rpc::{BatchSettings, RpcClientSettings, RpcServerSettings, reason_of};
use openorder_telemetry::{RoleTelemetry, SpanKind, testing};
use support::wire::Wire;
use support::{
    CREATE_ORDER, GET_ORDER, Running, call, call_with, caller, gateway, gateway_of, orders, orders_with, settings,
    until,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// A service, and a gateway before it that sends calls together.
struct World {
    orders: Running,
    wire: Wire,
    _gateway: Running,
    outside: Channel,
    streams: u32,
}

impl World {
    async fn begin() -> Self {
        Self::of(RoleTelemetry::disabled("gateway"), RoleTelemetry::disabled("order")).await
    }

    async fn of(gateway: RoleTelemetry, order: RoleTelemetry) -> Self {
        let orders = orders_with("127.0.0.1:0", order, RpcServerSettings::default()).await;
        let wire = Wire::to(orders.address).await;
        // Health is asked for once, since all are healthy then. Each time that would be a stream of its own.
        let settings = GatewaySettings { health_interval_ms: 600_000, default_timeout_ms: 3_000, ..settings() };
        let gateway = gateway_of(gateway, &wire.url(), &wire.url(), settings).await;
        until(async || gateway.readiness.is_ready()).await;
        let outside = caller(&gateway).await;
        let mut world = Self { orders, wire, _gateway: gateway, outside, streams: 0 };
        world.warm().await;
        world
    }

    /// Calls until a call opens no stream of its own.
    async fn warm(&mut self) {
        until(async || {
            let before = self.wire.streams();
            call(&self.outside, GET_ORDER, "hello").await.is_ok() && before > 0 && self.wire.streams() == before
        })
        .await;
        self.streams = self.wire.streams();
    }

    /// Whether no call since then had a stream of its own.
    fn all_went_together(&self) -> bool {
        self.wire.streams() == self.streams
    }
}

fn told(outcome: Result<tonic::Response<String>, Status>) -> String {
    match outcome {
        Ok(answer) => answer.into_inner(),
        Err(status) => format!("{:?} {}", status.code(), reason_of(&status).unwrap_or_default()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_have_their_own_answers() {
    let world = World::begin().await;
    let before = world.orders.begun();
    let callers = (0..64).map(|caller| {
        let outside = world.outside.clone();
        tokio::spawn(async move {
            for number in 0..50 {
                let text = format!("{caller} {number} {}", "x".repeat(caller * 7));
                assert_eq!(call(&outside, GET_ORDER, text.clone()).await.unwrap().into_inner(), text);
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    assert_eq!(world.orders.begun() - before, 64 * 50);
    assert!(world.all_went_together());
}

#[tokio::test]
async fn a_refusal_a_panic_a_deadline_and_a_caller_that_goes_away_touch_nobody_else() {
    let world = World::begin().await;
    let (orders, outside) = (&world.orders, world.outside.clone());
    let before = orders.begun();
    let gone = tokio::spawn({
        let outside = outside.clone();
        async move { call(&outside, GET_ORDER, "sleep 60000").await }
    });
    until(async || orders.begun() == before + 1).await;
    let others = join_all((0..20).map(|_| call(&outside, GET_ORDER, "sleep 300")));
    let (refused, panicked, late, others) = tokio::join!(
        call(&outside, GET_ORDER, "reject"),
        call(&outside, GET_ORDER, "panic"),
        call(&outside, GET_ORDER, "sleep 60000"),
        async {
            gone.abort();
            others.await
        },
    );
    assert_eq!(told(refused), "FailedPrecondition OUT_OF_STOCK");
    assert_eq!(told(panicked), "Internal INTERNAL");
    assert_eq!(told(late), "DeadlineExceeded DEADLINE_EXCEEDED");
    assert!(others.into_iter().all(|answer| told(answer) == "slept"));
    // The work ended for the one that was late, and for the one that went away.
    until(async || orders.dropped() == 2).await;
    assert!(world.all_went_together());
}

#[tokio::test]
async fn what_callers_see_is_what_they_see_of_calls_that_go_alone() {
    let world = World::begin().await;
    let orders = orders().await;
    let off = BatchSettings { enabled: false, ..BatchSettings::default() };
    let gateway = gateway(&orders.url(), &orders.url(), GatewaySettings { batch: off, ..settings() }).await;
    let alone = caller(&gateway).await;
    // But for the trace and the time left, which differ from call to call.
    let seen = async |channel: &Channel, text: &str| match call(channel, GET_ORDER, text).await {
        Ok(answer) => {
            let own = answer.metadata().get("own-header").cloned();
            let lines = answer.into_inner();
            let lines =
                lines.lines().filter(|line| !line.starts_with("traceparent") && !line.starts_with("grpc-timeout"));
            (Code::Ok, lines.collect::<Vec<_>>().join("\n"), Vec::new(), own)
        }
        Err(status) => {
            let own = status.metadata().get("own-trailer").cloned();
            // A failure of ours refers to the trace.
            let message = status.message().split("; reference ").next().unwrap().to_owned();
            let details = if status.code() == Code::Internal { Vec::new() } else { status.details().to_vec() };
            (status.code(), message, details, own)
        }
    };
    for text in ["hello", "", "headers", "reject", "panic", "size 0", "size 70000", "size 3000000", "size 9000000"] {
        assert_eq!(seen(&world.outside, text).await, seen(&alone, text).await, "{text}");
    }
    assert!(world.all_went_together());
}

#[tokio::test]
async fn each_call_has_its_spans() {
    let (order_role, order_spans) = testing::recording("order", 0.0);
    let (gateway_role, gateway_spans) = testing::recording("gateway", 1.0);
    let world = World::of(gateway_role, order_role).await;
    let calls = usize::try_from(world.orders.begun()).unwrap() + 5;
    join_all((0..5).map(|_| call(&world.outside, GET_ORDER, "hello"))).await;
    until(async || gateway_spans.all().len() == calls).await;
    until(async || order_spans.all().len() >= calls).await;
    let service = order_spans.all();
    let of_calls = service.iter().filter(|span| span.name.ends_with("/GetOrder")).count();
    let of_others = service.iter().filter(|span| !span.name.starts_with("grpc.health")).count();
    assert_eq!((of_calls, of_others), (calls, calls), "the stream itself has none");
    assert!(world.all_went_together());
    for edge in gateway_spans.all() {
        let below = service.iter().filter(|span| span.parent_span_id == edge.span_context.span_id());
        let below: Vec<_> = below.map(|span| (span.span_kind.clone(), span.span_context.trace_id())).collect();
        assert_eq!(below, [(SpanKind::Server, edge.span_context.trace_id())]);
    }
}

#[tokio::test]
async fn a_service_that_is_killed_fails_its_calls_in_time_and_the_next_ones_go_to_its_successor() {
    let mut world = World::begin().await;
    let (address, outside, before) = (world.orders.address.to_string(), world.outside.clone(), world.orders.begun());
    let calls = tokio::spawn(async move { join_all((0..30).map(|_| call(&outside, GET_ORDER, "sleep 60000"))).await });
    until(async || world.orders.begun() == before + 30).await;
    assert!(world.all_went_together());
    let killed = Instant::now();
    world.orders.task.abort();
    for outcome in calls.await.unwrap() {
        assert_eq!(told(outcome), "Unavailable UPSTREAM_UNAVAILABLE");
    }
    assert!(killed.elapsed() < Duration::from_secs(5));
    let again = orders_with(&address, RoleTelemetry::disabled("order"), RpcServerSettings::default()).await;
    world.warm().await;
    let answers = join_all((0..30).map(|_| call(&world.outside, GET_ORDER, "sleep 50"))).await;
    assert!(answers.into_iter().all(|answer| told(answer) == "slept"));
    assert!(again.begun() > 30 && world.all_went_together());
}

#[tokio::test]
async fn a_service_that_is_replaced_loses_no_call() {
    let World { orders, wire, _gateway, outside, streams } = World::begin().await;
    let (address, before) = (orders.address.to_string(), orders.begun());
    let callers = (0..16).map(|_| {
        let outside = outside.clone();
        tokio::spawn(async move {
            let end = Instant::now() + Duration::from_millis(1_500);
            let mut answered = 0;
            while Instant::now() < end {
                match told(call(&outside, GET_ORDER, "sleep 20").await).as_str() {
                    "slept" => answered += 1,
                    // While nobody listens there; nothing was done.
                    "Unavailable UPSTREAM_UNAVAILABLE" => {}
                    other => panic!("{other}"),
                }
            }
            answered
        })
    });
    let callers: Vec<_> = callers.collect();
    let begun = orders.seen.clone();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begin = Instant::now();
    assert_eq!(wire.streams(), streams);
    orders.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(2), "nothing holds the service up");
    // From the old version to the new one and back: one that does not take calls together.
    let off = BatchSettings { enabled: false, ..BatchSettings::default() };
    let former = RpcServerSettings { batch: off, ..RpcServerSettings::default() };
    let again = orders_with(&address, RoleTelemetry::disabled("order"), former).await;
    let mut answered = before;
    for caller in callers {
        answered += caller.await.unwrap();
    }
    let begun = begun.begun.load(std::sync::atomic::Ordering::SeqCst) + again.begun();
    assert_eq!(begun, answered, "each call that was begun was answered");
    assert!(again.begun() > 0);
}

/// A gateway whose connections to its service can be cut.
struct Cuttable {
    orders: Running,
    wire: Wire,
    gateway: Running,
}

impl Cuttable {
    async fn begin(settings: GatewaySettings) -> Self {
        let orders = orders().await;
        let wire = Wire::to(orders.address).await;
        let settings = GatewaySettings { health_interval_ms: 600_000, ..settings };
        let gateway = gateway(&wire.url(), &wire.url(), settings).await;
        until(async || gateway.readiness.is_ready()).await;
        Self { orders, wire, gateway }
    }

    /// How a call ends whose connection is cut so often while the service has it in its hands, and how often the service got
    /// it.
    async fn cut(&self, cuts: u32, path: &'static str, request: Request<String>) -> (String, u32) {
        let (outside, before) = (caller(&self.gateway).await, self.orders.begun());
        let calling = tokio::spawn(async move { call_with(&outside, path, request).await });
        for begun in 1..=cuts {
            until(async || self.orders.begun() == before + begun).await;
            self.wire.cut();
        }
        (told(calling.await.unwrap()), self.orders.begun() - before)
    }
}

const LOST: &str = "Unavailable UPSTREAM_UNAVAILABLE";

#[tokio::test]
async fn a_call_that_may_come_twice_is_sent_once_more_when_its_connection_is_lost_and_no_other() {
    // It has no request id: its text stands in a header.
    let unnamed = || {
        let mut request = Request::new(String::new());
        request.metadata_mut().insert("x-text", "sleep 200".parse().unwrap());
        request
    };
    let named = || Request::new("sleep 200".to_owned());
    for together in [true, false] {
        let batch = BatchSettings { enabled: together, ..BatchSettings::default() };
        let world = Cuttable::begin(GatewaySettings { batch, ..settings() }).await;
        let lost = (LOST.to_owned(), 1);
        assert_eq!(world.cut(1, GET_ORDER, named()).await, ("slept".to_owned(), 2), "a read; {together}");
        assert_eq!(world.cut(1, CREATE_ORDER, named()).await, ("slept".to_owned(), 2), "a named command; {together}");
        assert_eq!(world.cut(1, CREATE_ORDER, unnamed()).await, lost, "a command without a name; {together}");
        assert_eq!(world.cut(0, CREATE_ORDER, unnamed()).await, ("slept".to_owned(), 1), "it goes on; {together}");
        assert_eq!(world.cut(2, GET_ORDER, named()).await, (LOST.to_owned(), 2), "only once; {together}");
    }
}

#[tokio::test]
async fn what_is_sent_once_more_has_a_budget_and_the_time_of_its_call() {
    let client = RpcClientSettings { retry_percent: 0, retries_per_second_min: 0, ..settings().client };
    let world = Cuttable::begin(GatewaySettings { client, ..settings() }).await;
    assert_eq!(world.cut(1, GET_ORDER, Request::new("sleep 200".to_owned())).await, (LOST.to_owned(), 1));

    let world = Cuttable::begin(GatewaySettings { default_timeout_ms: 700, ..settings() }).await;
    let request = Request::new("sleep 60000".to_owned());
    let started = Instant::now();
    assert_eq!(world.cut(1, GET_ORDER, request).await, ("DeadlineExceeded DEADLINE_EXCEEDED".to_owned(), 2));
    assert!(started.elapsed() < Duration::from_secs(5));
}
