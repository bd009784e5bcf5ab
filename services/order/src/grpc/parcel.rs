//! Changes of an order that has a parcel: the shipping service decides whether that leaves, and is asked first.
//!
//! Whatever it answers it also publishes. So a crash between its answer and the order's change loses nothing: the order
//! follows the event, and whichever is second has no effect.

use std::time::Duration;

use openorder_proto::{
    order::v1::Order,
    shipping::v1::{CancelShipmentRequest, ShipmentState, UpdateShipmentRequest},
};
use openorder_rpc::{CallContext, RequestFingerprint, query_failed, reason_of};
use openorder_service::Commands;
use openorder_types::{CallError, Caller};
use tonic::Status;
use uuid::Uuid;

use crate::{
    application::Command,
    domain::{CancellationCause, OrderCommand, OrderStatus, rejection},
    grpc::OrderGrpc,
    present,
};

impl OrderGrpc {
    /// Has a command decided, which may depend on a parcel.
    pub(super) async fn change(
        &self,
        call: &CallContext,
        fingerprint: RequestFingerprint,
        request_id: String,
        command: Command,
    ) -> Result<Order, CallError> {
        match self.committer.call(call, fingerprint, request_id.clone(), command.clone()).await {
            Err(CallError::Rejected(no)) if no.reason == rejection::SHIPMENT_IN_DOUBT => {
                let agreed = self.agree(call, command).await?;
                self.committer.call(call, fingerprint, request_id, agreed).await
            }
            answer => answer,
        }
    }

    /// The command, once the shipping service has agreed to it.
    async fn agree(&self, call: &CallContext, command: Command) -> Result<Command, CallError> {
        let Command::Order { order_id, command } = command else { return Err(CallError::Internal) };
        let agreed = match command {
            OrderCommand::Cancel { cause, detail, owner, .. } => {
                self.hold_parcel_back(call, order_id, cause, &detail).await?;
                OrderCommand::Cancel { cause, detail, owner, is_held_back: true }
            }
            OrderCommand::UpdateStatus { previous, current, .. } => {
                self.send_parcel(call, order_id, previous).await?;
                OrderCommand::UpdateStatus { previous, current, is_agreed: true }
            }
            _ => return Err(CallError::Internal),
        };
        Ok(Command::Order { order_id, command: agreed })
    }

    async fn hold_parcel_back(
        &self,
        call: &CallContext,
        order_id: Uuid,
        cause: CancellationCause,
        detail: &str,
    ) -> Result<(), CallError> {
        let order = self.orders.get(order_id).await.map_err(query_failed)?.ok_or(CallError::Internal)?.order;
        let request = CancelShipmentRequest {
            request_id: format!("{order_id}.{}", cause.number()),
            order_id: order_id.to_string(),
            customer_id: order.customer_id.to_string(),
            cause: present::cancellation_cause(cause).into(),
            detail: detail.to_owned(),
        };
        let call = self.to_shipping(call);
        match self.shipping.clone().cancel_shipment(call.retry_safe_request(request)).await {
            Ok(_) => Ok(()),
            Err(status) => Err(match reason_of(&status).as_deref() {
                Some("SHIPMENT_ALREADY_SHIPPED") => rejection::not_cancellable(order_id, OrderStatus::Shipped).into(),
                reason => no_answer(reason, &status),
            }),
        }
    }

    async fn send_parcel(&self, call: &CallContext, order_id: Uuid, previous: OrderStatus) -> Result<(), CallError> {
        let request = UpdateShipmentRequest {
            request_id: format!("{order_id}.shipped"),
            order_id: order_id.to_string(),
            state: ShipmentState::Shipped.into(),
            ..UpdateShipmentRequest::default()
        };
        let call = self.to_shipping(call);
        match self.shipping.clone().update_shipment(call.retry_safe_request(request)).await {
            Ok(_) => Ok(()),
            Err(status) => Err(match reason_of(&status).as_deref() {
                Some("SHIPMENT_CANCELLED") => {
                    rejection::status_mismatch(order_id, previous, OrderStatus::Cancelled).into()
                }
                reason => no_answer(reason, &status),
            }),
        }
    }

    fn to_shipping(&self, call: &CallContext) -> CallContext {
        let mut call = call.clone().within(Duration::from_millis(self.settings.shipment_agreement_timeout_ms));
        call.caller = Caller::service("order");
        call
    }
}

fn no_answer(reason: Option<&str>, status: &Status) -> CallError {
    tracing::warn!(reason, message = status.message(), "the shipping service gave no answer about a parcel");
    CallError::Unavailable { dependency: "shipping", retry_after: CallError::OUTAGE_RETRY_AFTER }
}
