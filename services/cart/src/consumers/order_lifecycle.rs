//! `order.lifecycle.v1`: an order that was made by a checkout takes its lines out of the cart, and puts them back when it is
//! rejected.

use openorder_proto::order::v1::{OrderCreated, OrderLine, OrderRejected};
use openorder_types::{Quantity, Sku, UserId, ValueError, parse_uuid};

use crate::domain::{Command, Ordered, Rejected};

/// Orders that come of no cart mean nothing here.
pub(super) fn created(event: OrderCreated) -> Result<Option<Command>, ValueError> {
    if event.checkout_id.is_empty() {
        return Ok(None);
    }
    Ok(Some(Command::Ordered(Box::new(Ordered {
        checkout_id: parse_uuid(&event.checkout_id, "CHECKOUT_ID_MALFORMED")?,
        order_id: parse_uuid(&event.order_id, "ORDER_ID_MALFORMED")?,
        customer_id: UserId::parse(&event.customer_id)?,
        lines: lines(&event.lines)?,
    }))))
}

/// Whether it came of a cart is known by its checkout.
pub(super) fn rejected(event: OrderRejected) -> Result<Option<Command>, ValueError> {
    Ok(Some(Command::Rejected(Box::new(Rejected {
        order_id: parse_uuid(&event.order_id, "ORDER_ID_MALFORMED")?,
        customer_id: UserId::parse(&event.customer_id)?,
        lines: lines(&event.lines)?,
    }))))
}

fn lines(lines: &[OrderLine]) -> Result<Vec<(Sku, Quantity)>, ValueError> {
    lines.iter().map(|line| Ok((Sku::parse(&line.sku)?, Quantity::parse(line.quantity)?))).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn event() -> OrderCreated {
        OrderCreated {
            order_id: Uuid::from_u128(1).to_string(),
            customer_id: "ada".to_owned(),
            checkout_id: Uuid::from_u128(2).to_string(),
            lines: vec![OrderLine { sku: "TEA".to_owned(), quantity: 3, ..OrderLine::default() }],
            ..OrderCreated::default()
        }
    }

    #[test]
    fn an_order_of_a_checkout_says_what_leaves_whose_cart() {
        let Some(Command::Ordered(ordered)) = created(event()).unwrap() else { panic!("nothing") };
        assert_eq!((ordered.checkout_id, ordered.order_id), (Uuid::from_u128(2), Uuid::from_u128(1)));
        assert_eq!(ordered.customer_id.as_str(), "ada");
        let lines: Vec<_> = ordered.lines.iter().map(|(sku, quantity)| (sku.as_str(), quantity.get())).collect();
        assert_eq!(lines, [("TEA", 3)]);
    }

    #[test]
    fn an_order_that_is_rejected_says_what_was_ordered_in_vain() {
        let event = OrderRejected {
            order_id: Uuid::from_u128(1).to_string(),
            customer_id: "ada".to_owned(),
            lines: event().lines,
            ..OrderRejected::default()
        };
        let Some(Command::Rejected(no)) = rejected(event.clone()).unwrap() else { panic!("nothing") };
        assert_eq!((no.order_id, no.customer_id.as_str()), (Uuid::from_u128(1), "ada"));
        assert_eq!((no.lines.len(), no.lines[0].0.as_str(), no.lines[0].1.get()), (1, "TEA", 3));
        for (wrong, reason) in [
            (OrderRejected { order_id: "7".to_owned(), ..event.clone() }, "ORDER_ID_MALFORMED"),
            (OrderRejected { customer_id: String::new(), ..event.clone() }, "USER_ID_MALFORMED"),
            (OrderRejected { lines: vec![OrderLine::default()], ..event.clone() }, "SKU_MALFORMED"),
        ] {
            assert_eq!(rejected(wrong).unwrap_err().reason, reason);
        }
    }

    #[test]
    fn an_order_that_comes_of_no_cart_means_nothing_and_a_false_one_is_malformed() {
        assert_eq!(created(OrderCreated { checkout_id: String::new(), ..event() }).unwrap(), None);
        for (wrong, reason) in [
            (OrderCreated { checkout_id: "7".to_owned(), ..event() }, "CHECKOUT_ID_MALFORMED"),
            (OrderCreated { order_id: "7".to_owned(), ..event() }, "ORDER_ID_MALFORMED"),
            (OrderCreated { customer_id: String::new(), ..event() }, "USER_ID_MALFORMED"),
            (OrderCreated { lines: vec![OrderLine::default()], ..event() }, "SKU_MALFORMED"),
        ] {
            assert_eq!(created(wrong).unwrap_err().reason, reason);
        }
    }
}
