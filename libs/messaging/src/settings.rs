//! Settings of messaging: every queue, batch, wait and retry has its bound here.

use openorder_config::{Secret, choices, settings};

use crate::linger::Linger;

choices! {
    /// What becomes of a message whose type a service does not know.
    pub enum UnknownTypes {
        /// It is passed over: counted, logged, and handled by nobody.
        Skip = "skip",
        /// It is a dead letter, and its key waits for an operator.
        Park = "park",
        /// It stops the partitions until a version runs that knows it.
        Fail = "fail",
    }
}

settings! {
    /// Kafka, shared by all roles of a process.
    pub struct KafkaSettings {
        /// Comma-separated `host:port` of the brokers to begin with.
        brokers: String = "127.0.0.1:19092";
        /// How brokers are reached: plaintext, ssl, sasl_plaintext or sasl_ssl. Those with ssl need a program that was built
        /// with the feature kafka-tls.
        security_protocol: String = "plaintext";
        /// How this process signs in at the brokers: plain, scram-sha-256 or scram-sha-512 (with the feature kafka-tls);
        /// empty where it does not.
        sasl_mechanism: String = "";
        /// Account at the brokers.
        sasl_username: String = "";
        /// Password of the account. With sasl_plaintext and plain it is sent in the clear.
        sasl_password: Secret = "";
        /// PEM file of the authorities that the brokers' certificates are signed by; empty: those of the system.
        tls_ca_file: String = "";
        /// PEM file of this process' own certificate, where brokers ask for one.
        tls_certificate_file: String = "";
        /// PEM file of the key of that certificate, without a passphrase.
        tls_key_file: String = "";
        /// Whether a broker's certificate has to name the host that was connected to. Only a test turns this off.
        tls_verify_hostname: bool = true;
        /// Put before the name of every topic and group, so that deployments can share a cluster.
        topic_prefix: String = "";
        /// Whether missing topics are created at start.
        create_topics: bool = true;
        /// How long the creation of topics may take before it is tried again, in milliseconds.
        admin_timeout_ms: u64 = 5_000, 100..=60_000;
        /// Partitions of a topic that is created; the most instances that can share a service's work. Each costs a request of
        /// every batch that is published.
        partitions: i32 = 3, 1..=1_000;
        /// Replicas of a topic that is created.
        replication_factor: i32 = 1, 1..=7;
        /// Compression of published batches: none, gzip, snappy, lz4 or zstd.
        compression: String = "lz4";
        /// How long a consumer may be silent before its partitions are given to others.
        session_timeout_ms: u64 = 10_000, 1_000..=300_000;
        /// How long a consumer may work on one batch before it counts as stuck.
        poll_interval_max_ms: u64 = 300_000, 10_000..=3_600_000;
        /// How long the broker may hold a fetch that finds nothing.
        fetch_wait_max_ms: u64 = 100, 1..=5_000;
        /// How often a group's offsets are committed; after a crash, so much comes again and is dropped by the inbox.
        offset_commit_interval_ms: u64 = 200, 1..=60_000;
        /// Messages fetched ahead of the work, per partition.
        prefetch_messages_max: u64 = 10_000, 1..=1_000_000;
        /// Kibibytes fetched ahead of the work, per consumer.
        prefetch_kib_max: u64 = 32_768, 64..=1_048_576;
        /// How often a client that hears nothing is asked whether it still reaches a broker.
        client_check_interval_ms: u64 = 10_000, 100..=600_000;
        /// How long a client may go without an answer while a new one gets one; then it is replaced.
        client_doubt_max_ms: u64 = 10_000, 100..=600_000;
        /// How long the end of a role waits for its clients to leave their groups; longer than that, they are left behind.
        client_close_timeout_ms: u64 = 3_000, 100..=60_000;
        /// How long the lag of the groups may take to be told; an error that passes within it is passed over.
        lag_timeout_ms: u64 = 7_000, 500..=60_000;
        /// Clients of a process that may be closing, those that never end it included; beyond, no silent one is replaced.
        closing_clients_max: usize = 64, 1..=10_000;
        /// Name of this instance for static group membership; empty for dynamic. Stable across restarts, unique in a group.
        group_instance_id: String = "";
    }
    keeps {
        session_timeout_ms <= poll_interval_max_ms;
    }
}

settings! {
    /// Use of a service's own PostgreSQL database.
    pub struct DatabaseSettings {
        /// Whether a missing database is created at start.
        create_if_missing: bool = true;
        /// Connections held at most.
        connections_max: u32 = 16, 4..=500;
        /// How long to wait for a free connection.
        acquire_timeout_ms: u64 = 5_000, 100..=60_000;
        /// How long one statement may run.
        statement_timeout_ms: u64 = 30_000, 100..=600_000;
        /// How long one statement of a list may run: a caller's list gives way before commands do.
        read_statement_timeout_ms: u64 = 5_000, 10..=600_000;
        /// How many queries for single rows of one kind run at a time; what is asked for meanwhile shares the next one.
        shared_reads_max: u32 = 2, 1..=100;
        /// How many rows such a query asks for at most.
        shared_read_keys_max: u32 = 500, 1..=10_000;
        /// How long a transaction may stand still before the server ends it: an instance that hangs keeps no other waiting.
        transaction_idle_max_ms: u64 = 10_000, 1_000..=600_000;
        /// How often the database is probed for readiness.
        probe_interval_ms: u64 = 2_000, 100..=60_000;
        /// Old rows are deleted once in so many probes.
        prune_every_probes: u64 = 300, 1..=100_000;
        /// How long the ids of handled events are kept; longer than the topics keep the events.
        inbox_retention_hours: u32 = 720, 1..=87_600;
        /// How long discarded and replayed dead letters are kept in the history.
        dead_letter_history_hours: u32 = 2_160, 1..=87_600;
        /// How long events are kept in the log, days; 0: for ever. Longer than any backup that a service may be restored
        /// from, and than any time that a group may have to be given again.
        event_log_retention_days: u32 = 0, 0..=36_500;
        /// For how long after a page of the log was read for a replay nothing of the log is pruned.
        event_log_reader_lease_ms: u64 = 300_000, 60_000..=3_600_000;
        /// How long the result of a command is kept under its request id.
        request_retention_hours: u32 = 72, 1..=87_600;
    }
}

settings! {
    /// Group commit for gRPC callers.
    pub struct CommitterSettings {
        /// Commands that may wait; more are refused with RetryInfo.
        queue_max: usize = 8_192, 1..=1_000_000;
        /// Commands in one transaction at most.
        batch_max: usize = 1_000, 1..=10_000;
        /// Batches that are in transactions at the same time: while one is on its way to disk, the next one is executed.
        batches_at_once: usize = 2, 1..=8;
        /// Longest wait for more commands while several callers are about and another batch is being committed; 0 for none.
        linger_ms: u64 = 4, 0..=1_000;
        /// While several callers are about, a batch begins so long after the last one at the earliest, or when as many
        /// commands wait as were there at a time lately; 0 for no wait.
        linger_min_ms: u64 = 10, 0..=1_000;
        /// Commands in a batch from which several callers count as being about.
        linger_batch_min: usize = 2, 1..=10_000;
        /// Further tries of a batch after a deadlock or a serialization failure.
        tries_max: u32 = 5, 0..=100;
        /// What a refused caller is told to wait.
        retry_after_ms: u64 = 1_000, 1..=60_000;
        /// How long a command may take when its caller sets no deadline.
        deadline_default_ms: u64 = 10_000, 10..=600_000;
    }
    keeps {
        batch_max <= queue_max;
        linger_batch_min <= batch_max;
    }
}

settings! {
    /// Batches from Kafka.
    pub struct ConsumerSettings {
        /// Messages in one transaction at most.
        batch_max: usize = 1_000, 1..=10_000;
        /// Longest wait for more messages once one is there. When many come, it is as long as the last batch took; 0 for
        /// none.
        linger_ms: u64 = 60, 0..=1_000;
        /// Shortest wait while many come, within `linger_ms`: cheaper batches would else only become more batches.
        linger_min_ms: u64 = 15, 0..=1_000;
        /// Messages in a batch from which many count as coming.
        linger_batch_min: usize = 4, 1..=10_000;
        /// Further tries of a failing message at once, before it is parked. (A batch is tried once more, then split.)
        immediate_tries_max: u32 = 3, 0..=100;
        /// Attempts of a failing message, the first one included; then it is dead, and its key waits for an operator.
        attempts_max: i32 = 8, 1..=1_000;
        /// Failed attempts of a message that are kept on record, the last ones.
        attempts_recorded_max: i32 = 20, 1..=1_000;
        /// Ceiling of the first wait of a parked message; doubled with each attempt, with full jitter.
        retry_delay_base_ms: u64 = 500, 1..=3_600_000;
        /// Ceiling of the longest wait of a parked message.
        retry_delay_max_ms: u64 = 60_000, 1..=86_400_000;
        /// How often parked messages are looked for.
        retry_poll_interval_ms: u64 = 250, 10..=60_000;
        /// Parked messages tried in one transaction at most.
        retry_batch_max: i64 = 500, 1..=10_000;
        /// Messages that may be parked to be tried again; beyond, the partitions wait. As many again may be dead or wait
        /// behind a dead one; beyond, dead ones stand on their topic alone, and no partition waits.
        parked_messages_max: i64 = 100_000, 1..=100_000_000;
        /// What becomes of a message of an unknown type: skip (passed over, counted, logged), park (a dead letter) or fail
        /// (the partitions wait for a version that knows it).
        unknown_types: UnknownTypes = UnknownTypes::Skip;
        /// How often dead letters are looked for that are to be published to their topic.
        dead_letter_poll_interval_ms: u64 = 500, 10..=60_000;
        /// Dead letters published together at most.
        dead_letter_batch_max: i64 = 200, 1..=10_000;
        /// How long the publishing of dead letters may take before it is tried again.
        dead_letter_publish_timeout_ms: u64 = 10_000, 100..=300_000;
        /// How often a running replay releases dead letters.
        replay_interval_ms: u64 = 200, 10..=10_000;
        /// A batch that takes longer than this is worked on with its partitions paused, so that the group goes on being polled.
        slow_batch_ms: u64 = 1_000, 10..=60_000;
        /// How often a batch may run into the database's time limits before it is searched for a message at which alone it
        /// does. Nothing of it is counted as an attempt.
        timeouts_before_search: u32 = 3, 1..=1_000;
        /// Longest wait between two tries of a batch during an outage.
        outage_delay_max_ms: u64 = 2_000, 10..=60_000;
        /// How often the lag of the partitions is told.
        lag_interval_ms: u64 = 5_000, 100..=600_000;
    }
    keeps {
        linger_batch_min <= batch_max;
        retry_delay_base_ms <= retry_delay_max_ms;
    }
}

settings! {
    /// Publishing of the event log.
    pub struct RelaySettings {
        /// Events published at a time at most.
        batch_max: i64 = 2_000, 1..=50_000;
        /// Longest wait for more events before the log is read. When many come, it is as long as the last batch took; 0
        /// for none.
        linger_ms: u64 = 60, 0..=1_000;
        /// Shortest wait while many come, within `linger_ms`: cheaper batches would else only become more batches.
        linger_min_ms: u64 = 15, 0..=1_000;
        /// Events published at a time from which many count as coming.
        linger_batch_min: usize = 4, 1..=10_000;
        /// Events that the relay's own process has committed and that wait for it in memory at most; what is more, and
        /// what other instances wrote, is read from the log.
        handoff_events_max: usize = 20_000, 0..=1_000_000;
        /// How often the log is looked at when nobody wakes the relay.
        poll_interval_ms: u64 = 200, 1..=60_000;
        /// How often the place up to which events are published is written to the database while it moves; 0: after each
        /// batch. After a crash, what was published since is published again. The instances that do not publish see
        /// the backlog as it was at the last writing.
        cursor_interval_ms: u64 = 200, 0..=5_000;
        /// How often a standby tries to take over, and the longest pause after a failure.
        takeover_interval_ms: u64 = 1_000, 10..=60_000;
        /// Events that are published once more by a relay that becomes active, for a broker that lost the last of what it had acknowledged.
        republish_events: i64 = 2_000, 0..=1_000_000;
        /// After how long a relay that stands still loses its place to a standby.
        lease_ms: u64 = 15_000, 1_000..=600_000;
        /// How long the broker may take to answer a relay that becomes active.
        connect_timeout_ms: u64 = 10_000, 1_000..=300_000;
        /// How long the publishing of one batch may take.
        publish_timeout_ms: u64 = 30_000, 100..=300_000;
    }
}

impl ConsumerSettings {
    pub(crate) fn linger(&self) -> Linger {
        Linger {
            batch_min: self.linger_batch_min,
            batch_max: self.batch_max,
            min_ms: self.linger_min_ms,
            max_ms: self.linger_ms,
        }
    }
}

impl RelaySettings {
    pub(crate) fn linger(&self) -> Linger {
        let batch_max = usize::try_from(self.batch_max).unwrap_or(usize::MAX);
        Linger { batch_min: self.linger_batch_min, batch_max, min_ms: self.linger_min_ms, max_ms: self.linger_ms }
    }
}

impl KafkaSettings {
    /// The full name of a topic or group.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }
    /// A topic's or group's name without the deployment's prefix.
    pub(crate) fn short<'a>(&self, name: &'a str) -> &'a str {
        name.strip_prefix(&self.topic_prefix).unwrap_or(name)
    }
}
