//! From a state and a command to the facts that follow, and from those to the next state. Pure: time and numbers arrive
//! in [`Decision`].

use std::collections::HashMap;

use openorder_types::{Rejection, Sku, Timestamp};
use uuid::Uuid;

use crate::domain::{Changes, Command, Event, NewProduct, Product, ProductKey, rejection};

/// Products that commands are decided on. One that is missing does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    products: HashMap<Uuid, Product>,
    /// Ids of those that are not deleted, by their SKU.
    live: HashMap<Sku, Uuid>,
}

impl State {
    /// The state of these products, each once.
    pub fn of(products: Vec<Product>) -> Self {
        let live = products.iter().filter(|one| one.is_live()).map(|one| (one.sku.clone(), one.product_id)).collect();
        Self { products: products.into_iter().map(|product| (product.product_id, product)).collect(), live }
    }

    /// The product with this id, deleted or not.
    pub fn product(&self, product_id: Uuid) -> Option<&Product> {
        self.products.get(&product_id)
    }

    /// The product that a caller names.
    ///
    /// # Errors
    /// `PRODUCT_NOT_FOUND`.
    pub fn find(&self, key: &ProductKey) -> Result<&Product, Rejection> {
        let id = match key {
            ProductKey::Id(id) => Some(id),
            ProductKey::Sku(sku) => self.live.get(sku),
        };
        id.and_then(|id| self.products.get(id)).ok_or_else(|| rejection::not_found(key))
    }
}

/// What a decision depends on besides the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub now: Timestamp,
    /// Number of the next product that is added; above those of all products before.
    pub product_number: i64,
}

/// Decides one command. No event: nothing would change.
///
/// # Errors
/// `SKU_ALREADY_EXISTS`, `PRODUCT_NOT_FOUND`, `PRODUCT_DELETED`, `PRODUCT_VERSION_MISMATCH`; then nothing changes.
pub fn decide(state: &State, command: &Command, context: &Decision) -> Result<Option<Event>, Rejection> {
    match command {
        Command::Create(new) => create(state, new, context).map(Some),
        Command::Update { key, changes, expected_version } => {
            update(state.find(key)?, changes, *expected_version, context.now)
        }
        Command::Delete { key } => {
            let product = live(state.find(key)?)?;
            Ok(Some(Event::Deleted { product_id: product.product_id, time: context.now }))
        }
    }
}

fn create(state: &State, new: &NewProduct, context: &Decision) -> Result<Event, Rejection> {
    match state.live.get(&new.sku) {
        Some(holder) => Err(rejection::sku_taken(&new.sku, *holder)),
        None => Ok(Event::Created(Product::create(new.clone(), context.product_number, context.now))),
    }
}

fn update(
    product: &Product,
    changes: &Changes,
    expected_version: Option<i64>,
    time: Timestamp,
) -> Result<Option<Event>, Rejection> {
    let Product { product_id, version, .. } = *live(product)?;
    if expected_version.is_some_and(|expected| expected != version) {
        return Err(rejection::version_mismatch(product_id, version));
    }
    let changes = changes.that_change(product);
    Ok((changes != Changes::default()).then_some(Event::Updated { product_id, changes, time }))
}

fn live(product: &Product) -> Result<&Product, Rejection> {
    if product.is_live() { Ok(product) } else { Err(rejection::deleted(product.product_id)) }
}

/// Applies an event to the state that it was decided on. A product that the state lacks is not changed.
pub fn evolve(state: &mut State, event: &Event) {
    if let Event::Created(product) = event {
        state.live.insert(product.sku.clone(), product.product_id);
        state.products.insert(product.product_id, product.clone());
        return;
    }
    let Some(product) = state.products.get_mut(&event.product_id()) else { return };
    match event {
        Event::Created(_) => return,
        Event::Updated { changes, time, .. } => {
            replace(&mut product.display_name, changes.display_name.as_ref());
            replace(&mut product.description, changes.description.as_ref());
            replace(&mut product.price, changes.price.as_ref());
            product.update_time = *time;
        }
        Event::Deleted { time, .. } => {
            product.update_time = *time;
            product.delete_time = Some(*time);
            state.live.remove(&product.sku);
        }
    }
    product.version += 1;
}

fn replace<T: Clone>(field: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

#[cfg(test)]
mod tests;
