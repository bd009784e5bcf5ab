//! One product in a cart.

use openorder_types::{Quantity, Sku};

/// Additions of a line that are told apart; of more, the oldest two become one.
const ADDITIONS_MAX: usize = 8;

/// Pieces that came into a line together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addition {
    /// The version of the cart that they made.
    pub version: i64,
    /// At least 1.
    pub quantity: i64,
}

/// One product in a cart: its pieces by the versions in which they came.
///
/// An order is made of the pieces that a cart has at one version. When it takes them out, others may have come since, and
/// those stay; or some were taken out by hand since, and then they are not taken out once more. So a line knows which of
/// its pieces are how old, and what leaves by hand are the youngest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub sku: Sku,
    /// The version in which the line came into the cart: lines are shown in this order.
    since: i64,
    /// The oldest first, versions ascending; never empty.
    additions: Vec<Addition>,
}

impl Line {
    /// A line that comes into the cart at this version.
    pub(super) fn new(sku: Sku, quantity: i64, version: i64) -> Self {
        Self { sku, since: version, additions: vec![Addition { version, quantity }] }
    }

    /// A line as it was kept; none if it cannot be one.
    pub fn of_parts(sku: Sku, since: i64, additions: Vec<Addition>) -> Option<Self> {
        let sum = additions.iter().try_fold(0_i64, |sum, one| sum.checked_add(one.quantity));
        let is_possible = since > 0
            && additions.iter().all(|one| one.quantity > 0 && one.version >= since)
            && additions.is_sorted_by_key(|one| one.version)
            && sum.is_some_and(|sum| Quantity::parse(sum).is_ok());
        is_possible.then_some(Self { sku, since, additions })
    }

    /// The version in which it came into the cart.
    pub fn since(&self) -> i64 {
        self.since
    }

    /// Its pieces by the versions in which they came, the oldest first.
    pub fn additions(&self) -> &[Addition] {
        &self.additions
    }

    /// Pieces, at least 1.
    pub fn quantity(&self) -> i64 {
        self.additions.iter().map(|one| one.quantity).sum()
    }

    /// Sets how many pieces there are, at least 1. What is too much goes from the youngest.
    pub(super) fn set(&mut self, quantity: i64, version: i64) {
        let present = self.quantity();
        if quantity > present {
            self.additions.push(Addition { version, quantity: quantity - present });
            self.join_oldest();
            return;
        }
        let mut surplus = present - quantity;
        while surplus > 0
            && let Some(youngest) = self.additions.last_mut()
        {
            if youngest.quantity > surplus {
                youngest.quantity -= surplus;
                return;
            }
            surplus -= youngest.quantity;
            self.additions.pop();
        }
    }

    /// Takes pieces out that came at this version or before, the oldest first, and at most so many. Whether any are left.
    pub(super) fn take(&mut self, quantity: i64, version: i64) -> bool {
        let mut wanted = quantity;
        for one in self.additions.iter_mut().filter(|one| one.version <= version) {
            let taken = one.quantity.min(wanted);
            one.quantity -= taken;
            wanted -= taken;
        }
        self.additions.retain(|one| one.quantity > 0);
        !self.additions.is_empty()
    }

    /// As the younger one: in doubt, pieces stay in the cart.
    fn join_oldest(&mut self) {
        if self.additions.len() > ADDITIONS_MAX {
            let oldest = self.additions.remove(0);
            if let Some(next) = self.additions.first_mut() {
                next.quantity += oldest.quantity;
            }
        }
    }
}
