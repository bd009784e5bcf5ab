//! What operators see and decide of sagas, and orders in batches for other services.

use openorder_proto::order::v1::{
    BatchGetOrdersRequest, BatchGetOrdersResponse, ListSagasRequest, ListSagasResponse, Order,
    RetryCompensationRequest, RetryCompensationResponse, SettleCompensationRequest, SettleCompensationResponse,
};
use openorder_rpc::{CallContext, ListOf, query_failed};
use openorder_types::{CallError, Caller, Rejection};
use prost::Message;

use crate::{
    domain::CompensationRequest,
    grpc::{OrderGrpc, key, parse},
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
        let visible = found.into_iter().filter(|record| call.caller.may_act_for(&record.order.customer_id));
        let visible: Vec<_> = visible.collect();
        Ok(BatchGetOrdersResponse { orders: self.page_tokens.batch(&visible, present::order)? })
    }

    pub(super) async fn sagas(
        &self,
        call: CallContext,
        message: ListSagasRequest,
    ) -> Result<ListSagasResponse, CallError> {
        needs_operator(&call.caller)?;
        let conditions = ListSagasRequest { page_size: 0, page_token: String::new(), ..message.clone() };
        let conditions = conditions.encode_to_vec();
        let cursor = self.page_tokens.decode(SAGAS, &call.caller, &conditions, &message.page_token)?;
        let (filter, order_id, size) = parse::sagas(&message, cursor.as_deref())?;
        let pool = self.backbone.pool();
        let found = match order_id {
            Some(order_id) => persistence::find_saga(pool, order_id, filter.step).await,
            None => {
                let mut read = self.backbone.read().await.map_err(query_failed)?;
                persistence::list_sagas(&mut *read, &filter, i64::from(size) + 1).await
            }
        };
        let found = found.map_err(query_failed)?;
        let timeouts = self.settings.timeouts();
        let of = ListOf { list: SAGAS, caller: &call.caller, filter_fingerprint: &conditions, size };
        let saga = |record: &_| present::saga(record, &timeouts);
        let page = self.page_tokens.page(&of, &found, saga, |last| last.order.order_id.into_bytes());
        Ok(ListSagasResponse { sagas: page.items, next_page_token: page.next_page_token })
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

    async fn compensate<M: Message + PartialEq>(
        &self,
        call: &CallContext,
        [request_id, order_id, reason]: [&str; 3],
        (message, canonical): (&M, &M),
        request: CompensationRequest,
    ) -> Result<Order, CallError> {
        needs_operator(&call.caller)?;
        let (request_id, command) = parse::compensation(request_id, order_id, reason, &call.caller, request)?;
        let method = match request {
            CompensationRequest::Retry => "RetryCompensation",
            CompensationRequest::Settle => "SettleCompensation",
        };
        self.submit(call, key(call, request_id, method, message, Some(canonical)), command).await
    }
}

/// A person answers for it: a service is not an operator.
fn needs_operator(caller: &Caller) -> Result<(), Rejection> {
    if caller.is_operator() {
        return Ok(());
    }
    Err(Rejection::permission_denied("ROLE_REQUIRED", "only operators may do this"))
}
