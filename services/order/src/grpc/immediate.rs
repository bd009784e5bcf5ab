//! Immediate reservation: the stock is held before CreateOrder answers, and so is the coupon, both at the same time.
//!
//! The order is durable first, as PENDING, and asks for both by its events in any case; the calls here only bring the
//! answers forward. So a crash in between loses nothing: the saga goes on by itself, and the same
//! request id, tried again, comes back here.

use std::time::Duration;

use openorder_proto::{
    inventory::v1::{ReserveStockRequest, StockLine},
    order::v1::{Order, OrderLine, OrderModificationState, OrderStatus},
    promotion::v1::{CouponLine, CouponRejectionReason, HoldCouponRequest, HoldCouponResponse},
    reasons::Word,
};
use openorder_rpc::{CallContext, money_from_proto, query_failed, reason_of};
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
    /// The order with its stock held, and its coupon.
    ///
    /// # Errors
    /// `OUT_OF_STOCK`, `UNKNOWN_SKU` or why the coupon cannot be used, then the order is REJECTED; `Unavailable` when a
    /// service did not answer: the order is durable and goes on, and the same request id finds out how.
    pub(super) async fn reserve_now(&self, call: &CallContext, made: MadeOrder) -> Result<Order, CallError> {
        let order_id = match made {
            MadeOrder::Now(order) => {
                parse_uuid(&order.order_id, "ORDER_ID_MALFORMED").map_err(|_| CallError::Internal)?
            }
            MadeOrder::Before(order_id) => order_id,
        };
        // What was kept of a repeated call may be older than the order.
        let order = self.current(order_id).await?;
        // Where other lines were asked for meanwhile, the saga has them held one after the other.
        let is_modified =
            order.modification.as_ref().is_some_and(|one| one.state() == OrderModificationState::Requested);
        if order.status() == OrderStatus::Pending && !is_modified {
            if order.issued_coupon_id.is_empty() {
                let signal = self.ask_inventory(call, &order).await?;
                self.submit_signal(order_id, signal, call).await?;
            } else {
                let (stock, coupon) = tokio::join!(self.ask_inventory(call, &order), self.ask_promotion(call, &order));
                // What one of them has answered is taken over even if the other one is away.
                for signal in [&stock, &coupon].into_iter().flatten() {
                    self.submit_signal(order_id, signal.clone(), call).await?;
                }
                stock.and(coupon)?;
            }
        }
        let order = self.current(order_id).await?;
        match (order.status(), order.status_reason.as_str()) {
            (OrderStatus::Rejected, "UNKNOWN_SKU") => Err(rejection::unknown_sku(order_id).into()),
            (OrderStatus::Rejected, reason) => match coupon_reason(reason) {
                Some(reason) => Err(rejection::coupon_rejected(order_id, reason.word()).into()),
                None => Err(rejection::out_of_stock(order_id).into()),
            },
            _ => Ok(order),
        }
    }

    async fn ask_inventory(&self, call: &CallContext, order: &Order) -> Result<Signal, CallError> {
        let lines = order.lines.iter().map(stock_line).collect();
        let request =
            ReserveStockRequest { request_id: order.order_id.clone(), order_id: order.order_id.clone(), lines };
        let call = self.bounded(call);
        match self.inventory.clone().reserve_stock(call.retry_safe_request(request)).await {
            Ok(_) => Ok(Signal::StockReserved),
            Err(status) => match reason_of(&status).as_deref() {
                Some(reason @ ("OUT_OF_STOCK" | "UNKNOWN_SKU")) => {
                    if reason == "OUT_OF_STOCK" {
                        // Of which of them is not said: whoever wants one of them next looks.
                        order.lines.iter().for_each(|line| self.hints.note_sold_out(&line.sku));
                    }
                    Ok(Signal::StockRejected { reason: reason.to_owned(), detail: String::new() })
                }
                Some("RESERVATION_RELEASED") => Ok(Signal::StockReleased { expired: false }),
                reason => Err(no_answer("inventory", reason, &status)),
            },
        }
    }

    async fn ask_promotion(&self, call: &CallContext, order: &Order) -> Result<Signal, CallError> {
        let lines = order.lines.iter().map(coupon_line).collect();
        let request = HoldCouponRequest {
            request_id: order.order_id.clone(),
            order_id: order.order_id.clone(),
            user_id: order.customer_id.clone(),
            issued_coupon_id: order.issued_coupon_id.clone(),
            lines,
        };
        let call = self.bounded(call);
        match self.promotion.clone().hold_coupon(call.retry_safe_request(request)).await {
            Ok(answer) => held(answer.into_inner()),
            Err(status) => match reason_of(&status).as_deref() {
                Some("COUPON_RELEASED") => Ok(Signal::CouponRestored),
                reason => match reason.and_then(coupon_reason) {
                    Some(reason) => {
                        Ok(Signal::CouponRejected { reason: reason.word().to_owned(), detail: String::new() })
                    }
                    None => Err(no_answer("promotion", reason, &status)),
                },
            },
        }
    }

    fn bounded(&self, call: &CallContext) -> CallContext {
        let bound = Duration::from_millis(self.settings.immediate_reservation_timeout_ms);
        let mut call = call.clone().within(bound);
        call.caller = Caller::service("order");
        call
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

fn coupon_line(line: &OrderLine) -> CouponLine {
    CouponLine { sku: line.sku.clone(), line_total: line.line_total.clone() }
}

fn held(answer: HoldCouponResponse) -> Result<Signal, CallError> {
    let held = answer.coupon_use.unwrap_or_default();
    let discounts = held.line_discounts.iter().map(|discount| {
        money_from_proto(discount).map_err(|error| {
            tracing::warn!(%error, "a discount that is no amount");
            CallError::Internal
        })
    });
    Ok(Signal::CouponHeld { line_discounts: discounts.collect::<Result<_, _>>()? })
}

/// The reason behind this word, if it is one of those that a coupon cannot be used for.
fn coupon_reason(word: &str) -> Option<CouponRejectionReason> {
    let name = format!("{}{word}", CouponRejectionReason::PREFIX);
    CouponRejectionReason::from_str_name(&name).filter(|reason| *reason != CouponRejectionReason::Unspecified)
}

fn no_answer(dependency: &'static str, reason: Option<&str>, status: &tonic::Status) -> CallError {
    tracing::warn!(dependency, reason, message = status.message(), "no answer that says yes or no");
    CallError::Unavailable { dependency, retry_after: CallError::OUTAGE_RETRY_AFTER }
}
