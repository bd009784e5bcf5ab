//! Shipments, with what their carriers said.

use openorder_proto::order::v1::CancellationCause;
use openorder_proto::shipping::v1::{
    Shipment as ShipmentMessage, ShipmentCancelled, ShipmentCreated, ShipmentDelivered, ShipmentEvent,
    ShipmentProgressed, ShipmentShipped, ShipmentUpdated,
};
use openorder_proto::{event_types, reasons::Word, topics};
use prost::Message;
use prost_types::Timestamp;
use sqlx::postgres::PgRow;

use super::{Event, Fields, Fold, Row};
use crate::verify::database::column;

/// The parcel of an order.
#[derive(Default)]
pub(super) struct Shipment {
    shipment_id: String,
    customer_id: String,
    /// Lines and address, as they are stored.
    body: Vec<u8>,
    state: i32,
    carrier: String,
    tracking_number: String,
    cancel_reason: String,
    cancel_detail: String,
    ship_time: String,
    deliver_time: String,
    event_count: i32,
    /// What the carrier said, in the order in which it was heard.
    said: String,
    /// None before the first event; then whether that one was the shipment's first.
    is_whole: Option<bool>,
}

impl Fold for Shipment {
    const NAME: &'static str = "shipments";
    const TOPIC: &'static str = topics::SHIPPING_SHIPMENT;
    const TYPES: &'static [&'static str] = &[];
    const ROWS: &'static str = "select order_id::text as id, version, shipment_id::text as shipment_id, customer_id, body, \
        state, carrier, tracking_number, cancel_reason, cancel_detail, event_count, \
        (extract(epoch from ship_time) * 1000000)::bigint as ship_micros, \
        (extract(epoch from deliver_time) * 1000000)::bigint as deliver_micros, \
        (select coalesce(string_agg(format('%s %s %s %s %s', ordinal, type, \
             (extract(epoch from event_time) * 1000000)::bigint, coalesce(carrier_event_id, '-'), shipment_event_id), \
             ', ' order by ordinal), '') \
         from shipment_event where shipment_event.order_id = shipment.order_id) as said \
        from shipment order by order_id";

    fn row(row: &PgRow) -> sqlx::Result<Row> {
        let micros = |name| column::<Option<i64>>(row, name).map(|micros| micros.map(|micros| micros.to_string()));
        let reason: Option<i16> = column(row, "cancel_reason")?;
        let shipment = Self {
            shipment_id: column(row, "shipment_id")?,
            customer_id: column(row, "customer_id")?,
            body: column(row, "body")?,
            state: i32::from(column::<i16>(row, "state")?),
            carrier: column(row, "carrier")?,
            tracking_number: column(row, "tracking_number")?,
            cancel_reason: reason.map(reason_word).unwrap_or_default(),
            cancel_detail: column(row, "cancel_detail")?,
            ship_time: micros("ship_micros")?.unwrap_or_default(),
            deliver_time: micros("deliver_micros")?.unwrap_or_default(),
            event_count: column(row, "event_count")?,
            said: column(row, "said")?,
            is_whole: Some(true),
        };
        Ok((column(row, "id")?, (column(row, "version")?, shipment.fields())))
    }

    fn apply(&mut self, event: &Event) -> anyhow::Result<()> {
        self.is_whole.get_or_insert(event.version == 1);
        let shipment = match event.event_type.as_str() {
            event_types::SHIPMENT_CREATED => event.decode::<ShipmentCreated>()?.shipment,
            event_types::SHIPMENT_UPDATED => event.decode::<ShipmentUpdated>()?.shipment,
            event_types::SHIPMENT_SHIPPED => event.decode::<ShipmentShipped>()?.shipment,
            event_types::SHIPMENT_DELIVERED => event.decode::<ShipmentDelivered>()?.shipment,
            event_types::SHIPMENT_PROGRESSED => {
                let progressed: ShipmentProgressed = event.decode()?;
                self.hear(&progressed.event.unwrap_or_default());
                progressed.shipment
            }
            event_types::SHIPMENT_CANCELLED => event.decode::<ShipmentCancelled>()?.shipment,
            other => anyhow::bail!("no such event of a shipment is known: {other}"),
        };
        self.stand(shipment.unwrap_or_default());
        Ok(())
    }

    fn fields(self) -> Fields {
        // Of what was said before the first event that is kept nothing is known.
        let said = if self.is_whole == Some(true) { self.said } else { String::new() };
        vec![
            ("shipment_id", self.shipment_id),
            ("customer", self.customer_id),
            ("lines and address", format!("{:?}", self.body)),
            ("state", self.state.to_string()),
            ("carrier", self.carrier),
            ("tracking_number", self.tracking_number),
            ("cancel_reason", self.cancel_reason),
            ("cancel_detail", self.cancel_detail),
            ("ship_time", self.ship_time),
            ("deliver_time", self.deliver_time),
            ("event_count", self.event_count.to_string()),
            ("events of the carrier", said),
        ]
    }
}

impl Shipment {
    /// Each event has the whole shipment.
    fn stand(&mut self, message: ShipmentMessage) {
        let micros = |time: Option<Timestamp>| time.map(|time| micros_of(&time).to_string()).unwrap_or_default();
        self.state = message.state;
        self.ship_time = micros(message.ship_time);
        self.deliver_time = micros(message.deliver_time);
        let (lines, address) = (message.lines, message.address);
        self.body = ShipmentMessage { lines, address, ..ShipmentMessage::default() }.encode_to_vec();
        (self.shipment_id, self.customer_id) = (message.shipment_id, message.customer_id);
        (self.carrier, self.tracking_number) = (message.carrier, message.tracking_number);
        (self.cancel_reason, self.cancel_detail) = (message.cancel_reason, message.cancel_detail);
    }

    fn hear(&mut self, event: &ShipmentEvent) {
        let id = if event.carrier_event_id.is_empty() { "-" } else { &event.carrier_event_id };
        let time = micros_of(&event.event_time.unwrap_or_default());
        let one = format!("{} {} {time} {id} {}", event.ordinal, event.r#type, event.shipment_event_id);
        if !self.said.is_empty() {
            self.said.push_str(", ");
        }
        self.said.push_str(&one);
        self.event_count = event.ordinal;
    }
}

fn micros_of(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos) / 1_000)
}

fn reason_word(number: i16) -> String {
    CancellationCause::try_from(i32::from(number)).unwrap_or_default().word().to_owned()
}
