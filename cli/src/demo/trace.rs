//! Where a trace can be seen, and whether it can.

use std::time::{Duration, Instant};

use crate::http;

/// Spans wait for others before they are sent, and the collector for the rest of a trace.
const ARRIVAL: Duration = Duration::from_secs(8);
const ANSWER: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The link to a trace; where nothing can be seen behind it, why not.
pub(super) async fn link(jaeger: &str, trace_id: &str) -> String {
    let jaeger = jaeger.trim_end_matches('/');
    let link = format!("The first order's trace, all services in one: {jaeger}/trace/{trace_id}");
    let address = jaeger.strip_prefix("http://").filter(|rest| !rest.contains('/'));
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
        let told = link(&jaeger, "0af7651916cd43dd8448eb211c80319c").await;
        assert!(told.contains(&format!("{jaeger}trace/0af7651916cd43dd8448eb211c80319c")), "{told}");
        assert!(told.contains("does not answer"), "{told}");
    }

    #[test]
    fn the_port_of_http_is_80() {
        assert_eq!(with_port("jaeger"), "jaeger:80");
        assert_eq!(with_port("[::1]"), "[::1]:80");
        assert_eq!(with_port("127.0.0.1:16686"), "127.0.0.1:16686");
    }
}
