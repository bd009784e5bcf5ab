//! What an operator may say about servers and clients.

/// Settings of the connections that a server takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Connections at a time; more wait in the listen queue.
    pub connections_max: usize,
    /// Concurrent calls on one connection; a client's further calls wait on its side.
    pub streams_per_connection_max: u32,
    /// After how long without a sign of life a client is pinged, in milliseconds.
    pub keepalive_interval_ms: u64,
    /// How long the answer to a ping may take before the connection is cut, in milliseconds.
    pub keepalive_timeout_ms: u64,
    /// How long calls in flight may take at shutdown before they are cut, in milliseconds.
    pub drain_timeout_ms: u64,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            streams_per_connection_max: 4_096,
            keepalive_interval_ms: 20_000,
            keepalive_timeout_ms: 10_000,
            drain_timeout_ms: 10_000,
        }
    }
}

/// Settings of a service's gRPC server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcServerSettings {
    /// Largest request in bytes, all messages of a call together.
    pub request_body_limit_bytes: usize,
    /// Calls at a time, over all connections; more are refused at once.
    pub in_flight_requests_max: usize,
    /// The time of a call whose caller gives none, in milliseconds. It ends with the first answer of a stream.
    pub default_timeout_ms: u64,
    /// Connections.
    pub connection: ConnectionSettings,
}

impl Default for RpcServerSettings {
    fn default() -> Self {
        Self {
            request_body_limit_bytes: 2 * 1_024 * 1_024,
            in_flight_requests_max: 8_192,
            default_timeout_ms: 30_000,
            connection: ConnectionSettings::default(),
        }
    }
}

/// Settings of the calls to one other service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcClientSettings {
    /// Connections, used in turn.
    pub connections: usize,
    /// How long connecting may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The time of a call whose caller gives none, in milliseconds.
    pub default_timeout_ms: u64,
    /// Attempts of one call, the first included.
    pub attempts_max: u32,
    /// The shortest pause before another attempt, in milliseconds.
    pub backoff_min_ms: u64,
    /// The longest pause before another attempt, in milliseconds.
    pub backoff_max_ms: u64,
    /// Further attempts that are allowed for each hundred calls.
    pub retry_percent: u32,
    /// Further attempts a second that are always allowed.
    pub retries_per_second_min: u32,
    /// Time between two pings that test the connection, in milliseconds.
    pub keepalive_interval_ms: u64,
    /// How long the answer to a ping may take before the connection counts as broken, in milliseconds.
    pub keepalive_timeout_ms: u64,
}

impl Default for RpcClientSettings {
    fn default() -> Self {
        Self {
            connections: 1,
            connect_timeout_ms: 1_000,
            default_timeout_ms: 5_000,
            attempts_max: 4,
            backoff_min_ms: 50,
            backoff_max_ms: 1_000,
            retry_percent: 20,
            retries_per_second_min: 10,
            keepalive_interval_ms: 20_000,
            keepalive_timeout_ms: 10_000,
        }
    }
}
