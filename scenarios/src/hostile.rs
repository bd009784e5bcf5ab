//! Callers that take what they can, in the ways that need no right: each does so until it is dropped.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use openorder_proto::product::v1::get_product_request::Key;
use openorder_proto::product::v1::{GetProductRequest, ListProductsRequest};
use prost::Message;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Calls that a greedy caller has under way on each of its connections.
const GREEDY_CALLS: usize = 32;
const GREEDY_CONNECTIONS: usize = 4;
/// Answers that are asked for and never read.
const UNREAD: usize = 100;
/// Streams that one connection asks for.
const STREAMS: usize = 1_500;
/// Names that are made up, and the length of each.
const MADE_UP: usize = 600;
const MADE_UP_LENGTH: usize = 4_000;
/// One slow body sends a byte this often.
const TRICKLE: Duration = Duration::from_millis(500);

/// Hostile callers have a thread of their own, as they would have a machine of their own: a well-behaved caller in this
/// process waits for the gateway's answers, not for its turn behind their tasks.
static ELSEWHERE: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("hostile").enable_all().build().expect("a runtime")
});

/// What a hostile caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostile {
    /// Connections that say nothing, and others that say only that they are there.
    Silent,
    /// Calls whose bodies never come, or byte by byte.
    Slow,
    /// As many calls as fit.
    Greedy,
    /// Streams without an end.
    Streams,
    /// Large answers that are never read.
    Unread,
    /// Methods that do not exist, a new one each time.
    MadeUp,
}

impl Hostile {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Silent, Self::Slow, Self::Greedy, Self::Streams, Self::Unread, Self::MadeUp];

    /// Begins; ends when the set is dropped. `connections_max` is what the gateway's port takes, and the order is one
    /// that can be watched.
    pub async fn begin(self, gateway: SocketAddr, connections_max: usize, order_id: &str) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let elsewhere = ELSEWHERE.handle();
        match self {
            Self::Silent => {
                for _ in 0..connections_max * 2 {
                    tasks.spawn_on(silent(gateway), elsewhere);
                    tasks.spawn_on(idle(gateway), elsewhere);
                }
            }
            Self::Slow => {
                for _ in 0..70 {
                    tasks.spawn_on(slow(gateway), elsewhere);
                }
            }
            Self::Greedy => {
                for _ in 0..GREEDY_CONNECTIONS {
                    tasks.spawn_on(greedy(gateway), elsewhere);
                }
            }
            Self::Streams => drop(tasks.spawn_on(streams(gateway, order_id.to_owned()), elsewhere)),
            Self::Unread => drop(tasks.spawn_on(unread(gateway), elsewhere)),
            Self::MadeUp => drop(tasks.spawn_on(made_up(gateway), elsewhere)),
        }
        // So that all of it is there before anybody looks.
        tokio::time::sleep(Duration::from_secs(1)).await;
        tasks
    }
}

/// A connection of HTTP/2 that gives the other side so much room for each answer.
async fn connect(gateway: SocketAddr, window: u32) -> Option<(SendRequest<Bytes>, JoinSet<()>)> {
    let stream = TcpStream::connect(gateway).await.ok()?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_max_send_streams(10_000);
    let (sender, connection) = builder.handshake(stream).await.ok()?;
    let mut driver = JoinSet::new();
    driver.spawn(async move { drop(connection.await) });
    Some((sender, driver))
}

fn head(path: &str) -> Request<()> {
    let request = Request::post(format!("http://gateway{path}")).header("te", "trailers");
    request.header("content-type", "application/grpc").body(()).expect("a request")
}

fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a small message").to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

async fn silent(gateway: SocketAddr) {
    let _held = TcpStream::connect(gateway).await;
    std::future::pending().await
}

async fn idle(gateway: SocketAddr) {
    let _held = connect(gateway, 65_535).await;
    std::future::pending().await
}

async fn slow(gateway: SocketAddr) {
    loop {
        let Some((sender, _driver)) = connect(gateway, 65_535).await else { continue };
        let Ok(mut sender) = sender.ready().await else { continue };
        let begun = sender.send_request(head("/openorder.product.v1.ProductService/GetProduct"), false);
        let Ok((_answer, mut body)) = begun else { continue };
        while body.send_data(Bytes::from_static(b"\0"), false).is_ok() {
            tokio::time::sleep(TRICKLE).await;
        }
    }
}

/// One call of many, again and again.
async fn greedy(gateway: SocketAddr) {
    let Some((sender, _driver)) = connect(gateway, 1 << 20).await else { return };
    let key = Key::ProductId(uuid::Uuid::now_v7().to_string());
    let request = framed(&GetProductRequest { key: Some(key) });
    let mut calls = JoinSet::new();
    for _ in 0..GREEDY_CALLS {
        let (sender, request) = (sender.clone(), request.clone());
        calls.spawn(async move {
            while let Ok(mut sender) = sender.clone().ready().await {
                let begun = sender.send_request(head("/openorder.product.v1.ProductService/GetProduct"), false);
                let Ok((answer, mut body)) = begun else { return };
                drop(body.send_data(request.clone(), true));
                let Ok(answer) = answer.await else { return };
                let mut answer = answer.into_body();
                while let Some(Ok(data)) = answer.data().await {
                    drop(answer.flow_control().release_capacity(data.len()));
                }
            }
        });
    }
    while calls.join_next().await.is_some() {}
}

async fn streams(gateway: SocketAddr, order_id: String) {
    let Some((sender, _driver)) = connect(gateway, 65_535).await else { return };
    let watch = framed(&openorder_proto::order::v1::WatchOrderRequest { order_id, ..Default::default() });
    let mut held = Vec::new();
    for number in 0..STREAMS {
        let Ok(mut sender) = sender.clone().ready().await else { break };
        let (path, body) = match number % 2 {
            0 => ("/grpc.health.v1.Health/Watch", Bytes::from_static(&[0; 5])),
            _ => ("/openorder.order.v1.OrderService/WatchOrder", watch.clone()),
        };
        let Ok((answer, mut stream)) = sender.send_request(head(path), false) else { break };
        drop(stream.send_data(body, true));
        held.push(answer);
    }
    std::future::pending().await
}

async fn unread(gateway: SocketAddr) {
    let Some((sender, _driver)) = connect(gateway, 0).await else { return };
    let request = framed(&ListProductsRequest { page_size: 500, ..Default::default() });
    let mut held = Vec::new();
    for _ in 0..UNREAD {
        let Ok(mut sender) = sender.clone().ready().await else { break };
        let begun = sender.send_request(head("/openorder.product.v1.ProductService/ListProducts"), false);
        let Ok((answer, mut body)) = begun else { break };
        drop(body.send_data(request.clone(), true));
        held.push(answer);
    }
    std::future::pending().await
}

async fn made_up(gateway: SocketAddr) {
    let Some((sender, _driver)) = connect(gateway, 65_535).await else { return };
    for number in 0..MADE_UP {
        let Ok(mut sender) = sender.clone().ready().await else { break };
        let path = format!("/evil.{number}/{}", "A".repeat(MADE_UP_LENGTH));
        if let Ok((answer, mut body)) = sender.send_request(head(&path), false) {
            // Some are cancelled, some are answered.
            if number % 2 == 0 {
                body.send_reset(h2::Reason::CANCEL);
            } else {
                drop(answer.await);
            }
        }
    }
    std::future::pending().await
}
