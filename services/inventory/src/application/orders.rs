//! States of orders, read from the order service in batches.

use std::collections::HashMap;

use openorder_proto::order::v1::{BatchGetOrdersRequest, Order, OrderStatus, order_service_client::OrderServiceClient};
use openorder_rpc::{CallContext, UpstreamChannel, Violations, ask_in_parts, fault_of, timestamp};
use openorder_telemetry::TraceContext;
use openorder_types::{Fault, parse_uuid};
use uuid::Uuid;

use crate::domain::{OrderPhase, OrderState};

/// Orders read in one call.
const ASK_MAX: usize = 500;

#[derive(Clone)]
pub(crate) struct Orders(OrderServiceClient<UpstreamChannel>);

impl Orders {
    pub(crate) fn new(client: OrderServiceClient<UpstreamChannel>) -> Self {
        Self(client)
    }

    /// States of these orders; those that do not exist are left out.
    ///
    /// # Errors
    /// [`Fault::Outage`] while the order service is away: nothing is known then, and nothing may be given back.
    pub(crate) async fn states(&self, orders: &[Uuid]) -> Result<HashMap<Uuid, OrderState>, Fault> {
        let answers = ask_in_parts(orders, ASK_MAX, |part| {
            let request = BatchGetOrdersRequest { order_ids: part.iter().map(ToString::to_string).collect() };
            let request = CallContext::of_service("inventory", TraceContext::default()).retry_safe_request(request);
            let mut client = self.0.clone();
            // Only what is kept of an order is kept: the next part's answer needs the room.
            async move { Ok(client.batch_get_orders(request).await?.into_inner().orders.iter().map(known).collect()) }
        });
        let answers: Vec<Result<HashMap<Uuid, OrderState>, Fault>> = answers.await.map_err(fault_of_order)?;
        let mut states = HashMap::with_capacity(orders.len());
        for answer in answers {
            states.extend(answer?);
        }
        Ok(states)
    }
}

fn known(order: &Order) -> Result<(Uuid, OrderState), Fault> {
    let order_id = parse_uuid(&order.order_id, "ORDER_ID_MALFORMED").map_err(Fault::permanent)?;
    Ok((order_id, state(order)?))
}

fn fault_of_order(status: tonic::Status) -> Fault {
    fault_of("order", &status).unwrap_or_else(|| Fault::retryable("the order service gave no answer"))
}

/// A status that this version does not know is no reason to give anything back.
fn state(order: &Order) -> Result<OrderState, Fault> {
    let unknown = || Fault::permanent(format!("order {} has a status that is not known here", order.order_id));
    let phase = match order.status() {
        OrderStatus::Pending | OrderStatus::Confirmed => OrderPhase::Open,
        OrderStatus::Paid | OrderStatus::Preparing => OrderPhase::Paid,
        OrderStatus::Shipped | OrderStatus::Delivered => OrderPhase::Shipped,
        OrderStatus::Cancelled | OrderStatus::Rejected => OrderPhase::Settled,
        OrderStatus::Unspecified => return Err(unknown()),
    };
    let status = i16::try_from(order.status).map_err(|_| unknown())?;
    let update_time = timestamp("update_time", order.update_time, &mut Violations::new());
    let update_time = update_time.ok_or_else(|| Fault::permanent("an order without the time of its last change"))?;
    let payment_deadline = match order.payment_deadline {
        Some(_) => timestamp("payment_deadline", order.payment_deadline, &mut Violations::new()),
        None => None,
    };
    Ok(OrderState { phase, status, update_time, payment_deadline })
}
