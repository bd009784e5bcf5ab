//! Settings of the history service.

use std::time::Duration;

use openorder_service::service_settings;

service_settings! {
    /// History service.
    pub struct HistorySettings(8110, "history", consumer, client) {
        /// How long GetOrderView waits for the version of an order that its caller knows of (min_version), in milliseconds.
        wait_max_ms: u64 = 2_000, 0..=60_000;
        /// How often a document that is waited for is looked at, in milliseconds.
        wait_poll_interval_ms: u64 = 50, 5..=10_000;
        /// What a caller is told to wait whose version did not come, in milliseconds.
        retry_after_ms: u64 = 1_000, 1..=60_000;
        /// Callers that may wait for a version at a time.
        waiters_max: usize = 1_000, 1..=1_000_000;
        /// Documents that are looked at for one page of a list at most: a page of a filter that few of them fit may be short.
        list_scan_max: i64 = 10_000, 501..=10_000_000;
        /// How often it is looked at up to when everything is in the documents (as_of), in milliseconds.
        freshness_interval_ms: u64 = 500, 50..=60_000;
        /// The services whose event logs a rebuild reads, with commas between: order, payment, shipping, notification. One
        /// that is not deployed must not be among them: a rebuild waits for it.
        rebuild_sources: String = "order,payment,shipping,notification";
        /// How often it is looked for a rebuild that was asked for, in milliseconds.
        rebuild_poll_interval_ms: u64 = 500, 10..=60_000;
        /// Longest pause of a rebuild while a service or the database is away, in milliseconds.
        rebuild_retry_max_ms: u64 = 30_000, 10..=600_000;
        /// How long a service may take to give a part of its log, in milliseconds.
        rebuild_call_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Events in one part of a log at most.
        rebuild_page_size: i32 = 1_000, 1..=1_000;
        /// Events that a rebuild reads a second at most: it is to leave room for the work.
        rebuild_events_per_second_max: u32 = 10_000, 1..=10_000_000;
    }
    keeps {
        rebuild_poll_interval_ms <= rebuild_retry_max_ms;
    }
}

impl HistorySettings {
    pub(crate) fn freshness_interval(&self) -> Duration {
        Duration::from_millis(self.freshness_interval_ms)
    }

    pub(crate) fn retry_after(&self) -> Duration {
        Duration::from_millis(self.retry_after_ms)
    }
}
