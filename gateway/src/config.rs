//! Settings of the gateway.

use std::time::Duration;

use openorder_config::{Secret, settings};
use openorder_rpc::{BatchSettings, ConnectionSettings, IncomingTrace, RpcClientSettings, TlsServerSettings};

use crate::admission::AdmissionSettings;
use crate::body::ReadLimits;
use crate::identity::Anonymous;
use crate::shares::{Limit, Percent, Resource, Shares};

settings! {
    /// Gateway: the one port for callers from outside.
    pub struct GatewaySettings {
        /// Address that the gateway listens on. One that other machines can reach needs TLS (`gateway.tls`), or a proxy
        /// that ends it (`gateway.trusted_proxies`), and callers that sign in (`gateway.anonymous`).
        listen_address: String = "127.0.0.1:8080";
        /// Who a caller without a token is: `none`, who may sign in and register, and is refused everything else;
        /// `operator`, who may do everything, on loopback alone.
        anonymous: Anonymous = Anonymous::Nobody;
        /// Proxies in front of the gateway that end TLS, as addresses and blocks such as `10.0.0.0/8`, at most 64. Their
        /// calls come from where they say in `X-Forwarded-For` or `Forwarded`; nobody else is believed.
        trusted_proxies: Vec<String> = "";
        /// Such proxies that a call may come through, one behind the other; a call that names more of them is their own.
        proxy_hops_max: usize = 8, 1..=64;
        /// Addresses behind proxies whose callers are told apart at a time; calls from others count as their proxy's.
        proxied_addresses_max: usize = 16_384, 16..=1_000_000;
        /// Other issuers whose tokens are believed, each as `name=corp;issuer=https://sso.example.com;audience=openorder;
        /// roles=clerk:operator buyer:customer`, and `jwks_url` where there is no discovery, `algorithms` (RS256),
        /// `typ` (at+jwt), `roles_claim` (roles) where they differ. The name stands before each subject.
        issuers: Vec<String> = "";
        /// How long an issuer may take to answer with its keys, in milliseconds.
        issuer_timeout_ms: u64 = 3_000, 10..=60_000;
        /// Time between two times that the user service is asked which tokens are valid, in milliseconds: what was revoked
        /// is refused so much later.
        trust_interval_ms: u64 = 2_000, 10..=60_000;
        /// How long the user service may take to say so, or to exchange an API key, in milliseconds.
        trust_timeout_ms: u64 = 2_000, 10..=60_000;
        /// Tokens that are remembered, so that they need not be verified at each call.
        token_cache_max: usize = 32_768, 16..=10_000_000;
        /// Calls at a time that wait for their API key to be exchanged; more are refused at once.
        api_keys_waiting_max: usize = 256, 1..=100_000;
        /// How often one caller may call in a second, for long; 0: as often as it likes. A caller is who signed in, or else
        /// an address.
        caller_rate_per_second: u32 = 0, 0..=1_000_000;
        /// Calls that a caller may make at once that has not called for a while.
        caller_burst: u32 = 200, 1..=1_000_000;
        /// Redis, where it is counted how often callers call; unused without a limit.
        redis_url: Secret = "redis://127.0.0.1:16379";
        /// How long Redis may take to answer, in milliseconds; while it is away each gateway counts for itself.
        redis_timeout_ms: u64 = 100, 1..=60_000;
        /// What the names in Redis begin with: gateways with the same one count together.
        redis_prefix: String = "openorder";
        /// Largest request in bytes.
        request_body_limit_bytes: usize = 1_048_576, 1_024..=67_108_864;
        /// Bytes of requests in memory at a time, from their arrival until their calls are answered; more are refused at
        /// once. A share of it is never less than one largest request.
        request_bytes_in_flight_max: usize = 67_108_864, 1_024..=68_719_476_736;
        /// How long the body of a request may take to arrive, in milliseconds.
        request_read_timeout_ms: u64 = 5_000, 1..=600_000;
        /// Requests whose bodies are still arriving, at a time; more are refused at once.
        requests_arriving_max: usize = 4_096, 1..=1_000_000;
        /// The most that one connection may have of the calls, the streams, the arriving requests, their bytes and
        /// those of answers, in percent of each bound.
        connection_share_percent: usize = 50, 1..=100;
        /// The most that all connections of one peer may have, in percent of each bound. A peer is an IPv4 address or an
        /// IPv6 network of 64 bits; all callers behind one proxy are one.
        peer_share_percent: usize = 90, 1..=100;
        /// Sites whose pages may call from a browser, such as `https://shop.example.com`; none by default.
        cors_origins: Vec<String> = "";
        /// Names by which callers of HTTP and JSON may call, besides IP addresses and localhost, such as `api.example.com`: a
        /// page that has its own name lead here is refused. Empty: on loopback no further name, elsewhere any; `*`: any.
        allowed_hosts: Vec<String> = "";
        /// Metadata of a call in bytes, each key and value counted with 32 more; larger ones are refused.
        metadata_bytes_max: usize = 16_384, 1_024..=1_048_576;
        /// What becomes of the trace that a caller says its call belongs to: `link`, each call has a trace of its own that
        /// links to it; `trust`, the call goes on in it, recorded or not as the caller says; `ignore`.
        incoming_trace: IncomingTrace = IncomingTrace::Link;
        /// The time of a call whose caller gives none, in milliseconds. Streams have none.
        default_timeout_ms: u64 = 10_000, 1..=600_000;
        /// The longest time that a caller can ask for, in milliseconds.
        timeout_max_ms: u64 = 60_000, 1..=600_000;
        /// Calls at a time; more are refused at once.
        in_flight_requests_max: usize = 4_096, 1..=1_000_000;
        /// The fewest calls that each service is given at a time, however slow it is.
        admission_in_flight_min: usize = 32, 1..=1_000_000;
        /// Each service is given as many calls at a time as nine in ten of them answer within this time, in milliseconds;
        /// more are refused at once.
        admission_latency_target_ms: u64 = 250, 1..=600_000;
        /// The calls that each caller is given at a time at each service beside other callers, however many those make. What
        /// it has beyond its share waits until the service has room.
        admission_caller_in_flight_min: usize = 2, 1..=1_000_000;
        /// How long a call waits for its place beside those of other callers, in milliseconds; then it is refused.
        admission_wait_max_ms: u64 = 1_000, 1..=600_000;
        /// How often the number of calls that a service is given is looked at, in milliseconds.
        admission_window_ms: u64 = 100, 1..=60_000;
        /// Open streams at a time, besides the calls; more are refused at once.
        streams_max: usize = 1_024, 1..=1_000_000;
        /// Largest answer of a call in bytes; a longer one is refused. Streams have no such bound.
        answer_bytes_max: usize = 8_388_608, 65_536..=67_108_864;
        /// Bytes of one stream that its caller may leave unread; with more of them the stream ends.
        stream_unread_bytes_max: usize = 262_144, 1_024..=67_108_864;
        /// Bytes of answers in memory at a time that callers have not taken yet; what goes beyond is refused. A share of it
        /// is never less than one largest answer.
        answer_bytes_unread_max: usize = 268_435_456, 65_536..=1_099_511_627_776;
        /// After how long without a message something is sent in a stream over REST, so that no proxy on the way ends it, in
        /// milliseconds.
        stream_keep_alive_ms: u64 = 15_000, 100..=3_600_000;
        /// How long a caller may leave an answer unread before its stream is reset, in milliseconds.
        answer_read_timeout_ms: u64 = 30_000, 10..=3_600_000;
        /// Time between two looks at the health of each service, in milliseconds.
        health_interval_ms: u64 = 2_000, 10..=600_000;
        /// How long the answer to a look may take, in milliseconds.
        health_timeout_ms: u64 = 1_000, 10..=60_000;
        /// TLS of the port.
        tls: TlsServerSettings;
        /// Connections of callers.
        connection: ConnectionSettings;
        /// Connections to the services.
        client: RpcClientSettings;
        /// Calls with one answer that are sent to their service together; not within a process.
        batch: BatchSettings;
    }
    keeps {
        default_timeout_ms <= timeout_max_ms;
        admission_in_flight_min <= in_flight_requests_max;
    }
}

impl GatewaySettings {
    /// Whether the gateway is called over TLS, and not without.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        !self.tls.certificate_file.is_empty()
    }

    /// A call whose metadata is too large is answered, and for that it has to be read.
    pub(crate) fn connection(&self) -> ConnectionSettings {
        let readable = u32::try_from(self.metadata_bytes_max.saturating_mul(2)).unwrap_or(u32::MAX);
        ConnectionSettings {
            header_list_bytes_max: self.connection.header_list_bytes_max.max(readable),
            ..self.connection.clone()
        }
    }

    pub(crate) fn issuer_timeout(&self) -> Duration {
        Duration::from_millis(self.issuer_timeout_ms)
    }

    pub(crate) fn read_limits(&self) -> ReadLimits {
        ReadLimits {
            body_bytes: self.request_body_limit_bytes,
            timeout: Duration::from_millis(self.request_read_timeout_ms),
        }
    }

    pub(crate) fn shares(&self) -> Shares {
        let percent = Percent { peer: self.peer_share_percent, connection: self.connection_share_percent };
        Shares::new(|resource| match resource {
            Resource::Arriving => Limit::new(self.requests_arriving_max, 1, percent),
            Resource::RequestBytes => {
                Limit::new(self.request_bytes_in_flight_max, self.request_body_limit_bytes, percent)
            }
            Resource::Calls => Limit::new(self.in_flight_requests_max, 1, percent),
            Resource::Streams => Limit::new(self.streams_max, 1, percent),
            Resource::AnswerBytes => Limit::new(self.answer_bytes_unread_max, self.answer_bytes_max, percent),
        })
    }

    pub(crate) fn admission(&self) -> AdmissionSettings {
        AdmissionSettings {
            in_flight_min: self.admission_in_flight_min.min(self.in_flight_requests_max),
            in_flight_max: self.in_flight_requests_max,
            caller_in_flight_min: self.admission_caller_in_flight_min,
            wait_max: Duration::from_millis(self.admission_wait_max_ms),
            latency_target: Duration::from_millis(self.admission_latency_target_ms),
            window: Duration::from_millis(self.admission_window_ms),
        }
    }
}
