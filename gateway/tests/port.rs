//! One port, two versions of HTTP, over TLS or in the clear.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use http::HeaderMap;
use http::uri::{Authority as Address, PathAndQuery};
use http_body_util::BodyExt;
use openorder_gateway::GatewaySettings;
use openorder_rpc::tls::{ClientTls, ServerTls};
use openorder_rpc::{Outbound, Resend, RpcClientSettings, TlsServerSettings, Upstream, reason_of};
use support::http1::Http1;
use support::raw::{Raw, framed};
use support::shop::{Shop, order_service};
use support::tls::{Authority, Says, shown, spoken};
use support::{GET_ORDER, Running, call, caller, gateway, orders, settings, until};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tonic::Code;

#[tokio::test]
async fn a_connection_says_by_its_first_bytes_what_it_speaks() {
    let orders = order_service(&Shop::default()).await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let mut http = Http1::connect(&gateway).await;
    // It begins as HTTP/2's preface does, and comes byte by byte.
    for byte in b"POST /v1/orders/1:cancel HTTP/1.1\r\nhost: localhost\r\n\r\n" {
        http.send_raw(&[*byte]).await;
    }
    assert_eq!(http.answer().await.status, 200);
    for _ in 0..3 {
        assert_eq!(http.get("/v1/orders/none").await.status, 404, "it goes on");
    }
    let raw = Raw::connect(&gateway).await;
    let answer = raw.request(http::Request::builder().uri("http://localhost/v1/orders/none")).await;
    assert_eq!(answer.status().as_u16(), 404, "JSON over HTTP/2");
}

#[tokio::test]
async fn who_says_nothing_and_who_never_ends_a_head_is_let_go() {
    let orders = orders().await;
    let mut settings = settings();
    settings.connection.handshake_timeout_ms = 200;
    settings.connection.http1_request_timeout_ms = 300;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    for beginning in ["", "PR", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /v1/orders HTTP/1.1\r\nhost: gate", "G"] {
        let mut http = Http1::connect(&gateway).await;
        http.send_raw(beginning.as_bytes()).await;
        assert!(http.is_over_within(Duration::from_secs(10)).await, "{beginning:?}");
    }
    // After an answer, too.
    let mut http = Http1::connect(&gateway).await;
    assert_eq!(http.get("/nothing").await.status, 404);
    assert!(http.is_over_within(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let orders = orders().await;
    let mut settings = settings();
    (settings.connection.connections_max, settings.connection.peer_share_percent) = (8, 100);
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(Http1::connect(&gateway).await);
    }
    assert_eq!(Http1::connect(&gateway).await.get("/nothing").await.status, 404);
    assert_eq!(call(&caller(&gateway).await, support::GET_ORDER, "hello").await.unwrap().into_inner(), "hello");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let orders = orders().await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    for (bytes, status) in [(&b"NOT HTTP AT ALL\r\n\r\n"[..], 400), (b"GET / HTTP/9.9\r\n\r\n", 400)] {
        let mut http = Http1::connect(&gateway).await;
        http.send_raw(bytes).await;
        assert_eq!(http.head().await.0, status);
    }
}

#[tokio::test]
async fn a_gateway_that_goes_down_answers_what_it_has() {
    let orders = order_service(&Shop::default()).await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let (mut idle, mut busy) = (Http1::connect(&gateway).await, Http1::connect(&gateway).await);
    assert_eq!(idle.get("/nothing").await.status, 404);
    busy.send("GET", "/v1/orders/sleep-500", &[], b"").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    gateway.shutdown.trigger();
    assert!(idle.is_over_within(Duration::from_millis(300)).await, "without a call it ends at once");
    let answer = busy.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (404, "close"));
    assert!(busy.is_over_within(Duration::from_secs(5)).await);
}

/// A gateway that shows a certificate of this authority.
async fn protected(authority: &Authority, orders: &Running, settings: GatewaySettings) -> Running {
    gateway(&orders.url(), &orders.url(), GatewaySettings { tls: authority.settings(), ..settings }).await
}

/// A client of ours, that trusts this authority.
fn client(gateway: &Running, ca_file: &str) -> Upstream {
    let settings = RpcClientSettings { attempts_max: 1, ..RpcClientSettings::default() };
    let tls = ClientTls::trusting("ca_file", ca_file).unwrap();
    Upstream::over_tls(&format!("https://{}", gateway.address), &settings, &tls).unwrap()
}

async fn echo(client: &Upstream, text: &str) -> Result<Vec<u8>, tonic::Status> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("te", "trailers".parse().unwrap());
    let outbound = Outbound {
        path: PathAndQuery::from_static(GET_ORDER),
        headers,
        body: framed(text).into(),
        deadline: None,
        body_deadline: None,
        resend: Resend::Unsent,
        batchable: false,
    };
    let answer = client.call(outbound).await?;
    Ok(answer.into_body().collect().await?.to_bytes().to_vec())
}

#[tokio::test]
async fn over_tls_a_client_chooses_its_version_of_http_by_alpn() {
    let (authority, orders) = (Authority::new(), orders().await);
    authority.certify(Says::default());
    let gateway = protected(&authority, &orders, settings()).await;
    for version in [&TLS12, &TLS13] {
        let versions = [version];
        let both = authority.connect_with(&gateway, &["h2", "http/1.1"], &versions).await.unwrap();
        assert_eq!(spoken(&both).as_deref(), Some("h2"));
        let raw = Raw::over(both).await;
        assert_eq!(raw.call(GET_ORDER, &[], &framed("hello")).await.status().await.code(), Code::Ok);
        let old = authority.connect_with(&gateway, &["http/1.1"], &versions).await.unwrap();
        assert_eq!(spoken(&old).as_deref(), Some("http/1.1"));
        assert_eq!(Http1::over(old).get("/nothing").await.status, 404);
        // Who says nothing is told by its first bytes.
        let silent = authority.connect_with(&gateway, &[], &versions).await.unwrap();
        assert_eq!(spoken(&silent), None);
        assert_eq!(Http1::over(silent).get("/nothing").await.status, 404);
        assert!(authority.connect_with(&gateway, &["spdy/3"], &versions).await.is_err(), "nothing in common");
    }
    assert_eq!(echo(&client(&gateway, &authority.ca_file()), "hello").await.unwrap(), framed("hello"));
    // In the clear nothing is answered.
    let mut plain = Http1::connect(&gateway).await;
    plain.send_raw(b"GET /v1/orders/1 HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(plain.is_over_within(Duration::from_secs(5)).await);
    assert_eq!(orders.begun(), 3);
}

#[tokio::test]
async fn a_client_believes_no_certificate_but_a_valid_one_of_the_host_by_whom_it_trusts() {
    let (authority, other, orders) = (Authority::new(), Authority::new(), orders().await);
    authority.certify(Says::default());
    let gateway = protected(&authority, &orders, settings()).await;
    let address: Address = gateway.address.to_string().parse().unwrap();
    let reach = async |ca_file: &str| {
        let tls = ClientTls::trusting("ca_file", ca_file).unwrap();
        tls.reach(&address, Duration::from_secs(5)).await.map_err(|error| error.to_string())
    };
    reach(&authority.ca_file()).await.unwrap();
    let foreign = reach(&other.ca_file()).await.unwrap_err();
    assert!(foreign.contains("UnknownIssuer"), "{foreign}");
    let refused = echo(&client(&gateway, &other.ca_file()), "hello").await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::Unavailable, Some("UPSTREAM_UNAVAILABLE")));

    for (says, error) in [
        (Says { until: 2020, ..Says::default() }, "expired"),
        (Says { hosts: vec!["gateway.example.com".to_owned()], ..Says::default() }, "not valid for name"),
    ] {
        authority.certify(says);
        until(async || authority.connect(&gateway, &["h2"]).await.is_err()).await;
        let seen = reach(&authority.ca_file()).await.unwrap_err();
        assert!(seen.contains(error), "{seen}");
        assert!(echo(&client(&gateway, &authority.ca_file()), "hello").await.is_err());
        authority.certify(Says::default());
        until(async || authority.connect(&gateway, &["h2"]).await.is_ok()).await;
    }
    assert_eq!(orders.begun(), 0);
}

#[tokio::test]
async fn who_does_not_end_its_handshake_is_let_go_and_keeps_nobody_out() {
    let (authority, orders) = (Authority::new(), orders().await);
    authority.certify(Says::default());
    let mut settings = settings();
    settings.connection.handshake_timeout_ms = 300;
    (settings.connection.connections_max, settings.connection.peer_share_percent) = (8, 100);
    let gateway = protected(&authority, &orders, settings).await;
    // Nothing; the head of a record; a record of which most is missing.
    for beginning in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut http = Http1::connect(&gateway).await;
        http.send_raw(beginning).await;
        assert!(http.is_over_within(Duration::from_secs(10)).await, "{beginning:?}");
    }
    // Keys, and then no word of HTTP.
    let silent = authority.connect(&gateway, &["h2"]).await.unwrap();
    assert!(Http1::over(silent).is_over_within(Duration::from_secs(10)).await);
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(b"\x16\x03\x01").await.unwrap();
        held.push(stream);
    }
    assert_eq!(echo(&client(&gateway, &authority.ca_file()), "hello").await.unwrap(), framed("hello"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_while_callers_work_and_what_cannot_be_used_is_not_shown() {
    let (authority, orders) = (Authority::new(), orders().await);
    let first = authority.certify(Says::default());
    let gateway = protected(&authority, &orders, settings()).await;
    let now = async || shown(&authority.connect(&gateway, &["h2"]).await.unwrap());
    assert_eq!(now().await, first);
    let callers = tokio::spawn({
        let caller = client(&gateway, &authority.ca_file());
        async move {
            for number in 0..300 {
                let text = number.to_string();
                assert_eq!(echo(&caller, &text).await.unwrap(), framed(&text));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let second = authority.certify(Says::default());
    until(async || now().await == second).await;
    assert_ne!(first, second);
    // A certificate whose key is another one's, no certificate, no file.
    let (certificate, key) = authority.made(Says::default());
    authority.put("port.pem", &certificate.pem());
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(now().await, second);
    authority.put("port.pem", "no certificate");
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(now().await, second);
    std::fs::remove_file(authority.settings().private_key_file).unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(now().await, second);
    // The one that came before its key.
    authority.put("port.pem", &certificate.pem());
    authority.put("port-key.pem", &key.serialize_pem());
    until(async || now().await == *certificate.der()).await;
    callers.await.unwrap();
    assert_eq!(orders.begun(), 300, "over the connection that they had");
}

#[test]
fn what_cannot_be_shown_is_named_at_start() {
    let authority = Authority::new();
    authority.certify(Says::default());
    let good = authority.settings();
    assert!(ServerTls::load(&good).is_ok_and(|tls| tls.is_some()));
    assert!(ServerTls::load(&TlsServerSettings::default()).is_ok_and(|tls| tls.is_none()));
    let wrong = |certificate_file: &str, private_key_file: &str| {
        let settings = TlsServerSettings {
            certificate_file: certificate_file.to_owned(),
            private_key_file: private_key_file.to_owned(),
            ..TlsServerSettings::default()
        };
        ServerTls::load(&settings).err().unwrap().to_string()
    };
    let (certificate, key) = (&good.certificate_file[..], &good.private_key_file[..]);
    assert_eq!(wrong(certificate, ""), "private_key_file is empty, and certificate_file is not");
    assert_eq!(wrong("", key), "certificate_file is empty, and private_key_file is not");
    assert!(wrong("/nowhere.pem", key).starts_with("certificate_file: /nowhere.pem cannot be read"));
    assert!(wrong(key, key).contains("holds no certificate"));
    assert!(wrong(certificate, certificate).contains("holds no private key"));
    let ca = authority.ca_file();
    assert!(wrong(&ca, key).contains("cannot be used with the certificate"));
}
