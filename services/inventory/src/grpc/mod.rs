//! `openorder.inventory.v1.InventoryService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use openorder_messaging::{Backbone, Committer, RequestKey};
use openorder_proto::inventory::v1::{
    self as proto, AdjustStockRequest, AdjustStockResponse, BatchGetStockRequest, BatchGetStockResponse,
    GetStockRequest, GetStockResponse, ListReservationMismatchesRequest, ListReservationMismatchesResponse,
    ListReservationsRequest, ListReservationsResponse, ReleaseStockRequest, ReleaseStockResponse, ReserveStockRequest,
    ReserveStockResponse,
    inventory_service_server::{InventoryService, InventoryServiceServer},
};
use openorder_rpc::{CallContext, ListOf, PageTokens, RequestFingerprint, query_failed, rejection, status};
use openorder_types::{CallError, Rejection};
use prost::Message;
use tonic::{Request, Response, Status, service::Routes};
use uuid::Uuid;

use crate::{
    application::{Inventory, InventoryReply},
    domain::{Command, Reservation},
    persistence, present,
};

/// Name of the list in page tokens.
const RESERVATIONS: &str = "inventory.reservations";
/// Name of the list in page tokens.
const MISMATCHES: &str = "inventory.reservation_mismatches";

/// The service's routes.
pub(crate) fn service(backbone: Arc<Backbone>, committer: Committer<Inventory>, page_tokens: PageTokens) -> Routes {
    Routes::new(InventoryServiceServer::new(InventoryGrpc { backbone, committer, page_tokens }))
}

struct InventoryGrpc {
    backbone: Arc<Backbone>,
    committer: Committer<Inventory>,
    page_tokens: PageTokens,
}

impl InventoryGrpc {
    async fn submit<M: Message + PartialEq>(
        &self,
        call: CallContext,
        request_id: String,
        method: &'static str,
        (message, canonical): (&M, M),
        command: Command,
    ) -> Result<InventoryReply, CallError> {
        let RequestFingerprint { meaning, as_sent } =
            RequestFingerprint::of_canonical(method, message, Some(&canonical));
        let key = RequestKey {
            caller: call.caller.subject,
            request_id,
            method,
            fingerprint: meaning,
            fingerprint_as_sent: as_sent,
        };
        self.committer.submit(Some(key), command, call.trace, call.deadline).await
    }

    async fn adjust(&self, call: CallContext, message: AdjustStockRequest) -> Result<AdjustStockResponse, CallError> {
        call.caller.must_be_staff()?;
        let (request_id, command) = parse::adjust(&message)?;
        match self.submit(call, request_id, "AdjustStock", (&message, message.clone()), command).await? {
            InventoryReply::Stock(stock) => Ok(AdjustStockResponse { stock: Some(stock) }),
            _ => Err(CallError::Internal),
        }
    }

    async fn reserve(
        &self,
        call: CallContext,
        message: ReserveStockRequest,
    ) -> Result<ReserveStockResponse, CallError> {
        call.caller.must_be_staff()?;
        let (request_id, command) = parse::reserve(&message)?;
        match self
            .submit(call, request_id, "ReserveStock", (&message, parse::canonical_reserve(&message)), command)
            .await?
        {
            InventoryReply::Reservation(reservation) => {
                held(&reservation)?;
                Ok(ReserveStockResponse { reservation: Some(reservation) })
            }
            _ => Err(CallError::Internal),
        }
    }

    async fn release(
        &self,
        call: CallContext,
        message: ReleaseStockRequest,
    ) -> Result<ReleaseStockResponse, CallError> {
        call.caller.must_be_staff()?;
        let (request_id, command) = parse::release(&message)?;
        match self
            .submit(call, request_id, "ReleaseStock", (&message, parse::canonical_release(&message)), command)
            .await?
        {
            InventoryReply::Reservation(reservation) => Ok(ReleaseStockResponse { reservation: Some(reservation) }),
            _ => Err(CallError::Internal),
        }
    }

    async fn stock(&self, message: GetStockRequest) -> Result<GetStockResponse, CallError> {
        let sku = parse::sku("sku", &message.sku)?;
        let found = persistence::find_levels(self.backbone.pool(), &[sku.as_str()]).await.map_err(query_failed)?;
        match found.first() {
            Some((level, time)) => Ok(GetStockResponse { stock: Some(present::stock(level, *time)) }),
            None => Err(Rejection::not_found("UNKNOWN_SKU", "there is no such SKU").with("sku", sku).into()),
        }
    }

    async fn stocks(&self, message: BatchGetStockRequest) -> Result<BatchGetStockResponse, CallError> {
        let skus = parse::skus(&message.skus)?;
        let names: Vec<&str> = skus.iter().map(AsRef::as_ref).collect();
        let found = persistence::find_levels(self.backbone.pool(), &names).await.map_err(query_failed)?;
        let stocks = self.page_tokens.batch(&found, |(level, time)| present::stock(level, *time))?;
        Ok(BatchGetStockResponse { stocks })
    }

    async fn reservations(
        &self,
        call: CallContext,
        message: ListReservationsRequest,
    ) -> Result<ListReservationsResponse, CallError> {
        call.caller.must_be_staff()?;
        let conditions = ListReservationsRequest { page_size: 0, page_token: String::new(), ..message.clone() };
        let conditions = conditions.encode_to_vec();
        let cursor = self.page_tokens.decode(RESERVATIONS, &call.caller, &conditions, &message.page_token)?;
        let (filter, size) = parse::list(&message, cursor.as_deref())?;
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found =
            persistence::list_reservations(&mut *read, &filter, i64::from(size) + 1).await.map_err(query_failed)?;
        let of = ListOf { list: RESERVATIONS, caller: &call.caller, filter_fingerprint: &conditions, size };
        let cursor = |last: &Reservation| last.order_id.into_bytes();
        let page = self.page_tokens.page(&of, &found, present::reservation, cursor);
        Ok(ListReservationsResponse { reservations: page.items, next_page_token: page.next_page_token })
    }
}

impl InventoryGrpc {
    async fn mismatches(
        &self,
        call: CallContext,
        message: ListReservationMismatchesRequest,
    ) -> Result<ListReservationMismatchesResponse, CallError> {
        call.caller.must_be_staff()?;
        let cursor = self.page_tokens.decode(MISMATCHES, &call.caller, &[], &message.page_token)?;
        let size = parse::size(message.page_size)?;
        let after = cursor.and_then(|bytes| Uuid::from_slice(&bytes).ok());
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found = persistence::list_mismatches(&mut *read, after, i64::from(size) + 1).await;
        let found = found.map_err(query_failed)?;
        let of = ListOf { list: MISMATCHES, caller: &call.caller, filter_fingerprint: &[], size };
        let page = self.page_tokens.page(&of, &found, present::mismatch, |last| last.reservation.order_id.into_bytes());
        Ok(ListReservationMismatchesResponse { mismatches: page.items, next_page_token: page.next_page_token })
    }
}

#[tonic::async_trait]
impl InventoryService for InventoryGrpc {
    async fn adjust_stock(
        &self,
        request: Request<AdjustStockRequest>,
    ) -> Result<Response<AdjustStockResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.adjust(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_stock(&self, request: Request<GetStockRequest>) -> Result<Response<GetStockResponse>, Status> {
        CallContext::of(&request).map_err(rejection)?;
        self.stock(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn batch_get_stock(
        &self,
        request: Request<BatchGetStockRequest>,
    ) -> Result<Response<BatchGetStockResponse>, Status> {
        CallContext::of(&request).map_err(rejection)?;
        self.stocks(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_reservations(
        &self,
        request: Request<ListReservationsRequest>,
    ) -> Result<Response<ListReservationsResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.reservations(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_reservation_mismatches(
        &self,
        request: Request<ListReservationMismatchesRequest>,
    ) -> Result<Response<ListReservationMismatchesResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.mismatches(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn reserve_stock(
        &self,
        request: Request<ReserveStockRequest>,
    ) -> Result<Response<ReserveStockResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.reserve(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn release_stock(
        &self,
        request: Request<ReleaseStockRequest>,
    ) -> Result<Response<ReleaseStockResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.release(call, request.into_inner()).await.map(Response::new).map_err(status)
    }
}

/// The answer to ReserveStock is a held reservation or the reason why there is none.
fn held(reservation: &proto::Reservation) -> Result<(), Rejection> {
    let refused = match (reservation.state(), reservation.reason.as_str()) {
        (proto::ReservationState::Held | proto::ReservationState::Shipped, _) => return Ok(()),
        (proto::ReservationState::Rejected, "UNKNOWN_SKU") => {
            Rejection::failed_precondition("UNKNOWN_SKU", "there is no such SKU")
        }
        (proto::ReservationState::Rejected, _) => {
            Rejection::failed_precondition("OUT_OF_STOCK", "fewer pieces are available than were asked for")
        }
        _ => Rejection::failed_precondition("RESERVATION_RELEASED", "the order was called off"),
    };
    Err(refused.with("order_id", &reservation.order_id))
}
