//! `openorder.order.v1.OrderService`: parse, call, answer.

mod immediate;
mod modify;
mod parcel;
mod parse;
mod sagas;
mod sold_out;
mod timeline;
mod watch;

use std::{pin::Pin, sync::Arc};

use openorder_messaging::{Backbone, Committer, Reply, RequestKey, SharedReads};
use openorder_proto::{
    inventory::v1::inventory_service_client::InventoryServiceClient,
    order::v1::{
        BatchGetOrdersRequest, BatchGetOrdersResponse, CancelOrderRequest, CancelOrderResponse, CreateOrderRequest,
        CreateOrderResponse, GetOrderRequest, GetOrderResponse, GetOrderTimelineRequest, GetOrderTimelineResponse,
        ListOrdersRequest, ListOrdersResponse, ListSagasRequest, ListSagasResponse, ModifyOrderRequest,
        ModifyOrderResponse, RetryCompensationRequest, RetryCompensationResponse, SettleCompensationRequest,
        SettleCompensationResponse, UpdateOrderStatusRequest, UpdateOrderStatusResponse, WatchOrderRequest,
        WatchOrderResponse,
        order_service_server::{OrderService, OrderServiceServer},
    },
    promotion::v1::promotion_service_client::PromotionServiceClient,
    shipping::v1::shipping_service_client::ShippingServiceClient,
};
use openorder_rpc::{CallContext, PageTokens, RequestFingerprint, UpstreamChannel, calls, query_failed};
use openorder_service::{Commands, request_key};
use openorder_types::{CallError, Caller, Sku};
use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tonic::{Status, service::Routes};
use uuid::Uuid;

use crate::{
    application::{Catalogue, Command, Hint, MadeOrder, OrderHints, OrderReply, Orders},
    config::OrderSettings,
    domain::{CatalogItem, NewOrder, PaymentMode, ReservationMode, rejection},
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
    pub(crate) orders: SharedReads<Uuid, Record>,
    /// The copy of the catalogue.
    pub(crate) products: SharedReads<Sku, CatalogItem>,
    pub(crate) hints: OrderHints,
    pub(crate) committer: Committer<Orders>,
    pub(crate) catalogue: Catalogue,
    pub(crate) inventory: InventoryServiceClient<UpstreamChannel>,
    pub(crate) promotion: PromotionServiceClient<UpstreamChannel>,
    pub(crate) shipping: ShippingServiceClient<UpstreamChannel>,
    pub(crate) page_tokens: PageTokens,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) settings: OrderSettings,
}

impl OrderGrpc {
    async fn create(&self, call: CallContext, message: CreateOrderRequest) -> Result<CreateOrderResponse, CallError> {
        let (request_id, new) = parse::create(&message)?;
        if !call.caller.may_act_for(&new.customer_id) {
            return Err(parse::not_yours().into());
        }
        if new.issued_coupon_id.is_some() && !self.settings.has_coupons() {
            return Err(rejection::coupons_not_supported().into());
        }
        if new.payment_mode == PaymentMode::Manual && !self.settings.has_manual_payment() {
            return Err(rejection::manual_payment_not_supported().into());
        }
        let key = create_key(&call, &message, request_id, new.order_id);
        let is_immediate = new.reservation_mode == ReservationMode::Immediate;
        let unanswered = self.hints.begin(&key);
        let made = match self.make(&call, &message, key, new).await {
            Ok(made) => made,
            Err(error) => {
                // Where its time was up, it is not known whether it was made.
                if !matches!(error, CallError::DeadlineExceeded) {
                    unanswered.not_done();
                }
                return Err(error);
            }
        };
        let order = match made {
            made if is_immediate => self.reserve_now(&call, made).await,
            MadeOrder::Now(order) => Ok(*order),
            MadeOrder::Before(order_id) => self.current(order_id).await,
        };
        if matches!(order, Ok(_) | Err(CallError::Rejected(_))) {
            unanswered.answered();
        }
        Ok(CreateOrderResponse { order: Some(order?) })
    }

    /// Makes the order, or finds the one that this request made before.
    async fn make(
        &self,
        call: &CallContext,
        message: &CreateOrderRequest,
        key: RequestKey,
        mut new: NewOrder,
    ) -> Result<MadeOrder, CallError> {
        let knows_products = self.catalogue.knows(new.lines.iter().map(|line| &line.sku));
        let was_seen = self.hints.was_seen(&key);
        // Where nobody is asked and nothing was seen, the committer finds what was done before, without a query more.
        if was_seen || !knows_products {
            // What was done is answered whoever is away.
            let done: Option<MadeOrder> = self.committer.recall_call(&key).await?;
            if was_seen {
                self.hints.followed(Hint::Request, done.is_some());
            }
            if let Some(made) = done {
                return Ok(made);
            }
        }
        if !knows_products {
            new.product_answers = self.catalogue.ensure(new.lines.iter().map(|line| &line.sku), call).await?;
        }
        if new.reservation_mode == ReservationMode::Immediate
            && let Some(made) = self.look_ahead(call, &key, &new).await?
        {
            return Ok(made);
        }
        match self.committer.call_under(call, key, Command::Create(Box::new(new))).await {
            Err(CallError::Rejected(no)) if no.reason == rejection::CATALOGUE_IN_DOUBT => {
                self.create_as_asked(call, message).await
            }
            answer => answer,
        }
    }

    /// Asks the product service about every line: its word is final, and what the copy had is not looked at again.
    async fn create_as_asked(&self, call: &CallContext, message: &CreateOrderRequest) -> Result<MadeOrder, CallError> {
        let (request_id, mut new) = parse::create(message)?;
        new.product_answers = self.catalogue.ask(new.lines.iter().map(|line| &line.sku), call).await?;
        let key = create_key(call, message, request_id, new.order_id);
        self.committer.call_under(call, key, Command::Create(Box::new(new))).await
    }

    async fn get(&self, call: CallContext, message: GetOrderRequest) -> Result<GetOrderResponse, CallError> {
        let record = self.visible(&call.caller, parse::order_id(&message.order_id)?).await?;
        Ok(GetOrderResponse { order: Some(present::order_for(&call.caller, &record)) })
    }

    async fn list(&self, call: CallContext, message: ListOrdersRequest) -> Result<ListOrdersResponse, CallError> {
        let list = self.page_tokens.open(ORDERS, &call, &message)?;
        let (filter, size) = parse::list(&message, &call.caller, list.cursor())?;
        let scan_max = self.settings.list_scan_max;
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found = persistence::list_orders(&mut read, &filter, i64::from(size), scan_max).await;
        let found = found.map_err(query_failed)?;
        let cursor = |last: &Record| last.order.order_id.into_bytes();
        let show = |record: &Record| present::order_for(&call.caller, record);
        let (orders, mut next_page_token) = list.page(size, &found.records, show, cursor);
        if let Some(below) = found.looked_down_to.filter(|_| next_page_token.is_empty()) {
            next_page_token = list.token(below.as_bytes());
        }
        Ok(ListOrdersResponse { orders, next_page_token })
    }

    async fn cancel(&self, call: CallContext, message: CancelOrderRequest) -> Result<CancelOrderResponse, CallError> {
        let (request_id, command) = parse::cancel(&message, &call.caller)?;
        let canonical = parse::canonical_cancel(&message);
        let fingerprint = RequestFingerprint::of_canonical("CancelOrder", &message, Some(&canonical));
        let order = self.change(&call, fingerprint, request_id, command).await?;
        Ok(CancelOrderResponse { order: Some(order) })
    }

    async fn update_status(
        &self,
        call: CallContext,
        message: UpdateOrderStatusRequest,
    ) -> Result<UpdateOrderStatusResponse, CallError> {
        let (request_id, command) = parse::update_status(&message)?;
        let canonical = parse::canonical_update_status(&message);
        let fingerprint = RequestFingerprint::of_canonical("UpdateOrderStatus", &message, Some(&canonical));
        let order = self.change(&call, fingerprint, request_id, command).await?;
        Ok(UpdateOrderStatusResponse { order: Some(order) })
    }

    /// An order that the caller may see; any other is answered as one that does not exist.
    async fn visible(&self, caller: &Caller, order_id: Uuid) -> Result<Record, CallError> {
        let found = self.orders.get(order_id).await.map_err(query_failed)?;
        let visible = found.filter(|record| caller.may_see(&record.order.customer_id));
        visible.ok_or_else(|| rejection::order_not_found(order_id).into())
    }
}

/// What is kept under it is known beforehand: which order it makes.
fn create_key(call: &CallContext, message: &CreateOrderRequest, request_id: String, order_id: Uuid) -> RequestKey {
    let canonical = parse::canonical_create(message);
    let fingerprint = RequestFingerprint::of_canonical("CreateOrder", message, canonical.as_ref());
    RequestKey { reply: Some(OrderReply::Made(order_id).encode()), ..request_key(call, fingerprint, request_id) }
}

type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchOrderResponse, Status>> + Send>>;

calls! {
    impl OrderService for OrderGrpc {
        create_order(CreateOrderRequest) -> CreateOrderResponse = create, anyone;
        get_order(GetOrderRequest) -> GetOrderResponse = get, anyone;
        list_orders(ListOrdersRequest) -> ListOrdersResponse = list, anyone;
        cancel_order(CancelOrderRequest) -> CancelOrderResponse = cancel, anyone;
        modify_order(ModifyOrderRequest) -> ModifyOrderResponse = modify, anyone;
        update_order_status(UpdateOrderStatusRequest) -> UpdateOrderStatusResponse = update_status, staff;
        get_order_timeline(GetOrderTimelineRequest) -> GetOrderTimelineResponse = timeline, anyone;
        watch_order(WatchOrderRequest) -> WatchStream as WatchOrderStream = watch, anyone;
        batch_get_orders(BatchGetOrdersRequest) -> BatchGetOrdersResponse = batch_get, anyone;
        list_sagas(ListSagasRequest) -> ListSagasResponse = sagas, operator_reads;
        retry_compensation(RetryCompensationRequest) -> RetryCompensationResponse = retry, operator;
        settle_compensation(SettleCompensationRequest) -> SettleCompensationResponse = settle, operator;
    }
}
