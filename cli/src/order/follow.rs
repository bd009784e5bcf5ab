//! Watching an order until it has come to a status, through restarts of what it is watched through.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_proto::order::v1::{Order, OrderStatus, WatchOrderRequest, WatchOrderResponse};
use openorder_rpc::Resume;
use tonic::{Request, Response};

use crate::gateway_client::{GatewayClient, failed};

/// Pause before a stream that broke off is opened again.
const RESUME_PAUSE: Duration = Duration::from_millis(200);
/// The longest that one stream is kept open; a watch that takes longer opens another.
const STREAM_TIME_MAX: Duration = Duration::from_secs(3_600);

/// What is waited for, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// The status that ends the watch, as any later and any final one does; UNSPECIFIED for a final one alone.
    pub(crate) until: OrderStatus,
    /// When the watch ends in any case.
    pub(crate) deadline: Instant,
}

impl Watch {
    /// Whether there is nothing more to wait for.
    pub(crate) fn is_over(&self, status: OrderStatus) -> bool {
        is_final(status) || (self.until != OrderStatus::Unspecified && status as i32 >= self.until as i32)
    }

    /// Follows an order from how it stands; `each` is called with it as it stands first, and for each other status. How
    /// the order stood last, be it that the deadline came.
    ///
    /// # Errors
    /// The order cannot be watched: it does not exist, or the gateway is not one.
    pub(crate) async fn follow(
        &self,
        client: &OrderServiceClient<GatewayClient>,
        mut order: Order,
        mut each: impl FnMut(&Order),
    ) -> anyhow::Result<Order> {
        each(&order);
        let resume = Resume { pause: RESUME_PAUSE, times_max: u32::MAX, deadline: Some(self.deadline) };
        while !self.is_over(order.status()) && Instant::now() < self.deadline {
            let request = WatchOrderRequest { order_id: order.order_id.clone(), until: self.until.into() };
            let open = || {
                let (mut client, mut request) = (client.clone(), Request::new(request.clone()));
                request.set_timeout(self.deadline.saturating_duration_since(Instant::now()).min(STREAM_TIME_MAX));
                async move { client.watch_order(request).await.map(Response::into_inner) }
            };
            let changed = |change: WatchOrderResponse| {
                let Some(now) = change.order else { return ControlFlow::Continue(()) };
                let is_new = now.status != order.status;
                order = now;
                if is_new {
                    each(&order);
                }
                if self.is_over(order.status()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            // A service that restarts: the order goes on, and so does the watch.
            let ended = resume.follow(open, changed, |_| {}).await;
            match ended {
                Ok(()) => {}
                Err(_) if Instant::now() >= self.deadline => break,
                Err(status) => return Err(failed("the order could not be watched", &status)),
            }
            if !self.is_over(order.status()) {
                tokio::time::sleep(RESUME_PAUSE).await;
            }
        }
        Ok(order)
    }
}

/// Whether nothing follows by anybody's doing.
pub(crate) fn is_final(status: OrderStatus) -> bool {
    matches!(status, OrderStatus::Delivered | OrderStatus::Cancelled | OrderStatus::Rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_over_at_its_status_past_it_and_at_any_end() {
        let watch = |until| Watch { until, deadline: Instant::now() };
        let paid = watch(OrderStatus::Paid);
        for over in [OrderStatus::Paid, OrderStatus::Preparing, OrderStatus::Cancelled, OrderStatus::Rejected] {
            assert!(paid.is_over(over), "{over:?}");
        }
        assert!(!paid.is_over(OrderStatus::Pending) && !paid.is_over(OrderStatus::Confirmed));
        let end = watch(OrderStatus::Unspecified);
        assert!(!end.is_over(OrderStatus::Preparing) && end.is_over(OrderStatus::Delivered));
    }
}
