//! Settings of the notification service.

use openorder_config::{Secret, choices, settings};
use openorder_service::service_settings;

use crate::domain::{Handover, Handovers};

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
    /// How text messages, or messages to the customer's app, leave.
    pub enum HttpTransport {
        /// They do not: the message is kept in the history, and nothing leaves the machine.
        Record = "record",
        /// By a provider's HTTP interface.
        Http = "http",
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
        /// Password to log in with. Nobody logs in over a connection without TLS, except on this machine.
        password: Secret = "";
        /// File of certificates (PEM) to trust beside the system's own; empty: none.
        ca_certificate_file: String = "";
        /// Whom the mail is from.
        from: String = "OpenOrder <orders@openorder.example>";
        /// How long connecting may take, and how long handing over a message may take, in milliseconds each.
        timeout_ms: u64 = 30_000, 100..=600_000;
        /// Connections kept open at most.
        connections_max: u32 = 4, 1..=100;
    }
}

settings! {
    /// A provider of text messages or of messages to apps, reached by HTTP: each message is one POST of JSON, described
    /// in docs/notifications.md.
    pub struct HttpProviderSettings {
        /// Where messages are posted to, https; http only on this machine.
        url: String = "";
        /// Sent as "Authorization: Bearer …"; empty: not sent.
        bearer_token: Secret = "";
        /// File of certificates (PEM) to trust beside the system's own; empty: none.
        ca_certificate_file: String = "";
        /// How long connecting may take, in milliseconds.
        connect_timeout_ms: u64 = 3_000, 10..=60_000;
        /// How long a request may take, from connecting to the end of the answer, in milliseconds.
        timeout_ms: u64 = 10_000, 100..=300_000;
        /// How much of an answer is read, in bytes.
        response_max_bytes: usize = 4_096, 0..=1_048_576;
        /// Longest wait that the provider may ask for (Retry-After), in milliseconds.
        retry_after_max_ms: u64 = 3_600_000, 0..=86_400_000;
    }
}

settings! {
    /// The workers that hand requested notifications over, one for each channel that leaves the machine.
    pub struct DeliverySettings {
        /// Notifications taken at once.
        batch_max: i64 = 50, 1..=1_000;
        /// Notifications of a channel being sent at the same time.
        concurrency: usize = 4, 1..=100;
        /// How often a worker looks for work when it has none, in milliseconds.
        poll_interval_ms: u64 = 500, 10..=60_000;
        /// How long a notification belongs to the worker that took it, in milliseconds; longer than handing one over
        /// can take. What cannot be begun in time is given back.
        lease_ms: u64 = 120_000, 1_000..=3_600_000;
        /// How long it is remembered that a message was handed over, in milliseconds, for a worker that finds it
        /// unrecorded; longer than the lease.
        sent_memory_ms: u64 = 86_400_000, 1_000..=604_800_000;
        /// Attempts of a notification; then it has failed.
        attempts_max: i32 = 8, 1..=100;
        /// Ceiling of the first wait between two attempts, in milliseconds; doubled each time, with jitter.
        retry_delay_base_ms: u64 = 5_000, 1..=3_600_000;
        /// Ceiling of the longest wait between two attempts, in milliseconds.
        retry_delay_max_ms: u64 = 900_000, 1..=86_400_000;
        /// How long a notification may wait to be sent, in milliseconds; later it would be no news, and has failed.
        expire_after_ms: u64 = 259_200_000, 1_000..=2_592_000_000;
        /// Failures of a provider in a row, of whichever messages, that open its circuit breaker.
        breaker_failures_max: u32 = 5, 1..=1_000;
        /// How long an open breaker stays open at first, in milliseconds; doubled each time that it opens again.
        breaker_open_base_ms: u64 = 1_000, 10..=600_000;
        /// How long an open breaker stays open at most, in milliseconds.
        breaker_open_max_ms: u64 = 60_000, 10..=3_600_000;
        /// Longest pause while Redis or the database is away, in milliseconds.
        outage_delay_max_ms: u64 = 10_000, 10..=600_000;
        /// How often it is counted how many notifications wait, in milliseconds.
        backlog_interval_ms: u64 = 10_000, 100..=600_000;
        /// How far it is counted.
        backlog_count_max: i64 = 100_000, 1..=10_000_000;
    }
    keeps {
        lease_ms <= sent_memory_ms;
        retry_delay_base_ms <= retry_delay_max_ms;
        breaker_open_base_ms <= breaker_open_max_ms;
    }
}

service_settings! {
    /// Notification service.
    pub struct NotificationSettings(8105, "notification", consumer) {
        /// How mail leaves: record (it is kept in the history only) or smtp. What smtp has requested and not sent
        /// when the transport is changed to record waits until smtp is back.
        email_transport: EmailTransport = EmailTransport::Record;
        /// How text messages leave: record (they are kept in the history only) or http.
        sms_transport: HttpTransport = HttpTransport::Record;
        /// How messages to the customer's app leave: record (they are kept in the history only) or http.
        push_transport: HttpTransport = HttpTransport::Record;
        /// The SMTP server; used with email_transport = smtp alone.
        smtp: SmtpSettings;
        /// The provider of text messages; used with sms_transport = http alone.
        sms: HttpProviderSettings;
        /// The provider of messages to apps; used with push_transport = http alone.
        push: HttpProviderSettings;
        /// The delivery workers; used where a transport is another than record.
        delivery: DeliverySettings;
        /// Redis, where a worker claims what it is about to send; used where a transport is another than record.
        redis_url: Secret = "redis://127.0.0.1:16379";
    }
}

impl NotificationSettings {
    /// When the messages of each channel leave.
    pub(crate) fn handovers(&self) -> Handovers {
        let http = |transport| match transport {
            HttpTransport::Record => Handover::AtOnce,
            HttpTransport::Http => Handover::ByWorker,
        };
        let email = match self.email_transport {
            EmailTransport::Record => Handover::AtOnce,
            EmailTransport::Smtp => Handover::ByWorker,
        };
        Handovers { email, sms: http(self.sms_transport), push: http(self.push_transport) }
    }
}
