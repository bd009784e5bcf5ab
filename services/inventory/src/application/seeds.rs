//! Initial stocks of products whose event has not arrived yet.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use openorder_proto::product::v1::{BatchGetProductsRequest, product_service_client::ProductServiceClient};
use openorder_rpc::{CallContext, UpstreamChannel, ask_in_parts, fault_of};
use openorder_telemetry::TraceContext;
use openorder_types::{Fault, Sku};
use sqlx::PgPool;

use crate::persistence;

/// SKUs remembered as having a level; forgotten all at once at this bound, which costs one query.
const KNOWN_MAX: usize = 200_000;
/// SKUs read in one call.
const ASK_MAX: usize = 500;

/// What the stock of a product begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed {
    /// Which of the products that had its SKU it is; 0: not known.
    pub(crate) product_number: i64,
    /// Pieces.
    pub(crate) initial_quantity: i64,
}

/// Knows which SKUs have a level, and the initial stock of those that will get one, or a new one.
pub struct Seeds {
    pool: PgPool,
    products: ProductServiceClient<UpstreamChannel>,
    /// With the number of the product whose stock the level is.
    known: Mutex<HashMap<Sku, i64>>,
    initial: Mutex<HashMap<Sku, Seed>>,
}

impl Seeds {
    /// `pool` is the service's own database; `products` is asked about SKUs that have no level.
    pub fn new(pool: PgPool, products: ProductServiceClient<UpstreamChannel>) -> Self {
        Self { pool, products, known: Mutex::default(), initial: Mutex::default() }
    }

    /// Those of the SKUs whose initial stock was looked up in the catalogue; they may have had no level then.
    pub(crate) fn found<'a>(&self, skus: impl Iterator<Item = &'a Sku>) -> Vec<(Sku, Seed)> {
        let initial = self.initial.lock().unwrap_or_else(PoisonError::into_inner);
        if initial.is_empty() {
            return Vec::new();
        }
        skus.filter_map(|sku| Some((sku.clone(), *initial.get(sku)?))).collect()
    }

    /// Makes sure that each SKU has a level of this product or a later one (0: of any), or an initial stock if the
    /// catalogue knows it.
    ///
    /// # Errors
    /// [`Fault::Outage`] when the database or the product service is away.
    pub async fn look_up<'a>(&self, skus: impl Iterator<Item = (&'a Sku, i64)>) -> Result<(), Fault> {
        let mut unknown: HashMap<Sku, i64> = HashMap::new();
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for (sku, number) in skus.filter(|(sku, number)| known.get(*sku).is_none_or(|known| known < number)) {
                let wanted = unknown.entry(sku.clone()).or_default();
                *wanted = number.max(*wanted);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = unknown.keys().map(Sku::as_str).collect();
        let existing: HashMap<String, i64> =
            persistence::existing_skus(&self.pool, &names).await?.into_iter().collect();
        let mut missing = Vec::new();
        let mut there = Vec::new();
        for (sku, wanted) in unknown {
            match existing.get(sku.as_str()) {
                Some(number) if *number >= wanted => there.push((sku, *number)),
                _ => missing.push(sku),
            }
        }
        self.remember(there);
        self.ask(&missing).await
    }

    fn remember(&self, levels: Vec<(Sku, i64)>) {
        let mut initial = self.initial.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + levels.len() > KNOWN_MAX {
            known.clear();
        }
        for (sku, number) in levels {
            if initial.get(&sku).is_some_and(|seed| seed.product_number <= number) {
                initial.remove(&sku);
            }
            known.insert(sku, number);
        }
    }

    async fn ask(&self, skus: &[Sku]) -> Result<(), Fault> {
        let answers = ask_in_parts(skus, ASK_MAX, |part| {
            let request = BatchGetProductsRequest { skus: part.iter().map(ToString::to_string).collect() };
            let request = CallContext::of_service("inventory", TraceContext::default()).retry_safe_request(request);
            let mut client = self.products.clone();
            async move { Ok(client.batch_get_products(request).await?.into_inner().products) }
        });
        let products: Vec<Vec<_>> = answers.await.map_err(fault_of_product)?;
        let mut initial = self.initial.lock().unwrap_or_else(PoisonError::into_inner);
        for product in products.into_iter().flatten() {
            let sku = Sku::parse(&product.sku).map_err(Fault::permanent)?;
            let initial_quantity = i64::from(product.initial_stock);
            initial.insert(sku, Seed { product_number: product.product_number, initial_quantity });
        }
        Ok(())
    }
}

/// A catalogue that cannot answer is waited for: a SKU is unknown only when the catalogue answered so.
fn fault_of_product(status: tonic::Status) -> Fault {
    fault_of("product", &status).unwrap_or_else(|| Fault::retryable("the product service gave no answer"))
}
