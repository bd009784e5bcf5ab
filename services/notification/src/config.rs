//! Settings of the notification service.

use openorder_config::{Secret, choices, settings};
use openorder_messaging::{CommitterSettings, ConsumerSettings, DatabaseSettings, RelaySettings};
use openorder_rpc::RpcServerSettings;

choices! {
    /// How mail leaves.
    pub enum EmailTransport {
        /// It does not: the message is kept in the history, and nothing leaves the machine.
        Record = "record",
        /// By SMTP.
        Smtp = "smtp",
    }
}

choices! {
    /// How the connection to the SMTP server is protected.
    pub enum SmtpSecurity {
        /// Not at all: for a server on the same machine.
        None = "none",
        /// Plain at first, then TLS (RFC 3207); without it nothing is sent.
        Starttls = "starttls",
        /// TLS from the beginning (RFC 8314).
        Tls = "tls",
    }
}

settings! {
    /// The SMTP server that takes mail.
    pub struct SmtpSettings {
        /// Name or address of the server.
        host: String = "127.0.0.1";
        /// Its port.
        port: u16 = 25, 1..=65_535;
        /// How the connection is protected: none, starttls or tls.
        security: SmtpSecurity = SmtpSecurity::Starttls;
        /// Name to log in with; empty: nobody logs in.
        username: String = "";
        /// Password to log in with.
        password: Secret = "";
        /// Whom the mail is from.
        from: String = "OpenOrder <orders@openorder.example>";
        /// How long one command of the protocol may take, in milliseconds.
        timeout_ms: u64 = 30_000, 100..=600_000;
        /// Connections kept open at most.
        connections_max: u32 = 4, 1..=100;
    }
}

settings! {
    /// The worker that hands requested notifications over.
    pub struct DeliverySettings {
        /// Notifications taken at once.
        batch_max: i64 = 50, 1..=1_000;
        /// Notifications being sent at the same time.
        concurrency: usize = 4, 1..=100;
        /// How often the worker looks for work when it has none, in milliseconds.
        poll_interval_ms: u64 = 500, 10..=60_000;
        /// How long a notification belongs to the worker that took it, in milliseconds; longer than sending a whole
        /// batch takes.
        lease_ms: u64 = 600_000, 1_000..=3_600_000;
        /// How long it is remembered that a message was handed over, in milliseconds, for a worker that finds it
        /// unrecorded; longer than the lease.
        sent_memory_ms: u64 = 86_400_000, 1_000..=604_800_000;
        /// Attempts of a notification; then it has failed.
        attempts_max: i32 = 8, 1..=100;
        /// Ceiling of the first wait between two attempts, in milliseconds; doubled each time, with jitter.
        retry_delay_base_ms: u64 = 5_000, 1..=3_600_000;
        /// Ceiling of the longest wait between two attempts, in milliseconds.
        retry_delay_max_ms: u64 = 900_000, 1..=86_400_000;
        /// Longest pause while Redis or the mail server is away, in milliseconds.
        outage_delay_max_ms: u64 = 10_000, 10..=600_000;
    }
}

settings! {
    /// Notification service.
    pub struct NotificationSettings {
        /// Address that the gRPC server listens on.
        listen_address: String = "127.0.0.1:8105";
        /// How mail leaves: record (it is kept in the history only) or smtp. What smtp has requested and not sent
        /// when the transport is changed to record waits until smtp is back.
        email_transport: EmailTransport = EmailTransport::Record;
        /// The SMTP server; used with email_transport = smtp alone.
        smtp: SmtpSettings;
        /// The delivery worker; used with email_transport = smtp alone.
        delivery: DeliverySettings;
        /// Redis, where a worker claims what it is about to send; used with email_transport = smtp alone.
        redis_url: Secret = "redis://127.0.0.1:16379";
        /// URL of its own database, `postgres://user:password@host:port/database`.
        database_url: Secret = "postgres://postgres@127.0.0.1:15432/openorder_notification";
        /// Use of the database.
        database: DatabaseSettings;
        /// Group commit for gRPC callers.
        committer: CommitterSettings;
        /// Batches from Kafka.
        consumer: ConsumerSettings;
        /// Publishing of its events.
        relay: RelaySettings;
        /// Limits of the gRPC server.
        server: RpcServerSettings;
    }
}
