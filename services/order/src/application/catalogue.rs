//! The copy of the catalogue: kept by events, completed by asking.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use openorder_proto::product::v1::{BatchGetProductsRequest, Product, product_service_client::ProductServiceClient};
use openorder_rpc::{CallContext, UpstreamChannel, ask_in_parts, fault_of, money_from_proto};
use openorder_types::{CallError, Fault, Sku, ValueError, parse_uuid};
use sqlx::PgPool;

use crate::{
    application::CatalogueAge,
    domain::{CatalogItem, ProductAnswers},
    persistence,
};

/// SKUs remembered as orderable; forgotten all at once at this bound, which costs one query.
const KNOWN_MAX: usize = 200_000;

/// Makes sure that a product made a millisecond ago can be ordered, and that a copy that may be old is not gone by.
pub(crate) struct Catalogue {
    pool: PgPool,
    products: ProductServiceClient<UpstreamChannel>,
    known: Mutex<HashSet<Sku>>,
    age: Arc<CatalogueAge>,
}

impl Catalogue {
    pub(crate) fn new(pool: PgPool, products: ProductServiceClient<UpstreamChannel>, age: Arc<CatalogueAge>) -> Self {
        Self { pool, products, known: Mutex::default(), age }
    }

    /// Whether [`Self::ensure`] has nothing to ask about these SKUs.
    pub(crate) fn knows<'a>(&self, mut skus: impl Iterator<Item = &'a Sku>) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        skus.all(|sku| known.contains(sku)) && !self.age.is_too_old()
    }

    /// Asks the product service about SKUs that this service's copy does not have, or about all of them when the copy is
    /// too old, and keeps what it says. While the copy is young and has all of them, nobody is asked.
    ///
    /// # Errors
    /// `Unavailable` when the product service has to be asked and is away, or the database is.
    pub(crate) async fn ensure(
        &self,
        skus: impl Iterator<Item = &Sku>,
        call: &CallContext,
    ) -> Result<ProductAnswers, CallError> {
        if self.age.is_too_old() {
            return self.ask(skus, call).await;
        }
        let unknown: Vec<Sku> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            skus.filter(|sku| !known.contains(*sku)).cloned().collect()
        };
        if unknown.is_empty() {
            return Ok(ProductAnswers::new());
        }
        self.look_up(unknown, call).await.map_err(unanswered)
    }

    /// Asks the product service about these SKUs, whatever the copy has, and keeps what it says.
    ///
    /// # Errors
    /// `Unavailable` when the product service or the database is away.
    pub(crate) async fn ask(
        &self,
        skus: impl Iterator<Item = &Sku>,
        call: &CallContext,
    ) -> Result<ProductAnswers, CallError> {
        self.look_up_there(skus.cloned().collect(), call).await.map_err(unanswered)
    }

    async fn look_up(&self, unknown: Vec<Sku>, call: &CallContext) -> Result<ProductAnswers, Fault> {
        let names: Vec<&str> = unknown.iter().map(Sku::as_str).collect();
        let here: HashSet<String> = persistence::orderable_skus(&self.pool, &names).await?.into_iter().collect();
        let (there, missing): (Vec<Sku>, Vec<Sku>) = unknown.into_iter().partition(|sku| here.contains(sku.as_str()));
        self.remember(there);
        if missing.is_empty() { Ok(ProductAnswers::new()) } else { self.look_up_there(missing, call).await }
    }

    async fn look_up_there(&self, skus: Vec<Sku>, call: &CallContext) -> Result<ProductAnswers, Fault> {
        let answers = ask_in_parts(&skus, skus.len(), |part| {
            let request = BatchGetProductsRequest { skus: part.iter().map(ToString::to_string).collect() };
            let (request, mut client) = (call.retry_safe_request(request), self.products.clone());
            async move { Ok(client.batch_get_products(request).await?.into_inner().products) }
        });
        let products: Vec<Vec<Product>> = answers.await.map_err(fault_of_product)?;
        let items = products
            .iter()
            .flatten()
            .map(item)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Fault::permanent(error.message))?;
        let mut connection = self.pool.acquire().await?;
        persistence::upsert_catalogue(&mut connection, &items.iter().collect::<Vec<_>>()).await?;
        let mut is_sold: ProductAnswers = skus.into_iter().map(|sku| (sku, false)).collect();
        for item in &items {
            is_sold.insert(item.sku.clone(), true);
        }
        self.forget(is_sold.iter().filter(|(_, sold)| !**sold).map(|(sku, _)| sku));
        self.remember(items.into_iter().map(|item| item.sku).collect());
        Ok(is_sold)
    }

    fn remember(&self, skus: Vec<Sku>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + skus.len() > KNOWN_MAX {
            known.clear();
        }
        known.extend(skus);
    }

    fn forget<'a>(&self, skus: impl Iterator<Item = &'a Sku>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for sku in skus {
            known.remove(sku);
        }
    }
}

fn unanswered(fault: Fault) -> CallError {
    tracing::warn!(%fault, "catalogue cannot be asked");
    CallError::from(fault)
}

/// A product service that cannot answer is waited for: a SKU is unknown only when it answered so.
fn fault_of_product(status: tonic::Status) -> Fault {
    fault_of("product", &status).unwrap_or_else(|| Fault::retryable("the product service gave no answer"))
}

/// A product as orders need it.
pub(crate) fn item(product: &Product) -> Result<CatalogItem, ValueError> {
    let price = product.price.as_ref().ok_or_else(|| ValueError::new("PRICE_MISSING", "a product without a price"))?;
    let unit_price = money_from_proto(price)?;
    Ok(CatalogItem {
        sku: Sku::parse(&product.sku)?,
        product_id: parse_uuid(&product.product_id, "PRODUCT_ID_MALFORMED")?,
        product_version: product.version,
        product_number: product.product_number,
        display_name: product.display_name.clone(),
        unit_price,
        deleted: product.delete_time.is_some(),
    })
}
