//! Orders to which happens what is expected of them: found, locked, changed and read by one statement.

use openorder_types::{Fault, Timestamp, UserId};
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    domain::{ExpectedStep, Order, OrderStatus},
    persistence::{Record, body, record::asked},
};

/// The subquery locks in the order of the ids, as all transactions do, and says where the rows are. One that another
/// transaction has just changed is not where the statement began to look: it is left, locked, to be looked at as it
/// stands. So is one of the form before, one that uses a coupon, and one on which something went wrong.
const SQL: &str = "update customer_order as o \
     set status = $3, saga_step = $4, saga_stock = $5, saga_payment = $6, version = o.version + $7, \
         saga_shipment = $9, saga_step_time = $8, update_time = $8, \
         payment_id = coalesce(n.payment_id, o.payment_id) \
     from (select unnest($1::uuid[]) as order_id, unnest($2::text[]) as payment_id) as n \
     where n.order_id = o.order_id \
       and o.ctid = any (array ( \
           select ctid from customer_order \
           where order_id = any ($1) and status = $10 and saga_step = $11 and saga_stock = $12 and saga_payment = $13 \
             and saga_shipment is not distinct from $14 \
             and saga_releases is null and saga_refunds is null and body is not null \
           order by order_id for update)) \
     returning o.order_id, o.customer_id, o.body, o.create_time, o.version, o.payment_id";

/// Takes those of these orders through a step that stand where it begins, and returns them as they stood there. The
/// others are as they were. With each goes the id of its payment, where the step has one.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn take(
    connection: &mut PgConnection,
    step: &ExpectedStep,
    orders: &[(Uuid, Option<&str>)],
    now: Timestamp,
) -> Result<Vec<Record>, Fault> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let (ids, payments): (Vec<Uuid>, Vec<Option<&str>>) = orders.iter().copied().unzip();
    let (from, to) = (&step.from, &step.to);
    let rows = sqlx::query(SQL)
        .bind(ids)
        .bind(payments)
        .bind(to.status.number())
        .bind(to.step.number())
        .bind(to.stock.number())
        .bind(to.payment.number())
        .bind(step.versions)
        .bind(now)
        .bind(asked(to.shipment))
        .bind(from.status.number())
        .bind(from.step.number())
        .bind(from.stock.number())
        .bind(from.payment.number())
        .bind(asked(from.shipment))
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| before(row, step, now)).collect()
}

/// The order as it stood before the step. When it had come there is not known any more: nothing that follows depends on
/// it.
fn before(row: &PgRow, step: &ExpectedStep, now: Timestamp) -> Result<Record, Fault> {
    let body = body::decode(row.try_get("body")?)?;
    let customer_id: &str = row.try_get("customer_id")?;
    let version: i64 = row.try_get("version")?;
    let payment_id: Option<String> = row.try_get("payment_id")?;
    let was_paid = step.from.status >= OrderStatus::Paid;
    let order = Order {
        order_id: row.try_get("order_id")?,
        customer_id: UserId::parse(customer_id).map_err(Fault::permanent)?,
        customer_email: body.customer_email,
        status: step.from.status,
        version: version - step.versions,
        lines: body.lines,
        total: body.total,
        reservation_mode: body.reservation_mode,
        payment_mode: body.payment_mode,
        payment_window: body.payment_window,
        status_reason: String::new(),
        status_detail: String::new(),
        payment_id: payment_id.filter(|_| was_paid).unwrap_or_default(),
        issued_coupon_id: None,
        modification: None,
        shipping_address: body.shipping_address,
        create_time: row.try_get("create_time")?,
        update_time: now,
    };
    Ok(Record { order, saga: step.from.saga(now), trace: body.trace })
}
