//! A product, and what may become of it.

use openorder_types::{Rejection, Sku, Timestamp};
use uuid::Uuid;

use crate::domain::{
    Changes, Description, DisplayName, InitialStock, NewProduct, Price,
    rejection::{deleted, version_mismatch},
};

/// A field that can change; its name is the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `display_name`.
    DisplayName,
    /// `description`.
    Description,
    /// `price`.
    Price,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::DisplayName, Self::Description, Self::Price];

    /// The field's path in `openorder.product.v1.Product`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::Description => "description",
            Self::Price => "price",
        }
    }

    /// The field with this path.
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.path() == path)
    }
}

/// Something that is sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// UUID version 7.
    pub product_id: Uuid,
    /// Stock keeping unit; never changes.
    pub sku: Sku,
    /// Name that customers see.
    pub display_name: DisplayName,
    /// Text that customers see.
    pub description: Description,
    /// Price of one piece.
    pub price: Price,
    /// Pieces that its stock started with.
    pub initial_stock: InitialStock,
    /// 1, then one more for every change; each version has one event.
    pub version: i64,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When it was deleted.
    pub delete_time: Option<Timestamp>,
    /// Drawn in the database, from 1: a later product has a higher one, whatever the clocks say.
    pub product_number: i64,
}

impl Product {
    /// A new product. That its SKU is free is for the caller to know, and that no later product has a lower number.
    pub fn create(new: NewProduct, product_number: i64, now: Timestamp) -> Self {
        Self {
            product_id: new.product_id,
            sku: new.sku,
            display_name: new.display_name,
            description: new.description,
            price: new.price,
            initial_stock: new.initial_stock,
            version: 1,
            create_time: now,
            update_time: now,
            delete_time: None,
            product_number,
        }
    }

    /// Whether it can be ordered.
    pub const fn is_live(&self) -> bool {
        self.delete_time.is_none()
    }

    /// Changes fields and says which of them have another value now. Without any, nothing changes, the version
    /// neither.
    ///
    /// # Errors
    /// `PRODUCT_DELETED`; `PRODUCT_VERSION_MISMATCH` when another version was expected.
    pub fn update(
        &mut self,
        changes: Changes,
        expected_version: Option<i64>,
        now: Timestamp,
    ) -> Result<Vec<Field>, Rejection> {
        if !self.is_live() {
            return Err(deleted(self.product_id));
        }
        if expected_version.is_some_and(|expected| expected != self.version) {
            return Err(version_mismatch(self.product_id, self.version));
        }
        let mut changed = Vec::new();
        set(&mut self.display_name, changes.display_name, Field::DisplayName, &mut changed);
        set(&mut self.description, changes.description, Field::Description, &mut changed);
        set(&mut self.price, changes.price, Field::Price, &mut changed);
        if !changed.is_empty() {
            self.version += 1;
            self.update_time = now;
        }
        Ok(changed)
    }

    /// Takes the product out of the catalogue.
    ///
    /// # Errors
    /// `PRODUCT_DELETED` when it was deleted before.
    pub fn delete(&mut self, now: Timestamp) -> Result<(), Rejection> {
        if !self.is_live() {
            return Err(deleted(self.product_id));
        }
        self.version += 1;
        self.update_time = now;
        self.delete_time = Some(now);
        Ok(())
    }
}

fn set<T: PartialEq>(field: &mut T, value: Option<T>, name: Field, changed: &mut Vec<Field>) {
    if let Some(value) = value.filter(|value| value != field) {
        *field = value;
        changed.push(name);
    }
}

#[cfg(test)]
mod tests {
    use openorder_types::{Currency, Money};
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn price(minor_units: i64) -> Price {
        Price::parse(Money::new(minor_units, Currency::parse("EUR").unwrap())).unwrap()
    }

    fn keyboard() -> Product {
        let new = NewProduct {
            product_id: Uuid::from_u128(7),
            sku: Sku::parse("KB-1").unwrap(),
            display_name: DisplayName::parse("Keyboard").unwrap(),
            description: Description::default(),
            price: price(1_000),
            initial_stock: InitialStock::parse(5).unwrap(),
        };
        Product::create(new, 1, at(0))
    }

    #[test]
    fn a_new_product_is_version_one_and_can_be_ordered() {
        let product = keyboard();
        assert!(product.is_live());
        assert_eq!((product.version, product.create_time, product.update_time), (1, at(0), at(0)));
    }

    #[test]
    fn only_what_has_another_value_counts_as_changed() {
        let mut product = keyboard();
        let changes =
            Changes { display_name: Some(product.display_name.clone()), price: Some(price(900)), ..Changes::default() };
        assert_eq!(product.update(changes, Some(1), at(1)).unwrap(), [Field::Price]);
        assert_eq!((product.version, product.update_time, product.price), (2, at(1), price(900)));
    }

    #[test]
    fn the_same_values_again_change_nothing() {
        let mut product = keyboard();
        let changes = Changes { price: Some(product.price), ..Changes::default() };
        assert_eq!(product.update(changes, None, at(1)).unwrap(), []);
        assert_eq!(product, keyboard());
    }

    #[test]
    fn another_version_than_expected_is_refused_and_named() {
        let mut product = keyboard();
        let refused = product.update(Changes::default(), Some(2), at(1)).unwrap_err();
        assert_eq!(refused.reason, "PRODUCT_VERSION_MISMATCH");
        assert!(refused.metadata.contains(&("version", "1".to_owned())));
    }

    #[test]
    fn a_deleted_product_changes_no_more() {
        let mut product = keyboard();
        product.delete(at(1)).unwrap();
        assert_eq!((product.version, product.delete_time), (2, Some(at(1))));
        let as_deleted = product.clone();
        assert_eq!(product.delete(at(2)).unwrap_err().reason, "PRODUCT_DELETED");
        let changes = Changes { price: Some(price(1)), ..Changes::default() };
        assert_eq!(product.update(changes, None, at(2)).unwrap_err().reason, "PRODUCT_DELETED");
        assert_eq!(product, as_deleted);
    }

    #[test]
    fn paths_go_both_ways() {
        for field in Field::ALL {
            assert_eq!(Field::of_path(field.path()), Some(field));
        }
        assert_eq!(Field::of_path("sku"), None);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Update(Option<i64>, Option<u8>, Option<i64>),
        Delete,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let update = (proptest::option::of(1_i64..4), proptest::option::of(0_u8..3), proptest::option::of(1_i64..5))
            .prop_map(|(price, name, expected)| Step::Update(price, name, expected));
        proptest::collection::vec(prop_oneof![9 => update, 1 => Just(Step::Delete)], 0..20)
    }

    proptest! {
        /// Whatever is asked: a refusal changes nothing, a version goes up by one exactly when something changed,
        /// and identity, SKU and making never change.
        #[test]
        fn versions_count_changes(steps in steps()) {
            let mut product = keyboard();
            for (second, step) in steps.into_iter().enumerate() {
                let before = product.clone();
                let now = at(i64::try_from(second).unwrap() + 1);
                let refused = match step {
                    Step::Update(minor_units, name, expected) => {
                        let changes = Changes {
                            price: minor_units.map(price),
                            display_name: name.map(|name| DisplayName::parse(&format!("n{name}")).unwrap()),
                            description: None,
                        };
                        let outcome = product.update(changes, expected, now);
                        if let Ok(changed) = &outcome {
                            prop_assert_eq!(changed.is_empty(), product == before);
                        }
                        outcome.is_err()
                    }
                    Step::Delete => product.delete(now).is_err(),
                };
                if refused || product == before {
                    prop_assert_eq!(&product, &before);
                } else {
                    prop_assert_eq!(product.version, before.version + 1);
                    prop_assert_eq!(product.update_time, now);
                }
                prop_assert_eq!(
                    (product.product_id, &product.sku, product.create_time, product.initial_stock),
                    (before.product_id, &before.sku, before.create_time, before.initial_stock)
                );
                prop_assert!(before.is_live() || !product.is_live(), "what is deleted stays so");
            }
        }
    }
}
