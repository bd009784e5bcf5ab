//! Table `shipment_event`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::Fault;
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{CarrierEvent, CarrierEventId, CarrierEventType, Location};

/// An event with the order whose carrier said it.
type OfOrder = (Uuid, CarrierEvent);

static SHIPMENT_EVENT: LazyLock<Table<OfOrder>> = LazyLock::new(|| {
    Table::new("shipment_event", "shipment_event_id")
        .column("order_id", |(order_id, _): &OfOrder| *order_id)
        .column("ordinal", |(_, event)| event.ordinal)
        .column("shipment_event_id", |(_, event)| event.shipment_event_id)
        .column("type", |(_, event)| event.event_type.number())
        .column("event_time", |(_, event)| event.event_time)
        .text("location", |(_, event)| event.location.as_str())
        .column("carrier_event_id", |(_, event)| event.carrier_event_id.as_ref().map(|id| id.as_str().to_owned()))
        .column("create_time", |(_, event)| event.create_time)
});

/// Those of these orders' events, whose shipments are locked, that have one of these ids of their carriers.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_named_events(
    connection: &mut PgConnection,
    orders: &[Uuid],
    ids: &[&str],
) -> Result<Vec<OfOrder>, Fault> {
    if orders.is_empty() || ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = SHIPMENT_EVENT
        .select("from shipment_event where order_id = any ($1) and carrier_event_id = any ($2)")
        .bind(orders.to_vec())
        .bind(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    rows.iter().map(event).collect()
}

/// All events of these orders, in the order in which they happened.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_events(executor: impl PgExecutor<'_>, orders: &[Uuid]) -> Result<Vec<OfOrder>, Fault> {
    let rows = SHIPMENT_EVENT
        .select("from shipment_event where order_id = any ($1) order by order_id, event_time, ordinal")
        .bind(orders.to_vec())
        .fetch_all(executor)
        .await?;
    rows.iter().map(event).collect()
}

/// Adds events.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn add_events(connection: &mut PgConnection, events: &[OfOrder]) -> Result<(), Fault> {
    SHIPMENT_EVENT.insert(connection, &events.iter().collect::<Vec<_>>()).await
}

fn event(row: &PgRow) -> Result<OfOrder, Fault> {
    let (location, id): (&str, Option<&str>) = (row.try_get("location")?, row.try_get("carrier_event_id")?);
    let event = CarrierEvent {
        shipment_event_id: row.try_get("shipment_event_id")?,
        ordinal: row.try_get("ordinal")?,
        event_type: CarrierEventType::from_stored(row.try_get("type")?)?,
        event_time: row.try_get("event_time")?,
        location: Location::parse(location).map_err(Fault::permanent)?,
        carrier_event_id: id.map(CarrierEventId::parse).transpose().map_err(Fault::permanent)?,
        create_time: row.try_get("create_time")?,
    };
    Ok((row.try_get("order_id")?, event))
}
