//! Whether a role's port is served.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The client's preface and an empty SETTINGS frame (RFC 9113, sections 3.4 and 6.5).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
const FRAME_HEADER_LENGTH: usize = 9;
const FRAME_TYPE_SETTINGS: u8 = 4;

/// Waits until whoever listens at the address speaks HTTP/2.
///
/// A role binds its port first and serves it last, when all else is there: until then the connection waits in the
/// listen queue, and so does this.
pub(crate) async fn serves(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(PREFACE).await?;
    let mut header = [0; FRAME_HEADER_LENGTH];
    stream.read_exact(&mut header).await?;
    if header[3] == FRAME_TYPE_SETTINGS { Ok(()) } else { Err(io::Error::other("it does not speak HTTP/2")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use openorder_rpc::{ConnectionSettings, RpcServerSettings};
    use openorder_runtime::Shutdown;
    use openorder_telemetry::RoleTelemetry;
    use tokio::net::TcpListener;
    use tonic::service::Routes;

    use super::*;

    #[tokio::test]
    async fn a_bound_port_is_not_served_until_somebody_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut waiting = tokio::spawn(async move { serves(&address).await });
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());

        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let server = tokio::spawn(async move {
            let settings = RpcServerSettings { connection: ConnectionSettings::default(), ..Default::default() };
            let role = RoleTelemetry::disabled("test");
            openorder_rpc::serve(role, listener, &settings, Routes::default(), &stop).await;
        });
        waiting.await.unwrap().unwrap();
        shutdown.trigger();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_there_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        assert!(serves(&address).await.is_err());
    }
}
