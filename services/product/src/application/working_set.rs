//! The products that a batch touches: loaded once, changed by events in memory, written once.

use std::collections::{BTreeSet, HashSet, VecDeque};

use openorder_messaging::{Envelope, UnitOfWork};
use openorder_proto::product::v1 as proto;
use openorder_rpc::timestamp_to_proto;
use openorder_service::{Aggregate, NewEvents};
use openorder_types::{Fault, Rejection, Timestamp};
use uuid::Uuid;

use crate::{
    application::ProductReply,
    domain::{Command, Decision, Event, Product, ProductKey, State, decide, evolve},
    persistence, present,
};

type Outcome = Result<ProductReply, Rejection>;

pub(crate) struct WorkingSet {
    state: State,
    stored: HashSet<Uuid>,
    changed: BTreeSet<Uuid>,
    /// Drawn for the products to be, in the order of making.
    numbers: VecDeque<i64>,
    events: NewEvents,
    now: Timestamp,
}

impl WorkingSet {
    /// Locks every product that the batch names.
    pub(crate) async fn load(unit: &mut UnitOfWork, batch: &[Envelope<'_, Command>]) -> Result<Self, Fault> {
        let mut ids = Vec::new();
        let mut skus = Vec::new();
        for envelope in batch {
            match envelope.command {
                Command::Create(new) => skus.push(new.sku.as_str()),
                Command::Update { key, .. } | Command::Delete { key } => match key {
                    ProductKey::Id(id) => ids.push(*id),
                    ProductKey::Sku(sku) => skus.push(sku.as_str()),
                },
            }
        }
        let made = batch.iter().filter(|envelope| matches!(envelope.command, Command::Create(_))).count();
        let numbers = persistence::draw_numbers(unit.connection(), made).await?;
        let found = persistence::lock(unit.connection(), &ids, &skus).await?;
        Ok(Self::of(found, numbers, unit.now()))
    }

    fn of(found: Vec<Product>, numbers: Vec<i64>, now: Timestamp) -> Self {
        Self {
            stored: found.iter().map(|product| product.product_id).collect(),
            state: State::of(found),
            changed: BTreeSet::new(),
            numbers: numbers.into(),
            events: NewEvents::default(),
            now,
        }
    }

    /// Decides one command, whose index in the batch this is, on what the commands before it have left.
    pub(crate) fn execute(&mut self, index: usize, command: &Command) -> Outcome {
        self.events.begin_command(index);
        // One number was drawn for each product of the batch.
        let product_number = self.numbers.front().copied().unwrap_or_default();
        let event = decide(&self.state, command, &Decision { now: self.now, product_number })?;
        let Some(event) = event else {
            let product = self.state.find(&key_of(command))?;
            return Ok(ProductReply(present::product(product)));
        };
        evolve(&mut self.state, &event);
        self.changed.insert(event.product_id());
        let product = self.state.find(&ProductKey::Id(event.product_id()))?;
        let shown = present::product(product);
        let aggregate = Aggregate::new("product", product.product_id, product.version);
        match &event {
            Event::Created(_) => {
                self.numbers.pop_front();
                self.events.append(&proto::ProductCreated { product: Some(shown.clone()) }, aggregate);
            }
            Event::Updated { changes, .. } => {
                let update_mask = Some(present::mask(&changes.fields()));
                let message = proto::ProductUpdated { product: Some(shown.clone()), update_mask };
                self.events.append(&message, aggregate);
            }
            Event::Deleted { .. } => self.events.append(&deleted(product), aggregate),
        }
        Ok(ProductReply(shown))
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let changed = self.changed.iter().filter_map(|id| self.state.product(*id));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|product| self.stored.contains(&product.product_id));
        persistence::save(unit.connection(), &new, &stored).await?;
        self.events.append_to(unit);
        Ok(())
    }
}

fn key_of(command: &Command) -> ProductKey {
    match command {
        Command::Create(new) => ProductKey::Id(new.product_id),
        Command::Update { key, .. } | Command::Delete { key } => key.clone(),
    }
}

fn deleted(product: &Product) -> proto::ProductDeleted {
    proto::ProductDeleted {
        product_id: product.product_id.to_string(),
        sku: product.sku.to_string(),
        version: product.version,
        delete_time: product.delete_time.as_ref().map(timestamp_to_proto),
        product_number: product.product_number,
    }
}

#[cfg(test)]
mod tests {
    use openorder_proto::event_types;
    use openorder_types::{Currency, Money, Sku};

    use super::*;
    use crate::domain::{Changes, Description, DisplayName, InitialStock, NewProduct, Price};

    fn now() -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn price(minor_units: i64) -> Price {
        Price::parse(Money::new(minor_units, Currency::parse("KRW").unwrap())).unwrap()
    }

    fn create(id: u128, sku: &str) -> Command {
        Command::Create(NewProduct {
            product_id: Uuid::from_u128(id),
            sku: Sku::parse(sku).unwrap(),
            display_name: DisplayName::parse("Thing").unwrap(),
            description: Description::default(),
            price: price(100),
            initial_stock: InitialStock::parse(0).unwrap(),
        })
    }

    fn key(sku: &str) -> ProductKey {
        ProductKey::Sku(Sku::parse(sku).unwrap())
    }

    fn reprice(sku: &str, minor_units: i64) -> Command {
        let changes = Changes { price: Some(price(minor_units)), ..Changes::default() };
        Command::Update { key: key(sku), changes, expected_version: None }
    }

    fn published(set: &WorkingSet) -> Vec<(&'static str, String, i64)> {
        let events = set.events.as_slice().iter();
        events.map(|event| (event.event_type, event.key().to_string(), event.aggregate_version)).collect()
    }

    #[test]
    fn commands_of_one_batch_see_each_other() {
        let mut set = WorkingSet::of(Vec::new(), vec![1, 2], now());
        assert!(set.execute(0, &create(1, "A")).is_ok());
        let taken = set.execute(1, &create(2, "A")).unwrap_err();
        assert_eq!(taken.reason, "SKU_ALREADY_EXISTS");
        assert!(taken.metadata.contains(&("product_id", Uuid::from_u128(1).to_string())));
        assert_eq!(set.execute(2, &reprice("A", 90)).unwrap().0.version, 2);
        assert!(set.execute(3, &Command::Delete { key: key("A") }).unwrap().0.delete_time.is_some());
        assert_eq!(set.execute(4, &reprice("A", 80)).unwrap_err().reason, "PRODUCT_NOT_FOUND");
        assert_eq!(set.execute(5, &create(3, "A")).unwrap().0.version, 1);
        let (first, third) = (Uuid::from_u128(1).to_string(), Uuid::from_u128(3).to_string());
        assert_eq!(
            published(&set),
            [
                (event_types::PRODUCT_CREATED, first.clone(), 1),
                (event_types::PRODUCT_UPDATED, first.clone(), 2),
                (event_types::PRODUCT_DELETED, first, 3),
                (event_types::PRODUCT_CREATED, third, 1),
            ]
        );
        let commands: Vec<usize> = set.events.as_slice().iter().map(|event| event.command_index).collect();
        assert_eq!(commands, [0, 2, 3, 5]);
    }

    #[test]
    fn a_rejected_or_empty_change_leaves_nothing_behind() {
        let mut set = WorkingSet::of(Vec::new(), vec![1, 2], now());
        set.execute(0, &create(1, "A")).unwrap();
        let stored = vec![set.state.find(&key("A")).unwrap().clone()];
        let mut set = WorkingSet::of(stored, vec![2], now());
        assert_eq!(set.execute(0, &reprice("A", 100)).unwrap().0.version, 1);
        let stale = Command::Update { key: key("A"), changes: Changes::default(), expected_version: Some(9) };
        assert_eq!(set.execute(1, &stale).unwrap_err().reason, "PRODUCT_VERSION_MISMATCH");
        assert!(set.execute(2, &create(2, "A")).is_err());
        assert!(set.changed.is_empty() && set.events.as_slice().is_empty());
    }
}
