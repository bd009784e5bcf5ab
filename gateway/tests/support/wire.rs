//! A wire between a gateway and a service that counts the streams that are opened over it, and that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const PREFACE_LENGTH: usize = 24;
const FRAME_HEADER_LENGTH: usize = 9;
const HEADERS: u8 = 1;

#[derive(Clone)]
pub struct Wire {
    address: SocketAddr,
    streams: Arc<AtomicU32>,
    cut: Arc<Notify>,
}

impl Wire {
    pub async fn to(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Self { address: listener.local_addr().unwrap(), streams: Arc::default(), cut: Arc::default() };
        let (streams, cut) = (Arc::clone(&wire.streams), Arc::clone(&wire.cut));
        tokio::spawn(async move {
            while let Ok((gateway, _)) = listener.accept().await {
                let Ok(service) = TcpStream::connect(service).await else { continue };
                gateway.set_nodelay(true).unwrap();
                service.set_nodelay(true).unwrap();
                let (streams, cut) = (Arc::clone(&streams), Arc::clone(&cut));
                tokio::spawn(async move {
                    tokio::select! {
                        () = cut.notified() => {}
                        () = carry(gateway, service, streams) => {}
                    }
                });
            }
        });
        wire
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks the connections of now; new ones hold.
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }

    /// Streams that were opened so far: each begins with headers, and has no trailers from this side.
    pub fn streams(&self) -> u32 {
        self.streams.load(Ordering::SeqCst)
    }
}

/// Until one of both ends goes away; then the other one does.
async fn carry(gateway: TcpStream, service: TcpStream, streams: Arc<AtomicU32>) {
    let (mut from_gateway, mut to_gateway) = gateway.into_split();
    let (mut from_service, mut to_service) = service.into_split();
    let there = async {
        let (mut frames, mut skipped) = (Vec::new(), PREFACE_LENGTH);
        let mut bytes = [0; 65_536];
        while let Ok(length) = from_gateway.read(&mut bytes).await
            && length > 0
        {
            frames.extend_from_slice(&bytes[..length]);
            loop {
                let skips = skipped.min(frames.len());
                frames.drain(..skips);
                skipped -= skips;
                let Some(header) = frames.first_chunk::<FRAME_HEADER_LENGTH>() else { break };
                streams.fetch_add(u32::from(header[3] == HEADERS), Ordering::SeqCst);
                let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
                skipped = FRAME_HEADER_LENGTH + usize::try_from(length).unwrap();
            }
            // Counted before the service can answer.
            if to_service.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        _ = tokio::io::copy(&mut from_service, &mut to_gateway) => {}
    }
}
