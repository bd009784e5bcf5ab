//! Settings of the promotion service.

use openorder_service::service_settings;

service_settings! {
    /// Promotion service.
    pub struct PromotionSettings(8107, "promotion", consumer) {}
}
