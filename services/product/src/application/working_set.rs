//! The products that a batch touches: loaded once, changed in memory, written once.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use chrono::SubsecRound;
use openorder_messaging::{Envelope, NewEvent, UnitOfWork};
use openorder_proto::{EventMessage, product::v1 as proto};
use openorder_rpc::timestamp_to_proto;
use openorder_types::{Fault, Rejection, Sku, Timestamp};
use uuid::Uuid;

use crate::{
    application::ProductReply,
    domain::{Changes, Command, NewProduct, Product, ProductKey, not_found, sku_taken},
    persistence, present,
};

type Outcome = Result<ProductReply, Rejection>;

/// The products of a batch, and what became of them.
pub(crate) struct WorkingSet {
    products: HashMap<Uuid, Product>,
    live: HashMap<Sku, Uuid>,
    stored: HashSet<Uuid>,
    changed: BTreeSet<Uuid>,
    /// Drawn for the products to be, in the order of making.
    numbers: VecDeque<i64>,
    events: Vec<NewEvent>,
    now: Timestamp,
}

impl WorkingSet {
    /// Locks every product that the batch names.
    pub(crate) async fn load(unit: &mut UnitOfWork, batch: &[Envelope<Command>]) -> Result<Self, Fault> {
        // PostgreSQL keeps microseconds: what is answered now is what is read later.
        let now = unit.now().trunc_subsecs(6);
        let mut ids = Vec::new();
        let mut skus = Vec::new();
        for envelope in batch {
            match &envelope.command {
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
        Ok(Self::of(found, numbers, now))
    }

    fn of(found: Vec<Product>, numbers: Vec<i64>, now: Timestamp) -> Self {
        Self {
            live: found.iter().filter(|one| one.is_live()).map(|one| (one.sku.clone(), one.product_id)).collect(),
            stored: found.iter().map(|product| product.product_id).collect(),
            products: found.into_iter().map(|product| (product.product_id, product)).collect(),
            changed: BTreeSet::new(),
            numbers: numbers.into(),
            events: Vec::new(),
            now,
        }
    }

    /// Decides one command on what the commands before it have left.
    pub(crate) fn decide(&mut self, command: &Command, cause: usize) -> Outcome {
        match command {
            Command::Create(new) => self.create(new, cause),
            Command::Update { key, changes, expected_version } => self.update(key, changes, *expected_version, cause),
            Command::Delete { key } => self.delete(key, cause),
        }
    }

    fn create(&mut self, new: &NewProduct, cause: usize) -> Outcome {
        if let Some(holder) = self.live.get(&new.sku) {
            return Err(sku_taken(&new.sku, *holder));
        }
        // One was drawn for each product of the batch.
        let number = self.numbers.pop_front().unwrap_or_default();
        let product = Product::create(new.clone(), number, self.now);
        let shown = present::product(&product);
        self.push(&product, &proto::ProductCreated { product: Some(shown.clone()) }, cause);
        self.live.insert(product.sku.clone(), product.product_id);
        self.changed.insert(product.product_id);
        self.products.insert(product.product_id, product);
        Ok(ProductReply(shown))
    }

    fn update(&mut self, key: &ProductKey, changes: &Changes, expected_version: Option<i64>, cause: usize) -> Outcome {
        let mut product = self.find(key)?.clone();
        let fields = product.update(changes.clone(), expected_version, self.now)?;
        let shown = present::product(&product);
        if !fields.is_empty() {
            let message =
                proto::ProductUpdated { product: Some(shown.clone()), update_mask: Some(present::mask(&fields)) };
            self.push(&product, &message, cause);
            self.changed.insert(product.product_id);
            self.products.insert(product.product_id, product);
        }
        Ok(ProductReply(shown))
    }

    fn delete(&mut self, key: &ProductKey, cause: usize) -> Outcome {
        let mut product = self.find(key)?.clone();
        product.delete(self.now)?;
        let message = proto::ProductDeleted {
            product_id: product.product_id.to_string(),
            sku: product.sku.to_string(),
            version: product.version,
            delete_time: product.delete_time.as_ref().map(timestamp_to_proto),
            product_number: product.product_number,
        };
        self.push(&product, &message, cause);
        let shown = present::product(&product);
        self.live.remove(&product.sku);
        self.changed.insert(product.product_id);
        self.products.insert(product.product_id, product);
        Ok(ProductReply(shown))
    }

    fn find(&self, key: &ProductKey) -> Result<&Product, Rejection> {
        let id = match key {
            ProductKey::Id(id) => Some(id),
            ProductKey::Sku(sku) => self.live.get(sku),
        };
        id.and_then(|id| self.products.get(id)).ok_or_else(|| not_found(key))
    }

    fn push<M: EventMessage>(&mut self, product: &Product, message: &M, cause: usize) {
        self.events.push(NewEvent {
            event_type: M::EVENT_TYPE,
            topic: M::TOPIC,
            key: product.product_id.to_string(),
            aggregate_type: "product",
            aggregate_id: product.product_id.to_string(),
            aggregate_version: product.version,
            payload: message.encode_to_vec(),
            cause,
        });
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let changed = self.changed.iter().filter_map(|id| self.products.get(id));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|product| self.stored.contains(&product.product_id));
        persistence::save(unit.connection(), &new, &stored).await?;
        for event in self.events {
            unit.append(event);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use openorder_proto::event_types;
    use openorder_types::{Currency, Money};

    use super::*;
    use crate::domain::{Description, DisplayName, InitialStock, Price};

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

    fn told(set: &WorkingSet) -> Vec<(&'static str, String, i64)> {
        set.events.iter().map(|event| (event.event_type, event.key.clone(), event.aggregate_version)).collect()
    }

    #[test]
    fn commands_of_one_batch_see_each_other() {
        let mut set = WorkingSet::of(Vec::new(), vec![1, 2], now());
        assert!(set.decide(&create(1, "A"), 0).is_ok());
        let taken = set.decide(&create(2, "A"), 1).unwrap_err();
        assert_eq!(taken.reason, "SKU_ALREADY_EXISTS");
        assert!(taken.metadata.contains(&("product_id", Uuid::from_u128(1).to_string())));
        assert_eq!(set.decide(&reprice("A", 90), 2).unwrap().0.version, 2);
        assert!(set.decide(&Command::Delete { key: key("A") }, 3).unwrap().0.delete_time.is_some());
        assert_eq!(set.decide(&reprice("A", 80), 4).unwrap_err().reason, "PRODUCT_NOT_FOUND");
        assert_eq!(set.decide(&create(3, "A"), 5).unwrap().0.version, 1);
        let (first, third) = (Uuid::from_u128(1).to_string(), Uuid::from_u128(3).to_string());
        assert_eq!(
            told(&set),
            [
                (event_types::PRODUCT_CREATED, first.clone(), 1),
                (event_types::PRODUCT_UPDATED, first.clone(), 2),
                (event_types::PRODUCT_DELETED, first, 3),
                (event_types::PRODUCT_CREATED, third, 1),
            ]
        );
        assert_eq!(set.events.iter().map(|event| event.cause).collect::<Vec<_>>(), [0, 2, 3, 5]);
    }

    #[test]
    fn a_rejected_or_empty_change_leaves_nothing_behind() {
        let mut set = WorkingSet::of(Vec::new(), vec![1, 2], now());
        set.decide(&create(1, "A"), 0).unwrap();
        let stored: Vec<Product> = set.products.into_values().collect();
        let mut set = WorkingSet::of(stored, vec![2], now());
        assert_eq!(set.decide(&reprice("A", 100), 0).unwrap().0.version, 1);
        let stale = Command::Update { key: key("A"), changes: Changes::default(), expected_version: Some(9) };
        assert_eq!(set.decide(&stale, 1).unwrap_err().reason, "PRODUCT_VERSION_MISMATCH");
        assert!(set.decide(&create(2, "A"), 2).is_err());
        assert!(set.changed.is_empty() && set.events.is_empty());
    }

    #[test]
    fn a_deleted_product_is_found_by_its_id_alone() {
        let mut set = WorkingSet::of(Vec::new(), vec![1, 2], now());
        set.decide(&create(1, "A"), 0).unwrap();
        set.decide(&Command::Delete { key: key("A") }, 1).unwrap();
        let by_id = Command::Delete { key: ProductKey::Id(Uuid::from_u128(1)) };
        assert_eq!(set.decide(&by_id, 2).unwrap_err().reason, "PRODUCT_DELETED");
        assert_eq!(set.decide(&Command::Delete { key: key("A") }, 3).unwrap_err().reason, "PRODUCT_NOT_FOUND");
    }
}
