//! Rankings as callers get them out of Redis.

use std::{str::FromStr, time::Duration};

use chrono::{NaiveDate, Utc};
use openorder_proto::analytics::v1::TopProduct;
use openorder_types::{Currency, Timestamp};
use prost::Message;

use crate::{domain::Window, present, ranking::store::Top};

/// A ranking as it stood in Redis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) products: Vec<TopProduct>,
    pub(crate) as_of: Timestamp,
}

/// Reads rankings.
pub(crate) struct Reader {
    top: Top,
    age_max: Duration,
}

impl Reader {
    pub(super) fn new(top: Top, age_max: Duration) -> Self {
        Self { top, age_max }
    }

    /// The first products of a ranking; none where Redis has no whole one that is young enough, or is away.
    pub(crate) async fn top(
        &self,
        window: Window,
        today: NaiveDate,
        currency: Option<Currency>,
        limit: u32,
    ) -> Option<Ranked> {
        let read = self.top.read(window, today, currency, limit).await;
        let parts = read.inspect_err(|fault| tracing::debug!(%fault, "no ranking from Redis")).ok()??;
        let ranked = ranked(&parts, currency)?;
        let age = (Utc::now() - ranked.as_of).to_std().unwrap_or_default();
        (age <= self.age_max).then_some(ranked)
    }
}

/// What the script gave; none of what no version of this service has written.
fn ranked(parts: &[Vec<u8>], currency: Option<Currency>) -> Option<Ranked> {
    let (as_of, products) = parts.split_first()?;
    let as_of = Timestamp::from_timestamp_millis(number(as_of)?)?;
    let products = products.chunks(2).map(|part| {
        let [quantity, product] = part else { return None };
        let product = TopProduct::decode(product.as_slice()).ok()?;
        Some(match currency {
            Some(currency) => present::in_currency(product, currency, number(quantity)?),
            None => product,
        })
    });
    Some(Ranked { products: products.collect::<Option<_>>()?, as_of })
}

fn number(text: &[u8]) -> Option<i64> {
    i64::from_str(std::str::from_utf8(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use openorder_proto::google::r#type::Money;

    use super::*;

    #[test]
    fn a_ranking_is_read_as_the_script_gives_it() {
        let money = |code: &str, units| Money { currency_code: code.to_owned(), units, nanos: 0 };
        let product = TopProduct {
            sku: "TEA".to_owned(),
            display_name: "Tea".to_owned(),
            quantity: 5,
            revenue: vec![money("EUR", 7), money("USD", 3)],
        };
        let parts = [b"1800000000123".to_vec(), b"2".to_vec(), product.encode_to_vec()];
        let all = ranked(&parts, None).unwrap();
        assert_eq!((all.as_of.timestamp_millis(), all.products), (1_800_000_000_123, vec![product.clone()]));
        let usd = ranked(&parts, Some(Currency::parse("USD").unwrap())).unwrap();
        assert_eq!(usd.products, [TopProduct { quantity: 2, revenue: vec![money("USD", 3)], ..product }]);
        for wrong in [&parts[..0], &parts[..2], &[b"soon".to_vec()][..]] {
            assert_eq!(ranked(wrong, None), None);
        }
    }
}
