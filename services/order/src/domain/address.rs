//! Where an order is sent.

use std::fmt;

/// As `google.type.PostalAddress`, whose fields these are; checked where the request is parsed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ShippingAddress {
    /// CLDR region, two capital letters.
    pub region_code: String,
    /// BCP 47 language of the address; may be empty.
    pub language_code: String,
    pub postal_code: String,
    pub sorting_code: String,
    pub administrative_area: String,
    pub locality: String,
    pub sublocality: String,
    /// At least one.
    pub address_lines: Vec<String>,
    pub recipients: Vec<String>,
    pub organization: String,
}

/// Personal data: no log shows it.
impl fmt::Debug for ShippingAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShippingAddress(masked)")
    }
}
