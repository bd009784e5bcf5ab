//! The server that `connectconformance` calls (`dev/conformance`): the service of the Connect conformance suite, behind the
//! real gateway, over sockets.
//!
//! The suite asks by standard input for one server: TLS or not, the largest request. It is answered by standard output where
//! it listens, and calls it then in every protocol, codec and version of HTTP that `config.yaml` names.

#![allow(clippy::unwrap_used)]

mod messages;
mod service;

use std::io::{Read, Write};

use openorder_gateway::{Anonymous, Backend, GatewaySettings, serve_backends};
use openorder_rpc::server::{CallMetrics, serve_measured};
use openorder_rpc::{RpcClientSettings, RpcServerSettings, TlsServerSettings, listen};
use openorder_runtime::{Readiness, Shutdown};
use openorder_telemetry::RoleTelemetry;
use prost::Message;
use tonic::service::Routes;

use messages::{ServerCompatRequest, ServerCompatResponse};
use service::{Conformance, DEFAULT_TIMEOUT_MS, SERVICE};

/// `service.proto` with its imports, as `dev/conformance` compiles it.
const DESCRIPTORS: &str = "OPENORDER_CONFORMANCE_DESCRIPTORS";

#[tokio::main]
async fn main() {
    let mut asked = std::io::stdin().lock();
    let mut length = [0; 4];
    asked.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    asked.read_exact(&mut bytes).unwrap();
    let asked = ServerCompatRequest::decode(bytes.as_slice()).unwrap();

    let descriptors = std::fs::read(std::env::var_os(DESCRIPTORS).unwrap()).unwrap();
    let folder = std::env::temp_dir().join(format!("openorder-conformance-{}", std::process::id()));
    let settings = settings(&asked, &folder);
    let (shutdown, readiness) = (Shutdown::new(), Readiness::new());

    let listener = listen("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let until = shutdown.clone();
    tokio::spawn(async move {
        let limits = RpcServerSettings { request_body_limit_bytes: 16 << 20, ..RpcServerSettings::default() };
        let role = RoleTelemetry::disabled("order");
        let methods = CallMetrics::of(std::iter::empty());
        serve_measured(role, listener, &limits, Routes::new(Conformance), methods, &until).await;
    });

    let listener = listen("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().into();
    let pem_cert = asked.server_creds.map(|creds| creds.cert).unwrap_or_default();
    let answer = ServerCompatResponse { host: "127.0.0.1".to_owned(), port, pem_cert }.encode_to_vec();
    let mut told = std::io::stdout().lock();
    told.write_all(&u32::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
    told.write_all(&answer).unwrap();
    told.flush().unwrap();
    drop(told);

    let backends = vec![Backend { role: "order", service: SERVICE, url }];
    let gateway = RoleTelemetry::disabled("gateway");
    // The suite ends the process when it has what it wants.
    serve_backends(gateway, &readiness, listener, &settings, descriptors.leak(), backends, &shutdown).await.unwrap();
}

fn settings(asked: &ServerCompatRequest, folder: &std::path::Path) -> GatewaySettings {
    let client = RpcClientSettings { in_memory: false, ..RpcClientSettings::default() };
    let mut settings = GatewaySettings {
        client,
        // The suite has no tokens.
        anonymous: Anonymous::Operator,
        default_timeout_ms: DEFAULT_TIMEOUT_MS,
        timeout_max_ms: DEFAULT_TIMEOUT_MS,
        ..GatewaySettings::default()
    };
    if asked.message_receive_limit > 0 {
        settings.request_body_limit_bytes = usize::try_from(asked.message_receive_limit).unwrap();
    }
    if let Some(creds) = asked.server_creds.as_ref().filter(|_| asked.use_tls) {
        std::fs::create_dir_all(folder).unwrap();
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, &creds.cert).unwrap();
        std::fs::write(&key, &creds.key).unwrap();
        settings.tls = TlsServerSettings {
            certificate_file: certificate.to_str().unwrap().to_owned(),
            private_key_file: key.to_str().unwrap().to_owned(),
            ..TlsServerSettings::default()
        };
    }
    settings
}
