//! Settings of the payment service.

use openorder_service::service_settings;

service_settings! {
    /// Payment service.
    pub struct PaymentSettings(8104, "payment", consumer, client) {
        /// How long ProcessPayment waits for the order service about the order, in milliseconds.
        order_look_up_timeout_ms: u64 = 3_000, 10..=60_000;
    }
}
