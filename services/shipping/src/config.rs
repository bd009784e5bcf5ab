//! Settings of the shipping service.

use openorder_service::service_settings;

service_settings! {
    /// Shipping service.
    pub struct ShippingSettings(8108, "shipping", consumer) {
        /// Events of the carrier that a shipment may have; beyond them only those are recorded that move it on.
        events_max: i32 = 200, 1..=10_000;
        /// How far ahead the time of a carrier's event may be, in milliseconds: clocks differ, and some carriers send
        /// local times as if they were UTC.
        event_ahead_max_ms: i64 = 86_400_000, 0..=604_800_000;
    }
}
