//! Settings of the product service.

use openorder_service::service_settings;

service_settings! {
    /// Product service.
    pub struct ProductSettings(8102, "product") {}
}
