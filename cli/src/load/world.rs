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
use openorder_rpc::status::retry_after_of;
use tonic::{Code, Response, Status};
use uuid::Uuid;

use super::LoadArgs;
use super::request::Names;
use crate::edge::{Edge, failed};

/// Calls at a time while the world is made.
const CONCURRENT_CALLS: usize = 64;
/// The largest that the contract allows.
const INITIAL_STOCK: i32 = 1_000_000_000;
/// EUR in each wallet, by the contract's largest charge; a piece costs one.
const BALANCE_UNITS: i64 = 10_000_000_000;
/// How long a product or a wallet is offered again to a gateway that has no room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses before it is offered again, doubled each time.
const ROOM_PAUSE_MIN: Duration = Duration::from_millis(50);
const ROOM_PAUSE_MAX: Duration = Duration::from_secs(1);
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

    pub(super) async fn make(&self, edge: &Edge, args: &LoadArgs) -> anyhow::Result<()> {
        let products = stream::iter(0..args.products).map(|number| self.make_product(edge, number));
        products.buffer_unordered(CONCURRENT_CALLS).try_collect::<()>().await?;
        let wallets = stream::iter(0..args.customers).map(|number| self.fill_wallet(edge, number));
        wallets.buffer_unordered(CONCURRENT_CALLS).try_collect::<()>().await?;
        self.wait_for_stock(edge, args.products).await
    }

    async fn make_product(&self, edge: &Edge, number: u32) -> anyhow::Result<()> {
        let sku = self.names.sku(number);
        let request = CreateProductRequest {
            request_id: sku.clone(),
            display_name: format!("Load {sku}"),
            sku,
            price: Some(euros(1)),
            initial_stock: INITIAL_STOCK,
            description: String::new(),
        };
        let client = ProductServiceClient::new(edge.clone());
        let made = while_no_room(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.create_product(request).await }
        });
        let made = made.await;
        made.map(drop).map_err(|status| failed("a product could not be made", &status))
    }

    async fn fill_wallet(&self, edge: &Edge, number: u32) -> anyhow::Result<()> {
        let user_id = self.names.customer(number);
        let request = ChargeWalletRequest { request_id: user_id.clone(), user_id, amount: Some(euros(BALANCE_UNITS)) };
        let client = PaymentServiceClient::new(edge.clone());
        let filled = while_no_room(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.charge_wallet(request).await }
        });
        let filled = filled.await;
        filled.map(drop).map_err(|status| failed("a wallet could not be charged", &status))
    }

    /// The first orders are not to find products whose stock is still on its way.
    async fn wait_for_stock(&self, edge: &Edge, products: u32) -> anyhow::Result<()> {
        let mut client = InventoryServiceClient::new(edge.clone());
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

/// Calls until the answer is another than "no room now". The request id makes that safe. A gateway that still works off the
/// load of an earlier run is no reason to give up.
async fn while_no_room<T, F>(mut call: impl FnMut() -> F) -> Result<Response<T>, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let until = tokio::time::Instant::now() + ROOM_TIMEOUT;
    let mut pause = ROOM_PAUSE_MIN;
    loop {
        let (status, retry_after) = match call().await {
            Err(status) if status.code() == Code::ResourceExhausted => match retry_after_of(&status) {
                Some(retry_after) => (status, retry_after),
                None => return Err(status),
            },
            answered => return answered,
        };
        let wait = pause.max(retry_after).min(ROOM_PAUSE_MAX);
        if tokio::time::Instant::now() + wait >= until {
            return Err(status);
        }
        tokio::time::sleep(wait).await;
        pause *= 2;
    }
}

fn euros(units: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), units, nanos: 0 }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use openorder_rpc::Refusal;

    use super::*;

    fn no_room() -> Status {
        Refusal::overloaded(Duration::from_millis(10))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_finds_no_room_is_made_again_until_it_is_answered() {
        let mut answers = [Ok(Response::new(7)), Err(no_room()), Err(no_room())].into_iter().rev();
        let answer = while_no_room(|| ready(answers.next().unwrap())).await;
        assert_eq!(answer.unwrap().into_inner(), 7);
        assert!(answers.next().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_never_has_room_is_given_up_in_the_end() {
        let begin = tokio::time::Instant::now();
        let answer = while_no_room(|| ready(Err::<Response<()>, _>(no_room()))).await;
        assert_eq!(answer.unwrap_err().code(), Code::ResourceExhausted);
        assert!(begin.elapsed() <= ROOM_TIMEOUT && begin.elapsed() >= ROOM_TIMEOUT - ROOM_PAUSE_MAX);
    }

    #[tokio::test]
    async fn any_other_refusal_ends_the_preparation_at_once() {
        let quota = Status::resource_exhausted("no time to retry is named");
        for status in [Status::invalid_argument("bad"), Status::unavailable("down"), quota] {
            let (code, mut calls) = (status.code(), 0);
            let answer = while_no_room(|| {
                calls += 1;
                ready(Err::<Response<()>, _>(status.clone()))
            });
            assert_eq!(answer.await.unwrap_err().code(), code);
            assert_eq!(calls, 1);
        }
    }
}
