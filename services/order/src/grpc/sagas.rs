//! What operators see and decide of sagas, and orders in batches for other services.

use openorder_proto::order::v1::{
    BatchGetOrdersRequest, BatchGetOrdersResponse, ListSagasRequest, ListSagasResponse, Order,
    RetryCompensationRequest, RetryCompensationResponse, SettleCompensationRequest, SettleCompensationResponse,
};
use openorder_rpc::{CallContext, RequestFingerprint, query_failed};
use openorder_service::Commands;
use openorder_types::CallError;
use prost::{Message, Name};

use crate::{
    domain::CompensationRequest,
    grpc::{OrderGrpc, parse},
    persistence, present,
};

/// Name of the list in page tokens.
const SAGAS: &str = "order.sagas";

impl OrderGrpc {
    pub(super) async fn batch_get(
        &self,
        call: CallContext,
        message: BatchGetOrdersRequest,
    ) -> Result<BatchGetOrdersResponse, CallError> {
        let ids = parse::order_ids(&message.order_ids)?;
        let found = persistence::find_orders(self.backbone.pool(), &ids).await.map_err(query_failed)?;
        let visible = found.into_iter().filter(|record| call.caller.may_see(&record.order.customer_id));
        let visible: Vec<_> = visible.collect();
        let show = |record: &_| present::order_for(&call.caller, record);
        Ok(BatchGetOrdersResponse { orders: self.page_tokens.batch(&visible, show)? })
    }

    pub(super) async fn sagas(
        &self,
        call: CallContext,
        message: ListSagasRequest,
    ) -> Result<ListSagasResponse, CallError> {
        let list = self.page_tokens.open(SAGAS, &call, &message)?;
        let (filter, order_id, size) = parse::sagas(&message, list.cursor())?;
        let pool = self.backbone.pool();
        let found = match order_id {
            Some(order_id) => persistence::find_saga(pool, order_id, filter.step).await,
            None => {
                let mut read = self.backbone.read().await.map_err(query_failed)?;
                persistence::list_sagas(&mut *read, &filter, i64::from(size) + 1).await
            }
        };
        let found = found.map_err(query_failed)?;
        let settings = self.settings.saga_settings();
        let saga = |record: &_| present::saga(record, &settings);
        let (sagas, next_page_token) = list.page(size, &found, saga, |last| last.order.order_id.into_bytes());
        Ok(ListSagasResponse { sagas, next_page_token })
    }

    pub(super) async fn retry(
        &self,
        call: CallContext,
        message: RetryCompensationRequest,
    ) -> Result<RetryCompensationResponse, CallError> {
        let RetryCompensationRequest { request_id, order_id, reason } = &message;
        let texts = [request_id.as_str(), order_id.as_str(), reason.as_str()];
        let canonical = RetryCompensationRequest { order_id: order_id.to_ascii_lowercase(), ..message.clone() };
        let order = self.compensate(&call, texts, (&message, &canonical), CompensationRequest::Retry).await?;
        Ok(RetryCompensationResponse { order: Some(order) })
    }

    pub(super) async fn settle(
        &self,
        call: CallContext,
        message: SettleCompensationRequest,
    ) -> Result<SettleCompensationResponse, CallError> {
        let SettleCompensationRequest { request_id, order_id, reason } = &message;
        let texts = [request_id.as_str(), order_id.as_str(), reason.as_str()];
        let canonical = SettleCompensationRequest { order_id: order_id.to_ascii_lowercase(), ..message.clone() };
        let order = self.compensate(&call, texts, (&message, &canonical), CompensationRequest::Settle).await?;
        Ok(SettleCompensationResponse { order: Some(order) })
    }

    async fn compensate<M: Message + Name + PartialEq>(
        &self,
        call: &CallContext,
        [request_id, order_id, reason]: [&str; 3],
        (message, canonical): (&M, &M),
        request: CompensationRequest,
    ) -> Result<Order, CallError> {
        let (request_id, command) = parse::compensation(request_id, order_id, reason, &call.caller, request)?;
        let method = match request {
            CompensationRequest::Retry => "RetryCompensation",
            CompensationRequest::Settle => "SettleCompensation",
        };
        let fingerprint = RequestFingerprint::of_canonical(method, message, Some(canonical));
        self.committer.call(call, fingerprint, request_id, command).await
    }
}
