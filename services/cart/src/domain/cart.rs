//! A cart, and whose it is.

use openorder_types::{Rejection, Sku, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{Line, rejection};

/// Whose a cart is. Each has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    Customer(UserId),
    /// Somebody who did not sign in: a UUID version 4 that nobody else knows.
    Visitor(Uuid),
}

/// What somebody means to order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cart {
    /// UUID version 7. The next cart of the same owner has another one.
    pub cart_id: Uuid,
    /// 1, 2, 3 …
    pub version: i64,
    /// Each SKU once, in the order in which they came.
    pub lines: Vec<Line>,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

/// How large a cart may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub lines_max: usize,
    /// Pieces of a line.
    pub quantity_max: i64,
}

/// What a decision depends on besides the cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Of the cart, if one is made.
    pub cart_id: Uuid,
    pub now: Timestamp,
    pub limits: Limits,
}

impl Cart {
    /// The cart with one version more; a new one where there is none.
    pub(super) fn next(cart: Option<&Self>, context: &Context) -> Self {
        match cart {
            Some(cart) => Self { version: cart.version + 1, update_time: context.now, ..cart.clone() },
            None => Self {
                cart_id: context.cart_id,
                version: 1,
                lines: Vec::new(),
                create_time: context.now,
                update_time: context.now,
            },
        }
    }

    /// The line of a product.
    pub fn line(&self, sku: &Sku) -> Option<&Line> {
        self.lines.iter().find(|line| line.sku == *sku)
    }

    /// Puts pieces in, beside those that are there.
    ///
    /// # Errors
    /// `CART_LINE_LIMIT_REACHED`, `CART_QUANTITY_LIMIT_REACHED`.
    pub(super) fn add(&mut self, sku: &Sku, quantity: i64, limits: &Limits) -> Result<(), Rejection> {
        let present = self.line(sku).map_or(0, Line::quantity);
        self.set(sku, present.saturating_add(quantity), limits)
    }

    /// Sets how many pieces of a product there are; one that is not there comes.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn set(&mut self, sku: &Sku, quantity: i64, limits: &Limits) -> Result<(), Rejection> {
        let version = self.version;
        // A cart that is above a limit since the settings changed can still be made smaller.
        let check = |present: i64| match quantity > present && quantity > limits.quantity_max {
            true => Err(rejection::quantity_limit_reached(sku, limits.quantity_max)),
            false => Ok(()),
        };
        match self.lines.iter_mut().find(|line| line.sku == *sku) {
            Some(line) => {
                check(line.quantity())?;
                line.set(quantity, version);
            }
            None => {
                check(0)?;
                if self.lines.len() >= limits.lines_max {
                    return Err(rejection::line_limit_reached(limits.lines_max));
                }
                self.lines.push(Line::new(sku.clone(), quantity, version));
            }
        }
        Ok(())
    }

    /// In the order in which lines are shown, however they are kept.
    pub fn sort(&mut self) {
        self.lines.sort_by(|one, other| (one.since(), &one.sku).cmp(&(other.since(), &other.sku)));
    }
}
