//! How orders stand: asked of the order service, in batches.

use std::collections::HashMap;

use openorder_proto::order::v1::{BatchGetOrdersRequest, Order, OrderStatus, order_service_client::OrderServiceClient};
use openorder_rpc::{CallContext, UpstreamChannel, Violations, fault_of, timestamp};
use openorder_telemetry::TraceContext;
use openorder_types::{Fault, parse_uuid};
use uuid::Uuid;

use crate::domain::{OrderState, Standing};

/// Orders asked for in one call.
const ASK_MAX: usize = 500;

/// Knows where to ask about orders.
#[derive(Clone)]
pub(crate) struct Orders(OrderServiceClient<UpstreamChannel>);

impl Orders {
    pub(crate) fn new(client: OrderServiceClient<UpstreamChannel>) -> Self {
        Self(client)
    }

    /// How these orders stand; those that do not exist are left out.
    ///
    /// # Errors
    /// [`Fault::Outage`] while the order service is away: nothing is known then, and nothing may be given back.
    pub(crate) async fn states(&self, orders: &[Uuid]) -> Result<HashMap<Uuid, OrderState>, Fault> {
        let mut states = HashMap::with_capacity(orders.len());
        for part in orders.chunks(ASK_MAX) {
            let request = BatchGetOrdersRequest { order_ids: part.iter().map(ToString::to_string).collect() };
            let call = CallContext::of_service("inventory", TraceContext::default());
            let answer = self.0.clone().batch_get_orders(call.retry_safe_request(request)).await.map_err(asked)?;
            for order in answer.into_inner().orders {
                let order_id = parse_uuid(&order.order_id, "ORDER_ID_MALFORMED").map_err(Fault::permanent)?;
                states.insert(order_id, state(&order)?);
            }
        }
        Ok(states)
    }
}

fn asked(status: tonic::Status) -> Fault {
    fault_of("order", &status).unwrap_or_else(|| Fault::retryable("the order service gave no answer"))
}

/// A status that this version does not know is no reason to give anything back.
fn state(order: &Order) -> Result<OrderState, Fault> {
    let unknown = || Fault::permanent(format!("order {} has a status that is not known here", order.order_id));
    let standing = match order.status() {
        OrderStatus::Pending | OrderStatus::Confirmed => Standing::Open,
        OrderStatus::Paid | OrderStatus::Preparing => Standing::Paid,
        OrderStatus::Shipped | OrderStatus::Delivered => Standing::Shipped,
        OrderStatus::Cancelled | OrderStatus::Rejected => Standing::Settled,
        OrderStatus::Unspecified => return Err(unknown()),
    };
    let status = i16::try_from(order.status).map_err(|_| unknown())?;
    let update_time = timestamp("update_time", order.update_time, &mut Violations::new());
    let update_time = update_time.ok_or_else(|| Fault::permanent("an order without the time of its last change"))?;
    Ok(OrderState { standing, status, update_time })
}
