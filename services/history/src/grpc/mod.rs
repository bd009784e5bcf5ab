//! `openorder.history.v1.HistoryService`: parse, call, answer.

mod parse;
mod rebuilds;
mod waiting;

use std::sync::Arc;

use openorder_messaging::{Backbone, Committer};
use openorder_proto::history::v1::{
    CancelRebuildRequest, CancelRebuildResponse, GetOrderViewRequest, GetOrderViewResponse, GetRebuildRequest,
    GetRebuildResponse, ListOrderViewsRequest, ListOrderViewsResponse, OrderView, SearchOrdersRequest,
    SearchOrdersResponse, StartRebuildRequest, StartRebuildResponse,
    history_service_server::{HistoryService, HistoryServiceServer},
};
use openorder_rpc::{CallContext, List, PageTokens, calls, query_failed, timestamp_to_proto};
use openorder_types::CallError;
use tokio::sync::Semaphore;
use tonic::service::Routes;

use crate::{
    HistorySettings,
    application::{AsOf, History, Views},
    domain::View,
    persistence::{Filter, Place},
    present,
};

/// Names of the lists in page tokens.
const VIEWS: &str = "history.views";
const SEARCH: &str = "history.search";

pub(crate) fn service(grpc: HistoryGrpc) -> Routes {
    Routes::new(HistoryServiceServer::new(grpc))
}

/// What the handlers work with.
pub(crate) struct HistoryGrpc {
    pub(crate) backbone: Arc<Backbone>,
    pub(crate) views: Views,
    pub(crate) as_of: AsOf,
    pub(crate) committer: Committer<History>,
    pub(crate) page_tokens: PageTokens,
    pub(crate) waiters: Semaphore,
    pub(crate) settings: HistorySettings,
}

/// What a page of either list has.
struct Page {
    order_views: Vec<OrderView>,
    next_page_token: String,
    as_of: Option<prost_types::Timestamp>,
}

impl HistoryGrpc {
    async fn order_view(
        &self,
        call: CallContext,
        message: GetOrderViewRequest,
    ) -> Result<GetOrderViewResponse, CallError> {
        let (order_id, min_version) = parse::get(&message)?;
        let (view, as_of) = self.view(&call, order_id, min_version).await?;
        let order_view = present::order_view(order_id, &view, call.caller.is_staff());
        Ok(GetOrderViewResponse { order_view: Some(order_view), as_of: as_of.as_ref().map(timestamp_to_proto) })
    }

    async fn list(
        &self,
        call: CallContext,
        message: ListOrderViewsRequest,
    ) -> Result<ListOrderViewsResponse, CallError> {
        let list = self.page_tokens.open(VIEWS, &call, &message)?;
        let (filter, size) = parse::list(&message, &call.caller, list.cursor())?;
        let Page { order_views, next_page_token, as_of } = self.page(&call, &list, &filter, size).await?;
        Ok(ListOrderViewsResponse { order_views, next_page_token, as_of })
    }

    async fn search(&self, call: CallContext, message: SearchOrdersRequest) -> Result<SearchOrdersResponse, CallError> {
        let list = self.page_tokens.open(SEARCH, &call, &message)?;
        let (filter, size) = parse::search(&message, &call.caller, list.cursor())?;
        let Page { order_views, next_page_token, as_of } = self.page(&call, &list, &filter, size).await?;
        Ok(SearchOrdersResponse { order_views, next_page_token, as_of })
    }

    async fn page(&self, call: &CallContext, list: &List<'_>, filter: &Filter, size: u32) -> Result<Page, CallError> {
        // Before the look: what is looked at then has everything up to it.
        let as_of = self.as_of.get();
        let found =
            self.views.list(filter, i64::from(size), self.settings.list_scan_max).await.map_err(query_failed)?;
        let for_staff = call.caller.is_staff();
        let show = |(place, view): &(Place, View)| present::order_view(place.order_id, view, for_staff);
        let (order_views, mut next_page_token) =
            list.page(size, &found.views, show, |(place, _)| parse::cursor_of(*place));
        if let Some(place) = found.looked_down_to.filter(|_| next_page_token.is_empty()) {
            next_page_token = list.token(&parse::cursor_of(place));
        }
        Ok(Page { order_views, next_page_token, as_of: as_of.as_ref().map(timestamp_to_proto) })
    }
}

calls! {
    impl HistoryService for HistoryGrpc {
        get_order_view(GetOrderViewRequest) -> GetOrderViewResponse = order_view, anyone;
        list_order_views(ListOrderViewsRequest) -> ListOrderViewsResponse = list, anyone;
        search_orders(SearchOrdersRequest) -> SearchOrdersResponse = search, anyone;
        start_rebuild(StartRebuildRequest) -> StartRebuildResponse = start_rebuild, operator;
        get_rebuild(GetRebuildRequest) -> GetRebuildResponse = rebuild, operator_reads;
        cancel_rebuild(CancelRebuildRequest) -> CancelRebuildResponse = cancel_rebuild, operator;
    }
}
