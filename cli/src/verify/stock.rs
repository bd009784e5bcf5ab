//! Invariant 2: stock adds up, by the event log of the inventory service. One snapshot: nothing is in flight.

use std::collections::{BTreeMap, HashMap};

use openorder_proto::inventory::v1::{
    StockAdjusted, StockAdjustmentCause, StockLine, StockModified, StockReleased, StockReserved,
};
use openorder_proto::{event_types, topics};
use serde::Deserialize;

use super::Check;
use super::database::{Snapshot, column};
use super::floor::Floor;
use super::log::{Event, Log};
use super::report::Findings;
use super::services::Service;

/// Pieces of one SKU, from different sources.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Events: initial + adjustments − shipped; `None` while there was none of these.
    adjusted: Option<i64>,
    /// Events: reserved and not released.
    unreleased: i64,
    /// Events: shipped out of what was reserved.
    shipped: i64,
    /// Table of reservations: held now.
    held: i64,
}

/// A line of a reservation as it is stored.
#[derive(Deserialize)]
pub(super) struct StoredLine {
    pub(super) sku: String,
    pub(super) quantity: i64,
}

/// What the events of one order's reservation say.
#[derive(Default)]
struct Reserved {
    lines: BTreeMap<String, i64>,
    is_released: bool,
    /// What was reserved is not known: its event is pruned.
    is_cut: bool,
}

pub(super) async fn check(check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<()> {
    let mut snapshot = check.databases.snapshot(Service::Inventory).await?;
    let floor = snapshot.floor;
    findings.note_floor(Service::Inventory, &floor);
    // As large as the catalogue, whatever the number of orders.
    let mut skus: HashMap<String, Sums> = HashMap::new();
    events(&mut snapshot, &mut skus, findings).await?;
    held(&mut snapshot, &mut skus, findings).await?;
    let mut rows = snapshot.rows("select sku, on_hand_quantity, reserved_quantity from stock_level").await?;
    while let Some(row) = rows.next(&mut snapshot).await? {
        findings.checked();
        findings.count("levels", 1);
        let sku: String = column(&row, "sku")?;
        let (on_hand, reserved): (i64, i64) = (column(&row, "on_hand_quantity")?, column(&row, "reserved_quantity")?);
        let sums = skus.remove(&sku).unwrap_or_default();
        level(floor, &sku, (on_hand, reserved), sums, findings);
    }
    for (sku, sums) in skus {
        let on_hand = sums.adjusted.unwrap_or_default();
        let detail = format!("events say {on_hand} on hand, {} held, and there is no level", sums.held);
        findings.violated("LEVEL_MISSING", sku, detail);
    }
    Ok(())
}

fn level(floor: Floor, sku: &str, (on_hand, reserved): (i64, i64), sums: Sums, findings: &mut Findings) {
    if sums.adjusted.is_none() && floor.may_hide(sku) {
        findings.count("levels whose events are pruned", 1);
    } else if sums.adjusted != Some(on_hand) {
        let adjusted = sums.adjusted.unwrap_or_default();
        let detail = format!("{on_hand} on hand; initial + adjustments - shipped is {adjusted}");
        findings.violated("ON_HAND_DIFFERS", sku, detail);
    }
    // Without the first events nothing says what was reserved before: the table of reservations alone does.
    let by_events = if floor.position() > 0 { reserved } else { sums.unreleased - sums.shipped };
    if reserved != sums.held || reserved != by_events {
        let detail = format!("{reserved} reserved; reservations hold {}, by their events it is {by_events}", sums.held);
        findings.violated("RESERVED_DIFFERS", sku, detail);
    }
    if reserved < 0 || reserved > on_hand {
        findings.violated("OVERSOLD", sku, format!("{reserved} reserved of {on_hand} on hand"));
    }
}

async fn events(
    snapshot: &mut Snapshot,
    skus: &mut HashMap<String, Sums>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let floor = snapshot.floor;
    let mut log = Log::read(snapshot, topics::INVENTORY_STOCK).await?;
    while let Some(first) = log.next(snapshot).await? {
        let id = first.aggregate_id.clone();
        let mut reserved = Reserved { is_cut: first.version != 1 && floor.may_hide(&id), ..Reserved::default() };
        let mut next = Some(first);
        while let Some(event) = next {
            event_of(floor, &event, &mut reserved, skus, findings)?;
            next = log.next_of(snapshot, &id).await?;
        }
        if !reserved.is_released {
            for (sku, quantity) in reserved.lines {
                entry(skus, &sku).unreleased += quantity;
            }
        }
    }
    Ok(())
}

fn event_of(
    floor: Floor,
    event: &Event,
    reserved: &mut Reserved,
    skus: &mut HashMap<String, Sums>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    match event.event_type.as_str() {
        event_types::STOCK_ADJUSTED => {
            let adjusted: StockAdjusted = event.decode()?;
            let sums = entry(skus, &event.aggregate_id);
            // The first that is kept says what was there before it.
            let is_cut = event.version != 1 && floor.may_hide(&event.aggregate_id);
            let after = adjusted.stock.as_ref().map_or(0, |stock| i64::from(stock.on_hand_quantity));
            let before = sums.adjusted.unwrap_or(if is_cut { after - i64::from(adjusted.delta) } else { 0 });
            sums.adjusted = Some(before + i64::from(adjusted.delta));
            if adjusted.cause() == StockAdjustmentCause::Shipped {
                sums.shipped -= i64::from(adjusted.delta);
            }
        }
        event_types::STOCK_RESERVED => {
            findings.checked();
            let lines = by_sku(&event.decode::<StockReserved>()?.lines);
            if !reserved.lines.is_empty() {
                findings.violated("RESERVED_TWICE", &event.aggregate_id, format!("version {}", event.version));
            }
            reserved.lines = lines;
            (reserved.is_released, reserved.is_cut) = (false, false);
        }
        event_types::STOCK_MODIFIED => {
            findings.checked();
            // In place of what was held; that may be told by pruned events.
            if !reserved.is_cut && (reserved.is_released || reserved.lines.is_empty()) {
                findings.violated("MODIFIED_UNHELD", &event.aggregate_id, format!("version {}", event.version));
            }
            reserved.lines = by_sku(&event.decode::<StockModified>()?.lines);
            (reserved.is_released, reserved.is_cut) = (false, false);
        }
        event_types::STOCK_RELEASED => {
            let lines = by_sku(&event.decode::<StockReleased>()?.lines);
            let owed = !reserved.is_released && !reserved.lines.is_empty();
            if reserved.is_cut {
                findings.count("releases of what was reserved by pruned events", 1);
            } else if (owed && lines != reserved.lines) || (!owed && !lines.is_empty()) {
                let detail = format!("version {} gives back {lines:?} of {:?}", event.version, reserved.lines);
                findings.violated("RELEASED_DIFFERS", &event.aggregate_id, detail);
            }
            (reserved.is_released, reserved.is_cut) = (true, false);
        }
        _ => {}
    }
    Ok(())
}

async fn held(
    snapshot: &mut Snapshot,
    skus: &mut HashMap<String, Sums>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut rows = snapshot.rows("select lines::text as lines from reservation where state = 1").await?;
    while let Some(row) = rows.next(snapshot).await? {
        findings.count("reservations held", 1);
        let lines: Vec<StoredLine> = serde_json::from_str(column(&row, "lines")?)?;
        for line in lines {
            entry(skus, &line.sku).held += line.quantity;
        }
    }
    Ok(())
}

fn by_sku(lines: &[StockLine]) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for line in lines {
        *sums.entry(line.sku.clone()).or_default() += i64::from(line.quantity);
    }
    sums
}

/// Without a copy of the SKU where it is known already.
fn entry<'a>(skus: &'a mut HashMap<String, Sums>, sku: &str) -> &'a mut Sums {
    if !skus.contains_key(sku) {
        skus.insert(sku.to_owned(), Sums::default());
    }
    skus.entry(sku.to_owned()).or_default()
}
