//! Invariant 8: checkouts of carts agree with orders. Each that is done has one order, of the lines that it fixed; each
//! order that came of a cart has its checkout, which knows it.
//!
//! A cart is ordered by one request id in both services, in its caller's name: so the result that the cart service keeps of
//! it, the lines, and the one that the order service keeps, the order, are found by one key. An order that merely names a
//! checkout is nobody's: whoever calls CreateOrder may name any.
//!
//! The carts' database is seen before the orders': an order that it knows is there. That it does not know one yet is judged
//! once the order is older than the bound, and looked at again before it is told.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::Context;
use openorder_proto::event_types;
use openorder_proto::order::v1::{CreateOrderRequest, OrderCreated};
use openorder_types::Timestamp;
use prost::Message;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Check;
use super::database::{Keyed, Met, Snapshot, column, decoded};
use super::report::Findings;
use super::services::Service;

/// Checkouts whose rows and orders are looked up together.
const LOOK_UP_ROWS: usize = 1_000;
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The tag of a kept result that says what a checkout fixed.
const FIXED: u8 = 1;
/// Old rows are deleted bit by bit.
const DELETED_WITHIN: chrono::Duration = chrono::Duration::minutes(10);

/// SKUs and pieces.
type Lines = BTreeMap<String, i32>;

/// What a checkout fixed, and what its request made.
#[derive(Debug, Clone)]
struct Asked {
    checkout_id: Uuid,
    customer_id: String,
    lines: Lines,
    /// When it was fixed.
    at: Timestamp,
    /// The order that the request made; none yet, or its result is kept no longer.
    order_id: Option<Uuid>,
}

/// A checkout's row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    customer_id: String,
    order_id: Option<Uuid>,
}

/// What the first event of an order says.
#[derive(Debug, Clone)]
struct Made {
    checkout_id: String,
    customer_id: String,
    lines: Lines,
    at: Timestamp,
}

/// What is thought of a checkout.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Agrees,
    /// Its row is kept no longer, or its order is made of something else by its caller.
    NotJudged,
    /// The cart service has not heard of this order.
    Unheard(Uuid),
    Disagrees(&'static str, String),
}

pub(super) async fn check(check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<()> {
    // In this order: what the carts know of is among the orders.
    let mut carts = check.databases.snapshot(Service::Cart).await?;
    let mut orders = check.databases.snapshot(Service::Order).await?;
    findings.note_floor(Service::Order, &orders.floor);
    let mut unheard = BTreeMap::new();
    by_request(check, &mut carts, &mut orders, &mut unheard, findings).await?;
    by_order(&mut carts, &mut orders, findings).await?;
    look_again(check, unheard, findings).await
}

/// All that checkouts fixed and is kept, each with the order of the same request.
async fn by_request(
    check: &Check<'_>,
    carts: &mut Snapshot,
    orders: &mut Snapshot,
    unheard: &mut BTreeMap<Uuid, Uuid>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let fixed = "select command_key, reply, created_at from command_result order by command_key";
    let mut fixed = Keyed::read(carts, fixed, fixed_row).await?;
    let made = "select command_key, reply from command_result order by command_key";
    let mut made = Keyed::read(orders, made, made_row).await?;
    let mut chunk = Vec::new();
    while let Some((key, (reply, at))) = fixed.next(carts).await? {
        let Some(mut asked) = asked(&reply, at) else { continue };
        asked.order_id = loop {
            match made.meet(orders, &key).await? {
                Met::Same(order_id) => break order_id,
                Met::Before(..) => {}
                Met::None => break None,
            }
        };
        chunk.push(asked);
        if chunk.len() == LOOK_UP_ROWS {
            judge_all(check, carts, orders, &chunk, unheard, findings).await?;
            chunk.clear();
        }
    }
    judge_all(check, carts, orders, &chunk, unheard, findings).await
}

async fn judge_all(
    check: &Check<'_>,
    carts: &mut Snapshot,
    orders: &mut Snapshot,
    chunk: &[Asked],
    unheard: &mut BTreeMap<Uuid, Uuid>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    if chunk.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = chunk.iter().map(|asked| asked.checkout_id).collect();
    let rows = checkouts(carts, &ids).await?;
    let ids: Vec<Uuid> = chunk.iter().filter_map(|asked| asked.order_id).collect();
    let events = first_events(orders, &ids).await?;
    let kept = chrono::Duration::from_std(Duration::from_millis(check.settings.cart.checkout_keep_ms))?;
    let kept_from = carts.now - kept + DELETED_WITHIN;
    let young = orders.now - check.settle;
    for asked in chunk {
        let made = asked.order_id.and_then(|order_id| events.get(&order_id));
        match judge(asked, rows.get(&asked.checkout_id), made, kept_from) {
            Verdict::Agrees => findings.checked(),
            Verdict::NotJudged => findings.count("checkouts that are not judged", 1),
            Verdict::Unheard(_) if made.is_some_and(|made| made.at > young) => findings.in_flight(),
            Verdict::Unheard(order_id) => drop(unheard.insert(asked.checkout_id, order_id)),
            Verdict::Disagrees(reason, detail) => {
                findings.checked();
                findings.violated(reason, asked.checkout_id, detail);
            }
        }
    }
    Ok(())
}

/// Rows of checkouts are kept from `kept_from` on; an order's first event may be pruned.
fn judge(asked: &Asked, row: Option<&Row>, made: Option<&Made>, kept_from: Timestamp) -> Verdict {
    let Some(row) = row else {
        return match asked.at < kept_from {
            true => Verdict::NotJudged,
            false => Verdict::Disagrees("CHECKOUT_MISSING", "its lines were fixed, and it is gone".to_owned()),
        };
    };
    if row.customer_id != asked.customer_id {
        let detail = format!("fixed for {}, and its row is of {}", asked.customer_id, row.customer_id);
        return Verdict::Disagrees("CHECKOUT_DIFFERS", detail);
    }
    // Nothing was ordered yet, or nobody remembers by which request.
    let Some(order_id) = asked.order_id else { return Verdict::Agrees };
    let Some(made) = made else { return Verdict::NotJudged };
    if made.checkout_id != asked.checkout_id.to_string() {
        return match row.order_id == Some(order_id) {
            true => Verdict::Disagrees("CHECKOUT_DIFFERS", format!("its order {order_id} does not name it")),
            false => Verdict::NotJudged,
        };
    }
    if (&made.customer_id, &made.lines) != (&asked.customer_id, &asked.lines) {
        let detail = format!("fixed {:?}, and order {order_id} is of {:?}", asked.lines, made.lines);
        return Verdict::Disagrees("CHECKOUT_LINES_DIFFER", detail);
    }
    match row.order_id {
        None => Verdict::Unheard(order_id),
        Some(noted) if noted == order_id => Verdict::Agrees,
        Some(noted) => {
            let detail = format!("its request made order {order_id}, and it knows of order {noted}");
            Verdict::Disagrees("CHECKOUT_DOUBLED", detail)
        }
    }
}

/// All checkouts that know their order, in the order of those: the order is there, is its customer's, names it, and is of no
/// other one.
async fn by_order(carts: &mut Snapshot, orders: &mut Snapshot, findings: &mut Findings) -> anyhow::Result<()> {
    let sql = "select order_id, checkout_id, customer_id from checkout where order_id is not null order by order_id";
    let mut rows = Keyed::read(carts, sql, done_row).await?;
    let mut chunk: Vec<(Uuid, (Uuid, String))> = Vec::new();
    let mut last = None;
    while let Some((order_id, (checkout_id, customer_id))) = rows.next(carts).await? {
        findings.count("checkouts that are done", 1);
        if last == Some(order_id) {
            findings.violated("CHECKOUT_DOUBLED", checkout_id, format!("order {order_id} is of another one too"));
        }
        last = Some(order_id);
        chunk.push((order_id, (checkout_id, customer_id)));
        if chunk.len() == LOOK_UP_ROWS {
            orders_of(orders, &chunk, findings).await?;
            chunk.clear();
        }
    }
    orders_of(orders, &chunk, findings).await
}

async fn orders_of(
    orders: &mut Snapshot,
    chunk: &[(Uuid, (Uuid, String))],
    findings: &mut Findings,
) -> anyhow::Result<()> {
    if chunk.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = chunk.iter().map(|(order_id, _)| *order_id).collect();
    let sql = "select order_id, customer_id from customer_order where order_id = any ($1)";
    let found = sqlx::query(sql).bind(&ids).fetch_all(&mut orders.connection).await;
    let found = found.with_context(|| orders.service.database())?;
    let owners: sqlx::Result<HashMap<Uuid, String>> =
        found.iter().map(|row| Ok((column(row, "order_id")?, column(row, "customer_id")?))).collect();
    let owners = owners.with_context(|| orders.service.database())?;
    let events = first_events(orders, &ids).await?;
    for (order_id, (checkout_id, customer_id)) in chunk {
        let names_another = events.get(order_id).is_some_and(|made| made.checkout_id != checkout_id.to_string());
        match owners.get(order_id) {
            None => {
                let detail = format!("it knows of order {order_id}, and there is none");
                findings.violated("CHECKOUT_ORDER_MISSING", checkout_id, detail);
            }
            Some(owner) if owner != customer_id || names_another => {
                let detail = format!("order {order_id} is of {owner}, or of another checkout");
                findings.violated("CHECKOUT_DIFFERS", checkout_id, detail);
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Looks at the rows of checkouts that have not heard of their order until the bound has passed once more.
async fn look_again(
    check: &Check<'_>,
    mut unheard: BTreeMap<Uuid, Uuid>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + check.settle;
    while !unheard.is_empty() {
        let is_last = tokio::time::Instant::now() >= until;
        let mut carts = check.databases.snapshot(Service::Cart).await?;
        let ids: Vec<Uuid> = unheard.keys().copied().collect();
        for chunk in ids.chunks(LOOK_UP_ROWS) {
            let heard = checkouts(&mut carts, chunk).await?;
            // One that is deleted meanwhile is old.
            for id in chunk.iter().filter(|id| heard.get(id).is_none_or(|row| row.order_id.is_some())) {
                findings.checked();
                unheard.remove(id);
            }
        }
        if is_last {
            break;
        }
        tokio::time::sleep(LOOK_INTERVAL.min(check.settle)).await;
    }
    for (checkout_id, order_id) in unheard {
        findings.checked();
        let detail = format!("its order {order_id} was made, and it has not heard of that");
        findings.violated("CHECKOUT_NOT_NOTED", checkout_id, detail);
    }
    Ok(())
}

async fn checkouts(carts: &mut Snapshot, ids: &[Uuid]) -> anyhow::Result<HashMap<Uuid, Row>> {
    let sql = "select checkout_id, customer_id, order_id from checkout where checkout_id = any ($1)";
    let rows = sqlx::query(sql).bind(ids).fetch_all(&mut carts.connection).await;
    let rows = rows.with_context(|| carts.service.database())?;
    let rows: sqlx::Result<HashMap<Uuid, Row>> = rows
        .iter()
        .map(|row| {
            let found = Row { customer_id: column(row, "customer_id")?, order_id: column(row, "order_id")? };
            Ok((column(row, "checkout_id")?, found))
        })
        .collect();
    rows.with_context(|| carts.service.database())
}

/// The first events of these orders that are not pruned.
async fn first_events(orders: &mut Snapshot, ids: &[Uuid]) -> anyhow::Result<HashMap<Uuid, Made>> {
    let names: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    let sql = "select aggregate_id, payload, occurred_at from event_log \
               where aggregate_id = any ($1) and event_type = $2 and position > $3";
    let query = sqlx::query(sql).bind(&names).bind(event_types::ORDER_CREATED).bind(orders.floor.position());
    let rows = query.fetch_all(&mut orders.connection).await;
    let rows = rows.with_context(|| orders.service.database())?;
    let mut events = HashMap::with_capacity(rows.len());
    for row in rows {
        let (id, made) = made_by(&row).with_context(|| orders.service.database())?;
        events.extend(Uuid::try_parse(&id).ok().map(|id| (id, made)));
    }
    Ok(events)
}

fn made_by(row: &PgRow) -> sqlx::Result<(String, Made)> {
    let event: OrderCreated = decoded(column(row, "payload")?)?;
    let made = Made {
        checkout_id: event.checkout_id,
        customer_id: event.customer_id,
        lines: event.lines.into_iter().map(|line| (line.sku, line.quantity)).collect(),
        at: column(row, "occurred_at")?,
    };
    Ok((column(row, "aggregate_id")?, made))
}

/// What a kept result of the cart service fixed; none of another result.
fn asked(reply: &[u8], at: Timestamp) -> Option<Asked> {
    let [message @ .., FIXED] = reply else { return None };
    let fixed = CreateOrderRequest::decode(message).ok()?;
    Some(Asked {
        checkout_id: Uuid::try_parse(&fixed.checkout_id).ok()?,
        customer_id: fixed.customer_id,
        lines: fixed.lines.into_iter().map(|line| (line.sku, line.quantity)).collect(),
        at,
        order_id: None,
    })
}

fn fixed_row(row: &PgRow) -> sqlx::Result<(Uuid, (Vec<u8>, Timestamp))> {
    Ok((column(row, "command_key")?, (column(row, "reply")?, column(row, "created_at")?)))
}

/// The order that a kept result of the order service made; none of another result.
fn made_row(row: &PgRow) -> sqlx::Result<(Uuid, Option<Uuid>)> {
    let reply: &[u8] = column(row, "reply")?;
    let order_id = match reply {
        [0, order_id @ ..] => Uuid::from_slice(order_id).ok(),
        _ => None,
    };
    Ok((column(row, "command_key")?, order_id))
}

fn done_row(row: &PgRow) -> sqlx::Result<(Uuid, (Uuid, String))> {
    Ok((column(row, "order_id")?, (column(row, "checkout_id")?, column(row, "customer_id")?)))
}

#[cfg(test)]
mod tests {
    use openorder_proto::order::v1::RequestedLine;

    use super::*;

    const CHECKOUT: Uuid = Uuid::from_u128(1);
    const ORDER: Uuid = Uuid::from_u128(2);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(seconds, 0).unwrap()
    }

    fn lines(pieces: i32) -> Lines {
        Lines::from([("TEA".to_owned(), pieces)])
    }

    fn asked_for(order_id: Option<Uuid>) -> Asked {
        Asked { checkout_id: CHECKOUT, customer_id: "ada".to_owned(), lines: lines(2), at: at(100), order_id }
    }

    fn row(order_id: Option<Uuid>) -> Row {
        Row { customer_id: "ada".to_owned(), order_id }
    }

    fn made(checkout_id: Uuid, pieces: i32) -> Made {
        Made { checkout_id: checkout_id.to_string(), customer_id: "ada".to_owned(), lines: lines(pieces), at: at(100) }
    }

    fn reason(verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Disagrees(reason, _) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_checkout_agrees_with_its_order_and_may_have_none() {
        let (done, open) = (asked_for(Some(ORDER)), asked_for(None));
        assert_eq!(judge(&done, Some(&row(Some(ORDER))), Some(&made(CHECKOUT, 2)), at(0)), Verdict::Agrees);
        assert_eq!(judge(&open, Some(&row(None)), None, at(0)), Verdict::Agrees);
        assert_eq!(judge(&done, Some(&row(None)), Some(&made(CHECKOUT, 2)), at(0)), Verdict::Unheard(ORDER));
        assert_eq!(judge(&done, Some(&row(Some(ORDER))), None, at(0)), Verdict::NotJudged, "its event is pruned");
        assert_eq!(judge(&done, None, None, at(101)), Verdict::NotJudged, "its row is kept no longer");
        // Its caller has ordered something else by the same request id, without the cart.
        assert_eq!(judge(&done, Some(&row(None)), Some(&made(Uuid::nil(), 7)), at(0)), Verdict::NotJudged);
    }

    #[test]
    fn what_disagrees_is_told_by_its_reason() {
        let done = asked_for(Some(ORDER));
        let told = |row: Option<Row>, made: &Made| reason(judge(&done, row.as_ref(), Some(made), at(0)));
        assert_eq!(told(None, &made(CHECKOUT, 2)), "CHECKOUT_MISSING");
        assert_eq!(told(Some(row(Some(ORDER))), &made(CHECKOUT, 3)), "CHECKOUT_LINES_DIFFER");
        assert_eq!(told(Some(row(Some(ORDER))), &made(Uuid::nil(), 2)), "CHECKOUT_DIFFERS");
        assert_eq!(told(Some(row(Some(CHECKOUT))), &made(CHECKOUT, 2)), "CHECKOUT_DOUBLED");
        let of_bob = Row { customer_id: "bob".to_owned(), order_id: None };
        assert_eq!(told(Some(of_bob), &made(CHECKOUT, 2)), "CHECKOUT_DIFFERS");
    }

    #[test]
    fn what_a_checkout_fixed_is_read_of_its_kept_result_alone() {
        let fixed = CreateOrderRequest {
            customer_id: "ada".to_owned(),
            checkout_id: CHECKOUT.to_string(),
            lines: vec![RequestedLine { sku: "TEA".to_owned(), quantity: 2 }],
            ..Default::default()
        };
        let kept = [fixed.encode_to_vec().as_slice(), &[FIXED]].concat();
        let found = asked(&kept, at(100)).unwrap();
        assert_eq!((found.checkout_id, found.lines, found.order_id), (CHECKOUT, lines(2), None));
        assert!(asked(&[2], at(0)).is_none() && asked(&[], at(0)).is_none());
    }
}
