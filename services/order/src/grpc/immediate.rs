//! Immediate reservation: the stock is held before CreateOrder answers.
//!
//! The order is durable first, as PENDING, and asks for its stock by its event in any case; the call here only
//! brings the answer forward. So a crash in between loses nothing: the saga goes on by itself, and the same
//! request id, tried again, comes back here.

use std::time::Duration;

use openorder_proto::{
    inventory::v1::{ReserveStockRequest, StockLine},
    order::v1::{Order, OrderLine, OrderStatus},
};
use openorder_rpc::{CallContext, query_failed, reason_of};
use openorder_types::{CallError, Caller, parse_uuid};
use uuid::Uuid;

use crate::{
    application::{Command, MadeOrder},
    domain::rejection,
    grpc::OrderGrpc,
    present,
    saga::Signal,
};

impl OrderGrpc {
    /// The order with its stock held.
    ///
    /// # Errors
    /// `OUT_OF_STOCK` or `UNKNOWN_SKU`, then the order is REJECTED; `Unavailable` when the inventory service did not
    /// answer: the order is durable and goes on, and the same request id finds out how.
    pub(super) async fn reserve_now(&self, call: &CallContext, made: MadeOrder) -> Result<Order, CallError> {
        let order_id = match made {
            MadeOrder::Now(order) => {
                parse_uuid(&order.order_id, "ORDER_ID_MALFORMED").map_err(|_| CallError::Internal)?
            }
            MadeOrder::Before(order_id) => order_id,
        };
        // What was kept of a repeated call may be older than the order.
        let order = self.current(order_id).await?;
        if order.status() == OrderStatus::Pending {
            let signal = self.ask_inventory(call, &order).await?;
            self.submit_signal(order_id, signal, call).await?;
        }
        let order = self.current(order_id).await?;
        match (order.status(), order.status_reason.as_str()) {
            (OrderStatus::Rejected, "UNKNOWN_SKU") => Err(rejection::unknown_sku(order_id).into()),
            (OrderStatus::Rejected, _) => Err(rejection::out_of_stock(order_id).into()),
            _ => Ok(order),
        }
    }

    async fn ask_inventory(&self, call: &CallContext, order: &Order) -> Result<Signal, CallError> {
        let lines = order.lines.iter().map(stock_line).collect();
        let request =
            ReserveStockRequest { request_id: order.order_id.clone(), order_id: order.order_id.clone(), lines };
        let bound = Duration::from_millis(self.settings.immediate_reservation_timeout_ms);
        let mut call = call.clone().within(bound);
        call.caller = Caller::service("order");
        match self.inventory.clone().reserve_stock(call.retry_safe_request(request)).await {
            Ok(_) => Ok(Signal::StockReserved),
            Err(status) => match reason_of(&status).as_deref() {
                Some(reason @ ("OUT_OF_STOCK" | "UNKNOWN_SKU")) => {
                    Ok(Signal::StockRejected { reason: reason.to_owned(), detail: String::new() })
                }
                Some("RESERVATION_RELEASED") => Ok(Signal::StockReleased { expired: false }),
                reason => {
                    tracing::warn!(reason, message = status.message(), "no answer about stock");
                    let retry_after = CallError::OUTAGE_RETRY_AFTER;
                    Err(CallError::Unavailable { dependency: "inventory", retry_after })
                }
            },
        }
    }

    /// The same signal comes by Kafka too: whichever is second has no effect.
    async fn submit_signal(&self, order_id: Uuid, signal: Signal, call: &CallContext) -> Result<(), CallError> {
        let command = Command::signal(order_id, signal);
        match self.committer.submit(None, command, call.trace.clone(), call.deadline).await {
            Ok(_) | Err(CallError::Rejected(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The order as it stands now.
    pub(super) async fn current(&self, order_id: Uuid) -> Result<Order, CallError> {
        let found = self.orders.get(order_id).await.map_err(query_failed)?;
        found.as_ref().map(present::order).ok_or(CallError::Internal)
    }
}

fn stock_line(line: &OrderLine) -> StockLine {
    StockLine { sku: line.sku.clone(), quantity: line.quantity, product_number: line.product_number }
}
