//! What a change makes of a cart, what two carts make together, what an order takes out of one, and what one that is
//! rejected puts back.

use openorder_types::{Quantity, Rejection, Sku};

use crate::domain::{Cart, Checkout, Context, Limits, Line, rejection};

/// What a caller wants of a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// So many pieces more.
    Add { sku: Sku, quantity: Quantity },
    /// So many pieces, of a product that is there.
    Set { sku: Sku, quantity: Quantity },
    /// No piece of this product.
    Remove { sku: Sku },
    /// Nothing.
    Clear,
}

/// The cart after a change; none where it changes nothing.
///
/// # Errors
/// `CART_LINE_NOT_FOUND`, `CART_LINE_LIMIT_REACHED`, `CART_QUANTITY_LIMIT_REACHED`.
pub fn change(cart: Option<&Cart>, change: &Change, context: &Context) -> Result<Option<Cart>, Rejection> {
    let line_of = |sku: &Sku| cart.and_then(|cart| cart.line(sku));
    let mut after = Cart::next(cart, context);
    match change {
        Change::Add { sku, quantity } => after.add(sku, quantity.get(), &context.limits)?,
        Change::Set { sku, quantity } => match line_of(sku) {
            None => return Err(rejection::line_not_found(sku)),
            Some(line) if line.quantity() == quantity.get() => return Ok(None),
            Some(_) => after.set(sku, quantity.get(), &context.limits)?,
        },
        Change::Remove { sku } if line_of(sku).is_none() => return Ok(None),
        Change::Remove { sku } => after.lines.retain(|line| line.sku != *sku),
        Change::Clear if after.lines.is_empty() => return Ok(None),
        Change::Clear => after.lines.clear(),
    }
    after.sort();
    Ok(Some(after))
}

/// The two carts when what the source has is taken over into the target: the larger quantity of each product there, and
/// nothing here. None where the source has nothing.
///
/// # Errors
/// `CART_LINE_LIMIT_REACHED`.
pub fn merge(
    target: Option<&Cart>,
    source: Option<&Cart>,
    context: &Context,
) -> Result<Option<(Cart, Cart)>, Rejection> {
    let Some(source) = source.filter(|source| !source.lines.is_empty()) else { return Ok(None) };
    let mut merged = Cart::next(target, context);
    for line in &source.lines {
        let present = merged.line(&line.sku).map_or(0, Line::quantity);
        if line.quantity() > present {
            // Both were within the limits: the larger one is no new quantity.
            let limits = Limits { quantity_max: i64::MAX, ..context.limits };
            merged.set(&line.sku, line.quantity(), &limits)?;
        }
    }
    merged.sort();
    let emptied = Cart { lines: Vec::new(), ..Cart::next(Some(source), context) };
    Ok(Some((merged, emptied)))
}

/// The cart when what was ordered has left it; none where nothing has to leave.
///
/// Nothing leaves another cart than the one that was ordered, no piece that came after the checkout, and of each product no
/// more than was ordered.
pub fn take(cart: &Cart, checkout: &Checkout, ordered: &[(Sku, Quantity)], context: &Context) -> Option<Cart> {
    if cart.cart_id != checkout.cart_id {
        return None;
    }
    let mut after = Cart::next(Some(cart), context);
    after.lines.retain_mut(|line| match ordered.iter().find(|(sku, _)| *sku == line.sku) {
        Some((_, quantity)) => line.take(quantity.get(), checkout.cart_version),
        None => true,
    });
    (after.lines != cart.lines).then_some(after)
}

/// The cart when what was ordered in vain is back in it; none where nothing comes back.
///
/// It comes back as pieces of now, beside those that are there, as far as the limits have room.
pub fn put_back(cart: Option<&Cart>, ordered: &[(Sku, Quantity)], context: &Context) -> Option<Cart> {
    let mut after = Cart::next(cart, context);
    for (sku, quantity) in ordered {
        let present = after.line(sku).map_or(0, Line::quantity);
        let room = quantity.get().min(context.limits.quantity_max - present);
        if room > 0 {
            // A cart that has as many lines as it may stays without this one.
            drop(after.add(sku, room, &context.limits));
        }
    }
    after.sort();
    let before = cart.map_or(&[][..], |cart| cart.lines.as_slice());
    (after.lines.as_slice() != before).then_some(after)
}
