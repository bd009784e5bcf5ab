//! Invariant 6: order, reservation, payment, coupon, shipment, notification and document of an order say the same.
//!
//! Their databases are never seen at one moment. So an order is judged only when it has been at rest for longer than what
//! follows from it may take, and one that looks wrong is looked at again, the others' rows before its own, until the bound
//! has passed once more: what still disagrees then, with an order that did not change meanwhile, is told.

mod look;
mod rules;

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::Check;
use super::database::{Keyed, Met, Snapshot};
use super::report::Findings;
pub(super) use look::discount;
use look::{Rows, Sources, Tables};
use rules::Verdict;

/// Orders looked at again by one statement a table.
const LOOK_AGAIN_ROWS: usize = 1_000;
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn check(check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<()> {
    let suspects = first_look(check, findings).await?;
    look_again(check, suspects, findings).await
}

/// All orders, reservations, payments, uses of coupons, shipments, notifications and documents, side by side in the order of
/// their ids.
async fn first_look(check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<BTreeSet<Uuid>> {
    let mut sources = Sources::open(check).await?;
    let mut tables = Tables::read(&mut sources).await?;
    let mut suspects = BTreeSet::new();
    let young = sources.order.now - check.settle;
    while let Some((id, order)) = tables.orders.next(&mut sources.order).await? {
        let mut rows = Rows { order: Some(order), ..Rows::default() };
        rows.reservation =
            side(&mut tables.reservations, &mut sources.inventory, id, &mut suspects, |row| row.is_held()).await?;
        rows.payment =
            side(&mut tables.payments, &mut sources.payment, id, &mut suspects, |row| row.is_taken()).await?;
        rows.shipment =
            side(&mut tables.shipments, &mut sources.shipping, id, &mut suspects, |row| row.is_parcel()).await?;
        rows.notifications =
            side(&mut tables.notifications, &mut sources.notification, id, &mut suspects, |_| true).await?;
        rows.coupon_use =
            side(&mut tables.coupon_uses, &mut sources.promotion, id, &mut suspects, |row| row.is_in_use()).await?;
        rows.view = side(&mut tables.views, &mut sources.history, id, &mut suspects, |_| true).await?;
        match rules::judge(&rows, young) {
            Verdict::Agrees => findings.checked(),
            Verdict::InFlight => findings.in_flight(),
            Verdict::Disagrees(..) => drop(suspects.insert(id)),
        }
    }
    while let Some((id, row)) = tables.reservations.next(&mut sources.inventory).await? {
        suspects.extend(row.is_held().then_some(id));
    }
    while let Some((id, row)) = tables.payments.next(&mut sources.payment).await? {
        suspects.extend(row.is_taken().then_some(id));
    }
    while let Some((id, row)) = tables.coupon_uses.next(&mut sources.promotion).await? {
        suspects.extend(row.is_in_use().then_some(id));
    }
    while let Some((id, row)) = tables.shipments.next(&mut sources.shipping).await? {
        suspects.extend(row.is_parcel().then_some(id));
    }
    while let Some((id, _)) = tables.notifications.next(&mut sources.notification).await? {
        suspects.insert(id);
    }
    while let Some((id, _)) = tables.views.next(&mut sources.history).await? {
        suspects.insert(id);
    }
    Ok(suspects)
}

/// The row of this order; rows of smaller ids belong to no order that was seen, and are suspect where they hold something.
async fn side<T>(
    table: &mut Keyed<Uuid, T>,
    snapshot: &mut Snapshot,
    id: Uuid,
    suspects: &mut BTreeSet<Uuid>,
    holds_something: impl Fn(&T) -> bool,
) -> anyhow::Result<Option<T>> {
    loop {
        match table.meet(snapshot, &id).await? {
            Met::Same(row) => return Ok(Some(row)),
            Met::None => return Ok(None),
            Met::Before(other, row) => suspects.extend(holds_something(&row).then_some(other)),
        }
    }
}

async fn look_again(check: &Check<'_>, mut suspects: BTreeSet<Uuid>, findings: &mut Findings) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + check.settle;
    while !suspects.is_empty() {
        let is_last = tokio::time::Instant::now() >= until;
        let ids: Vec<Uuid> = suspects.iter().copied().collect();
        for chunk in ids.chunks(LOOK_AGAIN_ROWS) {
            let (rows, now) = look::at(check, chunk).await?;
            for (id, rows) in chunk.iter().zip(rows) {
                match rules::judge(&rows, now - check.settle) {
                    Verdict::Agrees => findings.checked(),
                    Verdict::InFlight => findings.in_flight(),
                    Verdict::Disagrees(..) if !is_last => continue,
                    Verdict::Disagrees(reason, detail) => {
                        findings.checked();
                        findings.violated(reason, id, detail);
                    }
                }
                suspects.remove(id);
            }
        }
        if is_last {
            break;
        }
        if !suspects.is_empty() {
            tokio::time::sleep(LOOK_INTERVAL.min(check.settle)).await;
        }
    }
    Ok(())
}
