//! What the order service says of an order that a caller wants to pay.

use std::time::Duration;

use openorder_proto::{
    order::v1::{
        GetOrderRequest, Order, OrderModificationState, OrderStatus, PaymentMode,
        order_service_client::OrderServiceClient,
    },
    reasons::Word,
};
use openorder_rpc::{CallContext, UpstreamChannel, money_from_proto, reason_of};
use openorder_types::{CallError, UserId, ValueError};
use tonic::Status;
use uuid::Uuid;

use crate::domain::{self, Amount};

/// An order that waits for its payment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DueOrder {
    /// Its customer, who pays.
    pub(crate) user_id: UserId,
    /// Its total.
    pub(crate) amount: Amount,
    /// At this version of it.
    pub(crate) version: i64,
}

/// The orders as the order service has them.
#[derive(Clone)]
pub(crate) struct Orders {
    client: OrderServiceClient<UpstreamChannel>,
    timeout: Duration,
}

impl Orders {
    /// An order is asked for within `timeout`.
    pub(crate) fn new(client: OrderServiceClient<UpstreamChannel>, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// The order, if it is one that the caller may see and that waits for its payment. It may be called off right after:
    /// then what is decided first in the payment's row holds.
    ///
    /// # Errors
    /// `ORDER_NOT_FOUND`, `ORDER_NOT_PAYABLE`, `ORDER_ALREADY_PAID`, `PAYMENT_NOT_MANUAL`, `MODIFICATION_UNDER_WAY`;
    /// `Unavailable` while the order service is away.
    pub(crate) async fn due(&self, call: &CallContext, order_id: Uuid) -> Result<DueOrder, CallError> {
        // In the caller's own name: the order service says who may see it.
        let request =
            call.clone().within(self.timeout).retry_safe_request(GetOrderRequest { order_id: order_id.to_string() });
        let order = match self.client.clone().get_order(request).await {
            Ok(answer) => answer.into_inner().order.ok_or(CallError::Internal)?,
            Err(status) if reason_of(&status).as_deref() == Some("ORDER_NOT_FOUND") => {
                return Err(domain::order_not_found(order_id).into());
            }
            Err(status) => return Err(no_answer(&status)),
        };
        due(&order, order_id)
    }
}

fn due(order: &Order, order_id: Uuid) -> Result<DueOrder, CallError> {
    let status = order.status();
    let is_changing = order.modification.as_ref().is_some_and(|one| one.state() == OrderModificationState::Requested);
    match (status, order.payment_mode()) {
        (OrderStatus::Paid | OrderStatus::Preparing | OrderStatus::Shipped | OrderStatus::Delivered, _) => {
            Err(domain::order_already_paid(order_id).into())
        }
        (OrderStatus::Confirmed, PaymentMode::Manual) if is_changing => {
            Err(domain::modification_under_way(order_id).into())
        }
        (OrderStatus::Confirmed, PaymentMode::Manual) => known(order).map_err(|error| {
            tracing::error!(%order_id, %error, "an order that is not as orders are");
            CallError::Internal
        }),
        (OrderStatus::Pending | OrderStatus::Confirmed, PaymentMode::Automatic | PaymentMode::Unspecified) => {
            Err(domain::payment_not_manual(order_id).into())
        }
        _ => Err(domain::order_not_payable(order_id, status.word()).into()),
    }
}

fn known(order: &Order) -> Result<DueOrder, ValueError> {
    let total = order.total.as_ref().ok_or_else(|| ValueError::new("TOTAL_MISSING", "no total"))?;
    let (user_id, amount) = (UserId::parse(&order.customer_id)?, Amount::parse(money_from_proto(total)?)?);
    Ok(DueOrder { user_id, amount, version: order.version })
}

fn no_answer(status: &Status) -> CallError {
    tracing::warn!(message = status.message(), "the order service gave no answer about an order that is to be paid");
    CallError::Unavailable { dependency: "order", retry_after: CallError::OUTAGE_RETRY_AFTER }
}

#[cfg(test)]
mod tests {
    use openorder_proto::{google::r#type::Money, order::v1::OrderModification};

    use super::*;

    fn order(status: OrderStatus, mode: PaymentMode) -> Order {
        let total = Some(Money { currency_code: "EUR".to_owned(), units: 5, nanos: 0 });
        let customer_id = "ada".to_owned();
        Order { status: status.into(), payment_mode: mode.into(), customer_id, total, ..Order::default() }
    }

    fn refused(status: OrderStatus, mode: PaymentMode) -> Option<&'static str> {
        match due(&order(status, mode), Uuid::nil()) {
            Ok(_) => None,
            Err(CallError::Rejected(no)) => Some(no.reason),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn only_an_order_that_waits_for_its_payment_is_due_and_what_it_costs_is_its_total() {
        use OrderStatus::{Cancelled, Confirmed, Delivered, Paid, Pending, Preparing, Rejected, Shipped};

        let found = due(&order(Confirmed, PaymentMode::Manual), Uuid::nil()).unwrap();
        assert_eq!((found.user_id.as_str(), found.amount.money().minor_units()), ("ada", 500));
        for mode in [PaymentMode::Manual, PaymentMode::Automatic] {
            for status in [Paid, Preparing, Shipped, Delivered] {
                assert_eq!(refused(status, mode), Some("ORDER_ALREADY_PAID"), "{status:?}");
            }
            for status in [Cancelled, Rejected] {
                assert_eq!(refused(status, mode), Some("ORDER_NOT_PAYABLE"), "{status:?}");
            }
        }
        assert_eq!(refused(Pending, PaymentMode::Manual), Some("ORDER_NOT_PAYABLE"));
        for status in [Pending, Confirmed] {
            assert_eq!(refused(status, PaymentMode::Automatic), Some("PAYMENT_NOT_MANUAL"));
        }
    }

    #[test]
    fn an_order_whose_lines_are_being_changed_is_not_due_until_that_is_decided() {
        let with = |state: OrderModificationState| {
            let modification = Some(OrderModification { state: state.into(), ..OrderModification::default() });
            due(&Order { modification, version: 7, ..order(OrderStatus::Confirmed, PaymentMode::Manual) }, Uuid::nil())
        };
        for decided in [OrderModificationState::Accepted, OrderModificationState::Rejected] {
            assert_eq!(with(decided).unwrap().version, 7);
        }
        let Err(CallError::Rejected(no)) = with(OrderModificationState::Requested) else { panic!("it is due") };
        assert_eq!(no.reason, "MODIFICATION_UNDER_WAY");
    }

    #[test]
    fn an_order_without_a_total_is_a_fault_and_no_answer_to_its_caller() {
        let broken = Order { total: None, ..order(OrderStatus::Confirmed, PaymentMode::Manual) };
        assert!(matches!(due(&broken, Uuid::nil()), Err(CallError::Internal)));
    }
}
