//! Text messages and messages to apps by a provider's HTTP interface: one POST of JSON a message.
//!
//! ```text
//! POST <url>
//! Authorization: Bearer <bearer_token>
//! Content-Type: application/json
//! Idempotency-Key: <notification_id>.<round>      the same for every attempt of a round
//!
//! {"notification_id":"…","order_id":"…","kind":"order_paid","to":"+4930901820","title":"…","text":"…"}
//! ```

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use openorder_config::Secret;
use serde::Serialize;

use crate::{
    config::HttpProviderSettings,
    delivery::{
        certificates::{is_this_machine, tls_client},
        provider::{Answer, Outage, Provider, without_addresses},
    },
    domain::Channel,
    persistence::Due,
};

/// The header by which a provider knows a request that comes again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Posts messages of one channel to one provider.
pub(crate) struct HttpProvider {
    channel: Channel,
    name: &'static str,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    /// Ready to be sent, if there is a token.
    authorization: Option<HeaderValue>,
    timeout: Duration,
    response_max_bytes: usize,
    retry_after_max: Duration,
}

/// What is posted.
#[derive(Serialize)]
struct Post<'a> {
    notification_id: String,
    order_id: String,
    kind: &'static str,
    to: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
    text: &'a str,
}

impl HttpProvider {
    /// Connects to nobody yet. `section` names the settings in errors, such as `notification.sms`.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub(crate) fn new(channel: Channel, section: &str, settings: &HttpProviderSettings) -> anyhow::Result<Self> {
        let url: Uri = settings.url.parse().with_context(|| format!("{section}.url must be a URL"))?;
        match url.scheme_str() {
            Some("https") => {}
            Some("http") => ensure!(
                is_this_machine(url.host().unwrap_or_default()),
                "{section}.url must be https: addresses and the token would be readable on their way"
            ),
            _ => bail!("{section}.url must be https"),
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(Duration::from_millis(settings.connect_timeout_ms)));
        let tls = tls_client(&format!("{section}.ca_certificate_file"), &settings.ca_certificate_file)?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        // Redirects are not followed: a message goes where it was sent, and nowhere else, token and all.
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let name = match channel {
            Channel::Email => "email",
            Channel::Sms => "sms",
            Channel::Push => "push",
        };
        Ok(Self {
            channel,
            name,
            client,
            url,
            authorization: authorization(section, &settings.bearer_token)?,
            timeout: Duration::from_millis(settings.timeout_ms),
            response_max_bytes: settings.response_max_bytes,
            retry_after_max: Duration::from_millis(settings.retry_after_max_ms),
        })
    }

    fn request(&self, one: &Due) -> anyhow::Result<Request<Full<Bytes>>> {
        let post = Post {
            notification_id: one.notification_id.to_string(),
            order_id: one.order_id.to_string(),
            kind: one.kind.as_str(),
            to: one.recipient.as_str(),
            title: &one.subject,
            text: &one.body,
        };
        let mut request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("openorder/", env!("CARGO_PKG_VERSION")))
            .header(IDEMPOTENCY_KEY, format!("{}.{}", one.notification_id, one.round));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        Ok(request.body(Full::new(serde_json::to_vec(&post)?.into()))?)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, one: &Due) -> Result<Answer, Outage> {
        let response = match self.client.request(request).await {
            Ok(response) => response,
            // Nothing was sent before there was a connection.
            Err(error) if error.is_connect() => return Err(Outage(without_addresses(&causes(&error)))),
            Err(error) => {
                let detail = without_addresses(&causes(&error));
                return Ok(Answer::Unknown { reason: "CONNECTION_LOST", detail });
            }
        };
        let status = response.status();
        let retry_after = retry_after(response.headers(), SystemTime::now().into(), self.retry_after_max);
        let body = self.read(response).await.replace(one.recipient.as_str(), "<address>");
        let detail = without_addresses(&format!("HTTP {} {body}", status.as_u16()));
        match meaning(status) {
            Meaning::Accepted => Ok(Answer::Accepted),
            Meaning::Busy => Ok(Answer::Busy { reason: "PROVIDER_BUSY", detail, retry_after }),
            Meaning::Refused(reason) => Ok(Answer::Refused { reason, detail }),
            Meaning::Outage => Err(Outage(detail)),
        }
    }

    /// What the provider said beside its status, as far as it is wanted and can be read.
    async fn read(&self, response: Response<Incoming>) -> String {
        let (mut body, mut bytes) = (response.into_body(), Vec::new());
        while bytes.len() < self.response_max_bytes {
            let Some(Ok(frame)) = body.frame().await else { break };
            if let Some(data) = frame.data_ref() {
                bytes.extend_from_slice(data);
            }
        }
        bytes.truncate(self.response_max_bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Provider for HttpProvider {
    fn channel(&self) -> Channel {
        self.channel
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn transport(&self) -> &'static str {
        "http"
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn probe(&self) -> Result<bool, Outage> {
        Ok(false)
    }

    async fn send(&self, one: &Due) -> Result<Answer, Outage> {
        let request = match self.request(one) {
            Ok(request) => request,
            Err(error) => {
                let detail = without_addresses(&error.to_string());
                return Ok(Answer::Refused { reason: "MESSAGE_REFUSED", detail });
            }
        };
        match tokio::time::timeout(self.timeout, self.exchange(request, one)).await {
            Ok(answer) => answer,
            Err(_) => Ok(Answer::Unknown { reason: "TIMED_OUT", detail: String::new() }),
        }
    }
}

fn authorization(section: &str, token: &Secret) -> anyhow::Result<Option<HeaderValue>> {
    if token.is_empty() {
        return Ok(None);
    }
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    // The error would not say more, and the value must not be shown.
    let mut value = value.ok().with_context(|| format!("{section}.bearer_token cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

enum Meaning {
    Accepted,
    Busy,
    Refused(&'static str),
    Outage,
}

/// By the status codes of RFC 9110.
fn meaning(status: StatusCode) -> Meaning {
    match status.as_u16() {
        200..=299 => Meaning::Accepted,
        // Our token, or our URL: no message would get through.
        300..=399 | 401 | 407 => Meaning::Outage,
        // Too early, or too much at once.
        408 | 425 | 429 => Meaning::Busy,
        // There is no such number, or the app is no longer installed.
        404 | 410 => Meaning::Refused("RECIPIENT_REFUSED"),
        400..=499 => Meaning::Refused("MESSAGE_REFUSED"),
        _ => Meaning::Busy,
    }
}

/// How long the provider asks us to wait (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>, longest: Duration) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = DateTime::parse_from_rfc2822(text).ok()?;
            date.to_utc().signed_duration_since(now).to_std().unwrap_or_default()
        }
    };
    Some(wait.min(longest))
}

/// An error with what caused it: its own words alone say little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn refused(url: &str) -> String {
        let settings = HttpProviderSettings { url: url.to_owned(), ..HttpProviderSettings::default() };
        HttpProvider::new(Channel::Sms, "notification.sms", &settings).err().unwrap().to_string()
    }

    #[test]
    fn what_cannot_be_used_is_found_at_start() {
        for url in ["", "sms.example.com", "ftp://sms.example.com", "http://sms.example.com/send"] {
            assert!(refused(url).contains("notification.sms.url"), "{url}");
        }
        for url in ["https://sms.example.com/send", "http://127.0.0.1:8080/send", "http://[::1]/send"] {
            let settings = HttpProviderSettings { url: url.to_owned(), ..HttpProviderSettings::default() };
            assert!(HttpProvider::new(Channel::Sms, "notification.sms", &settings).is_ok(), "{url}");
        }
        let settings = HttpProviderSettings {
            url: "https://sms.example.com".to_owned(),
            bearer_token: "two\nlines".into(),
            ..HttpProviderSettings::default()
        };
        let error = HttpProvider::new(Channel::Sms, "notification.sms", &settings).err().unwrap().to_string();
        assert!(error.contains("notification.sms.bearer_token") && !error.contains("lines"), "{error}");
    }

    #[test]
    fn a_provider_may_ask_for_time_in_seconds_or_by_a_date() {
        let now = DateTime::parse_from_rfc3339("2015-10-21T07:28:00Z").unwrap().to_utc();
        let wait = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, now, Duration::from_secs(100)).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("7"), Some(7));
        assert_eq!(wait("100000"), Some(100), "bounded");
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:30 GMT"), Some(30));
        assert_eq!(wait("Wed, 21 Oct 2015 07:00:00 GMT"), Some(0), "in the past");
        assert_eq!(wait("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now, Duration::MAX), None);
    }
}
