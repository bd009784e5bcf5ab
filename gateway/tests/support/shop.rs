//! Orders and products that speak the contract, kept in memory: what a caller of any protocol sees is what these hold.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openorder_proto::order::v1::order_service_server::{OrderService, OrderServiceServer};
use openorder_proto::order::v1::{self as order, Order, OrderLine, OrderStatus};
use openorder_proto::product::v1::product_service_server::{ProductService, ProductServiceServer};
use openorder_proto::product::v1::{self as product, Product, get_product_request};
use openorder_rpc::{Refusal, Violations, rejection};
use openorder_telemetry::RoleTelemetry;
use openorder_types::Rejection;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::{Running, service_at};

type Answer<T> = Result<Response<T>, Status>;

/// What the services saw, as they saw it.
#[derive(Clone, Default)]
pub struct Shop {
    pub orders: Arc<Mutex<HashMap<String, Order>>>,
    pub listed: Arc<Mutex<Vec<order::ListOrdersRequest>>>,
    pub updated: Arc<Mutex<Vec<product::UpdateProductRequest>>>,
    pub deleted: Arc<Mutex<Vec<product::DeleteProductRequest>>>,
}

pub async fn order_service(shop: &Shop) -> Running {
    let service = OrderServiceServer::new(shop.clone());
    service_at("127.0.0.1:0", RoleTelemetry::disabled("order"), |_| Routes::new(service)).await
}

pub async fn product_service(shop: &Shop) -> Running {
    let service = ProductServiceServer::new(shop.clone());
    service_at("127.0.0.1:0", RoleTelemetry::disabled("product"), |_| Routes::new(service)).await
}

fn unimplemented<T>() -> Answer<T> {
    Err(Refusal::unimplemented("not here"))
}

#[tonic::async_trait]
impl OrderService for Shop {
    async fn create_order(&self, request: Request<order::CreateOrderRequest>) -> Answer<order::CreateOrderResponse> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        if request.request_id.is_empty() {
            violations.add("request_id", "REQUEST_ID_MISSING", "must be given");
        }
        if request.lines.is_empty() {
            violations.add("lines", "LINES_MISSING", "must have at least one");
        }
        violations.finish().map_err(rejection)?;
        let lines = request.lines.into_iter().map(|line| OrderLine {
            sku: line.sku,
            quantity: line.quantity,
            ..OrderLine::default()
        });
        let order = Order {
            order_id: format!("order-{}", request.request_id),
            customer_id: request.customer_id,
            status: OrderStatus::Pending.into(),
            lines: lines.collect(),
            total: request.expected_total,
            version: 1,
            ..Order::default()
        };
        self.orders.lock().unwrap().insert(order.order_id.clone(), order.clone());
        Ok(Response::new(order::CreateOrderResponse { order: Some(order) }))
    }

    /// `sleep-N` is an order that is there after N milliseconds.
    async fn get_order(&self, request: Request<order::GetOrderRequest>) -> Answer<order::GetOrderResponse> {
        let order_id = request.into_inner().order_id;
        if let Some(millis) = order_id.strip_prefix("sleep-") {
            tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await;
        }
        let order = self.orders.lock().unwrap().get(&order_id).cloned();
        let order = order.ok_or_else(|| {
            rejection(Rejection::not_found("ORDER_NOT_FOUND", "there is no such order").with("order_id", &order_id))
        })?;
        Ok(Response::new(order::GetOrderResponse { order: Some(order) }))
    }

    async fn batch_get_orders(
        &self,
        _: Request<order::BatchGetOrdersRequest>,
    ) -> Answer<order::BatchGetOrdersResponse> {
        unimplemented()
    }

    async fn list_orders(&self, request: Request<order::ListOrdersRequest>) -> Answer<order::ListOrdersResponse> {
        self.listed.lock().unwrap().push(request.into_inner());
        let orders = self.orders.lock().unwrap().values().cloned().collect();
        Ok(Response::new(order::ListOrdersResponse { orders, next_page_token: String::new() }))
    }

    async fn cancel_order(&self, request: Request<order::CancelOrderRequest>) -> Answer<order::CancelOrderResponse> {
        let request = request.into_inner();
        let order = self.orders.lock().unwrap().get(&request.order_id).cloned().map(|order| Order {
            status: OrderStatus::Cancelled.into(),
            status_detail: request.reason,
            ..order
        });
        Ok(Response::new(order::CancelOrderResponse { order }))
    }

    async fn update_order_status(
        &self,
        _: Request<order::UpdateOrderStatusRequest>,
    ) -> Answer<order::UpdateOrderStatusResponse> {
        unimplemented()
    }

    async fn modify_order(&self, _: Request<order::ModifyOrderRequest>) -> Answer<order::ModifyOrderResponse> {
        unimplemented()
    }

    async fn get_order_timeline(
        &self,
        _: Request<order::GetOrderTimelineRequest>,
    ) -> Answer<order::GetOrderTimelineResponse> {
        unimplemented()
    }

    type WatchOrderStream = Pin<Box<dyn futures::Stream<Item = Result<order::WatchOrderResponse, Status>> + Send>>;

    /// `N-M`: the order N times, one every M milliseconds, then a rejection; `N-M-ok` ends with success.
    async fn watch_order(&self, request: Request<order::WatchOrderRequest>) -> Answer<Self::WatchOrderStream> {
        let order_id = request.into_inner().order_id;
        let mut parts = order_id.split('-');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (Some(count), Some(pause)) = (number(), number()) else {
            return Err(rejection(Rejection::not_found("ORDER_NOT_FOUND", "there is no such order")));
        };
        let ends_well = order_id.ends_with("-ok");
        Ok(Response::new(Box::pin(futures::stream::unfold(0, move |next| {
            let order_id = order_id.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                match next.cmp(&count) {
                    std::cmp::Ordering::Less => {
                        let version = i64::try_from(next).unwrap();
                        let order = Order { order_id, version, ..Order::default() };
                        Some((Ok(order::WatchOrderResponse { order: Some(order) }), next + 1))
                    }
                    std::cmp::Ordering::Equal if !ends_well => {
                        Some((Err(rejection(Rejection::aborted("STREAM_OVER", "over"))), next + 1))
                    }
                    _ => None,
                }
            }
        }))))
    }

    async fn list_sagas(&self, _: Request<order::ListSagasRequest>) -> Answer<order::ListSagasResponse> {
        unimplemented()
    }

    async fn retry_compensation(
        &self,
        _: Request<order::RetryCompensationRequest>,
    ) -> Answer<order::RetryCompensationResponse> {
        unimplemented()
    }

    async fn settle_compensation(
        &self,
        _: Request<order::SettleCompensationRequest>,
    ) -> Answer<order::SettleCompensationResponse> {
        unimplemented()
    }
}

#[tonic::async_trait]
impl ProductService for Shop {
    async fn create_product(
        &self,
        _: Request<product::CreateProductRequest>,
    ) -> Answer<product::CreateProductResponse> {
        unimplemented()
    }

    /// The product that was asked for, by the name that it was asked for with.
    async fn get_product(&self, request: Request<product::GetProductRequest>) -> Answer<product::GetProductResponse> {
        let product = match request.into_inner().key {
            Some(get_product_request::Key::ProductId(product_id)) => Product { product_id, ..Product::default() },
            Some(get_product_request::Key::Sku(sku)) => Product { sku, ..Product::default() },
            None => return Err(rejection(Rejection::invalid_field("key", "FIELD_MISSING", "must be given"))),
        };
        Ok(Response::new(product::GetProductResponse { product: Some(product) }))
    }

    async fn batch_get_products(
        &self,
        _: Request<product::BatchGetProductsRequest>,
    ) -> Answer<product::BatchGetProductsResponse> {
        unimplemented()
    }

    async fn list_products(&self, _: Request<product::ListProductsRequest>) -> Answer<product::ListProductsResponse> {
        unimplemented()
    }

    async fn update_product(
        &self,
        request: Request<product::UpdateProductRequest>,
    ) -> Answer<product::UpdateProductResponse> {
        let request = request.into_inner();
        let product = request.product.clone();
        self.updated.lock().unwrap().push(request);
        Ok(Response::new(product::UpdateProductResponse { product }))
    }

    async fn delete_product(
        &self,
        request: Request<product::DeleteProductRequest>,
    ) -> Answer<product::DeleteProductResponse> {
        self.deleted.lock().unwrap().push(request.into_inner());
        Ok(Response::new(product::DeleteProductResponse::default()))
    }
}
