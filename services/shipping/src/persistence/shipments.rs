//! Table `shipment`.

use std::{collections::HashSet, sync::LazyLock};

use openorder_messaging::Table;
use openorder_proto::shipping::v1::Shipment as ShipmentMessage;
use openorder_types::{Fault, UserId};
use prost::Message;
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    domain::{CancelReason, Carrier, Shipment, ShipmentKey, ShipmentState, TrackingNumber},
    present,
};

static SHIPMENT: LazyLock<Table<Shipment>> = LazyLock::new(|| {
    Table::new("shipment", "order_id")
        .column("order_id", |shipment: &Shipment| shipment.order_id)
        .column("shipment_id", |shipment| shipment.shipment_id)
        .text("customer_id", |shipment| shipment.customer_id.as_str())
        .column("body", |shipment| present::body(shipment).encode_to_vec())
        .column("create_time", |shipment| shipment.create_time)
        .changing()
        .column("state", |shipment| shipment.state.number())
        .text("carrier", |shipment| shipment.carrier.as_ref().map_or("", Carrier::as_str))
        .text("tracking_number", |shipment| shipment.tracking_number.as_ref().map_or("", TrackingNumber::as_str))
        .column("cancel_reason", |shipment| shipment.cancel_reason.map(CancelReason::number))
        .text("cancel_detail", |shipment| &shipment.cancel_detail)
        .column("ship_time", |shipment| shipment.ship_time)
        .column("deliver_time", |shipment| shipment.deliver_time)
        .column("event_count", |shipment| shipment.event_count)
        .column("version", |shipment| shipment.version)
        .column("update_time", |shipment| shipment.update_time)
});

/// Conditions of a list; all must hold.
#[derive(Debug, Default)]
pub struct Filter {
    pub customer_id: Option<UserId>,
    pub order_id: Option<Uuid>,
    pub state: Option<ShipmentState>,
    /// Older than this one: the last of the page before.
    pub before: Option<Uuid>,
}

/// Ids of shipments, and of orders.
fn split(keys: &HashSet<ShipmentKey>) -> (Vec<Uuid>, Vec<Uuid>) {
    let shipments = keys.iter().filter_map(|key| if let ShipmentKey::Shipment(id) = key { Some(*id) } else { None });
    let orders = keys.iter().filter_map(|key| if let ShipmentKey::Order(id) = key { Some(*id) } else { None });
    (shipments.collect(), orders.collect())
}

/// Locks the shipments with these keys, in one order for all transactions, so that none deadlock.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock_shipments(
    connection: &mut PgConnection,
    keys: &HashSet<ShipmentKey>,
) -> Result<Vec<Shipment>, Fault> {
    let (shipments, orders) = split(keys);
    let rows = SHIPMENT
        .select("from shipment where shipment_id = any ($1) or order_id = any ($2) order by order_id for update")
        .bind(shipments)
        .bind(orders)
        .fetch_all(connection)
        .await?;
    rows.iter().map(shipment).collect()
}

/// The shipments with these keys as last committed.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_shipments(
    executor: impl PgExecutor<'_>,
    keys: &HashSet<ShipmentKey>,
) -> Result<Vec<Shipment>, Fault> {
    let (shipments, orders) = split(keys);
    let rows = SHIPMENT
        .select("from shipment where shipment_id = any ($1) or order_id = any ($2)")
        .bind(shipments)
        .bind(orders)
        .fetch_all(executor)
        .await?;
    rows.iter().map(shipment).collect()
}

/// The query of a list whose first condition leads to an index.
macro_rules! list {
    ($first:literal) => {
        concat!(
            "from shipment where ",
            $first,
            " and ($1::text is null or customer_id = $1) and ($2::uuid is null or order_id = $2) \
              and ($3::smallint is null or state = $3) \
             order by shipment_id desc limit $5"
        )
    };
}

/// The newest first, at most `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list_shipments(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Shipment>, Fault> {
    let text = match filter {
        Filter { order_id: Some(_), .. } => list!("shipment_id < $4 and order_id = $2"),
        Filter { customer_id: Some(_), .. } => list!("shipment_id < $4 and customer_id = $1"),
        Filter { state: Some(_), .. } => list!("shipment_id < $4 and state = $3"),
        Filter { .. } => list!("shipment_id < $4"),
    };
    let rows = SHIPMENT
        .select(text)
        .bind(filter.customer_id.as_ref().map(|user_id| user_id.as_str().to_owned()))
        .bind(filter.order_id)
        .bind(filter.state.map(ShipmentState::number))
        .bind(filter.before.unwrap_or(Uuid::max()))
        .bind(limit)
        .fetch_all(executor)
        .await?;
    rows.iter().map(shipment).collect()
}

/// Writes new shipments, which must not exist, and changed ones, which must be locked.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction made one of the new ones first.
pub async fn save_shipments(
    connection: &mut PgConnection,
    new: &[&Shipment],
    changed: &[&Shipment],
) -> Result<(), Fault> {
    SHIPMENT.update(&mut *connection, changed).await?;
    SHIPMENT.insert(connection, new).await
}

fn shipment(row: &PgRow) -> Result<Shipment, Fault> {
    let customer_id: &str = row.try_get("customer_id")?;
    let body = ShipmentMessage::decode(row.try_get::<&[u8], _>("body")?).map_err(Fault::permanent)?;
    let (lines, address) = present::parse_body(&body).map_err(Fault::permanent)?;
    let (carrier, tracking): (&str, &str) = (row.try_get("carrier")?, row.try_get("tracking_number")?);
    let reason: Option<i16> = row.try_get("cancel_reason")?;
    Ok(Shipment {
        shipment_id: row.try_get("shipment_id")?,
        order_id: row.try_get("order_id")?,
        customer_id: UserId::parse(customer_id).map_err(Fault::permanent)?,
        lines,
        address,
        state: ShipmentState::from_stored(row.try_get("state")?)?,
        carrier: said(carrier, Carrier::parse)?,
        tracking_number: said(tracking, TrackingNumber::parse)?,
        cancel_reason: reason.map(CancelReason::from_stored).transpose()?,
        cancel_detail: row.try_get("cancel_detail")?,
        ship_time: row.try_get("ship_time")?,
        deliver_time: row.try_get("deliver_time")?,
        event_count: row.try_get("event_count")?,
        version: row.try_get("version")?,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
    })
}

/// What was said, if anything was.
fn said<T>(text: &str, parse: fn(&str) -> Result<T, openorder_types::ValueError>) -> Result<Option<T>, Fault> {
    Some(text).filter(|text| !text.is_empty()).map(parse).transpose().map_err(Fault::permanent)
}
