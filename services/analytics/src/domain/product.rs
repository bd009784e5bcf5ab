//! What was sold of a product in a window.

use std::collections::BTreeMap;

use openorder_types::{Currency, Sku};

/// Pieces and what they brought in, in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    pub quantity: i64,
    /// Minor units.
    pub revenue_minor: i128,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductSales {
    pub sku: Sku,
    pub display_name: String,
    pub by_currency: BTreeMap<Currency, Amounts>,
}

impl ProductSales {
    /// Pieces by which it is ranked: in this currency alone, or in all.
    pub fn quantity(&self, currency: Option<Currency>) -> i64 {
        let counted = self.by_currency.iter().filter(|(known, _)| currency.is_none_or(|wanted| wanted == **known));
        counted.map(|(_, amounts)| amounts.quantity).sum()
    }
}
