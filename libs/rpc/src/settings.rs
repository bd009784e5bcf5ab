//! What an operator may say about servers and clients.

use openorder_config::{Value, settings, value::Raw};

/// What becomes of the trace that a caller says its call belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncomingTrace {
    /// The call has a trace of its own, by our own rule of sampling, whose first span links to the caller's.
    #[default]
    Link,
    /// The call goes on in the caller's trace, and the caller decides whether it is recorded.
    Trust,
    /// The call has a trace of its own.
    Ignore,
}

impl Value for IncomingTrace {
    type Given = Self;

    fn given(default: Self) -> Self {
        default
    }

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) if text == "link" => Some(Self::Link),
            Raw::Text(text) if text == "trust" => Some(Self::Trust),
            Raw::Text(text) if text == "ignore" => Some(Self::Ignore),
            _ => None,
        }
    }

    fn allowed() -> String {
        "link, trust or ignore".to_owned()
    }

    fn shown(&self) -> String {
        match self {
            Self::Link => "link",
            Self::Trust => "trust",
            Self::Ignore => "ignore",
        }
        .to_owned()
    }
}

settings! {
    /// Settings of the connections that a server takes.
    pub struct ConnectionSettings {
        /// Connections at a time. For one more, the one that has been without a call for the longest time gives way; it
        /// is refused only when all have calls.
        connections_max: usize = 1_024, 1..=100_000;
        /// Connections of one peer at a time, in percent of them; above, its own longest idle one gives way. A peer is an
        /// IPv4 address or an IPv6 network of 64 bits; all callers behind one proxy are one.
        peer_share_percent: usize = 90, 1..=100;
        /// How long a client may take to begin, in milliseconds: with HTTP/2's preface and settings, or at the gateway with
        /// the first bytes of a request over HTTP/1.1; the handshake of TLS included.
        handshake_timeout_ms: u64 = 5_000, 1..=600_000;
        /// How long a client of HTTP/1.1, which the gateway alone takes, may take from one answer to the whole head of its
        /// next request, in milliseconds.
        http1_request_timeout_ms: u64 = 60_000, 1..=3_600_000;
        /// How long a client of HTTP/1.1 that was answered before its request had come may go on sending it, in
        /// milliseconds: what comes is read and dropped. Closed at once, its connection would be reset, and the answer lost.
        http1_linger_timeout_ms: u64 = 5_000, 0..=600_000;
        /// Bytes of such a request that are read and dropped.
        http1_linger_bytes_max: usize = 16_777_216, 0..=1_073_741_824;
        /// After how long without a call a connection is ended, in milliseconds. Pings are no calls.
        idle_timeout_ms: u64 = 300_000, 1..=86_400_000;
        /// Concurrent calls on one connection; a client's further calls wait on its side.
        streams_per_connection_max: u32 = 4_096, 1..=100_000;
        /// Calls of one connection that are cancelled before they are taken up; a client with more is cut off.
        cancelled_early_max: usize = 256, 1..=100_000;
        /// Headers of one call in bytes, each counted with 32 more (RFC 9113, section 6.5.2). Whoever sends more is
        /// answered 431, and far more ends the connection.
        header_list_bytes_max: u32 = 131_072, 8_192..=16_777_216;
        /// After how long without a sign of life a client is pinged, in milliseconds.
        keepalive_interval_ms: u64 = 20_000, 100..=3_600_000;
        /// How long the answer to a ping may take before the connection is cut, in milliseconds.
        keepalive_timeout_ms: u64 = 10_000, 100..=600_000;
        /// How long calls in flight may take at shutdown before they are cut, in milliseconds.
        drain_timeout_ms: u64 = 10_000, 0..=600_000;
    }
}

settings! {
    /// TLS of a port.
    pub struct TlsServerSettings {
        /// Certificate that the port shows, and behind it those that lead to its authority, in a PEM file. Empty: the port
        /// speaks plain text.
        certificate_file: String = "";
        /// The certificate's private key, in a PEM file.
        private_key_file: String = "";
        /// How often both files are looked at, in milliseconds. New connections are shown what stands there; what cannot be
        /// used leaves the last certificate in its place.
        reload_interval_ms: u64 = 10_000, 10..=86_400_000;
        /// Certificates that the commands of this program trust when they call this port, in a PEM file. Empty: those of the
        /// system. No server uses it.
        ca_file: String = "";
    }
}

settings! {
    /// TLS between the roles, with certificates on both sides. `{role}` in a file's name stands for the name of the role.
    pub struct RolesTlsSettings {
        /// Certificate of the role, which names it as `spiffe://openorder/role/NAME`, and behind it those that lead to its
        /// authority, in a PEM file: shown to the services that it calls and, by a service, to whoever calls it. Empty: calls
        /// between roles are in the clear, and services listen on loopback alone.
        certificate_file: String = "";
        /// The certificate's private key, in a PEM file.
        private_key_file: String = "";
        /// Certificates of the authorities that are believed when another role shows its own, in a PEM file.
        ca_file: String = "";
        /// How often the files are looked at, in milliseconds. New connections are made with what stands there; what cannot be
        /// used leaves what was there before in its place.
        reload_interval_ms: u64 = 10_000, 10..=86_400_000;
    }
}

settings! {
    /// Calls that travel together: those that are ready at the same time as one message, and so their answers.
    pub struct BatchSettings {
        /// Whether calls travel together. Where one of both ends says no, each call goes by itself.
        enabled: bool = true;
        /// Calls, or answers, in one message.
        calls_max: usize = 256, 1..=1_024;
        /// Bytes of one message. A larger call goes by itself, a larger answer comes in parts.
        bytes_max: usize = 65_536, 16_384..=1_048_576;
        /// Calls at a time over one connection; further ones go by themselves.
        in_flight_max: usize = 4_096, 1..=100_000;
    }
}

settings! {
    /// Settings of a service's gRPC server.
    pub struct RpcServerSettings {
        /// Largest request in bytes, all messages of a call together.
        request_body_limit_bytes: usize = 2 * 1_024 * 1_024, 1_024..=67_108_864;
        /// Calls at a time, over all connections; more are refused at once.
        in_flight_requests_max: usize = 8_192, 1..=1_000_000;
        /// Health checks at a time; they count against no other bound.
        health_checks_max: usize = 256, 1..=1_000_000;
        /// The time of a call whose caller gives none, in milliseconds. It ends with the first answer of a stream.
        default_timeout_ms: u64 = 30_000, 1..=600_000;
        /// Calls that the gateway sends together.
        batch: BatchSettings;
        /// Connections.
        connection: ConnectionSettings;
    }
}

settings! {
    /// Settings of the calls to one other service.
    pub struct RpcClientSettings {
        /// Calls a service of its own process without a socket, with all else that surrounds a call.
        in_memory: bool = true;
        /// Connections to each address of the service, used in turn.
        connections: usize = 1, 1..=64;
        /// How often the service's name is resolved while it is called, in milliseconds; while one of its addresses is away,
        /// ten times as often. Calls are shared over all addresses that it has.
        resolve_interval_ms: u64 = 5_000, 100..=3_600_000;
        /// How long connecting may take, in milliseconds, and resolving.
        connect_timeout_ms: u64 = 1_000, 1..=60_000;
        /// The time of a call whose caller gives none, in milliseconds.
        default_timeout_ms: u64 = 5_000, 1..=600_000;
        /// Attempts of one call, the first included.
        attempts_max: u32 = 4, 1..=20;
        /// The shortest pause before another attempt, in milliseconds.
        backoff_min_ms: u64 = 50, 1..=60_000;
        /// The longest pause before another attempt, in milliseconds.
        backoff_max_ms: u64 = 1_000, 1..=60_000;
        /// Sends a call again that the service has no room for (RESOURCE_EXHAUSTED with a time to come again), until the
        /// call's deadline. Not for services that call in turn for others: these hear of the refusal at once.
        waits_for_room: bool = false;
        /// Further attempts that are allowed for each hundred calls.
        retry_percent: u32 = 20, 0..=100;
        /// Further attempts a second that are always allowed.
        retries_per_second_min: u32 = 10, 0..=10_000;
        /// Time between two pings that test the connection, in milliseconds.
        keepalive_interval_ms: u64 = 20_000, 100..=3_600_000;
        /// How long the answer to a ping may take before the connection counts as broken, in milliseconds.
        keepalive_timeout_ms: u64 = 10_000, 100..=600_000;
    }
    keeps {
        backoff_min_ms <= backoff_max_ms;
    }
}
