//! A cart as the fields of a hash.
//!
//! `id`, `version`, `created` and `updated` (milliseconds since 1970), and for each product `sku:TEA` with the version in
//! which it came and its pieces by the versions in which they came: `3:2@3,1@5`.

use openorder_types::{Fault, Sku, Timestamp};
use uuid::Uuid;

use crate::domain::{Addition, Cart, Line};

const ID: &str = "id";
const VERSION: &str = "version";
const CREATED: &str = "created";
const UPDATED: &str = "updated";
const SKU: &str = "sku:";

/// Names and values, one after the other.
pub(super) fn written(cart: &Cart) -> Vec<String> {
    let mut fields = vec![
        ID.to_owned(),
        cart.cart_id.to_string(),
        VERSION.to_owned(),
        cart.version.to_string(),
        CREATED.to_owned(),
        cart.create_time.timestamp_millis().to_string(),
        UPDATED.to_owned(),
        cart.update_time.timestamp_millis().to_string(),
    ];
    for line in &cart.lines {
        let additions: Vec<String> =
            line.additions().iter().map(|one| format!("{}@{}", one.quantity, one.version)).collect();
        fields.push(format!("{SKU}{}", line.sku));
        fields.push(format!("{}:{}", line.since(), additions.join(",")));
    }
    fields
}

/// The cart of these names and values; none where there are none.
///
/// # Errors
/// Permanent, of what no version of this service has written.
pub(super) fn read(fields: &[Vec<u8>]) -> Result<Option<Cart>, Fault> {
    if fields.is_empty() {
        return Ok(None);
    }
    parse(fields).map(Some).ok_or_else(|| Fault::permanent("a cart in Redis cannot be read").because("CART_UNREADABLE"))
}

fn parse(fields: &[Vec<u8>]) -> Option<Cart> {
    let (mut cart_id, mut version, mut created, mut updated, mut lines) = (None, None, None, None, Vec::new());
    for pair in fields.chunks(2) {
        let [name, value] = pair else { return None };
        let (name, value) = (std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?);
        match name {
            ID => cart_id = Some(Uuid::try_parse(value).ok()?),
            VERSION => version = Some(value.parse::<i64>().ok().filter(|version| *version > 0)?),
            CREATED => created = Some(time(value)?),
            UPDATED => updated = Some(time(value)?),
            // A later version may write more.
            _ => {
                if let Some(sku) = name.strip_prefix(SKU) {
                    lines.push(line(sku, value)?);
                }
            }
        }
    }
    let mut cart = Cart { cart_id: cart_id?, version: version?, lines, create_time: created?, update_time: updated? };
    cart.sort();
    Some(cart)
}

fn line(sku: &str, value: &str) -> Option<Line> {
    let (since, additions) = value.split_once(':')?;
    let additions = additions.split(',').map(|part| {
        let (quantity, version) = part.split_once('@')?;
        Some(Addition { version: version.parse().ok()?, quantity: quantity.parse().ok()? })
    });
    Line::of_parts(Sku::parse(sku).ok()?, since.parse().ok()?, additions.collect::<Option<Vec<_>>>()?)
}

fn time(text: &str) -> Option<Timestamp> {
    Timestamp::from_timestamp_millis(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use openorder_types::Quantity;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Change, Context, Limits, change};

    fn bytes(fields: &[String]) -> Vec<Vec<u8>> {
        fields.iter().map(|field| field.clone().into_bytes()).collect()
    }

    proptest! {
        #[test]
        fn a_cart_is_read_as_it_was_written(
            changes in prop::collection::vec((1..=4_u8, 1..=9_i64, any::<bool>()), 1..30),
            reversed in any::<bool>(),
        ) {
            let context = Context {
                cart_id: Uuid::from_u128(7),
                now: Timestamp::from_timestamp_millis(1_800_000_000_123).unwrap(),
                limits: Limits { lines_max: 100, quantity_max: 1_000 },
            };
            let mut cart = None;
            for (number, pieces, is_set) in changes {
                let (sku, quantity) = (Sku::parse(&format!("S-{number}")).unwrap(), Quantity::parse(pieces).unwrap());
                let one = if is_set { Change::Set { sku, quantity } } else { Change::Add { sku, quantity } };
                if let Ok(Some(after)) = change(cart.as_ref(), &one, &context) {
                    cart = Some(after);
                }
            }
            let Some(cart) = cart else { return Ok(()) };
            let mut fields = bytes(&written(&cart));
            // A hash keeps no order.
            if reversed {
                fields = fields.chunks(2).rev().flatten().cloned().collect();
            }
            prop_assert_eq!(read(&fields).unwrap(), Some(cart));
        }
    }

    #[test]
    fn what_is_no_cart_is_a_fault_and_nothing_is_none() {
        assert_eq!(read(&[]).unwrap(), None);
        let fields = |pairs: &[&str]| bytes(&pairs.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let whole = ["id", "00000000-0000-0000-0000-000000000007", "version", "1", "created", "1", "updated", "2"];
        assert!(read(&fields(&whole)).unwrap().is_some());
        assert!(read(&fields(&[&whole[..], &["note", "later"]].concat())).unwrap().is_some());
        for wrong in [["sku:A", "1:1"], ["sku:A", "1:0@1"], ["sku:", "1:1@1"], ["version", "0"], ["created", "soon"]] {
            assert!(read(&fields(&[&whole[..], &wrong].concat())).is_err(), "{wrong:?}");
        }
        assert!(read(&fields(&whole[..6])).is_err(), "not all of it");
        assert!(read(&fields(&whole[..7])).is_err(), "a name without a value");
    }
}
