//! Reservations that run out of time: kept for good when their order is paid, given back when it is settled, looked at
//! again when it is neither.

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use openorder_messaging::{Backbone, Committer};
use openorder_runtime::{Again, every};
use openorder_telemetry::{TraceContext, Traced, api::KeyValue, work_span};
use openorder_types::{CallError, Fault, Timestamp};
use uuid::Uuid;

use crate::{
    application::{Inventory, Orders},
    config::InventorySettings,
    domain::{Command, MismatchKind, OrderState, ReservationCheck, check_expired},
    persistence,
};

const LATER: &str = "reservations that ran out of time cannot be looked at; they are later";

/// Looks at reservations whose time is up until shutdown; several instances share them.
pub(crate) async fn watch_reservations(
    backbone: Arc<Backbone>,
    committer: Committer<Inventory>,
    orders: Orders,
    settings: InventorySettings,
) {
    let shutdown = backbone.shutdown().clone();
    let interval = Duration::from_millis(settings.reservation_timer_interval_ms);
    let mut rounds = every(interval, &shutdown);
    while rounds.next().await {
        rounds.ended(round(&backbone, &committer, &orders, &settings).await, LATER);
    }
}

/// What fails is due again after the lease.
async fn round(
    backbone: &Backbone,
    committer: &Committer<Inventory>,
    orders: &Orders,
    settings: &InventorySettings,
) -> Result<Again, Fault> {
    let (now, limit) = (Utc::now(), settings.reservation_timer_batch_max);
    let lease = Duration::from_millis(settings.reservation_timer_lease_ms);
    let due = persistence::claim_due(backbone.pool(), now, lease, limit).await?;
    if due.is_empty() {
        return Ok(Again::Later);
    }
    let span = work_span!("look at reservations", timers = due.len());
    let work = backbone.telemetry().trace(span, &TraceContext::NONE);
    let look = async {
        for timer in &due {
            let expired = persistence::expired_reservations(backbone.pool(), &timer.orders, now).await?;
            let open = look_at(backbone, committer, orders, settings, &expired, work.context(), now).await?;
            let again = Duration::from_millis(settings.reservation_look_again_ms);
            persistence::put_off_timer(backbone.pool(), timer, &open, now + again).await?;
        }
        Ok(())
    };
    if let Err(fault) = work.run(look).await {
        report(&work, &fault, LATER);
        return Ok(Again::Later);
    }
    // A full batch: more may be due.
    Ok(if due.len() as u64 >= limit.unsigned_abs() { Again::AtOnce } else { Again::Later })
}

/// Logs that work failed that is done again later, as an event of its span.
pub(super) fn report(work: &Traced, fault: &Fault, text: &'static str) {
    work.in_scope(|| tracing::warn!(%fault, "{text}"));
    work.fail(fault.kind(), text);
}

/// Does with what has run out of time what its order says. Returns the orders that are still open. The order service
/// is always asked: nothing is given back on what is known here alone.
async fn look_at(
    backbone: &Backbone,
    committer: &Committer<Inventory>,
    orders: &Orders,
    settings: &InventorySettings,
    expired: &[(Uuid, Timestamp)],
    trace: &TraceContext,
    now: Timestamp,
) -> Result<Vec<Uuid>, Fault> {
    if expired.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = expired.iter().map(|(order_id, _)| *order_id).collect();
    let states = orders.states(&ids).await?;
    let (mut open, mut paid, mut unneeded, mut mismatches) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (order_id, time) in expired {
        let state = states.get(order_id);
        match check_expired(state, *time, grace(settings), now) {
            ReservationCheck::Keep => paid.push(*order_id),
            ReservationCheck::GiveBack => unneeded.push(Command::Expire { order_id: *order_id }),
            ReservationCheck::Fine => open.push(*order_id),
            ReservationCheck::Mismatch(kind) => {
                open.push(*order_id);
                mismatches.extend(state.map(|state| (*order_id, kind, *state)));
            }
        }
    }
    persistence::keep_reservations(backbone.pool(), &paid, now).await?;
    report_mismatches(backbone, &mismatches, now).await?;
    let given_back = give_back(committer, unneeded, trace, settings).await?;
    count("openorder.reservation.expired", "Reservations given back because their time was up", given_back);
    Ok(open)
}

pub(super) fn grace(settings: &InventorySettings) -> TimeDelta {
    TimeDelta::from_std(Duration::from_millis(settings.reconcile_grace_ms)).unwrap_or(TimeDelta::MAX)
}

/// Lists mismatches for operators; each is an error in the log once.
pub(super) async fn report_mismatches(
    backbone: &Backbone,
    found: &[(Uuid, MismatchKind, OrderState)],
    now: Timestamp,
) -> Result<(), Fault> {
    let rows: Vec<_> = found.iter().map(|(order_id, kind, state)| (*order_id, *kind, state.status)).collect();
    let new = persistence::note_mismatches(backbone.pool(), &rows, now).await?;
    for (order_id, kind, state) in found.iter().filter(|(order_id, _, _)| new.contains(order_id)) {
        let (kind, order_status) = (kind.as_str(), state.status);
        tracing::error!(%order_id, kind, order_status, "a reservation contradicts its order; an operator has to look");
    }
    Ok(())
}

/// Gives reservations back, each by its command. Returns how many were: the others changed meanwhile.
pub(super) async fn give_back(
    committer: &Committer<Inventory>,
    commands: Vec<Command>,
    trace: &TraceContext,
    settings: &InventorySettings,
) -> Result<u64, Fault> {
    let submissions = commands.into_iter().map(|command| async move {
        match committer.submit(None, command, trace.clone(), None).await {
            Ok(_) => Ok(1),
            Err(CallError::Rejected(_)) => Ok(0),
            Err(error) => Err(Fault::retryable(error)),
        }
    });
    let done = stream::iter(submissions).buffer_unordered(settings.reservation_give_backs_at_once_max);
    done.try_fold(0, |sum, one| async move { Ok(sum + one) }).await
}

pub(super) fn count(name: &'static str, description: &'static str, reservations: u64) {
    let meter = openorder_telemetry::meter();
    let counter = meter.u64_counter(name).with_unit("{reservation}").with_description(description).build();
    counter.add(reservations, &[] as &[KeyValue]);
}
