//! Which requests are refused because a browser was led here by a page that is none of ours.
//!
//! While callers do not sign in, it is enough to reach the port. A browser on this machine does, and the page that it shows
//! may be anybody's: one whose own name leads here of a sudden (DNS rebinding), so that the browser takes the gateway for the
//! page's own server, or one that sends a form here without being let to read the answer. A browser says in both cases what it
//! believes: the name in `Host`, the page's site in `Origin`. It cannot send gRPC, which is not looked at.

use std::net::IpAddr;

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, header};
use openorder_rpc::Refusal;
use tonic::Status;

use super::cors::Cors;

/// Any name.
const ANY: &str = "*";

/// The names by which the gateway is called.
pub(crate) struct Site {
    /// Besides addresses and localhost; none where every name is one.
    names: Option<Vec<String>>,
}

impl Site {
    /// With the names of the setting; without any, on loopback no other name is one and elsewhere every name.
    pub(crate) fn new(allowed_hosts: &[String], is_on_loopback: bool) -> Self {
        let takes_any = allowed_hosts.iter().any(|name| name == ANY) || (allowed_hosts.is_empty() && !is_on_loopback);
        let names = || allowed_hosts.iter().map(|name| plain(name)).collect();
        Self { names: (!takes_any).then(names) }
    }

    /// Why a request is refused, if it is.
    pub(crate) fn refusal(&self, parts: &Parts, cors: &Cors) -> Option<Status> {
        if !self.is_called_by_name(parts) {
            return Some(Refusal::host_not_allowed());
        }
        let origins = parts.headers.get_all(header::ORIGIN);
        let may_call = origins.iter().all(|origin| is_own(origin, parts) || cors.names(origin));
        (!may_call).then(Refusal::origin_not_allowed)
    }

    /// Whether all names that the request was sent to are ours. A browser always gives one.
    fn is_called_by_name(&self, parts: &Parts) -> bool {
        let Some(names) = &self.names else { return true };
        let is_ours = |authority: &Authority| {
            let host = plain(authority.host());
            is_this_machine(&host) || names.contains(&host)
        };
        let in_headers = hosts(&parts.headers).all(|host| host.is_some_and(|host| is_ours(&host)));
        in_headers && parts.uri.authority().is_none_or(is_ours)
    }
}

/// The hosts that the headers name; none of what is no host.
fn hosts(headers: &HeaderMap) -> impl Iterator<Item = Option<Authority>> {
    headers.get_all(header::HOST).iter().map(|host| Authority::try_from(host.as_bytes()).ok())
}

/// Whether a page is the gateway's own: it has the name and the port that the request was sent to.
fn is_own(origin: &HeaderValue, parts: &Parts) -> bool {
    let Some((_, site)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let mut called = hosts(&parts.headers).flatten();
    let is_it = |authority: &Authority| authority.as_str().eq_ignore_ascii_case(site);
    match parts.uri.authority() {
        Some(authority) => is_it(authority),
        None => called.next().is_some_and(|authority| is_it(&authority)),
    }
}

/// A name in lower case, without the dot that may end it; an IPv6 address without its brackets.
fn plain(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Nobody else can have these lead here: addresses are no names, and browsers do not ask for localhost.
fn is_this_machine(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok() || host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::Request;
    use openorder_rpc::reason_of;

    use super::*;

    fn refused(site: &Site, uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let cors = Cors::new(&["https://shop.example.com".to_owned()]).unwrap();
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        site.refusal(&parts, &cors).and_then(|status| reason_of(&status))
    }

    #[test]
    fn on_loopback_only_addresses_and_localhost_are_names() {
        let site = Site::new(&[], true);
        for host in
            ["localhost:8080", "LocalHost", "127.0.0.1:8080", "[::1]:8080", "10.0.0.1", "a.localhost", "localhost."]
        {
            assert_eq!(refused(&site, "/v1/orders", &[("host", host)]), None, "{host}");
            assert_eq!(refused(&site, &format!("http://{host}/v1/orders"), &[]), None, "{host}");
        }
        for host in ["evil.example.com:8080", "gateway", "localhost.example.com", "127.0.0.1.nip.io", "a b", ""] {
            assert_eq!(refused(&site, "/v1/orders", &[("host", host)]).as_deref(), Some("HOST_NOT_ALLOWED"), "{host}");
        }
        let both = refused(&site, "http://localhost/v1/orders", &[("host", "evil.example.com")]);
        assert_eq!(both.as_deref(), Some("HOST_NOT_ALLOWED"));
        assert_eq!(refused(&site, "http://evil.example.com/", &[]).as_deref(), Some("HOST_NOT_ALLOWED"));
        assert_eq!(refused(&site, "/v1/orders", &[]), None, "no browser");
    }

    #[test]
    fn elsewhere_any_name_is_one_unless_the_setting_says_which() {
        let gateway = [("host", "gateway:8080")];
        assert_eq!(refused(&Site::new(&[], false), "/", &gateway), None);
        assert_eq!(refused(&Site::new(&["*".to_owned()], true), "/", &gateway), None);
        let named = Site::new(&["API.example.com".to_owned()], false);
        assert_eq!(refused(&named, "/", &[("host", "api.example.com:443")]), None);
        assert_eq!(refused(&named, "/", &[("host", "127.0.0.1:8080")]), None);
        assert_eq!(refused(&named, "/", &gateway).as_deref(), Some("HOST_NOT_ALLOWED"));
    }

    #[test]
    fn a_page_may_call_if_it_is_our_own_or_of_a_site_that_may() {
        let site = Site::new(&[], true);
        let from = |origin| refused(&site, "/v1/orders", &[("host", "localhost:8080"), ("origin", origin)]);
        assert_eq!(from("http://localhost:8080"), None);
        assert_eq!(from("https://shop.example.com"), None);
        for other in
            ["null", "http://localhost:5173", "http://localhost", "https://shop.example.com.evil.com", "", "http://"]
        {
            assert_eq!(from(other).as_deref(), Some("ORIGIN_NOT_ALLOWED"), "{other}");
        }
        let over_http2 = refused(&site, "https://localhost:8080/v1/orders", &[("origin", "https://localhost:8080")]);
        assert_eq!(over_http2, None);
        let two = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://evil.example.com")];
        assert_eq!(refused(&site, "/", &two).as_deref(), Some("ORIGIN_NOT_ALLOWED"));
        assert_eq!(refused(&Site::new(&[], false), "/", &two).as_deref(), Some("ORIGIN_NOT_ALLOWED"), "anywhere");
    }
}
