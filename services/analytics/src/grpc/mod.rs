//! `openorder.analytics.v1.AnalyticsService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use chrono::Utc;
use openorder_messaging::{Backbone, Committer};
use openorder_proto::analytics::v1::{
    CancelRebuildRequest, CancelRebuildResponse, GetRebuildRequest, GetRebuildResponse, OrderStatsRequest,
    OrderStatsResponse, RankingSource, SalesSummaryRequest, SalesSummaryResponse, StartRebuildRequest,
    StartRebuildResponse, TopProduct, TopProductsRequest, TopProductsResponse,
    analytics_service_server::{AnalyticsService, AnalyticsServiceServer},
};
use openorder_rpc::{CallContext, RequestFingerprint, calls, query_failed, timestamp_to_proto};
use openorder_service::Commands;
use openorder_types::CallError;
use tonic::service::Routes;
use uuid::Uuid;

use crate::{
    application::{Analytics, Found, TopProducts},
    config::AnalyticsSettings,
    domain::{ProductSales, rebuild_not_found, summary_too_large},
    persistence, present,
};

/// The service's routes.
pub(crate) fn service(grpc: AnalyticsGrpc) -> Routes {
    Routes::new(AnalyticsServiceServer::new(grpc))
}

/// What the handlers work with.
pub(crate) struct AnalyticsGrpc {
    pub(crate) backbone: Arc<Backbone>,
    pub(crate) committer: Committer<Analytics>,
    pub(crate) top_products: TopProducts,
    pub(crate) settings: AnalyticsSettings,
}

impl AnalyticsGrpc {
    async fn top(&self, _: CallContext, message: TopProductsRequest) -> Result<TopProductsResponse, CallError> {
        let parse::Top { window, currency, limit } = parse::top_products(&message)?;
        let found = self.top_products.find(window, currency, limit).await.map_err(query_failed)?;
        let (products, as_of, source) = match found {
            Found::Ready(ranked) => (ranked.products, ranked.as_of, RankingSource::Redis),
            Found::Made { products, as_of } => {
                let shown = |product: &ProductSales| -> TopProduct {
                    let all = present::product(product);
                    match currency {
                        Some(currency) => present::in_currency(all, currency, product.quantity(Some(currency))),
                        None => all,
                    }
                };
                (products.iter().map(shown).collect(), as_of, RankingSource::Postgresql)
            }
        };
        Ok(TopProductsResponse { products, as_of_time: Some(timestamp_to_proto(&as_of)), source: source.into() })
    }

    async fn summary(&self, _: CallContext, message: SalesSummaryRequest) -> Result<SalesSummaryResponse, CallError> {
        let filter = parse::summary(&message, Utc::now(), self.settings.summary_periods_max)?;
        let rows_max = self.settings.summary_rows_max;
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        // One more shows that there are too many.
        let summed = persistence::summary(&mut read, &filter, rows_max.saturating_add(1)).await;
        let (rows, as_of) = summed.map_err(query_failed)?;
        if i64::try_from(rows.len()).unwrap_or(i64::MAX) > rows_max {
            return Err(summary_too_large(rows_max).into());
        }
        let rows = rows.iter().map(|(period, currency, sums)| present::sales_row(period, *currency, sums)).collect();
        Ok(SalesSummaryResponse { rows, as_of_time: Some(timestamp_to_proto(&as_of)) })
    }

    async fn stats(&self, _: CallContext, message: OrderStatsRequest) -> Result<OrderStatsResponse, CallError> {
        let (from, until) = parse::order_stats(&message, Utc::now())?;
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let (counts, as_of) = persistence::count_orders(&mut read, from, until).await.map_err(query_failed)?;
        let orders = counts.iter().map(|(.., orders)| orders).sum();
        let open = counts.iter().filter(|(status, ..)| !status.is_final());
        let open_orders = open.map(|(.., orders)| orders).sum();
        let shown = counts.into_iter().map(|(status, reason, orders)| present::order_count(status, reason, orders));
        let (counts, as_of_time) = (shown.collect(), Some(timestamp_to_proto(&as_of)));
        Ok(OrderStatsResponse { orders, open_orders, counts, as_of_time })
    }

    async fn start(&self, call: CallContext, message: StartRebuildRequest) -> Result<StartRebuildResponse, CallError> {
        let (request_id, command) = parse::start_rebuild(&message, Uuid::now_v7(), &call.caller.subject)?;
        let fingerprint = RequestFingerprint::of("StartRebuild", &message);
        let rebuild = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(StartRebuildResponse { rebuild: Some(rebuild) })
    }

    async fn rebuild(&self, _: CallContext, message: GetRebuildRequest) -> Result<GetRebuildResponse, CallError> {
        let pool = self.backbone.pool();
        let found = match parse::get_rebuild(&message)? {
            Some(rebuild_id) => persistence::find_rebuild(pool, rebuild_id).await,
            None => persistence::last_rebuild(pool).await,
        };
        let rebuild = found.map_err(query_failed)?.ok_or_else(rebuild_not_found)?;
        Ok(GetRebuildResponse { rebuild: Some(present::rebuild(&rebuild)) })
    }

    async fn cancel(
        &self,
        call: CallContext,
        message: CancelRebuildRequest,
    ) -> Result<CancelRebuildResponse, CallError> {
        let (request_id, command) = parse::cancel_rebuild(&message)?;
        let fingerprint = RequestFingerprint::of("CancelRebuild", &message);
        let rebuild = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(CancelRebuildResponse { rebuild: Some(rebuild) })
    }
}

calls! {
    impl AnalyticsService for AnalyticsGrpc {
        top_products(TopProductsRequest) -> TopProductsResponse = top, staff_reads;
        sales_summary(SalesSummaryRequest) -> SalesSummaryResponse = summary, staff_reads;
        order_stats(OrderStatsRequest) -> OrderStatsResponse = stats, staff_reads;
        start_rebuild(StartRebuildRequest) -> StartRebuildResponse = start, operator;
        get_rebuild(GetRebuildRequest) -> GetRebuildResponse = rebuild, staff_reads;
        cancel_rebuild(CancelRebuildRequest) -> CancelRebuildResponse = cancel, operator;
    }
}
