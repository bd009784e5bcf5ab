//! An event log, read in the order of its aggregates.

use anyhow::Context;
use openorder_messaging::DecodeError;
use openorder_proto::google::r#type::Money as MoneyMessage;
use openorder_rpc::money_from_proto;
use openorder_types::Money;
use prost::Message;

use super::database::{Rows, Snapshot, column};

/// An event of the log.
pub(super) struct Event {
    pub(super) aggregate_id: String,
    pub(super) version: i64,
    pub(super) event_type: String,
    payload: Vec<u8>,
}

impl Event {
    /// Its message.
    pub(super) fn decode<M: Message + Default>(&self) -> anyhow::Result<M> {
        let decoded = M::decode(self.payload.as_slice());
        let malformed = |error: prost::DecodeError| DecodeError::Malformed {
            event_type: self.event_type.clone(),
            detail: error.to_string(),
        };
        decoded.map_err(malformed).with_context(|| format!("event {} of {}", self.version, self.aggregate_id))
    }
}

/// The events of one topic that a service's log keeps, aggregate by aggregate, each in the order of its versions.
pub(super) struct Log {
    rows: Rows,
    /// Empty for all.
    types: &'static [&'static str],
    ahead: Option<Event>,
}

impl Log {
    /// `topic` is one of the constants of the contract.
    pub(super) async fn read(snapshot: &mut Snapshot, topic: &'static str) -> anyhow::Result<Self> {
        let floor = snapshot.floor.position();
        let sql = format!(
            "select aggregate_id, aggregate_version, event_type, payload from event_log \
             where topic = '{topic}' and position > {floor} order by aggregate_id, topic, aggregate_version"
        );
        Ok(Self { rows: snapshot.rows(&sql).await?, types: &[], ahead: None })
    }

    /// Passes over all other event types; none given, over none.
    pub(super) fn only(mut self, types: &'static [&'static str]) -> Self {
        self.types = types;
        self
    }

    pub(super) async fn next(&mut self, snapshot: &mut Snapshot) -> anyhow::Result<Option<Event>> {
        if let Some(event) = self.ahead.take() {
            return Ok(Some(event));
        }
        while let Some(row) = self.rows.next(snapshot).await? {
            let event_type: String = column(&row, "event_type")?;
            if !self.types.is_empty() && !self.types.contains(&event_type.as_str()) {
                continue;
            }
            return Ok(Some(Event {
                aggregate_id: column(&row, "aggregate_id")?,
                version: column(&row, "aggregate_version")?,
                event_type,
                payload: column(&row, "payload")?,
            }));
        }
        Ok(None)
    }

    /// The next event, if it is of this aggregate.
    pub(super) async fn next_of(
        &mut self,
        snapshot: &mut Snapshot,
        aggregate_id: &str,
    ) -> anyhow::Result<Option<Event>> {
        match self.next(snapshot).await? {
            Some(event) if event.aggregate_id == aggregate_id => Ok(Some(event)),
            ahead => {
                self.ahead = ahead;
                Ok(None)
            }
        }
    }
}

/// An amount of an event, in minor units with its currency.
pub(super) fn money(message: Option<&MoneyMessage>) -> anyhow::Result<Money> {
    let message = message.context("an event without its amount")?;
    money_from_proto(message).context("an amount that is none")
}
