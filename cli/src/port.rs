//! Whether a port is served, and by what.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The client's preface and an empty SETTINGS frame (RFC 9113, sections 3.4 and 6.5).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
const FRAME_HEADER_LENGTH: usize = 9;
const FRAME_TYPE_SETTINGS: u8 = 4;
/// How an alert of TLS begins (RFC 8446, section 5.1): what is said to who does not speak it.
const TLS_ALERT: [u8; 2] = [21, 3];

/// What is spoken at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/2, in the clear.
    Http2,
    /// TLS, and what within it nobody has asked.
    Tls,
}

/// Waits until whoever listens at the address speaks HTTP/2, or says that it speaks TLS.
///
/// A role binds its port first and serves it last, when all else is there: until then the connection waits in the
/// listen queue, and so does this.
pub(crate) async fn serves(address: &str) -> io::Result<Speaks> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(PREFACE).await?;
    let (mut header, mut length) = ([0; FRAME_HEADER_LENGTH], 0);
    while length < header.len() {
        match stream.read(&mut header[length..]).await? {
            0 if header.starts_with(&TLS_ALERT) => return Ok(Speaks::Tls),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
    match header[3] {
        FRAME_TYPE_SETTINGS => Ok(Speaks::Http2),
        _ if header.starts_with(&TLS_ALERT) => Ok(Speaks::Tls),
        _ => Err(io::Error::other("it does not speak HTTP/2")),
    }
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
        assert_eq!(waiting.await.unwrap().unwrap(), Speaks::Http2);
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
