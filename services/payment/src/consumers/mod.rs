//! What other services' events mean to this one: a file a topic.

mod order_lifecycle;
mod payment_transaction;

use openorder_proto::{
    google::r#type::Money as MoneyMessage,
    order::v1::OrderConfirmed,
    payment::v1::{PaymentHoldRequested, PaymentRefundRequested},
};
use openorder_rpc::money_from_proto;
use openorder_service::subscription;
use openorder_types::ValueError;

use crate::domain::{Amount, Command};

subscription! {
    /// What the payment service follows.
    pub fn subscription() -> Subscription<Command> {
        ORDER_LIFECYCLE {
            OrderConfirmed => order_lifecycle::confirmed,
        }
        PAYMENT_TRANSACTION {
            PaymentRefundRequested => payment_transaction::refund_requested,
            PaymentHoldRequested => payment_transaction::hold_requested,
        }
    }
}

/// An amount that has to move.
fn amount(money: &MoneyMessage) -> Result<Amount, ValueError> {
    Amount::parse(money_from_proto(money)?)
}

#[cfg(test)]
mod tests {
    use openorder_messaging::{DecodeError, Received};
    use openorder_proto::{EventMessage, order::v1::PaymentMode, payment::v1::PaymentRefundReason};
    use openorder_types::{Currency, Money, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::RefundReason;

    fn received<M: EventMessage>(message: &M) -> Received {
        Received {
            topic: M::TOPIC.into(),
            partition: 0,
            offset: 0,
            key: Vec::new().into(),
            event_id: Uuid::nil(),
            event_type: M::EVENT_TYPE.into(),
            position: None,
            payload: message.encode_to_vec().into(),
            trace: openorder_telemetry::TraceContext::default(),
            headers: openorder_messaging::RawHeaders::default(),
        }
    }

    fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
        (subscription().decode)(message)
    }

    fn eur(units: i64) -> Option<MoneyMessage> {
        Some(MoneyMessage { currency_code: "EUR".to_owned(), units, nanos: 0 })
    }

    fn five_eur() -> Amount {
        Amount::parse(Money::new(500, Currency::parse("EUR").unwrap())).unwrap()
    }

    fn confirmed() -> OrderConfirmed {
        OrderConfirmed {
            order_id: Uuid::from_u128(1).to_string(),
            customer_id: "ada".to_owned(),
            total: eur(5),
            payment_mode: PaymentMode::Automatic.into(),
            ..OrderConfirmed::default()
        }
    }

    fn refund_requested() -> PaymentRefundRequested {
        PaymentRefundRequested {
            order_id: Uuid::from_u128(1).to_string(),
            user_id: "ada".to_owned(),
            amount: eur(5),
            reason: PaymentRefundReason::StepTimedOut.into(),
            order_version: 2,
            answer_again: false,
        }
    }

    /// The command that the event is decoded to, with an id that can be compared.
    fn command<M: EventMessage>(message: &M) -> Option<Command> {
        let mut command = decode(&received(message)).unwrap()?;
        match &mut command {
            Command::Pay { payment_id, .. } | Command::Hold { payment_id, .. } | Command::Refund { payment_id, .. } => {
                assert_eq!(payment_id.get_version_num(), 7);
                *payment_id = Uuid::nil();
            }
            Command::Charge { .. } | Command::Process { .. } => panic!("{command:?}"),
        }
        Some(command)
    }

    #[test]
    fn a_confirmed_order_is_paid_unless_somebody_else_starts_the_payment() {
        let (order_id, user_id) = (Uuid::from_u128(1), UserId::parse("ada").unwrap());
        let pay = Command::Pay { payment_id: Uuid::nil(), order_id, user_id, amount: five_eur() };
        assert_eq!(command(&confirmed()), Some(pay.clone()));
        let not_said = OrderConfirmed { payment_mode: PaymentMode::Unspecified.into(), ..confirmed() };
        assert_eq!(command(&not_said), Some(pay));
        let free = OrderConfirmed { total: eur(0), discount: eur(5), ..confirmed() };
        assert_eq!(decode(&received(&free)).unwrap(), None, "a coupon has left nothing to pay");
        let manual = OrderConfirmed { payment_mode: PaymentMode::Manual.into(), ..confirmed() };
        assert_eq!(decode(&received(&manual)).unwrap(), None);
    }

    #[test]
    fn a_confirmed_order_that_makes_no_sense_is_malformed() {
        let wrong = [
            OrderConfirmed { payment_mode: 99, ..confirmed() },
            OrderConfirmed { order_id: "1".to_owned(), ..confirmed() },
            OrderConfirmed { customer_id: String::new(), ..confirmed() },
            OrderConfirmed { total: None, ..confirmed() },
            OrderConfirmed { total: eur(0), ..confirmed() },
            OrderConfirmed { total: eur(-5), ..confirmed() },
            OrderConfirmed { total: eur(i64::MAX), ..confirmed() },
        ];
        for message in wrong {
            assert!(matches!(decode(&received(&message)), Err(DecodeError::Malformed { .. })), "{message:?}");
        }
        let garbled = Received { payload: vec![0xff; 7].into(), ..received(&confirmed()) };
        assert!(matches!(decode(&garbled), Err(DecodeError::Malformed { .. })));
    }

    #[test]
    fn a_payment_is_held_back_as_of_the_version_that_asks() {
        let (order_id, user_id) = (Uuid::from_u128(1), UserId::parse("ada").unwrap());
        let requested = PaymentHoldRequested {
            order_id: order_id.to_string(),
            user_id: "ada".to_owned(),
            amount: eur(5),
            order_version: 7,
        };
        let hold = Command::Hold { payment_id: Uuid::nil(), order_id, order_version: 7, user_id, amount: five_eur() };
        assert_eq!(command(&requested), Some(hold));
        let wrong = PaymentHoldRequested { amount: None, ..requested };
        assert!(matches!(decode(&received(&wrong)), Err(DecodeError::Malformed { .. })));
    }

    #[test]
    fn a_refund_is_asked_for_whatever_its_reason_and_with_or_without_its_amount() {
        let (order_id, user_id) = (Uuid::from_u128(1), UserId::parse("ada").unwrap());
        let refund = |amount, reason| Command::Refund {
            payment_id: Uuid::nil(),
            order_id,
            user_id: user_id.clone(),
            amount,
            reason,
            answer_again: false,
        };
        assert_eq!(command(&refund_requested()), Some(refund(Some(five_eur()), RefundReason::StepTimedOut)));
        let newer = PaymentRefundRequested { reason: 99, amount: None, ..refund_requested() };
        assert_eq!(command(&newer), Some(refund(None, RefundReason::Other)));
        let wrong = PaymentRefundRequested { user_id: "not a user".to_owned(), ..refund_requested() };
        assert!(matches!(decode(&received(&wrong)), Err(DecodeError::Malformed { .. })));
    }
}
