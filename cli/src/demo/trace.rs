//! Where a trace can be seen, and whether it can.

use std::time::{Duration, Instant};

use crate::http;

/// Spans wait for others before they are sent, and the collector for the rest of a trace.
const ARRIVAL: Duration = Duration::from_secs(8);
const ANSWER: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The link to a trace on the page of Jaeger; where its query API, at `api`, has no such trace, why not.
pub(super) async fn link(page: &str, api: &str, trace_id: &str) -> String {
    let (page, api) = (page.trim_end_matches('/'), api.trim_end_matches('/'));
    let link = format!("The first order's trace, all services in one: {page}/trace/{trace_id}");
    let address = api.strip_prefix("http://").filter(|rest| !rest.contains('/'));
    let Some(address) = address.map(with_port) else { return link };
    let path = format!("/api/traces/{trace_id}");
    let until = Instant::now() + ARRIVAL;
    loop {
        match http::get(&address, &path, ANSWER).await {
            Ok(answer) if answer.code == 200 => return link,
            Ok(_) if Instant::now() < until => tokio::time::sleep(POLL_INTERVAL).await,
            Ok(_) => {
                return format!(
                    "{link}\n    (not there: the server has to send its spans, telemetry.otlp_endpoint and \
                     telemetry.sampling_ratio=1.0)"
                );
            }
            Err(error) => return format!("{link}\n    (Jaeger does not answer here: {error})"),
        }
    }
}

fn with_port(authority: &str) -> String {
    match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
        _ => format!("{authority}:80"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_link_is_given_even_where_nobody_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let jaeger = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let text = link(&jaeger, &jaeger, "0af7651916cd43dd8448eb211c80319c").await;
        assert!(text.contains(&format!("{jaeger}trace/0af7651916cd43dd8448eb211c80319c")), "{text}");
        assert!(text.contains("does not answer"), "{text}");
    }

    #[tokio::test]
    async fn the_api_is_asked_and_the_page_is_printed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1_024];
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let shown = link("http://localhost:9/", &api, "0af7651916cd43dd8448eb211c80319c").await;
        assert!(shown.ends_with(" http://localhost:9/trace/0af7651916cd43dd8448eb211c80319c"), "{shown}");
        assert!(server.await.unwrap().starts_with("GET /api/traces/0af7651916cd43dd8448eb211c80319c "));
    }

    #[test]
    fn the_port_of_http_is_80() {
        assert_eq!(with_port("jaeger"), "jaeger:80");
        assert_eq!(with_port("[::1]"), "[::1]:80");
        assert_eq!(with_port("127.0.0.1:16686"), "127.0.0.1:16686");
    }
}
