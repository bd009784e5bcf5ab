//! `openorder.inventory.v1.InventoryService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use openorder_messaging::{Backbone, Committer, SharedReads};
use openorder_proto::inventory::v1::{
    self as proto, AdjustStockRequest, AdjustStockResponse, BatchGetStockRequest, BatchGetStockResponse,
    GetStockRequest, GetStockResponse, ListReservationMismatchesRequest, ListReservationMismatchesResponse,
    ListReservationsRequest, ListReservationsResponse, ReleaseStockRequest, ReleaseStockResponse, ReserveStockRequest,
    ReserveStockResponse,
    inventory_service_server::{InventoryService, InventoryServiceServer},
};
use openorder_rpc::{CallContext, PageTokens, RequestFingerprint, calls, query_failed};
use openorder_service::Commands;
use openorder_types::{CallError, Rejection, Sku};
use tonic::service::Routes;
use uuid::Uuid;

use crate::{
    application::Inventory,
    domain::{Reservation, rejection},
    persistence::{self, Level, Mismatch},
    present,
};

/// Name of the list in page tokens.
const RESERVATIONS: &str = "inventory.reservations";
/// Name of the list in page tokens.
const MISMATCHES: &str = "inventory.reservation_mismatches";

pub(crate) fn service(backbone: Arc<Backbone>, committer: Committer<Inventory>, page_tokens: PageTokens) -> Routes {
    let levels = backbone.shared_reads(|pool, skus: Vec<Sku>| async move {
        let names: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        let found = persistence::find_levels(&pool, &names).await?;
        Ok(found.into_iter().map(|level| (level.0.sku.clone(), level)).collect())
    });
    Routes::new(InventoryServiceServer::new(InventoryGrpc { backbone, levels, committer, page_tokens }))
}

struct InventoryGrpc {
    backbone: Arc<Backbone>,
    levels: SharedReads<Sku, Level>,
    committer: Committer<Inventory>,
    page_tokens: PageTokens,
}

impl InventoryGrpc {
    async fn adjust(&self, call: CallContext, message: AdjustStockRequest) -> Result<AdjustStockResponse, CallError> {
        let (request_id, command) = parse::adjust(&message)?;
        let fingerprint = RequestFingerprint::of("AdjustStock", &message);
        let stock = self.committer.call(&call, fingerprint, request_id, command).await?;
        Ok(AdjustStockResponse { stock: Some(stock) })
    }

    async fn reserve(
        &self,
        call: CallContext,
        message: ReserveStockRequest,
    ) -> Result<ReserveStockResponse, CallError> {
        let (request_id, command) = parse::reserve(&message)?;
        let fingerprint = RequestFingerprint::of("ReserveStock", &message);
        let reservation = self.committer.call(&call, fingerprint, request_id, command).await?;
        held(&reservation)?;
        Ok(ReserveStockResponse { reservation: Some(reservation) })
    }

    async fn release(
        &self,
        call: CallContext,
        message: ReleaseStockRequest,
    ) -> Result<ReleaseStockResponse, CallError> {
        let (request_id, command) = parse::release(&message)?;
        let fingerprint = RequestFingerprint::of("ReleaseStock", &message);
        let reservation = self.committer.call(&call, fingerprint, request_id, command).await?;
        Ok(ReleaseStockResponse { reservation: Some(reservation) })
    }

    async fn stock(&self, _: CallContext, message: GetStockRequest) -> Result<GetStockResponse, CallError> {
        let sku = parse::sku("sku", &message.sku)?;
        match self.levels.get(sku.clone()).await.map_err(query_failed)? {
            Some((level, time)) => Ok(GetStockResponse { stock: Some(present::stock(&level, time)) }),
            None => Err(rejection::unknown_sku(&sku).into()),
        }
    }

    async fn stocks(&self, _: CallContext, message: BatchGetStockRequest) -> Result<BatchGetStockResponse, CallError> {
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
        let list = self.page_tokens.open(RESERVATIONS, &call, &message)?;
        let (filter, size) = parse::list(&message, list.cursor())?;
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found =
            persistence::list_reservations(&mut *read, &filter, i64::from(size) + 1).await.map_err(query_failed)?;
        let cursor = |last: &Reservation| last.order_id.into_bytes();
        let (reservations, next_page_token) = list.page(size, &found, present::reservation, cursor);
        Ok(ListReservationsResponse { reservations, next_page_token })
    }

    async fn mismatches(
        &self,
        call: CallContext,
        message: ListReservationMismatchesRequest,
    ) -> Result<ListReservationMismatchesResponse, CallError> {
        let list = self.page_tokens.open(MISMATCHES, &call, &message)?;
        let size = parse::size(message.page_size)?;
        let after = list.cursor().and_then(|bytes| Uuid::from_slice(bytes).ok());
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found = persistence::list_mismatches(&mut *read, after, i64::from(size) + 1).await;
        let found = found.map_err(query_failed)?;
        let cursor = |last: &Mismatch| last.reservation.order_id.into_bytes();
        let (mismatches, next_page_token) = list.page(size, &found, present::mismatch, cursor);
        Ok(ListReservationMismatchesResponse { mismatches, next_page_token })
    }
}

calls! {
    impl InventoryService for InventoryGrpc {
        adjust_stock(AdjustStockRequest) -> AdjustStockResponse = adjust, staff;
        get_stock(GetStockRequest) -> GetStockResponse = stock, anyone;
        batch_get_stock(BatchGetStockRequest) -> BatchGetStockResponse = stocks, anyone;
        list_reservations(ListReservationsRequest) -> ListReservationsResponse = reservations, staff_reads;
        list_reservation_mismatches(ListReservationMismatchesRequest) -> ListReservationMismatchesResponse
            = mismatches, staff_reads;
        reserve_stock(ReserveStockRequest) -> ReserveStockResponse = reserve, staff;
        release_stock(ReleaseStockRequest) -> ReleaseStockResponse = release, staff;
    }
}

/// The answer to ReserveStock is a held reservation or the reason why there is none.
fn held(reservation: &proto::Reservation) -> Result<(), Rejection> {
    match reservation.state() {
        proto::ReservationState::Held | proto::ReservationState::Shipped => Ok(()),
        proto::ReservationState::Rejected => {
            Err(rejection::reservation_rejected(&reservation.order_id, &reservation.reason))
        }
        _ => Err(rejection::reservation_released(&reservation.order_id)),
    }
}
