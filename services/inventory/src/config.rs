//! Settings of the inventory service.

use openorder_service::service_settings;

service_settings! {
    /// Inventory service.
    pub struct InventorySettings(8103, "inventory", consumer, client) {
        /// After how long it is looked at whether an order still needs its stock, in milliseconds. Well above the deadlines of the saga, two of `order.saga_step_timeout_ms`: by then nearly all orders are paid or settled.
        reservation_ttl_ms: u64 = 1_800_000, 100..=2_592_000_000;
        /// After how long it is looked at again when the order was neither paid nor settled, in milliseconds.
        reservation_look_again_ms: u64 = 60_000, 10..=86_400_000;
        /// How often reservations that have run out of time are looked for, in milliseconds.
        reservation_timer_interval_ms: u64 = 1_000, 10..=60_000;
        /// Timers looked at together; a timer holds the reservations of one batch.
        reservation_timer_batch_max: i64 = 10, 1..=1_000;
        /// After how long a timer that an instance took and did not look at is due again, in milliseconds.
        reservation_timer_lease_ms: u64 = 30_000, 1_000..=600_000;
        /// Reservations that are given back at a time, by running out of time or by reconciliation.
        reservation_give_backs_at_once_max: usize = 1_000, 1..=10_000;
        /// How often a part of the reservations is compared with their orders, in milliseconds.
        reconcile_interval_ms: u64 = 10_000, 10..=3_600_000;
        /// Reservations in such a part.
        reconcile_scan_max: i64 = 5_000, 1..=100_000;
        /// For how long a reservation and its order must contradict each other before that counts, in milliseconds: before, the news may be on its way.
        reconcile_grace_ms: u64 = 600_000, 0..=86_400_000;
        /// Available pieces at which a stock counts as low.
        low_stock_threshold_quantity: i64 = 10, 1..=2_000_000_000;
    }
}
