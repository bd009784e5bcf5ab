//! Connections between roles: who is let in, and in what it is believed.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use openorder_rpc::server::{CallMetrics, RpcService, serve_connections};
use openorder_rpc::tls::{RoleTls, ServerTls, role_uri};
use openorder_rpc::{
    BatchSettings, CallContext, ConnectionSettings, Outbound, Resend, RolesTlsSettings, RpcClientSettings,
    RpcServerSettings, TlsServerSettings, Upstream, UpstreamChannel, channel, channel_to_role, listen,
    listen_for_roles, reason_of, serve_roles,
};
use openorder_runtime::Shutdown;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_types::{Caller, Role};
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::service::Routes;
use tonic::{Code, Request, Status};

use crate::authority::{Authority, Made, begin, known};
use crate::support::{Echo, Running, call, client_settings, text};

/// The product service, for the other roles alone.
async fn product(tls: &RoleTls) -> Running {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let (address, shutdown, echo) = (listener.local_addr().unwrap(), Shutdown::new(), Echo::default());
    let (tls, routes, until) = (tls.clone(), Routes::new(echo.clone()), shutdown.clone());
    let task = tokio::spawn(async move {
        let (role, settings) = (RoleTelemetry::disabled("product"), RpcServerSettings::default());
        serve_roles(role, listener, Some(tls), &settings, routes, &until).await;
    });
    Running { address, shutdown, echo, task }
}

fn https(address: SocketAddr) -> String {
    format!("https://{address}")
}

/// A channel of a role to what it takes for another one.
fn channel_of(tls: &RoleTls, service: &str, address: SocketAddr) -> UpstreamChannel {
    let (role, settings) = (RoleTelemetry::disabled("test"), client_settings());
    channel_to_role(&role, service, &https(address), &settings, Some(tls)).unwrap()
}

fn as_caller(roles: &[Role]) -> Request<String> {
    let call = CallContext { caller: Caller::new("ada", roles), trace: TraceContext::NONE, deadline: None };
    call.request(text(""))
}

/// Who called, as the service saw it, or why the call was refused.
async fn seen(channel: UpstreamChannel, request: Request<String>) -> Result<String, (Code, String)> {
    let answer = call(channel, "Context", request).await.map_err(told)?;
    Ok(answer.lines().take(2).collect::<Vec<_>>().join(" "))
}

fn told(status: Status) -> (Code, String) {
    (status.code(), reason_of(&status).unwrap_or_default())
}

fn is(text: &str) -> Result<String, (Code, String)> {
    Ok(text.to_owned())
}

fn unavailable() -> Result<String, (Code, String)> {
    Err((Code::Unavailable, "UPSTREAM_UNAVAILABLE".to_owned()))
}

fn not_vouched() -> Result<String, (Code, String)> {
    Err((Code::PermissionDenied, "PEER_MAY_NOT_VOUCH".to_owned()))
}

async fn until(condition: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "it did not come to that");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_peer_without_a_valid_certificate_of_a_known_role_is_refused_in_the_handshake() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let product = product(&authority.tls("product")).await;
    let uri = role_uri;
    let refused: [(&str, Option<Made>); 8] = [
        ("no certificate", None),
        ("one of a foreign authority", Some(foreign.of("gateway"))),
        ("one of a role that there is not", Some(authority.of("warehouse"))),
        ("one of two roles", Some(authority.made(&[uri("gateway"), uri("order")], 2999))),
        ("one of no role", Some(authority.made(&[], 2999))),
        ("one of another system", Some(authority.made(&["spiffe://elsewhere/role/gateway".to_owned()], 2999))),
        ("one whose role is a part of a name", Some(authority.made(&[uri("gateway/x")], 2999))),
        ("one that has ended", Some(authority.made(&[uri("gateway")], 2020))),
    ];
    for (what, shows) in &refused {
        let peer = authority.peer(shows.as_ref());
        assert!(begin(product.address, &peer).await.is_err(), "{what} lets nobody in");
    }
    let good = authority.of("gateway");
    assert!(begin(product.address, &authority.peer(Some(&good))).await.is_ok());
    // In the clear there is nothing at all.
    let plain = channel(&RoleTelemetry::disabled("test"), &product.url(), &client_settings()).unwrap();
    assert_eq!(seen(plain, as_caller(&[Role::Operator])).await, unavailable());
    let stranger = channel_of(&foreign.tls("gateway"), "product", product.address);
    assert_eq!(seen(stranger, as_caller(&[Role::Operator])).await, unavailable());
    assert_eq!(product.echo.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_server_is_called_only_as_the_role_that_its_certificate_names() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let product = product(&authority.tls("product")).await;
    let gateway = authority.tls("gateway");
    let customer = || as_caller(&[Role::Customer]);
    assert_eq!(seen(channel_of(&gateway, "product", product.address), customer()).await.unwrap(), "ada customer");
    assert_eq!(seen(channel_of(&gateway, "order", product.address), customer()).await, unavailable());
    let of_foreign = self::product(&foreign.tls("product")).await;
    assert_eq!(seen(channel_of(&gateway, "product", of_foreign.address), customer()).await, unavailable());
    let ended = authority.made(&[role_uri("product")], 2020);
    authority.install("product", &ended);
    let of_yesterday = self::product(&authority.tls("product")).await;
    assert_eq!(seen(channel_of(&gateway, "product", of_yesterday.address), customer()).await, unavailable());
    assert_eq!(of_foreign.echo.calls.load(Ordering::SeqCst) + of_yesterday.echo.calls.load(Ordering::SeqCst), 0);
    // Which way is taken is said by the URL, and has to be the one that there are certificates for.
    let (role, settings) = (RoleTelemetry::disabled("test"), client_settings());
    assert!(channel_to_role(&role, "product", "http://127.0.0.1:1", &settings, Some(&gateway)).is_err());
    assert!(channel_to_role(&role, "product", "https://127.0.0.1:1", &settings, None).is_err());
}

#[tokio::test]
async fn a_service_believes_of_callers_what_the_role_at_the_other_end_may_vouch_for() {
    let authority = Authority::new();
    let product = product(&authority.tls("product")).await;
    let by = |role: &str| channel_of(&authority.tls(role), "product", product.address);
    for role in ["gateway", "order"] {
        assert_eq!(seen(by(role), as_caller(&[Role::Customer])).await, is("ada customer"));
        assert_eq!(seen(by(role), as_caller(&[Role::Operator])).await, is("ada operator"));
    }
    for role in ["operations", "tools"] {
        assert_eq!(seen(by(role), as_caller(&[Role::Customer])).await, not_vouched(), "{role}");
        assert_eq!(seen(by(role), as_caller(&[])).await, not_vouched(), "{role}");
        assert_eq!(seen(by(role), as_caller(&[Role::Operator])).await, is("ada operator"));
    }
    assert_eq!(seen(by("product"), as_caller(&[Role::Operator])).await, not_vouched(), "it calls nobody");
    for role in ["order", "operations", "tools", "product"] {
        assert_eq!(seen(by(role), Request::new(text(""))).await, is(&format!("{role} service")), "it is itself");
        let itself = CallContext::of_service(role, TraceContext::NONE).request(text(""));
        assert_eq!(seen(by(role), itself).await, is(&format!("{role} service")));
        let mut session = as_caller(&[Role::Operator]);
        session.metadata_mut().insert("x-openorder-session", "s1".parse().unwrap());
        assert_eq!(seen(by(role), session).await, not_vouched(), "{role}");
    }
    let nobody = seen(by("gateway"), Request::new(text(""))).await;
    assert_eq!(nobody, Err((Code::Unauthenticated, "CALLER_MISSING".to_owned())), "through the gateway");
}

#[tokio::test]
async fn calls_that_travel_together_are_believed_no_more_than_others() {
    let authority = Authority::new();
    let product = product(&authority.tls("product")).await;
    let (settings, batch, tls) = (client_settings(), BatchSettings::default(), authority.tls("operations"));
    let upstream = Upstream::to_role("product", &https(product.address), &settings, Some(&batch), Some(&tls)).unwrap();
    // The first ones are on their way before it is known that calls may travel together.
    for number in 0..20 {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("x-openorder-subject", "ada"),
            ("x-openorder-roles", "customer"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let outbound = Outbound {
            path: "/test.Echo/Context".parse().unwrap(),
            headers,
            body: Bytes::from_static(b"\0\0\0\0\0"),
            deadline: None,
            body_deadline: None,
            resend: Resend::Unsent,
            batchable: true,
        };
        let (head, body) = upstream.call(outbound).await.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let ended = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
        assert_eq!(ended.or(head.headers.get("grpc-status")).unwrap(), "7", "call {number}");
    }
    assert_eq!(product.echo.calls.load(Ordering::SeqCst), 0);
}

/// Waits until a service shows this certificate to who shows its own.
async fn shows(address: SocketAddr, authority: &Authority, made: &Made, by: &Made) {
    let expected = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
    let peer = authority.peer(Some(by));
    until(async || begin(address, &peer).await.is_ok_and(|begun| begun.shown == expected)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_their_authority_are_exchanged_while_calls_run_and_none_fails() {
    let (authority, next) = (Authority::new(), Authority::new());
    let (server, client) = (authority.tls("product"), authority.tls("order"));
    let product = product(&server).await;
    let address = product.address;
    let keeping = [server, client.clone()].map(|tls| tokio::spawn(async move { tls.keep_up().await }));
    let stop = Shutdown::new();
    let calling = tokio::spawn({
        let (stop, client, kept) = (stop.clone(), client.clone(), channel_of(&client, "product", address));
        async move {
            let mut number = 0;
            while !stop.is_requested() {
                // Over the connection that there is, and over a new one.
                for channel in [kept.clone(), channel_of(&client, "product", address)] {
                    assert_eq!(seen(channel, as_caller(&[Role::Customer])).await, is("ada customer"));
                    number += 1;
                }
            }
            number
        }
    });
    let witness = authority.of("gateway");
    for _ in 0..3 {
        authority.certify("order");
        let made = authority.certify("product");
        shows(address, &authority, &made, &witness).await;
    }
    // A certificate whose key is another one's stays out.
    let before = authority.certify("product");
    shows(address, &authority, &before, &witness).await;
    authority.put("product.pem", &authority.of("product").certificate);
    tokio::time::sleep(Duration::from_millis(100)).await;
    shows(address, &authority, &before, &witness).await;
    authority.install("product", &before);
    // Both authorities, at both ends; then certificates by the new one; then the new one alone.
    let both = authority.pem() + &next.pem();
    let other = RolesTlsSettings { ca_file: authority.file("both.pem"), ..next.settings() };
    authority.put("both.pem", &both);
    let other = self::product(&RoleTls::load("product", &other, known()).unwrap().unwrap()).await;
    let of_next = self::product(&next.tls("product")).await;
    let reaches = async |service: &Running| {
        seen(channel_of(&client, "product", service.address), as_caller(&[Role::Customer])).await.is_ok()
    };
    assert!(!reaches(&other).await && !reaches(&of_next).await);
    authority.put("ca.pem", &both);
    let new_witness = next.of("gateway");
    until(async || reaches(&other).await && begin(address, &authority.peer(Some(&new_witness))).await.is_ok()).await;
    authority.install("order", &next.of("order"));
    let made = next.of("product");
    authority.install("product", &made);
    shows(address, &next, &made, &new_witness).await;
    until(async || reaches(&of_next).await).await;
    authority.put("ca.pem", &next.pem());
    let old_witness = next.peer(Some(&witness));
    until(async || begin(address, &old_witness).await.is_err()).await;
    shows(address, &next, &made, &new_witness).await;
    stop.trigger();
    assert!(calling.await.unwrap() > 50, "calls ran all the time");
    keeping.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_session_is_never_resumed_without_its_certificate() {
    let authority = Authority::new();
    let product = product(&authority.tls("product")).await;
    let peer = authority.peer(Some(&authority.of("gateway")));
    let kinds = async |address: SocketAddr| {
        let mut kinds = Vec::new();
        for _ in 0..3 {
            kinds.push(begin(address, &peer).await.unwrap().kind);
        }
        kinds
    };
    assert_eq!(kinds(product.address).await, [HandshakeKind::Full; 3]);
    // The same peer at a port that asks for no certificate, as the gateway's: so it would resume where it may.
    let settings = TlsServerSettings {
        certificate_file: authority.file("product.pem"),
        private_key_file: authority.file("product-key.pem"),
        ..TlsServerSettings::default()
    };
    let tls = ServerTls::load(&settings).unwrap();
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (role, settings) = (RoleTelemetry::disabled("port"), RpcServerSettings::default());
        let service = RpcService::new(role, &settings, Routes::default(), CallMetrics::of_contract());
        let (connection, until) = (ConnectionSettings::default(), Shutdown::new());
        serve_connections("port", listener, tls, &connection, service, &until).await;
    });
    assert_eq!(kinds(address).await, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);
}

#[tokio::test]
async fn within_a_process_roles_have_nothing_to_prove() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let product = product(&authority.tls("product")).await;
    // Its task takes calls within the process when it had its turn.
    tokio::task::yield_now().await;
    let tls = foreign.tls("operations");
    let to = |in_memory: bool| {
        let settings = RpcClientSettings { in_memory, ..client_settings() };
        let role = RoleTelemetry::disabled("test");
        channel_to_role(&role, "product", &https(product.address), &settings, Some(&tls)).unwrap()
    };
    assert_eq!(seen(to(true), as_caller(&[Role::Customer])).await.unwrap(), "ada customer");
    assert_eq!(seen(to(false), as_caller(&[Role::Customer])).await, unavailable());
}

#[tokio::test]
async fn a_service_listens_beyond_its_machine_only_where_roles_prove_who_they_are() {
    let authority = Authority::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refusal = listen_for_roles(address, None).await.unwrap_err().to_string();
        assert!(refusal.contains(address) && refusal.contains("mtls.certificate_file"), "{refusal}");
    }
    assert!(listen_for_roles("0.0.0.0:0", Some(&authority.tls("order"))).await.is_ok());
    for address in ["127.0.0.1:0", "localhost:0"] {
        assert!(listen_for_roles(address, None).await.is_ok(), "{address}");
    }
    assert!(listen_for_roles("nonsense", None).await.is_err());
}

#[test]
fn files_that_cannot_be_used_are_named_at_start() {
    let authority = Authority::new();
    let good = authority.settings();
    let wrong = |certificate: &str, key: &str, ca: &str| {
        let files = |file: &str| if file.is_empty() { String::new() } else { authority.file(file) };
        let settings = RolesTlsSettings {
            certificate_file: files(certificate),
            private_key_file: files(key),
            ca_file: files(ca),
            ..good.clone()
        };
        RoleTls::load("order", &settings, known()).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(wrong("{role}.pem", "{role}-key.pem", "ca.pem"), "");
    assert!(RoleTls::load("order", &RolesTlsSettings::default(), known()).unwrap().is_none());
    assert_eq!(wrong("{role}.pem", "{role}-key.pem", ""), "ca_file is empty, and certificate_file is not");
    assert_eq!(wrong("", "", "ca.pem"), "certificate_file is empty, and ca_file is not");
    assert!(wrong("product.pem", "product-key.pem", "ca.pem").contains("is not the certificate of order"));
    assert!(wrong("{role}.pem", "product-key.pem", "ca.pem").contains("cannot be used with the certificate"));
    assert!(wrong("{role}.pem", "{role}-key.pem", "order-key.pem").contains("holds no certificate"));
    assert!(wrong("nothing.pem", "{role}-key.pem", "ca.pem").contains("nothing.pem cannot be read"));
}

#[tokio::test]
async fn the_certificate_of_another_role_does_not_take_the_place_of_ones_own() {
    let authority = Authority::new();
    let (tls, gateway) = (authority.tls("product"), authority.of("gateway"));
    let product = product(&tls).await;
    tokio::spawn(async move { tls.keep_up().await });
    let own = authority.certify("product");
    shows(product.address, &authority, &own, &gateway).await;
    authority.install("product", &authority.of("order"));
    tokio::time::sleep(Duration::from_millis(150)).await;
    shows(product.address, &authority, &own, &gateway).await;
}
