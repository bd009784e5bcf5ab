//! The order service and the product service as the cart service sees them: one method of each.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use openorder_proto::{
    google::r#type::Money,
    order::v1::{CreateOrderRequest, CreateOrderResponse, Order, OrderStatus},
    product::v1::{BatchGetProductsRequest, BatchGetProductsResponse, Product},
};
use openorder_rpc::{RpcServerSettings, caller_of, rejection};
use openorder_testing::World;
use openorder_types::Rejection;
use tonic::{Request, Response, Status, body::Body, server::NamedService, service::Routes};
use uuid::Uuid;

/// A service of which one method is played.
macro_rules! played {
    ($name:ident, $state:ty, $service:literal, $method:literal, $request:ty => $response:ty) => {
        #[derive(Clone)]
        struct $name($state);

        impl NamedService for $name {
            const NAME: &'static str = $service;
        }

        impl tower::Service<http::Request<Body>> for $name {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Self::Future {
                assert_eq!(request.uri().path(), concat!("/", $service, "/", $method));
                let state = self.0.clone();
                let method = tower::service_fn(move |request: Request<$request>| {
                    let state = state.clone();
                    async move { state.answer(request).await.map(Response::new) }
                });
                let codec = tonic_prost::ProstCodec::<$response, $request>::default();
                async move { Ok(tonic::server::Grpc::new(codec).unary(method, request).await) }.boxed()
            }
        }
    };
}

played!(
    OrderService,
    Orders,
    "openorder.order.v1.OrderService",
    "CreateOrder",
    CreateOrderRequest => CreateOrderResponse
);
played!(
    ProductService,
    Products,
    "openorder.product.v1.ProductService",
    "BatchGetProducts",
    BatchGetProductsRequest => BatchGetProductsResponse
);

/// Orders by the caller and its request id, with what was asked for.
type Made = BTreeMap<(String, String), (CreateOrderRequest, Order)>;

#[derive(Default)]
struct OrdersState {
    made: Made,
    calls: usize,
    /// Before an order is made, and before the answer leaves.
    delays: (Duration, Duration),
    /// Answered once each, the first one first: nothing is made.
    refusals: Vec<Rejection>,
}

/// An order service that makes one order a request id.
#[derive(Clone, Default)]
pub struct Orders(Arc<Mutex<OrdersState>>);

impl Orders {
    fn state(&self) -> MutexGuard<'_, OrdersState> {
        self.0.lock().unwrap()
    }

    /// How long it takes before an order is made, and then before the answer leaves.
    pub fn delay(&self, before: Duration, after: Duration) {
        self.state().delays = (before, after);
    }

    /// Refuses the next order.
    pub fn refuse(&self, rejection: Rejection) {
        self.state().refusals.push(rejection);
    }

    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// The orders that were made, each with its request.
    pub fn made(&self) -> Vec<(CreateOrderRequest, Order)> {
        self.state().made.values().cloned().collect()
    }

    async fn answer(self, request: Request<CreateOrderRequest>) -> Result<CreateOrderResponse, Status> {
        let caller = caller_of(&request).map_err(rejection)?.subject;
        let request = request.into_inner();
        let (before, after) = {
            let mut state = self.state();
            state.calls += 1;
            state.delays
        };
        tokio::time::sleep(before).await;
        let order = self.make(caller, request).map_err(rejection)?;
        tokio::time::sleep(after).await;
        Ok(CreateOrderResponse { order: Some(order) })
    }

    fn make(&self, caller: String, request: CreateOrderRequest) -> Result<Order, Rejection> {
        let mut state = self.state();
        if !state.refusals.is_empty() {
            return Err(state.refusals.remove(0));
        }
        let key = (caller, request.request_id.clone());
        if let Some((asked, order)) = state.made.get(&key) {
            return match *asked == request {
                true => Ok(order.clone()),
                false => Err(Rejection::already_exists("REQUEST_ID_REUSED", "other content")),
            };
        }
        let order = Order {
            order_id: Uuid::now_v7().to_string(),
            customer_id: request.customer_id.clone(),
            status: OrderStatus::Pending.into(),
            version: 1,
            ..Order::default()
        };
        state.made.insert(key, (request, order.clone()));
        Ok(order)
    }
}

#[derive(Default)]
struct ProductsState {
    /// Price of each in cents.
    sold: HashMap<String, i64>,
    delay: Duration,
}

/// A product service that sells what it is told to.
#[derive(Clone, Default)]
pub struct Products(Arc<Mutex<ProductsState>>);

impl Products {
    pub fn sell(&self, sku: &str, cents: i64) {
        self.0.lock().unwrap().sold.insert(sku.to_owned(), cents);
    }

    pub fn end(&self, sku: &str) {
        self.0.lock().unwrap().sold.remove(sku);
    }

    pub fn delay(&self, delay: Duration) {
        self.0.lock().unwrap().delay = delay;
    }

    async fn answer(self, request: Request<BatchGetProductsRequest>) -> Result<BatchGetProductsResponse, Status> {
        let delay = self.0.lock().unwrap().delay;
        tokio::time::sleep(delay).await;
        let state = self.0.lock().unwrap();
        let product = |sku: &String| {
            let cents = state.sold.get(sku)?;
            let nanos = i32::try_from(cents % 100).unwrap() * 10_000_000;
            Some(Product {
                sku: sku.clone(),
                display_name: format!("The {sku}"),
                price: Some(Money { currency_code: "EUR".to_owned(), units: cents / 100, nanos }),
                ..Product::default()
            })
        };
        Ok(BatchGetProductsResponse { products: request.get_ref().skus.iter().filter_map(product).collect() })
    }
}

/// Plays both until the world ends; where they answer, by their roles.
pub async fn play(world: &World, orders: &Orders, products: &Products) -> Vec<(&'static str, String)> {
    let order = serve(world, "order", Routes::new(OrderService(orders.clone()))).await;
    let product = serve(world, "product", Routes::new(ProductService(products.clone()))).await;
    vec![("order", order), ("product", product)]
}

async fn serve(world: &World, role: &'static str, routes: Routes) -> String {
    let address = openorder_testing::free_address().to_string();
    let listener = openorder_rpc::listen(&address).await.unwrap();
    let role = world.role(role);
    tokio::spawn(async move {
        openorder_rpc::serve(role.telemetry, listener, &RpcServerSettings::default(), routes, &role.shutdown).await;
    });
    format!("http://{address}")
}
