//! Settings of the cart service.

use openorder_config::Secret;
use openorder_service::service_settings;

service_settings! {
    /// Cart service.
    pub struct CartSettings(8111, "cart", consumer, client) {
        /// Redis, where carts are kept.
        redis_url: Secret = "redis://127.0.0.1:16379";
        /// How long Redis may take to answer, in milliseconds; also how long it is left alone after it did not.
        redis_timeout_ms: u64 = 1_000, 10..=60_000;
        /// How often it is looked whether Redis is there, and has what it was given, in milliseconds.
        redis_check_interval_ms: u64 = 1_000, 10..=600_000;
        /// How long a customer's cart is kept that nobody looks at or changes, in milliseconds.
        customer_cart_keep_ms: u64 = 2_592_000_000, 100..=31_536_000_000;
        /// How long a visitor's cart is kept that nobody looks at or changes, in milliseconds.
        visitor_cart_keep_ms: u64 = 604_800_000, 100..=31_536_000_000;
        /// Lines of a cart at most; an order has no more than 100 either.
        lines_max: usize = 100, 1..=100;
        /// Pieces of a line at most.
        quantity_max: i64 = 1_000, 1..=1_000_000;
        /// How often a change is tried again that others came before, until its caller is told to come again.
        conflict_attempts_max: u32 = 32, 1..=1_000;
        /// How long it is remembered that a call has changed a cart, in milliseconds: so long, the same request_id changes
        /// it once.
        request_keep_ms: u64 = 3_600_000, 100..=2_592_000_000;
        /// How long the product service may take to give the prices of a cart, in milliseconds; then it is shown without.
        price_timeout_ms: u64 = 1_000, 10..=60_000;
        /// How long checkouts are kept, in milliseconds: an order that is heard of later takes nothing out of its cart.
        checkout_keep_ms: u64 = 2_592_000_000, 60_000..=31_536_000_000;
        /// How often old checkouts are deleted, in milliseconds.
        upkeep_interval_ms: u64 = 60_000, 100..=86_400_000;
        /// Checkouts that are deleted by one statement at most.
        upkeep_batch_max: i64 = 5_000, 1..=100_000;
    }
}
