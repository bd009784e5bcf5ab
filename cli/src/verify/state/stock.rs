//! Stock levels and reservations, whose events share a topic.

use openorder_proto::inventory::v1::{ReservationState, StockLine, StockModified, StockReserved};
use openorder_proto::{event_types, topics};
use sqlx::postgres::PgRow;

use super::{Event, Fields, Fold, Row};
use crate::verify::database::column;
use crate::verify::stock::StoredLine;

/// The stream of a SKU; its quantities are judged with the stock.
#[derive(Default)]
pub(super) struct Level;

impl Fold for Level {
    const NAME: &'static str = "levels";
    const TOPIC: &'static str = topics::INVENTORY_STOCK;
    const TYPES: &'static [&'static str] =
        &[event_types::STOCK_ADJUSTED, event_types::STOCK_LOW, event_types::STOCK_DEPLETED];
    const ROWS: &'static str = "select sku, event_version from stock_level order by sku collate \"C\"";

    fn row(row: &PgRow) -> sqlx::Result<Row> {
        Ok((column(row, "sku")?, (column(row, "event_version")?, Vec::new())))
    }

    fn apply(&mut self, _: &Event) -> anyhow::Result<()> {
        Ok(())
    }

    fn fields(self) -> Fields {
        Vec::new()
    }
}

/// What is held for an order.
#[derive(Default)]
pub(super) struct Reservation {
    state: Option<ReservationState>,
    /// None where no event tells them.
    lines: Option<Vec<(String, i64)>>,
}

impl Reservation {
    fn known(self) -> Fields {
        let state = self.state.unwrap_or_default().as_str_name().to_owned();
        let lines = self.lines.map(|mut lines| {
            lines.sort_unstable();
            ("lines", format!("{lines:?}"))
        });
        [("state", state)].into_iter().chain(lines).collect()
    }
}

impl Fold for Reservation {
    const NAME: &'static str = "reservations";
    const TOPIC: &'static str = topics::INVENTORY_STOCK;
    const TYPES: &'static [&'static str] = &[
        event_types::STOCK_RESERVED,
        event_types::STOCK_REJECTED,
        event_types::STOCK_RELEASED,
        event_types::STOCK_MODIFIED,
        event_types::STOCK_MODIFICATION_REJECTED,
    ];
    const ROWS: &'static str =
        "select order_id::text as id, version, state, lines::text as lines from reservation order by order_id";

    fn row(row: &PgRow) -> sqlx::Result<Row> {
        let lines: Vec<StoredLine> =
            serde_json::from_str(column(row, "lines")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let state = ReservationState::try_from(i32::from(column::<i16>(row, "state")?)).ok();
        // That the pieces have left is told by their SKU's events.
        let state = state.map(|state| match state {
            ReservationState::Shipped => ReservationState::Held,
            other => other,
        });
        let lines = Some(lines.into_iter().map(|line| (line.sku, line.quantity)).collect());
        Ok((column(row, "id")?, (column(row, "version")?, Self { state, lines }.known())))
    }

    fn apply(&mut self, event: &Event) -> anyhow::Result<()> {
        self.state = Some(match event.event_type.as_str() {
            event_types::STOCK_RESERVED => {
                self.lines = Some(held(event.decode::<StockReserved>()?.lines));
                ReservationState::Held
            }
            event_types::STOCK_MODIFIED => {
                self.lines = Some(held(event.decode::<StockModified>()?.lines));
                ReservationState::Held
            }
            // What was held still is.
            event_types::STOCK_MODIFICATION_REJECTED => ReservationState::Held,
            event_types::STOCK_REJECTED => ReservationState::Rejected,
            _ => ReservationState::Released,
        });
        Ok(())
    }

    fn fields(self) -> Fields {
        self.known()
    }
}

fn held(lines: Vec<StockLine>) -> Vec<(String, i64)> {
    lines.into_iter().map(|line| (line.sku, i64::from(line.quantity))).collect()
}
