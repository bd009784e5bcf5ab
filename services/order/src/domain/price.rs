//! What an order costs: prices of the copy of the catalogue, and when that copy is not enough.

use std::collections::{BTreeMap, HashMap};

use openorder_types::{Money, Rejection, Sku};
use uuid::Uuid;

use crate::domain::{OrderLine, RequestedLine, rejection};

/// A product as orders need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogItem {
    pub sku: Sku,
    /// Of the product that has this SKU now.
    pub product_id: Uuid,
    /// Version of the product: an older one never replaces a newer one.
    pub product_version: i64,
    /// Of two products with one SKU, the one with the higher number is the newer one; 0: not known.
    pub product_number: i64,
    /// Name that customers see.
    pub display_name: String,
    /// Price of one piece.
    pub unit_price: Money,
    /// Whether it can no longer be ordered.
    pub deleted: bool,
}

impl CatalogItem {
    /// Of two items of one SKU, the one for which this is greater holds.
    pub fn age(&self) -> (i64, Uuid, i64) {
        (self.product_number, self.product_id, self.product_version)
    }
}

/// SKUs that the product service was asked about, each with whether it can be ordered.
pub type ProductAnswers = BTreeMap<Sku, bool>;

/// Lines with their prices, and their sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedLines {
    /// In the order of the request.
    pub lines: Vec<OrderLine>,
    /// None when a SKU is unknown.
    pub total: Option<Money>,
}

/// The lines with the prices of the catalogue.
///
/// # Errors
/// `CURRENCY_MISMATCH`; `TOTAL_TOO_LARGE`. An unknown SKU is no error here: the order is rejected, and says so.
pub fn price(
    requested: &[RequestedLine],
    catalogue: &HashMap<Sku, CatalogItem>,
    answers: &ProductAnswers,
) -> Result<PricedLines, Rejection> {
    let mut lines = Vec::with_capacity(requested.len());
    let mut total: Option<Money> = None;
    let mut complete = true;
    for line in requested {
        // What the product service has just answered that it does not sell is not sold, whatever the copy has.
        let item = catalogue.get(&line.sku).filter(|item| !item.deleted && answers.get(&line.sku) != Some(&false));
        let (display_name, price) = match item {
            None => {
                complete = false;
                (String::new(), None)
            }
            Some(item) => {
                let line_total =
                    item.unit_price.checked_mul(line.quantity.get()).map_err(|_| rejection::total_too_large())?;
                total = Some(match total {
                    None => line_total,
                    Some(sum) if sum.currency() != line_total.currency() => return Err(rejection::currency_mismatch()),
                    Some(sum) => sum.checked_add(line_total).map_err(|_| rejection::total_too_large())?,
                });
                (item.display_name.clone(), Some((item.unit_price, line_total)))
            }
        };
        let product_number = item.map_or(0, |item| item.product_number);
        let sku = line.sku.clone();
        lines.push(OrderLine { sku, display_name, quantity: line.quantity, price, product_number, discount: None });
    }
    Ok(PricedLines { lines, total: total.filter(|_| complete) })
}

/// Nothing is refused by the copy of the catalogue alone: about what it does not have, or prices otherwise than the
/// customer was shown, the product service is asked first.
///
/// # Errors
/// `CATALOGUE_IN_DOUBT`, which no caller sees; `PRICE_CHANGED`.
pub fn check_prices(
    expected_total: Option<Money>,
    answers: &ProductAnswers,
    priced: &PricedLines,
) -> Result<(), Rejection> {
    let other = expected_total.zip(priced.total).filter(|(expected, total)| expected != total);
    let in_doubt = |line: &OrderLine| (line.price.is_none() || other.is_some()) && !answers.contains_key(&line.sku);
    if priced.lines.iter().any(in_doubt) {
        return Err(rejection::catalogue_in_doubt());
    }
    other.map_or(Ok(()), |(expected, total)| Err(rejection::price_changed(expected, total)))
}

#[cfg(test)]
mod tests;
