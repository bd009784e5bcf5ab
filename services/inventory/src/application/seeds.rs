//! Initial stocks of products whose event has not arrived yet.

use std::{
    collections::{HashMap, HashSet},
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
/// SKUs asked for in one call.
const ASK_MAX: usize = 500;

/// Knows which SKUs have a level, and the initial stock of those that will get one.
pub struct Seeds {
    pool: PgPool,
    products: ProductServiceClient<UpstreamChannel>,
    known: Mutex<HashSet<Sku>>,
    initial: Mutex<HashMap<Sku, i64>>,
}

impl Seeds {
    /// `pool` is the service's own database; `products` is asked about SKUs that have no level.
    pub fn new(pool: PgPool, products: ProductServiceClient<UpstreamChannel>) -> Self {
        Self { pool, products, known: Mutex::default(), initial: Mutex::default() }
    }

    /// Initial stock of a SKU that the catalogue told of.
    pub fn initial_quantity(&self, sku: &Sku) -> Option<i64> {
        self.initial.lock().unwrap_or_else(PoisonError::into_inner).get(sku).copied()
    }

    /// Makes sure that each SKU has a level, or an initial stock if the catalogue knows it.
    ///
    /// # Errors
    /// [`Fault::Outage`] when the database or the product service is away.
    pub async fn look_up(&self, skus: impl Iterator<Item = &Sku>) -> Result<(), Fault> {
        let unknown: HashSet<Sku> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            skus.filter(|sku| !known.contains(sku)).cloned().collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = unknown.iter().map(Sku::as_str).collect();
        let existing: HashSet<String> = persistence::existing_skus(&self.pool, &names).await?.into_iter().collect();
        let (there, missing): (Vec<&Sku>, Vec<&Sku>) = unknown.iter().partition(|sku| existing.contains(sku.as_str()));
        self.remember(there);
        self.ask(&missing).await
    }

    fn remember(&self, skus: Vec<&Sku>) {
        let mut initial = self.initial.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + skus.len() > KNOWN_MAX {
            known.clear();
        }
        for sku in skus {
            initial.remove(sku);
            known.insert(sku.clone());
        }
    }

    async fn ask(&self, skus: &[&Sku]) -> Result<(), Fault> {
        let answers = ask_in_parts(skus, ASK_MAX, |part| {
            let request = BatchGetProductsRequest { skus: part.iter().map(ToString::to_string).collect() };
            let request = CallContext::of_service("inventory", TraceContext::default()).retry_safe_request(request);
            let mut client = self.products.clone();
            async move { Ok(client.batch_get_products(request).await?.into_inner().products) }
        });
        let products: Vec<Vec<_>> = answers.await.map_err(asked)?;
        let mut initial = self.initial.lock().unwrap_or_else(PoisonError::into_inner);
        for product in products.into_iter().flatten() {
            let sku = Sku::parse(&product.sku).map_err(Fault::permanent)?;
            initial.insert(sku, i64::from(product.initial_stock));
        }
        Ok(())
    }
}

/// A catalogue that cannot answer is waited for: "unknown" is said only when it said so.
fn asked(status: tonic::Status) -> Fault {
    fault_of("product", &status).unwrap_or_else(|| Fault::retryable("the product service gave no answer"))
}
