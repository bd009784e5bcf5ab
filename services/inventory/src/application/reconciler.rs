//! The comparison of reservations with orders: what is clear is healed, what is not is reported.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use openorder_messaging::{Backbone, Committer};
use openorder_runtime::{Again, every};
use openorder_telemetry::{OwnedGauge, Series, TraceContext, api::KeyValue, work_span};
use openorder_types::{Fault, Timestamp};
use uuid::Uuid;

use crate::{
    application::{
        Inventory, Orders,
        expiry::{count, give_back, grace, report, report_mismatches},
    },
    config::InventorySettings,
    domain::{Command, ReservationCheck, check_reservation},
    persistence,
};

/// Mismatches that are looked at again in each round, to see whether they were put right.
const LOOKED_AT_AGAIN_MAX: i64 = 500;

const LATER: &str = "reservations cannot be compared with their orders; they are later";

/// Compares a part of the reservations with their orders at a time, over and over, until shutdown.
pub(crate) async fn reconcile(
    backbone: Arc<Backbone>,
    committer: Committer<Inventory>,
    orders: Orders,
    settings: InventorySettings,
) {
    let shutdown = backbone.shutdown().clone();
    let interval = Duration::from_millis(settings.reconcile_interval_ms);
    let mut mismatches = Mismatches::default();
    let mut rounds = every(interval, &shutdown);
    while rounds.next().await {
        let compared = round(&backbone, &committer, &orders, &settings).await;
        rounds.ended(compared.map(|()| Again::Later), LATER);
        mismatches.record(&backbone).await;
    }
}

/// A round that fails is begun again where it began: only what was seen to its end counts as seen.
async fn round(
    backbone: &Backbone,
    committer: &Committer<Inventory>,
    orders: &Orders,
    settings: &InventorySettings,
) -> Result<(), Fault> {
    let now = Utc::now();
    let interval = Duration::from_millis(settings.reconcile_interval_ms);
    // Another instance has this round.
    let Some(after) = persistence::claim_round(backbone.pool(), now, interval).await? else { return Ok(()) };
    let work = backbone.telemetry().trace(work_span!("compare reservations"), &TraceContext::NONE);
    let compared = compare(backbone, committer, orders, settings, after, work.context(), now);
    if let Err(fault) = work.run(compared).await {
        report(&work, &fault, LATER);
    }
    Ok(())
}

/// Compares the part that begins after `after`, in the trace of its round.
async fn compare(
    backbone: &Backbone,
    committer: &Committer<Inventory>,
    orders: &Orders,
    settings: &InventorySettings,
    after: Option<Uuid>,
    trace: &TraceContext,
    now: Timestamp,
) -> Result<(), Fault> {
    let (grace, pool) = (grace(settings), backbone.pool());
    let part = persistence::reservations_part(pool, after, now - grace, settings.reconcile_scan_max).await?;
    let known: HashSet<Uuid> = persistence::known_mismatches(pool, LOOKED_AT_AGAIN_MAX).await?.into_iter().collect();
    let ids: BTreeSet<Uuid> = part.candidates.iter().chain(&known).copied().collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    if !ids.is_empty() {
        // The orders first: a reservation that is read later has heard of what they say, or of more.
        let states = orders.states(&ids).await?;
        let reservations = persistence::find_reservations(pool, &ids).await?;
        let (mut settled, mut mismatches, mut resolved) = (Vec::new(), Vec::new(), Vec::new());
        for reservation in &reservations {
            let state = states.get(&reservation.order_id);
            let check = check_reservation(reservation, state, grace, now);
            match (check, state) {
                (ReservationCheck::Mismatch(kind), Some(state)) => {
                    mismatches.push((reservation.order_id, kind, *state))
                }
                _ => resolved.extend(known.get(&reservation.order_id)),
            }
            if check == ReservationCheck::GiveBack {
                settled.push(Command::Reconcile { order_id: reservation.order_id });
            }
        }
        report_mismatches(backbone, &mismatches, now).await?;
        persistence::resolve_mismatches(pool, &resolved).await?;
        let healed = give_back(committer, settled, trace, settings).await?;
        if healed > 0 {
            tracing::warn!(healed, "stock was still held for orders that had long been settled: given back");
        }
        count(
            "openorder.reservation.reconciled",
            "Reservations given back because their order had long been settled",
            healed,
        );
    }
    persistence::end_round(pool, part.last).await?;
    Ok(())
}

/// The gauge of mismatches; every instance counts in the same database, whichever had the round.
struct Mismatches {
    gauge: OwnedGauge,
    series: HashMap<&'static str, Series>,
}

impl Default for Mismatches {
    fn default() -> Self {
        let gauge = OwnedGauge::new(
            "openorder.reservation.mismatches",
            "{reservation}",
            "Reservations that contradict their orders and wait for an operator, by kind",
        );
        Self { gauge, series: HashMap::new() }
    }
}

impl Mismatches {
    /// Counts and shows; what cannot be counted is not shown.
    async fn record(&mut self, backbone: &Backbone) {
        let counts = match persistence::count_mismatches(backbone.pool()).await {
            Ok(counts) => counts,
            Err(fault) => {
                tracing::debug!(%fault, "mismatches not counted");
                return self.series.clear();
            }
        };
        for (kind, count) in counts {
            let kind = kind.as_str();
            let series = self.series.entry(kind).or_insert_with(|| self.gauge.series([KeyValue::new("kind", kind)]));
            series.set(count as f64);
        }
    }
}
