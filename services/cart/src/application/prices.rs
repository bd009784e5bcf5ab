//! What the product service says of products now.

use std::{collections::HashMap, time::Duration};

use chrono::Utc;
use openorder_proto::product::v1::{
    BatchGetProductsRequest, Product as ProductMessage, product_service_client::ProductServiceClient,
};
use openorder_rpc::{CallContext, UpstreamChannel, ask_in_parts, money_from_proto};
use openorder_types::{Money, Sku, Timestamp};

/// A product that is sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) display_name: String,
    pub(crate) unit_price: Money,
}

/// What was read of products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// Those that are sold; no price is older than this time. What was asked for and is missing is not sold.
    At(Timestamp, HashMap<Sku, Product>),
    /// The product service did not answer.
    NotAnswered,
}

impl Read {
    /// Whether the product service said that it knows no such product.
    pub(crate) fn is_unknown(&self, sku: &Sku) -> bool {
        match self {
            Self::At(_, products) => !products.contains_key(sku),
            Self::NotAnswered => false,
        }
    }
}

pub(crate) struct Prices {
    products: ProductServiceClient<UpstreamChannel>,
    timeout: Duration,
}

impl Prices {
    pub(crate) fn new(products: ProductServiceClient<UpstreamChannel>, timeout: Duration) -> Self {
        Self { products, timeout }
    }

    /// Asks about these products. A cart is not worth waiting long for its prices: without an answer in time it is shown
    /// without them.
    pub(crate) async fn read(&self, skus: &[Sku], call: &CallContext) -> Read {
        // Before it is asked: whatever is answered stood then, or later.
        let asked = Utc::now();
        if skus.is_empty() {
            return Read::At(asked, HashMap::new());
        }
        let call = call.clone().within(self.timeout);
        let answers = ask_in_parts(skus, skus.len(), |part| {
            let request = BatchGetProductsRequest { skus: part.iter().map(ToString::to_string).collect() };
            let (request, mut client) = (call.retry_safe_request(request), self.products.clone());
            async move { Ok(client.batch_get_products(request).await?.into_inner().products) }
        });
        match tokio::time::timeout(self.timeout, answers).await {
            Ok(Ok(parts)) => Read::At(asked, parts.iter().flatten().filter_map(product).collect()),
            Ok(Err(status)) => {
                tracing::warn!(code = ?status.code(), "the product service gives no prices; carts are shown without");
                Read::NotAnswered
            }
            Err(_) => {
                tracing::warn!("the product service gives no prices in time; carts are shown without");
                Read::NotAnswered
            }
        }
    }
}

/// None of what cannot be ordered.
fn product(message: &ProductMessage) -> Option<(Sku, Product)> {
    if message.delete_time.is_some() {
        return None;
    }
    let unit_price = money_from_proto(message.price.as_ref()?).ok()?;
    Some((Sku::parse(&message.sku).ok()?, Product { display_name: message.display_name.clone(), unit_price }))
}
