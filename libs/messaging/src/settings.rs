//! Settings of messaging: every queue, batch, wait and retry has its bound here.

use openorder_config::settings;

settings! {
    /// Kafka, shared by all roles of a process.
    pub struct KafkaSettings {
        /// Comma-separated `host:port` of the brokers to begin with.
        brokers: String = "127.0.0.1:19092";
        /// Put before the name of every topic, group and transactional id, so that deployments can share a cluster.
        topic_prefix: String = "";
        /// Whether missing topics are created at start.
        create_topics: bool = true;
        /// How long the creation of topics may take before it is tried again, in milliseconds.
        admin_timeout_ms: u64 = 5_000, 100..=60_000;
        /// Partitions of a topic that is created; the most instances that can share a service's work.
        partitions: i32 = 6, 1..=1_000;
        /// Replicas of a topic that is created.
        replication_factor: i32 = 1, 1..=7;
        /// Compression of published batches: none, gzip, snappy, lz4 or zstd.
        compression: String = "none";
        /// How long a consumer may be silent before its partitions are given to others.
        session_timeout_ms: u64 = 10_000, 1_000..=300_000;
        /// How long a consumer may work on one batch before it counts as stuck.
        poll_interval_max_ms: u64 = 300_000, 10_000..=3_600_000;
        /// How long the broker may hold a fetch that finds nothing.
        fetch_wait_max_ms: u64 = 20, 1..=5_000;
        /// Messages fetched ahead of the work, per partition.
        prefetch_messages_max: u64 = 10_000, 1..=1_000_000;
        /// Kibibytes fetched ahead of the work, per consumer.
        prefetch_kib_max: u64 = 32_768, 64..=1_048_576;
        /// How long a relay's Kafka transaction may stay open before the broker aborts it.
        transaction_timeout_ms: u64 = 30_000, 1_000..=900_000;
        /// Name of this instance for static group membership; empty for dynamic. Stable across restarts, unique in a group.
        group_instance_id: String = "";
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
        /// How often the database is probed for readiness.
        probe_interval_ms: u64 = 2_000, 100..=60_000;
        /// Old rows are deleted once in so many probes.
        prune_every_probes: u64 = 300, 1..=100_000;
        /// How long the ids of handled events are kept; longer than the topics keep the events.
        inbox_retention_hours: i32 = 720, 1..=87_600;
        /// How long the result of a command is kept under its request id.
        request_retention_hours: i32 = 72, 1..=87_600;
    }
}

settings! {
    /// Group commit for gRPC callers.
    pub struct CommitterSettings {
        /// Commands that may wait; more are refused with RetryInfo.
        queue_max: usize = 8_192, 1..=1_000_000;
        /// Commands in one transaction at most.
        batch_max: usize = 1_000, 1..=10_000;
        /// Wait for more commands when several callers are about; 0 for none.
        linger_ms: u64 = 2, 0..=1_000;
        /// Commands in a batch from which several callers count as being about.
        linger_batch_min: usize = 8, 1..=10_000;
        /// Further tries of a batch after a deadlock or a serialization failure.
        tries_max: u32 = 5, 0..=100;
        /// What a refused caller is told to wait.
        retry_after_ms: u64 = 1_000, 1..=60_000;
        /// How long a command may take when its caller sets no deadline.
        deadline_default_ms: u64 = 10_000, 10..=600_000;
    }
}

settings! {
    /// Batches from Kafka.
    pub struct ConsumerSettings {
        /// Messages in one transaction at most.
        batch_max: usize = 1_000, 1..=10_000;
        /// Wait for more messages once one is there.
        linger_ms: u64 = 2, 0..=1_000;
        /// Further tries of a batch at once, after a deadlock or a serialization failure.
        immediate_tries_max: u32 = 3, 0..=100;
        /// Attempts of a failing message, the first one included; then its key is stopped.
        attempts_max: i32 = 8, 1..=1_000;
        /// Whether a permanent fault stops its key at once, without further attempts.
        stop_at_permanent: bool = false;
        /// Ceiling of the first wait of a parked message; doubled with each attempt, with full jitter.
        retry_delay_base_ms: u64 = 500, 1..=3_600_000;
        /// Ceiling of the longest wait of a parked message.
        retry_delay_max_ms: u64 = 60_000, 1..=86_400_000;
        /// How often parked messages are looked for.
        retry_poll_interval_ms: u64 = 250, 10..=60_000;
        /// Messages that may be parked; beyond, the partitions wait.
        parked_messages_max: i64 = 100_000, 1..=100_000_000;
        /// Longest wait between two tries of a batch during an outage.
        outage_delay_max_ms: u64 = 2_000, 10..=60_000;
        /// How often the lag of the partitions is told.
        lag_interval_ms: u64 = 5_000, 100..=600_000;
    }
}

settings! {
    /// Publishing of the event log.
    pub struct RelaySettings {
        /// Events in one Kafka transaction at most.
        batch_max: i64 = 2_000, 1..=50_000;
        /// Wait after a wake-up for more events.
        linger_ms: u64 = 1, 0..=1_000;
        /// How often the log is looked at when nobody wakes the relay.
        poll_interval_ms: u64 = 200, 1..=60_000;
        /// How often a standby tries to take over, and the longest pause after a failure.
        takeover_interval_ms: u64 = 1_000, 10..=60_000;
        /// How long the fencing of an earlier relay may take.
        init_timeout_ms: u64 = 10_000, 1_000..=300_000;
        /// How long the publishing of one batch may take.
        publish_timeout_ms: u64 = 30_000, 100..=300_000;
    }
}

impl KafkaSettings {
    /// The full name of a topic, group or transactional id.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }
}
