//! Everybody wants the same thing.

use std::time::Duration;

use crate::fleet::Fleet;
use crate::load::{Load, Plan};
use crate::{Outcome, Servers, faults::Length};

/// One SKU, twice as many orders as pieces, several instances that sell it: exactly the pieces are sold.
pub async fn hot_key(servers: Servers, length: Length) -> (Servers, Outcome) {
    let pieces = length.pick(500, 5_000);
    let mut fleet = Fleet::start(servers, &[]).await;
    for role in ["order", "inventory", "payment"] {
        fleet.add(role).await;
    }
    fleet.ready().await;
    let plan = Plan {
        callers: 64,
        pause: Duration::ZERO,
        orders: Some(pieces as u64 * 2),
        products: 1,
        stock: pieces,
        customers: 20,
        cancel_every: None,
    };
    let load = Load::start(&fleet, plan).await;
    let (names, shop) = (load.names().clone(), fleet.shop());
    let ledger = load.finish().await;
    let what = format!("{pieces} pieces of one SKU, twice as many orders");
    let mut outcome = Outcome::of(&fleet, &names, ledger).await.broken(&what, 1, Duration::ZERO);
    let sold = outcome.prepared;
    outcome.expect(sold == pieces as usize, format!("{sold} of {pieces} pieces were sold"));
    let stock = shop.stock(&names.sku(0)).await.expect("the level");
    outcome.expect(stock.reserved_quantity == pieces, format!("{} pieces are held", stock.reserved_quantity));
    outcome.notes.push(format!("{sold} sold"));
    super::judged(fleet, outcome).await
}
