//! What the orders of a load need: products with much stock, customers with much money.

use std::time::{Duration, Instant};

use anyhow::bail;
use futures::stream::{self, StreamExt, TryStreamExt};
use openorder_proto::google::r#type::Money;
use openorder_proto::inventory::v1::BatchGetStockRequest;
use openorder_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use openorder_proto::payment::v1::ChargeWalletRequest;
use openorder_proto::payment::v1::payment_service_client::PaymentServiceClient;
use openorder_proto::product::v1::CreateProductRequest;
use openorder_proto::product::v1::product_service_client::ProductServiceClient;
use tonic::Request;
use uuid::Uuid;

use super::LoadArgs;
use super::request::Names;
use crate::gateway_client::{GatewayClient, failed};

/// Calls at a time while the world is made.
const CONCURRENT_CALLS: usize = 64;
/// The largest that the contract allows.
const INITIAL_STOCK: i32 = 1_000_000_000;
/// EUR in each wallet, by the contract's largest charge; a piece costs one.
const BALANCE_UNITS: i64 = 10_000_000_000;
/// How long a product or a wallet may take to be made, waiting for room at the gateway included.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long stock may take to arrive at the inventory service.
const STOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// SKUs asked for at once, by the contract.
const BATCH_MAX: usize = 500;

/// The products and customers of one run.
pub(super) struct World {
    pub(super) names: Names,
}

impl World {
    pub(super) fn new() -> Self {
        let run = Uuid::now_v7().simple().to_string().chars().skip(24).collect();
        Self { names: Names { run } }
    }

    /// What the ids of this run's customers begin with.
    pub(super) fn customer_prefix(&self) -> String {
        format!("load-{}-", self.names.run)
    }

    pub(super) async fn make(&self, client: &GatewayClient, args: &LoadArgs) -> anyhow::Result<()> {
        let products = stream::iter(0..args.products).map(|number| self.make_product(client, number));
        products.buffer_unordered(CONCURRENT_CALLS).try_collect::<()>().await?;
        let wallets = stream::iter(0..args.customers).map(|number| self.fill_wallet(client, number));
        wallets.buffer_unordered(CONCURRENT_CALLS).try_collect::<()>().await?;
        self.wait_for_stock(client, args.products).await
    }

    async fn make_product(&self, client: &GatewayClient, number: u32) -> anyhow::Result<()> {
        let sku = self.names.sku(number);
        let request = CreateProductRequest {
            request_id: sku.clone(),
            display_name: format!("Load {sku}"),
            sku,
            price: Some(euros(1)),
            initial_stock: INITIAL_STOCK,
            description: String::new(),
        };
        let made = ProductServiceClient::new(client.clone()).create_product(patient(request)).await;
        made.map(drop).map_err(|status| failed("a product could not be made", &status))
    }

    async fn fill_wallet(&self, client: &GatewayClient, number: u32) -> anyhow::Result<()> {
        let user_id = self.names.customer(number);
        let request = ChargeWalletRequest { request_id: user_id.clone(), user_id, amount: Some(euros(BALANCE_UNITS)) };
        let filled = PaymentServiceClient::new(client.clone()).charge_wallet(patient(request)).await;
        filled.map(drop).map_err(|status| failed("a wallet could not be charged", &status))
    }

    /// The first orders are not to find products whose stock is still on its way.
    async fn wait_for_stock(&self, client: &GatewayClient, products: u32) -> anyhow::Result<()> {
        let mut client = InventoryServiceClient::new(client.clone());
        let mut missing: Vec<String> = (0..products).map(|number| self.names.sku(number)).collect();
        let until = Instant::now() + STOCK_TIMEOUT;
        loop {
            let asked: Vec<String> = missing.iter().take(BATCH_MAX).cloned().collect();
            let answer = client.batch_get_stock(BatchGetStockRequest { skus: asked }).await;
            let stocks = answer.map_err(|status| failed("the stock could not be read", &status))?.into_inner().stocks;
            missing.retain(|sku| !stocks.iter().any(|stock| stock.sku == *sku));
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                bail!(
                    "the stock of {} products did not arrive at the inventory service within {STOCK_TIMEOUT:?}; \
                     `openorder probe` says what the system waits for",
                    missing.len()
                );
            }
            if stocks.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A gateway that still works off the load of an earlier run is no reason to give up soon.
fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

fn euros(units: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), units, nanos: 0 }
}
