//! GetOrderView: a document, waited for where its caller knows of a version that has to be in it.

use std::time::{Duration, Instant};

use openorder_rpc::{CallContext, query_failed};
use openorder_types::{CallError, Timestamp};
use uuid::Uuid;

use crate::{
    domain::{View, rejection},
    grpc::HistoryGrpc,
};

/// How long before its caller stops waiting a wait ends: what it came to is to be heard.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

impl HistoryGrpc {
    /// The document that the caller may see, with at least this version of the order, and up to when everything is in it.
    pub(super) async fn view(
        &self,
        call: &CallContext,
        order_id: Uuid,
        min_version: i64,
    ) -> Result<(View, Option<Timestamp>), CallError> {
        let (found, as_of) = self.look(call, order_id).await?;
        match found {
            Some(view) if view.order_version() >= min_version => Ok((view, as_of)),
            None if min_version == 0 => Err(rejection::order_not_found(order_id).into()),
            _ => self.wait(call, order_id, min_version).await,
        }
    }

    /// What the caller may not see is waited for as what is not there.
    async fn look(&self, call: &CallContext, order_id: Uuid) -> Result<(Option<View>, Option<Timestamp>), CallError> {
        // Before the look: what is looked at then has everything up to it.
        let as_of = self.as_of.get();
        let found = self.views.get(order_id).await.map_err(query_failed)?;
        let visible = found
            .filter(|view| view.order.created.value().is_some_and(|created| call.caller.may_see(&created.customer_id)));
        Ok((visible, as_of))
    }

    async fn wait(
        &self,
        call: &CallContext,
        order_id: Uuid,
        min_version: i64,
    ) -> Result<(View, Option<Timestamp>), CallError> {
        let retry_after = self.settings.retry_after();
        let Ok(_place) = self.waiters.try_acquire() else { return Err(CallError::Overloaded { retry_after }) };
        let until = Instant::now() + Duration::from_millis(self.settings.wait_max_ms);
        let heard_until = call.deadline.and_then(|deadline| deadline.checked_sub(ANSWER_MARGIN));
        let until = heard_until.map_or(until, |heard_until| heard_until.min(until));
        let interval = Duration::from_millis(self.settings.wait_poll_interval_ms);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            tokio::select! {
                () = tokio::time::sleep(interval.min(left)) => {}
                () = self.backbone.shutdown().requested() => {
                    return Err(CallError::Unavailable { dependency: "history", retry_after });
                }
            }
            // All who wait share their looks.
            let (found, as_of) = self.look(call, order_id).await?;
            let version = found.as_ref().map_or(0, View::order_version);
            if let Some(view) = found.filter(|_| version >= min_version) {
                return Ok((view, as_of));
            }
            if Instant::now() >= until {
                return Err(rejection::view_behind(order_id, version, min_version, retry_after).into());
            }
        }
    }
}
