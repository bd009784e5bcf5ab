//! Where an order is sent.

use openorder_proto::google::r#type::PostalAddress;
use openorder_rpc::Violations;
use openorder_types::TextRule;

use crate::{domain::ShippingAddress, present};

/// A part of an address.
const TEXT: TextRule = TextRule::line(200, "ADDRESS_MALFORMED", "ADDRESS_TOO_LONG");
/// Address lines, and recipients, at most.
const LINES_MAX: usize = 10;

/// What of it can be printed on a parcel.
pub(super) fn shipping_address(message: &PostalAddress, violations: &mut Violations) -> Option<ShippingAddress> {
    let region = &message.region_code;
    if region.len() != 2 || !region.bytes().all(|byte| byte.is_ascii_uppercase()) {
        violations.add("shipping_address.region_code", "REGION_CODE_MALFORMED", "must be two capital letters");
    }
    let lists = [("address_lines", &message.address_lines), ("recipients", &message.recipients)];
    if message.address_lines.is_empty() {
        violations.add("shipping_address.address_lines", "ADDRESS_LINES_EMPTY", "must have at least one line");
    }
    let mut texts = vec![
        ("language_code".to_owned(), &message.language_code),
        ("postal_code".to_owned(), &message.postal_code),
        ("sorting_code".to_owned(), &message.sorting_code),
        ("administrative_area".to_owned(), &message.administrative_area),
        ("locality".to_owned(), &message.locality),
        ("sublocality".to_owned(), &message.sublocality),
        ("organization".to_owned(), &message.organization),
    ];
    for (name, list) in lists {
        if list.len() > LINES_MAX {
            let text = format!("must have at most {LINES_MAX} entries");
            violations.add(format!("shipping_address.{name}"), "LIST_TOO_LONG", text);
        }
        texts.extend(list.iter().take(LINES_MAX).enumerate().map(|(index, line)| (format!("{name}[{index}]"), line)));
    }
    for (name, text) in texts {
        violations.take(format!("shipping_address.{name}"), TEXT.parse(text));
    }
    violations.is_empty().then(|| present::address_of(message.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_short_enough_to_print_and_has_nothing_that_does_not_print() {
        let good = PostalAddress {
            region_code: "DE".to_owned(),
            postal_code: "10115".to_owned(),
            locality: "Berlin".to_owned(),
            address_lines: vec!["Invalidenstraße 1".to_owned()],
            recipients: vec!["Ada Lovelace".to_owned()],
            ..PostalAddress::default()
        };
        let refused = |change: fn(&mut PostalAddress)| {
            let (mut message, mut violations) = (good.clone(), Violations::new());
            change(&mut message);
            assert_eq!(shipping_address(&message, &mut violations), None);
            let rejection = violations.into_rejection();
            (rejection.violations[0].field.clone(), rejection.violations[0].reason)
        };
        assert!(shipping_address(&good, &mut Violations::new()).is_some());
        let at = |field: &str| format!("shipping_address.{field}");
        assert_eq!(refused(|m| m.region_code = "de".to_owned()), (at("region_code"), "REGION_CODE_MALFORMED"));
        assert_eq!(refused(|m| m.address_lines.clear()), (at("address_lines"), "ADDRESS_LINES_EMPTY"));
        assert_eq!(refused(|m| m.recipients = vec![String::new(); 11]), (at("recipients"), "LIST_TOO_LONG"));
        assert_eq!(refused(|m| m.locality = "x".repeat(201)), (at("locality"), "ADDRESS_TOO_LONG"));
        assert_eq!(refused(|m| m.address_lines[0].push('\u{1b}')), (at("address_lines[0]"), "ADDRESS_MALFORMED"));
        assert!(!format!("{:?}", shipping_address(&good, &mut Violations::new())).contains("Ada"));
    }
}
