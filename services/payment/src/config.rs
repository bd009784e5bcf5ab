//! Settings of the payment service.

use openorder_service::service_settings;

service_settings! {
    /// Payment service.
    pub struct PaymentSettings(8104, "payment", consumer) {}
}
