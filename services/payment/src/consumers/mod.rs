//! What other services' events mean to this one: decode, then a command.

mod order_lifecycle;
mod payment_transaction;

use openorder_messaging::{DecodeError, Received, Subscription};
use openorder_proto::{event_types, google::r#type::Money as MoneyMessage, topics};
use openorder_types::Money;

use crate::domain::{Amount, Command};

/// The topics that the payment service follows.
pub fn subscription() -> Subscription<Command> {
    Subscription {
        topics: vec![topics::ORDER_LIFECYCLE, topics::PAYMENT_TRANSACTION],
        decode,
        passes_over,
        injects: |_| false,
    }
}

/// The event types that mean something here; all others that are known are passed over.
const ACTS_ON: &[&str] = &[event_types::ORDER_CONFIRMED, event_types::PAYMENT_REFUND_REQUESTED];

fn passes_over(topic: &str, event_type: &str) -> bool {
    !ACTS_ON.contains(&event_type) && openorder_proto::by_type(event_type).is_some_and(|known| known.topic == topic)
}

fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    match message.topic.as_str() {
        topics::ORDER_LIFECYCLE => order_lifecycle::decode(message),
        topics::PAYMENT_TRANSACTION => payment_transaction::decode(message),
        _ => Err(DecodeError::UnknownType(message.event_type.clone())),
    }
}

/// For the types that this service does not act on: known ones are passed over, unknown ones are an error.
fn others(message: &Received) -> Result<Option<Command>, DecodeError> {
    match openorder_proto::by_type(&message.event_type) {
        Some(known) if known.topic == message.topic => Ok(None),
        _ => Err(DecodeError::UnknownType(message.event_type.clone())),
    }
}

/// An amount that has to move.
fn amount(message: &Received, money: &MoneyMessage) -> Result<Amount, DecodeError> {
    let money = Money::from_units_nanos(&money.currency_code, money.units, money.nanos)
        .map_err(|error| DecodeError::malformed(message, error))?;
    Amount::parse(money).map_err(|error| DecodeError::malformed(message, error))
}

#[cfg(test)]
mod tests {
    use openorder_proto::{
        EventMessage,
        order::v1::{OrderConfirmed, OrderCreated, PaymentMode},
        payment::v1::{PaymentCompleted, PaymentRefundReason, PaymentRefundRequested},
    };
    use openorder_types::{Currency, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::RefundReason;

    fn received<M: EventMessage>(message: &M) -> Received {
        Received {
            topic: M::TOPIC.to_owned(),
            partition: 0,
            offset: 0,
            key: Vec::new(),
            event_id: Uuid::nil(),
            event_type: M::EVENT_TYPE.to_owned(),
            source: "order".to_owned(),
            payload: message.encode_to_vec(),
            trace: openorder_telemetry::TraceContext::default(),
            headers: openorder_messaging::RawHeaders::default(),
        }
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
            Command::Pay { payment_id, .. } | Command::Refund { payment_id, .. } => {
                assert_eq!(payment_id.get_version_num(), 7);
                *payment_id = Uuid::nil();
            }
            Command::Charge { .. } => panic!("{command:?}"),
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
        let garbled = Received { payload: vec![0xff; 7], ..received(&confirmed()) };
        assert!(matches!(decode(&garbled), Err(DecodeError::Malformed { .. })));
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

    #[test]
    fn other_known_events_are_passed_over_and_unknown_ones_are_an_error() {
        assert_eq!(decode(&received(&OrderCreated::default())).unwrap(), None);
        assert_eq!(decode(&received(&PaymentCompleted::default())).unwrap(), None, "its own");
        let unknown = Received { event_type: "order.lifecycle.sold".to_owned(), ..received(&confirmed()) };
        assert!(matches!(decode(&unknown), Err(DecodeError::UnknownType(_))));
        let elsewhere = Received { topic: topics::ORDER_LIFECYCLE.to_owned(), ..received(&refund_requested()) };
        assert!(matches!(decode(&elsewhere), Err(DecodeError::UnknownType(_))), "of another topic");
    }

    #[test]
    fn exactly_the_events_without_meaning_are_passed_over() {
        openorder_testing::check_passed_over(&subscription());
    }
}
