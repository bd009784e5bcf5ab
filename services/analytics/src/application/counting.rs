//! Events are counted, in the transaction in which the inbox notes them.

use std::collections::BTreeSet;

use openorder_messaging::UnitOfWork;
use openorder_types::{Fault, Sku};

use crate::{
    application::Analytics,
    domain::{Deltas, Fact},
    persistence,
};

/// Adds what these facts change to the sums that count. What those hold from the beginning is left out: a rebuild has read
/// it in the order service's log.
pub(super) async fn count<'a>(
    unit: &mut UnitOfWork,
    facts: impl Iterator<Item = &'a Fact> + Clone,
    analytics: &Analytics,
) -> Result<(), Fault> {
    if facts.clone().next().is_none() {
        return Ok(());
    }
    let counting = persistence::begin_counting(unit.connection(), analytics.shards).await?;
    let now = unit.now();
    let mut deltas = Deltas::default();
    for fact in facts.filter(|fact| !counting.base.holds(&fact.origin)) {
        deltas.add(fact, now);
    }
    let deltas = deltas.without_zeroes();
    if deltas.is_empty() {
        return Ok(());
    }
    if analytics.is_ranked && !deltas.products.is_empty() {
        let skus: BTreeSet<&Sku> = deltas.products.keys().map(|key| &key.sku).collect();
        persistence::add_changes(unit.connection(), &skus.into_iter().collect::<Vec<_>>()).await?;
    }
    persistence::add_deltas(unit.connection(), deltas, counting.generation, counting.shard).await
}
