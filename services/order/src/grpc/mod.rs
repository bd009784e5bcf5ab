//! `openorder.order.v1.OrderService`: parse, call, answer.

mod immediate;
mod parse;
mod sagas;
mod timeline;
mod watch;

use std::{pin::Pin, sync::Arc};

use openorder_messaging::{Backbone, Committer, RequestKey};
use openorder_proto::{
    inventory::v1::inventory_service_client::InventoryServiceClient,
    order::v1::{
        BatchGetOrdersRequest, BatchGetOrdersResponse, CancelOrderRequest, CancelOrderResponse, CreateOrderRequest,
        CreateOrderResponse, GetOrderRequest, GetOrderResponse, GetOrderTimelineRequest, GetOrderTimelineResponse,
        ListOrdersRequest, ListOrdersResponse, ListSagasRequest, ListSagasResponse, Order, RetryCompensationRequest,
        RetryCompensationResponse, SettleCompensationRequest, SettleCompensationResponse, UpdateOrderStatusRequest,
        UpdateOrderStatusResponse, WatchOrderRequest, WatchOrderResponse,
        order_service_server::{OrderService, OrderServiceServer},
    },
};
use openorder_rpc::{
    CallContext, ListOf, PageTokens, RequestFingerprint, UpstreamChannel, query_failed, rejection, status,
};
use openorder_types::{CallError, Caller, Rejection};
use prost::Message;
use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, service::Routes};
use uuid::Uuid;

use crate::{
    application::{Catalogue, OrderReply, Orders},
    config::OrderSettings,
    domain::{Command, ReservationMode, reject},
    persistence::{self, Record},
    present,
};

/// Name of the list in page tokens.
const ORDERS: &str = "order.orders";

/// The service's routes.
pub(crate) fn service(grpc: OrderGrpc) -> Routes {
    Routes::new(OrderServiceServer::from_arc(Arc::new(grpc)))
}

/// What the handlers work with.
pub(crate) struct OrderGrpc {
    pub(crate) backbone: Arc<Backbone>,
    pub(crate) committer: Committer<Orders>,
    pub(crate) catalogue: Catalogue,
    pub(crate) inventory: InventoryServiceClient<UpstreamChannel>,
    pub(crate) page_tokens: PageTokens,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) settings: OrderSettings,
}

impl OrderGrpc {
    async fn submit(&self, call: &CallContext, key: RequestKey, command: Command) -> Result<Order, CallError> {
        made(self.committer.submit(Some(key), command, call.trace.clone(), call.deadline).await?)
    }

    async fn create(&self, call: CallContext, message: CreateOrderRequest) -> Result<CreateOrderResponse, CallError> {
        let (request_id, mut new) = parse::create(&message)?;
        if !call.caller.may_act_for(&new.customer_id) {
            return Err(parse::not_yours().into());
        }
        let key = key(&call, request_id, "CreateOrder", &message, parse::canonical_create(&message).as_ref());
        let immediate = new.reservation_mode == ReservationMode::Immediate;
        let mut done = None;
        // Where nobody is asked, the committer finds what was done before, without a query more.
        if !self.catalogue.knows(new.lines.iter().map(|line| &line.sku)) {
            // What was done is answered whoever is away.
            done = self.committer.recall(&key).await?.map(made).transpose()?;
            if done.is_none() {
                new.asked = self.catalogue.ensure(new.lines.iter().map(|line| &line.sku), &call).await?;
            }
        }
        let mut order = match done {
            Some(order) => order,
            None => match self.submit(&call, key, Command::Create(Box::new(new))).await {
                Err(CallError::Rejected(no)) if no.reason == reject::CATALOGUE_IN_DOUBT => {
                    self.create_as_asked(&call, &message).await?
                }
                answer => answer?,
            },
        };
        if immediate {
            order = self.reserve_now(&call, order).await?;
        }
        Ok(CreateOrderResponse { order: Some(order) })
    }

    /// Asks the product service about every line: its word is final, and what the copy had is not looked at again.
    async fn create_as_asked(&self, call: &CallContext, message: &CreateOrderRequest) -> Result<Order, CallError> {
        let (request_id, mut new) = parse::create(message)?;
        let key = key(call, request_id, "CreateOrder", message, parse::canonical_create(message).as_ref());
        new.asked = self.catalogue.ask(new.lines.iter().map(|line| &line.sku), call).await?;
        self.submit(call, key, Command::Create(Box::new(new))).await
    }

    async fn get(&self, call: CallContext, message: GetOrderRequest) -> Result<GetOrderResponse, CallError> {
        let record = self.visible(&call.caller, parse::order_id(&message.order_id)?).await?;
        Ok(GetOrderResponse { order: Some(present::order(&record)) })
    }

    async fn list(&self, call: CallContext, message: ListOrdersRequest) -> Result<ListOrdersResponse, CallError> {
        let conditions = ListOrdersRequest { page_size: 0, page_token: String::new(), ..message.clone() };
        let conditions = conditions.encode_to_vec();
        let cursor = self.page_tokens.decode(ORDERS, &call.caller, &conditions, &message.page_token)?;
        let (filter, size) = parse::list(&message, &call.caller, cursor.as_deref())?;
        let scan_max = self.settings.list_scan_max;
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found = persistence::list_orders(&mut read, &filter, i64::from(size), scan_max).await;
        let found = found.map_err(query_failed)?;
        let of = ListOf { list: ORDERS, caller: &call.caller, filter_fingerprint: &conditions, size };
        let cursor = |last: &Record| last.order.order_id.into_bytes();
        let mut page = self.page_tokens.page(&of, &found.records, present::order, cursor);
        if let Some(below) = found.looked_down_to.filter(|_| page.next_page_token.is_empty()) {
            page.next_page_token = self.page_tokens.encode(ORDERS, &call.caller, &conditions, below.as_bytes());
        }
        Ok(ListOrdersResponse { orders: page.items, next_page_token: page.next_page_token })
    }

    async fn cancel(&self, call: CallContext, message: CancelOrderRequest) -> Result<CancelOrderResponse, CallError> {
        let (request_id, command) = parse::cancel(&message, &call.caller)?;
        let canonical = parse::canonical_cancel(&message);
        let key = key(&call, request_id, "CancelOrder", &message, Some(&canonical));
        let order = self.submit(&call, key, command).await?;
        Ok(CancelOrderResponse { order: Some(order) })
    }

    async fn update_status(
        &self,
        call: CallContext,
        message: UpdateOrderStatusRequest,
    ) -> Result<UpdateOrderStatusResponse, CallError> {
        if !call.caller.is_staff() {
            let text = "only operators and services may move an order on";
            return Err(Rejection::permission_denied("ROLE_REQUIRED", text).into());
        }
        let (request_id, command) = parse::update_status(&message)?;
        let canonical = parse::canonical_update_status(&message);
        let key = key(&call, request_id, "UpdateOrderStatus", &message, Some(&canonical));
        let order = self.submit(&call, key, command).await?;
        Ok(UpdateOrderStatusResponse { order: Some(order) })
    }

    /// An order that the caller may see; any other is answered as one that does not exist.
    async fn visible(&self, caller: &Caller, order_id: Uuid) -> Result<Record, CallError> {
        let found = persistence::find_order(self.backbone.pool(), order_id).await.map_err(query_failed)?;
        let visible = found.filter(|record| caller.may_act_for(&record.order.customer_id));
        visible.ok_or_else(|| reject::order_not_found(order_id).into())
    }
}

/// The key of a command, of its request and that one's one form; none where it is in that form.
fn key<M: Message + PartialEq>(
    call: &CallContext,
    request_id: String,
    method: &'static str,
    message: &M,
    canonical: Option<&M>,
) -> RequestKey {
    let RequestFingerprint { meaning, as_sent } = RequestFingerprint::of_canonical(method, message, canonical);
    let caller = call.caller.subject.clone();
    RequestKey { caller, request_id, method, fingerprint: meaning, fingerprint_as_sent: as_sent }
}

fn made(reply: OrderReply) -> Result<Order, CallError> {
    reply.0.map(|order| *order).ok_or(CallError::Internal)
}

type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchOrderResponse, Status>> + Send>>;

#[tonic::async_trait]
impl OrderService for OrderGrpc {
    type WatchOrderStream = WatchStream;

    async fn create_order(
        &self,
        request: Request<CreateOrderRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.create(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.get(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_orders(&self, request: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.list(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.cancel(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn update_order_status(
        &self,
        request: Request<UpdateOrderStatusRequest>,
    ) -> Result<Response<UpdateOrderStatusResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.update_status(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_order_timeline(
        &self,
        request: Request<GetOrderTimelineRequest>,
    ) -> Result<Response<GetOrderTimelineResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.timeline(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn watch_order(&self, request: Request<WatchOrderRequest>) -> Result<Response<WatchStream>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.watch(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn batch_get_orders(
        &self,
        request: Request<BatchGetOrdersRequest>,
    ) -> Result<Response<BatchGetOrdersResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.batch_get(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_sagas(&self, request: Request<ListSagasRequest>) -> Result<Response<ListSagasResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.sagas(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn retry_compensation(
        &self,
        request: Request<RetryCompensationRequest>,
    ) -> Result<Response<RetryCompensationResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.retry(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn settle_compensation(
        &self,
        request: Request<SettleCompensationRequest>,
    ) -> Result<Response<SettleCompensationResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.settle(call, request.into_inner()).await.map(Response::new).map_err(status)
    }
}
