//! A front before a broker: clients that are sent to it stay with it, and it can leave all brokers out of what they are told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::watch,
};

/// Request key of Metadata in Kafka's protocol.
const METADATA: i16 = 3;
/// From this version on a Metadata answer has compact arrays and tags.
const COMPACT_SINCE: i16 = 9;

/// Passes Kafka's protocol on to one broker, whose advertised address it puts its own for.
pub struct BrokerFront {
    address: SocketAddr,
    is_forgetful: Arc<AtomicBool>,
    open: watch::Sender<bool>,
}

/// What a connection asked for and has no answer to yet: by correlation id, the version of Metadata.
type Asked = Arc<Mutex<HashMap<i32, i16>>>;

impl BrokerFront {
    /// A front before the broker at `host:port`, which has to advertise just that.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn to(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let is_forgetful = Arc::new(AtomicBool::new(false));
        let (broker, forgets) = (broker.to_owned(), Arc::clone(&is_forgetful));
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (broker, forgets, mut state) = (broker.clone(), Arc::clone(&forgets), state.clone());
                tokio::spawn(async move {
                    if *state.borrow_and_update() {
                        tokio::select! {
                            // A connection that breaks is opened again by the client.
                            result = pass(near, &broker, address, forgets) => drop(result),
                            _ = state.wait_for(|open| !open) => {}
                        }
                    }
                });
            }
        });
        Self { address, is_forgetful, open }
    }

    /// Where clients connect to.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Breaks all connections; new ones end at once.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Lets new connections through again.
    pub fn reopen(&self) {
        self.open.send_replace(true);
    }

    /// From now on, metadata name no broker: what a broker answers that has just come back itself.
    pub fn forget_brokers(&self) {
        self.is_forgetful.store(true, Ordering::SeqCst);
    }

    /// From now on, metadata are what the broker says.
    pub fn remember_brokers(&self) {
        self.is_forgetful.store(false, Ordering::SeqCst);
    }
}

async fn pass(near: TcpStream, broker: &str, own: SocketAddr, forgets: Arc<AtomicBool>) -> std::io::Result<()> {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = TcpStream::connect(broker).await?.into_split();
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let requests = async move {
        while let Some(frame) = frame(&mut from_near).await? {
            if number(&frame, 0) == Some(METADATA) {
                let (version, id) = (number(&frame, 2).unwrap_or_default(), correlation(&frame[4..]));
                noted.lock().expect("a map").insert(id, version);
            }
            send(&mut to_far, &frame).await?;
        }
        std::io::Result::Ok(())
    };
    let answers = async move {
        while let Some(mut frame) = frame(&mut from_far).await? {
            let version = asked.lock().expect("a map").remove(&correlation(&frame));
            if let Some(version) = version.filter(|_| forgets.load(Ordering::SeqCst)) {
                assert!(version >= COMPACT_SINCE, "this front knows Metadata from version {COMPACT_SINCE} on");
                frame = without_brokers(&frame);
            }
            put_own_address(&mut frame, broker, own);
            send(&mut to_near, &frame).await?;
        }
        std::io::Result::Ok(())
    };
    tokio::select! {
        done = requests => done,
        done = answers => done,
    }
}

/// The next frame without its length; none at the end of the connection.
async fn frame(from: &mut OwnedReadHalf) -> std::io::Result<Option<Vec<u8>>> {
    let Ok(length) = from.read_u32().await else { return Ok(None) };
    let mut frame = vec![0; length as usize];
    from.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), frame: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(frame.len()).expect("a frame that was read");
    to.write_all(&[&length.to_be_bytes(), frame].concat()).await
}

fn number(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn correlation(bytes: &[u8]) -> i32 {
    bytes.get(..4).and_then(|id| id.try_into().ok()).map_or(-1, i32::from_be_bytes)
}

/// A Metadata answer, from its correlation id on, with an empty list of brokers.
fn without_brokers(frame: &[u8]) -> Vec<u8> {
    // Correlation id, tags of the header, throttle time.
    const BEFORE: usize = 4 + 1 + 4;
    let mut at = BEFORE;
    let count = length(frame, &mut at).saturating_sub(1);
    for _ in 0..count {
        at += 4;
        at += length(frame, &mut at).saturating_sub(1);
        at += 4;
        at += length(frame, &mut at).saturating_sub(1);
        assert_eq!(length(frame, &mut at), 0, "a broker without tags");
    }
    [&frame[..BEFORE], &[1], &frame[at..]].concat()
}

/// An unsigned varint; moves on behind it.
fn length(frame: &[u8], at: &mut usize) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = frame[*at];
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

/// Host and port as they stand in Metadata and FindCoordinator: the port follows the host.
fn put_own_address(frame: &mut [u8], broker: &str, own: SocketAddr) {
    let (host, port) = broker.rsplit_once(':').expect("host:port");
    let port: i32 = port.parse().expect("a port");
    let advertised = [host.as_bytes(), &port.to_be_bytes()].concat();
    assert_eq!(host, own.ip().to_string(), "the front listens where the broker does");
    for at in 0..frame.len().saturating_sub(advertised.len() - 1) {
        if frame[at..].starts_with(&advertised) {
            let place = at + host.len()..at + advertised.len();
            frame[place].copy_from_slice(&i32::from(own.port()).to_be_bytes());
        }
    }
}
