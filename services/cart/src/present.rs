//! From the domain to protobuf.

use std::collections::HashMap;

use openorder_proto::cart::v1 as proto;
use openorder_rpc::{money_to_proto, timestamp_to_proto};
use openorder_types::{Money, Sku, Timestamp};

use crate::{
    application::{Product, Read},
    domain::{Cart, Line, Owner},
};

/// A cart with what was read of its products; an empty one where there is none. `expires` is when it ends.
pub(crate) fn cart(owner: &Owner, cart: Option<&Cart>, products: &Read, expires: Timestamp) -> proto::Cart {
    let (customer_id, visitor_id) = match owner {
        Owner::Customer(customer_id) => (customer_id.to_string(), String::new()),
        Owner::Visitor(visitor_id) => (String::new(), visitor_id.to_string()),
    };
    let Some(cart) = cart else { return proto::Cart { customer_id, visitor_id, ..proto::Cart::default() } };
    let priced: Vec<(proto::CartLine, Option<Money>)> = cart.lines.iter().map(|one| line(one, products)).collect();
    let is_any_priced = priced.iter().any(|(_, total)| total.is_some());
    let total = sum(priced.iter().map(|(_, total)| *total));
    proto::Cart {
        cart_id: cart.cart_id.to_string(),
        customer_id,
        visitor_id,
        version: cart.version,
        total: total.as_ref().map(money_to_proto),
        lines: priced.into_iter().map(|(line, _)| line).collect(),
        price_time: match products {
            Read::At(time, _) if is_any_priced => Some(timestamp_to_proto(time)),
            Read::At(..) | Read::NotAnswered => None,
        },
        create_time: Some(timestamp_to_proto(&cart.create_time)),
        update_time: Some(timestamp_to_proto(&cart.update_time)),
        expire_time: Some(timestamp_to_proto(&expires)),
    }
}

/// A line and what it costs; nothing of what is not sold, or costs more than an amount can hold.
fn line(line: &Line, products: &Read) -> (proto::CartLine, Option<Money>) {
    let (state, product) = match products {
        Read::NotAnswered => (proto::CartLineState::NotPriced, None),
        Read::At(_, products) => state(&line.sku, products),
    };
    let total = product.and_then(|product| product.unit_price.checked_mul(line.quantity()).ok());
    let message = proto::CartLine {
        sku: line.sku.to_string(),
        quantity: i32::try_from(line.quantity()).unwrap_or(i32::MAX),
        state: state.into(),
        display_name: product.map(|product| product.display_name.clone()).unwrap_or_default(),
        unit_price: product.map(|product| money_to_proto(&product.unit_price)),
        line_total: total.as_ref().map(money_to_proto),
    };
    (message, total)
}

fn state<'a>(sku: &Sku, products: &'a HashMap<Sku, Product>) -> (proto::CartLineState, Option<&'a Product>) {
    match products.get(sku) {
        Some(product) => (proto::CartLineState::Priced, Some(product)),
        None => (proto::CartLineState::NotSold, None),
    }
}

/// The sum, if there is one: of at least one amount, none missing, all in one currency.
fn sum(amounts: impl Iterator<Item = Option<Money>>) -> Option<Money> {
    let mut sum: Option<Money> = None;
    for amount in amounts {
        let amount = amount?;
        sum = Some(match sum {
            Some(sum) => sum.checked_add(amount).ok()?,
            None => amount,
        });
    }
    sum
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use openorder_types::{Currency, Quantity, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Change, Context, Limits, change};

    fn made(skus: &[&str]) -> Cart {
        let limits = Limits { lines_max: 100, quantity_max: 1_000_000 };
        let context = Context { cart_id: Uuid::from_u128(1), now: Timestamp::UNIX_EPOCH, limits };
        let add = |cart: Option<Cart>, sku: &&str| {
            let add = Change::Add { sku: Sku::parse(sku).unwrap(), quantity: Quantity::parse(2).unwrap() };
            change(cart.as_ref(), &add, &context).unwrap()
        };
        skus.iter().fold(None, add).unwrap()
    }

    fn sold(products: &[(&str, i64, &str)]) -> Read {
        let product = |(sku, minor, code): &(&str, i64, &str)| {
            let unit_price = Money::new(*minor, Currency::parse(code).unwrap());
            (Sku::parse(sku).unwrap(), Product { display_name: format!("The {sku}"), unit_price })
        };
        Read::At(Utc::now(), products.iter().map(product).collect())
    }

    fn shown(skus: &[&str], products: &Read) -> proto::Cart {
        let owner = Owner::Customer(UserId::parse("ada").unwrap());
        cart(&owner, Some(&made(skus)), products, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_cart_shows_what_its_lines_cost_now_and_when_that_was_read() {
        let shown = shown(&["TEA", "CUP"], &sold(&[("TEA", 350, "EUR"), ("CUP", 1_000, "EUR")]));
        assert_eq!((shown.customer_id.as_str(), shown.visitor_id.as_str(), shown.version), ("ada", "", 2));
        let total = shown.total.unwrap();
        assert_eq!((total.currency_code.as_str(), total.units, total.nanos), ("EUR", 27, 0));
        assert!(shown.price_time.is_some());
        let line = &shown.lines[0];
        assert_eq!((line.sku.as_str(), line.quantity, line.display_name.as_str()), ("TEA", 2, "The TEA"));
        assert_eq!(line.state(), proto::CartLineState::Priced);
        assert_eq!(line.line_total.as_ref().map(|total| total.units), Some(7));
    }

    #[test]
    fn there_is_no_total_unless_all_lines_have_a_price_in_one_currency() {
        let gone = shown(&["TEA", "CUP"], &sold(&[("TEA", 350, "EUR")]));
        assert_eq!((gone.total.is_none(), gone.price_time.is_some()), (true, true));
        assert_eq!(gone.lines[1].state(), proto::CartLineState::NotSold);
        assert_eq!((gone.lines[1].unit_price.as_ref(), gone.lines[1].display_name.as_str()), (None, ""));
        let mixed = shown(&["TEA", "CUP"], &sold(&[("TEA", 350, "EUR"), ("CUP", 1, "USD")]));
        assert_eq!((mixed.total.is_none(), mixed.price_time.is_some()), (true, true));
        let silent = shown(&["TEA"], &Read::NotAnswered);
        assert_eq!((silent.total, silent.price_time), (None, None));
        assert_eq!(silent.lines[0].state(), proto::CartLineState::NotPriced);
        let too_dear = shown(&["TEA"], &sold(&[("TEA", i64::MAX, "EUR")]));
        assert_eq!((too_dear.total, too_dear.lines[0].line_total.as_ref()), (None, None));
    }

    #[test]
    fn who_has_no_cart_is_shown_an_empty_one() {
        let visitor = Owner::Visitor(Uuid::from_u128(9));
        let none = cart(&visitor, None, &sold(&[]), Timestamp::UNIX_EPOCH);
        let expected = proto::Cart { visitor_id: Uuid::from_u128(9).to_string(), ..proto::Cart::default() };
        assert_eq!(none, expected);
    }
}
