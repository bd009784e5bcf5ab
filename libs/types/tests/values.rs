//! What parses, what does not, and what is never shown.
#![allow(clippy::unwrap_used)]

use openorder_types::{EmailAddress, Quantity, RequestId, Sku, TextRule, UserId, parse_uuid};
use proptest::prelude::*;

#[test]
fn names_keep_to_their_pattern() {
    let longest = "a".repeat(64);
    for text in ["A", "0", "sku-1", "a.b_c-D", longest.as_str()] {
        assert_eq!(Sku::parse(text).unwrap().as_str(), text);
        assert_eq!(UserId::parse(text).unwrap().as_str(), text);
    }
    let too_long = "a".repeat(65);
    for text in ["", "-a", ".a", "_a", "a b", "a/b", "ä", "a\n", "a:b", too_long.as_str()] {
        assert_eq!(Sku::parse(text).unwrap_err().reason, "SKU_MALFORMED", "{text:?}");
        assert_eq!(UserId::parse(text).unwrap_err().reason, "USER_ID_MALFORMED", "{text:?}");
    }
}

#[test]
fn request_ids_may_start_with_anything_allowed() {
    let longest = ":".repeat(64);
    for text in ["-", ":", "a:b", "2026-11-21T00:00:00.000", longest.as_str()] {
        assert!(RequestId::parse(text).is_ok(), "{text:?}");
    }
    let too_long = "a".repeat(65);
    for text in ["", " ", "a b", "a/b", "é", too_long.as_str()] {
        assert_eq!(RequestId::parse(text).unwrap_err().reason, "REQUEST_ID_MALFORMED");
    }
}

#[test]
fn mail_addresses_are_plain() {
    let longest = format!("{}@{}.example", "a".repeat(64), ["b".repeat(60), "c".repeat(60), "d".repeat(58)].join("."));
    assert_eq!(longest.len(), 253);
    for text in [
        "a@example.com",
        "first.last+tag@sub.example.org",
        "o'neil@example.ie",
        "a@xn--bcher-kva.example",
        longest.as_str(),
    ] {
        assert_eq!(EmailAddress::parse(text).unwrap().as_str(), text, "{text:?}");
    }
    let too_long =
        format!("{}bb@{}.example", "a".repeat(62), ["b".repeat(60), "c".repeat(60), "d".repeat(60)].join("."));
    assert_eq!(too_long.len(), 255);
    for text in [
        "",
        "a",
        "@",
        "a@",
        "@example.com",
        "a@example",
        "a@@example.com",
        "a@b@example.com",
        "a b@example.com",
        "a@exa mple.com",
        "a@example..com",
        "a@.example.com",
        "a@example.com.",
        "a@-example.com",
        "a@example-.com",
        ".a@example.com",
        "a.@example.com",
        "a..b@example.com",
        "a@example.com\r\nBcc: b@example.com",
        "a\u{0}@example.com",
        "<a@example.com>",
        "a,b@example.com",
        too_long.as_str(),
    ] {
        assert_eq!(EmailAddress::parse(text).unwrap_err().reason, "EMAIL_MALFORMED", "{text:?}");
    }
}

#[test]
fn mail_addresses_are_shown_masked() {
    let address = EmailAddress::parse("ada.lovelace@example.com").unwrap();
    assert_eq!(address.to_string(), "a***@example.com");
    assert_eq!(format!("{address:?}"), "EmailAddress(a***@example.com)");
    assert_eq!(format!("{:?}", Some(&address)), "Some(EmailAddress(a***@example.com))");
}

#[test]
fn quantities_have_bounds() {
    assert_eq!(Quantity::parse(1).map(Quantity::get), Ok(1));
    assert_eq!(Quantity::parse(1_000_000).map(Quantity::get), Ok(1_000_000));
    for pieces in [0, -1, 1_000_001, i64::MAX, i64::MIN] {
        assert_eq!(Quantity::parse(pieces).unwrap_err().reason, "QUANTITY_OUT_OF_RANGE");
    }
}

#[test]
fn an_object_has_one_name() {
    let id = "0193e8a0-0000-7000-8000-000000000001";
    assert_eq!(parse_uuid(id, "ORDER_ID_MALFORMED").unwrap().to_string(), id);
    for text in [
        "",
        "0193e8a0000070008000000000000001",
        "{0193e8a0-0000-7000-8000-000000000001}",
        "0193e8a0-0000-7000-8000-00000000000g",
    ] {
        assert_eq!(parse_uuid(text, "ORDER_ID_MALFORMED").unwrap_err().reason, "ORDER_ID_MALFORMED");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics_and_never_repeats_the_value(text in any::<String>()) {
        if let Err(error) = EmailAddress::parse(&text) {
            prop_assert!(text.len() < 8 || !error.message.contains(&text));
        }
        let _ = (Sku::parse(&text), UserId::parse(&text), RequestId::parse(&text), parse_uuid(&text, "X"));
    }

    #[test]
    fn a_masked_address_hides_the_local_part(local in "[a-z]{4,20}", domain in "[0-9]{2,10}") {
        let address = EmailAddress::parse(&format!("{local}@{domain}.example")).unwrap();
        let shown = format!("{address} {address:?}");
        prop_assert!(!shown.contains(&local));
        prop_assert_eq!(address.as_str(), format!("{local}@{domain}.example"));
    }
}

#[test]
fn free_text_is_something_to_read() {
    let (line, lines) = (TextRule::line(10, "MALFORMED", "TOO_LONG"), TextRule::lines(10, "MALFORMED", "TOO_LONG"));
    for text in ["", "ä ö ü 日本", "שלום", "a\u{200D}b", "0123456789"] {
        assert_eq!(line.parse(text).unwrap().as_str(), text);
    }
    let terminal = ["nul\0", "\u{1b}[2J", "\r", "\u{7f}", "\u{85}", "\u{9b}1m", "\u{2028}", "\u{202E}", "\u{2066}"];
    for text in terminal {
        assert_eq!(line.parse(text).unwrap_err().reason, "MALFORMED", "{text:?}");
        assert_eq!(lines.parse(text).unwrap_err().reason, "MALFORMED", "{text:?}");
    }
    for text in ["two\nlines", "a\tb"] {
        assert_eq!(line.parse(text).unwrap_err().reason, "MALFORMED", "{text:?}");
        assert!(lines.parse(text).is_ok());
    }
    // Characters count, not bytes.
    assert!(line.parse(&"日".repeat(10)).is_ok());
    for long in ["日".repeat(11), "x".repeat(11), "x".repeat(1_000_000)] {
        assert_eq!(line.parse(&long).unwrap_err().reason, "TOO_LONG");
    }
    assert!(EmailAddress::parse("a\u{202E}b@example.com").is_err());
}
