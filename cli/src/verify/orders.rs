//! Invariant 1: every accepted order reaches a final status, none is lost, and a request id makes one order.

use std::collections::HashMap;

use anyhow::Context;
use openorder_proto::order::v1::{Order, OrderStatus};
use openorder_types::Timestamp;
use prost::Message;
use sqlx::Row;
use uuid::Uuid;

use super::Check;
use super::database::{Snapshot, column};
use super::difference::Difference;
use super::report::Findings;
use super::services::Service;

/// Orders whose deadlines are looked up together.
const LOOK_UP_ROWS: usize = 1_000;
/// Services that take part in an order before it is settled.
const PARTICIPANTS: [Service; 3] = [Service::Order, Service::Inventory, Service::Payment];
/// `saga::Step`: reserving, paying, completed, compensating, compensated, compensation failed, rejected.
const STEP_COMPENSATION_FAILED: i16 = 6;
const STEPS_AT_REST: [i16; 3] = [3, 5, 7];

/// An order that has not come to its end.
struct Open {
    order_id: Uuid,
    status: i16,
    step: i16,
}

pub(super) async fn check(check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<()> {
    let mut snapshot = check.databases.snapshot(Service::Order).await?;
    let mut difference = Difference::new();
    ends(check, &mut snapshot, &mut difference, findings).await?;
    requests(check, &mut snapshot, &mut difference).await?;
    if difference.is_even() {
        return Ok(());
    }
    let mut again = Findings::quiet(findings);
    ends(check, &mut snapshot, &mut difference, &mut again).await?;
    requests(check, &mut snapshot, &mut difference).await?;
    for uneven in difference.uneven() {
        let id = Uuid::from_u128(uneven.key);
        match (uneven.left, uneven.right) {
            (0, _) => findings.violated("ORDER_LOST", id, "its request was answered, and there is no such order"),
            (_, 0) => findings.violated("ORDER_DOUBLED", id, "no request id has this order as its answer"),
            (_, requests) => findings.violated("REQUESTS_SHARE_ORDER", id, format!("{requests} request ids made it")),
        }
    }
    Ok(())
}

/// All orders: those that should be at their end are, and each is taken down for the comparison with the requests.
async fn ends(
    check: &Check<'_>,
    snapshot: &mut Snapshot,
    difference: &mut Difference<u128>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let sql = "select order_id, status, saga_step, create_time, saga_step_time from customer_order order by order_id";
    let mut rows = snapshot.rows(sql).await?;
    let mut open = Vec::new();
    let young = snapshot.now - check.settle;
    while let Some(row) = rows.next(snapshot).await? {
        findings.checked();
        let one = Open {
            order_id: column(&row, "order_id")?,
            status: column(&row, "status")?,
            step: column(&row, "saga_step")?,
        };
        if is_remembered(check, snapshot.now, one.order_id) {
            difference.left(one.order_id.as_u128(), ());
        }
        let under_way = [OrderStatus::Pending, OrderStatus::Confirmed, OrderStatus::Paid];
        if STEPS_AT_REST.contains(&one.step) && !under_way.iter().any(|status| *status as i32 == i32::from(one.status))
        {
            continue;
        }
        let since: Timestamp = column(&row, "saga_step_time")?;
        if since.max(column(&row, "create_time")?) > young {
            findings.in_flight();
            continue;
        }
        open.push(one);
        if open.len() == LOOK_UP_ROWS {
            judge(check, snapshot, &open, findings).await?;
            open.clear();
        }
    }
    judge(check, snapshot, &open, findings).await
}

/// What an open order waits for: a deadline that is ahead, or a message that is being tried again. Else it waits for ever.
async fn judge(
    check: &Check<'_>,
    snapshot: &mut Snapshot,
    open: &[Open],
    findings: &mut Findings,
) -> anyhow::Result<()> {
    if open.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = open.iter().map(|one| one.order_id).collect();
    let deadlines = deadlines(snapshot, &ids).await?;
    let parked = parked(check, &ids).await?;
    for one in open {
        let at = format!("status {}, saga step {}", one.status, one.step);
        match (deadlines.get(&one.order_id), parked.get(&one.order_id)) {
            (_, Some((service, true))) => {
                let detail = format!("{at}; a message of it is dead in {service}: replay or discard it");
                findings.violated("DEAD_LETTERED", one.order_id, detail);
            }
            _ if one.step == STEP_COMPENSATION_FAILED => {
                findings.violated("COMPENSATION_FAILED", one.order_id, format!("{at}; an operator has to look"));
            }
            (_, Some((_, false))) => findings.in_flight(),
            (Some(due), None) if *due > snapshot.now - check.settle => findings.in_flight(),
            (Some(due), None) => {
                findings.violated("DEADLINE_MISSED", one.order_id, format!("{at}; nobody looked at it since {due}"));
            }
            (None, None) => {
                findings.violated("NEVER_SETTLED", one.order_id, format!("{at}; no deadline is set for it"));
            }
        }
    }
    Ok(())
}

/// The last deadline of each of the orders that has one.
async fn deadlines(snapshot: &mut Snapshot, orders: &[Uuid]) -> anyhow::Result<HashMap<Uuid, Timestamp>> {
    let sql = "select order_id, max(due_at) as due_at \
               from (select due_at, unnest(order_ids) as order_id from saga_timer where order_ids && $1) as timers \
               where order_id = any ($1) group by order_id";
    let rows = sqlx::query(sql).bind(orders).fetch_all(&mut snapshot.connection).await;
    let rows = rows.with_context(|| snapshot.service.database())?;
    rows.iter().map(|row| Ok((row.try_get("order_id")?, row.try_get("due_at")?))).collect()
}

/// Those of the orders that have messages parked: where, and whether one is dead.
async fn parked(check: &Check<'_>, orders: &[Uuid]) -> anyhow::Result<HashMap<Uuid, (Service, bool)>> {
    let keys: Vec<Vec<u8>> = orders.iter().map(|order_id| order_id.to_string().into_bytes()).collect();
    let mut found: HashMap<Uuid, (Service, bool)> = HashMap::new();
    for service in PARTICIPANTS {
        let mut connection = check.databases.connect(service).await?;
        let sql = "select convert_from(key, 'UTF8')::uuid as order_id, bool_or(state = 2) as dead from parked_message \
                   where key = any ($1) group by key";
        let rows = sqlx::query(sql).bind(&keys).fetch_all(&mut connection).await;
        for row in rows.with_context(|| service.database())? {
            let dead: bool = row.try_get("dead")?;
            let one = found.entry(row.try_get("order_id")?).or_insert((service, dead));
            if dead {
                *one = (service, true);
            }
        }
    }
    Ok(found)
}

/// The answers that made orders, taken down for the comparison with the orders.
async fn requests(check: &Check<'_>, snapshot: &mut Snapshot, difference: &mut Difference<u128>) -> anyhow::Result<()> {
    // What the version before keeps beside this one is in both tables.
    let sql = "select reply from command_result union all \
               select reply from request_result as former where not exists (\
                 select from command_result where command_key = command_key(former.caller, former.request_id))";
    let mut rows = snapshot.rows(sql).await?;
    while let Some(row) = rows.next(snapshot).await? {
        let reply: &[u8] = column(&row, "reply")?;
        if let Some(order_id) = made_by(reply)
            && is_remembered(check, snapshot.now, order_id)
        {
            difference.right(order_id.as_u128(), ());
        }
    }
    Ok(())
}

/// The order that the answered command made; none if it did something else. Of a creation the id of its order is kept,
/// behind a byte that no message begins with. The version before kept the order: a new one is PENDING, or REJECTED at
/// once when a SKU is unknown; no other command leaves an order so.
fn made_by(reply: &[u8]) -> Option<Uuid> {
    if let [0, order_id @ ..] = reply {
        return Uuid::from_slice(order_id).ok();
    }
    let order = Order::decode(reply).ok()?;
    let made =
        (order.status() == OrderStatus::Pending && order.version == 1) || order.status() == OrderStatus::Rejected;
    made.then(|| Uuid::try_parse(&order.order_id).ok()).flatten()
}

/// Answers are kept for a time; orders from before it have none any more. Both sides are cut by the order's own id.
fn is_remembered(check: &Check<'_>, now: Timestamp, order_id: Uuid) -> bool {
    let kept = i64::from(check.settings.order.database.request_retention_hours);
    // An id is drawn a moment before the answer is stored, and old answers are deleted bit by bit.
    let from = now - chrono::Duration::hours(kept) + chrono::Duration::minutes(10);
    let made = order_id.get_timestamp().map(|made| made.to_unix());
    made.is_none_or(|(seconds, _)| i64::try_from(seconds).unwrap_or(i64::MAX) > from.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: OrderStatus, version: i64) -> (Uuid, Vec<u8>) {
        let id = Uuid::now_v7();
        let order = Order { order_id: id.to_string(), status: status.into(), version, ..Default::default() };
        (id, order.encode_to_vec())
    }

    #[test]
    fn only_the_answer_of_a_creation_makes_an_order() {
        for (status, version) in [(OrderStatus::Pending, 1), (OrderStatus::Rejected, 2)] {
            let (id, bytes) = reply(status, version);
            assert_eq!(made_by(&bytes), Some(id));
            assert_eq!(made_by(&[&[0], id.as_bytes().as_slice()].concat()), Some(id));
        }
        for (status, version) in [(OrderStatus::Cancelled, 2), (OrderStatus::Shipped, 5)] {
            assert_eq!(made_by(&reply(status, version).1), None);
        }
        assert_eq!((made_by(b""), made_by(b"\xff"), made_by(b"\0short")), (None, None, None));
    }
}
