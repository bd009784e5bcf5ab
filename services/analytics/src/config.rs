//! Settings of the analytics service.

use openorder_config::{Secret, settings};
use openorder_service::service_settings;

settings! {
    /// The ranking of products in Redis.
    pub struct RankingSettings {
        /// Whether it is kept there. If not, each TopProducts is answered from the sums in PostgreSQL.
        in_redis: bool = true;
        /// How often what was sold since is written, in milliseconds.
        interval_ms: u64 = 1_000, 10..=600_000;
        /// Batches of sales that are written at a time at most.
        changes_batch_max: i64 = 200, 1..=10_000;
        /// Products that one command of Redis writes at most.
        products_batch_max: i64 = 200, 1..=10_000;
        /// Batches of sales that may wait to be written, while Redis is away; beyond, they are forgotten and the ranking is
        /// filled anew.
        changes_max: i64 = 10_000, 100..=10_000_000;
        /// How long an instance is the one that writes, in milliseconds, when it does not write: then another one does.
        lease_ms: u64 = 10_000, 1_000..=600_000;
        /// How long a ranking stays in Redis that nobody writes any more, in milliseconds: that of a day that is over, or of
        /// a deployment that is gone.
        keep_ms: u64 = 172_800_000, 60_000..=2_592_000_000;
        /// A ranking that was not written for so long is not shown, in milliseconds: PostgreSQL is asked.
        age_max_ms: u64 = 30_000, 1_000..=3_600_000;
        /// How long Redis may take to answer, in milliseconds; also how long it is left alone after it did not.
        timeout_ms: u64 = 1_000, 10..=60_000;
        /// Longest pause of the writer while Redis or the database is away, in milliseconds.
        outage_delay_max_ms: u64 = 10_000, 10..=600_000;
    }
    keeps {
        interval_ms <= lease_ms;
        interval_ms <= age_max_ms;
        age_max_ms <= keep_ms;
    }
}

settings! {
    /// Counting all orders anew, when an operator asks for it.
    pub struct RebuildSettings {
        /// How often it is looked whether there is something to do, in milliseconds.
        poll_interval_ms: u64 = 1_000, 10..=600_000;
        /// Events of the order service's log that are read at a time.
        events_batch_max: i32 = 1_000, 1..=1_000;
        /// How long the order service may take to give them, in milliseconds.
        read_timeout_ms: u64 = 10_000, 100..=600_000;
        /// How long it may take at the switch-over, in milliseconds: no event is counted meanwhile.
        switch_timeout_ms: u64 = 1_000, 100..=10_000;
        /// Longest pause while the order service or the database is away, in milliseconds.
        outage_delay_max_ms: u64 = 10_000, 10..=600_000;
    }
}

service_settings! {
    /// Analytics service.
    pub struct AnalyticsSettings(8109, "analytics", consumer, client) {
        /// Batches of events that are counted at the same time at most, over all instances: each has rows of the sums to
        /// itself. As many rows of a sum are added up when it is read.
        shards: u16 = 8, 1..=64;
        /// Rows of a sales summary at most.
        summary_rows_max: i64 = 10_000, 1..=100_000;
        /// Periods of a sales summary at most.
        summary_periods_max: i64 = 1_000, 1..=100_000;
        /// The ranking of products in Redis.
        ranking: RankingSettings;
        /// Redis, where the ranking is.
        redis_url: Secret = "redis://127.0.0.1:16379";
        /// Counting all orders anew.
        rebuild: RebuildSettings;
        /// How often rows that are needed no more are deleted, and old days added up, in milliseconds.
        upkeep_interval_ms: u64 = 60_000, 100..=86_400_000;
        /// Rows that are deleted or added up by one statement at most.
        upkeep_batch_max: i64 = 5_000, 1..=100_000;
    }
}
