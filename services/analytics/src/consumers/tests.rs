use openorder_messaging::RawHeaders;
use openorder_proto::{
    EventMessage,
    google::r#type::Money as MoneyMessage,
    order::v1::{OrderCompensationFailed, OrderLine, OrderStatus as StatusMessage},
};
use openorder_telemetry::TraceContext;
use openorder_types::{Currency, Money, Sku};

use super::*;
use crate::domain::{Hour, OrderStatus, Reason, Sale, SoldLine, Trade};

/// 2027-01-15T08:00:00Z.
const SECONDS: u64 = 1_800_000_000;

fn id_of(seconds: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(seconds * 1_000, &[1; 10]).into_uuid()
}

fn received<M: EventMessage>(message: &M, source: &str) -> Received {
    let source = format!("/openorder/{source}");
    Received {
        topic: M::TOPIC.into(),
        partition: 0,
        offset: 0,
        key: Vec::new().into(),
        event_id: id_of(SECONDS + 7_200),
        event_type: M::EVENT_TYPE.into(),
        position: Some(12),
        payload: message.encode_to_vec().into(),
        trace: TraceContext::default(),
        headers: RawHeaders::from_iter([("ce_source", source.as_bytes())]),
    }
}

fn eur(units: i64, cents: i32) -> Option<MoneyMessage> {
    Some(MoneyMessage { currency_code: "EUR".to_owned(), units, nanos: cents * 10_000_000 })
}

fn lines() -> Vec<OrderLine> {
    vec![OrderLine {
        sku: "TEA".to_owned(),
        display_name: "Tea".to_owned(),
        quantity: 2,
        unit_price: eur(1, 50),
        line_total: eur(3, 0),
        discount: eur(0, 30),
        ..OrderLine::default()
    }]
}

fn paid() -> OrderPaid {
    OrderPaid { order_id: id_of(SECONDS).to_string(), total: eur(2, 70), lines: lines(), ..OrderPaid::default() }
}

fn cancelled(previous: StatusMessage) -> OrderCancelled {
    OrderCancelled {
        order_id: id_of(SECONDS).to_string(),
        total: eur(2, 70),
        lines: lines(),
        status_reason: "CANCELLED_BY_CUSTOMER".to_owned(),
        previous_status: previous.into(),
        ..OrderCancelled::default()
    }
}

fn sale() -> Sale {
    let line = SoldLine {
        sku: Sku::parse("TEA").unwrap(),
        display_name: "Tea".to_owned(),
        quantity: 2,
        gross_minor: 300,
        discount_minor: 30,
    };
    Sale { total: Money::new(270, Currency::parse("EUR").unwrap()), lines: vec![line] }
}

fn fact_of<M: EventMessage>(message: &M) -> Fact {
    fact(&received(message, "order")).unwrap().unwrap()
}

#[test]
fn a_paid_order_is_a_sale_at_the_time_that_its_event_tells() {
    let fact = fact_of(&paid());
    let expected = Change {
        made: Hour::of(Timestamp::from_timestamp(SECONDS.cast_signed(), 0).unwrap()),
        from: Some(OrderStatus::Confirmed),
        to: OrderStatus::Paid,
        reason: Reason::none(),
        trade: Some(Trade::Sold(sale())),
    };
    assert_eq!(fact.change, expected);
    assert_eq!(fact.time, Timestamp::from_timestamp(SECONDS.cast_signed() + 7_200, 0));
    assert_eq!(fact.origin, Origin { event_id: id_of(SECONDS + 7_200), is_logged: true, position: Some(12) });
    let of_somebody_else = super::fact(&received(&paid(), "warehouse")).unwrap().unwrap();
    let origin = of_somebody_else.origin;
    assert_eq!((origin.is_logged, origin.position), (false, None), "a position in another log");
    let untimed = Received { event_id: Uuid::from_u128(4), ..received(&paid(), "order") };
    assert_eq!(super::fact(&untimed).unwrap().unwrap().time, None);
}

#[test]
fn only_what_was_paid_is_given_back() {
    for (previous, status, is_given_back) in [
        (StatusMessage::Pending, OrderStatus::Pending, false),
        (StatusMessage::Confirmed, OrderStatus::Confirmed, false),
        (StatusMessage::Paid, OrderStatus::Paid, true),
        (StatusMessage::Preparing, OrderStatus::Preparing, true),
    ] {
        let change = fact_of(&cancelled(previous)).change;
        assert_eq!((change.from, change.to), (Some(status), OrderStatus::Cancelled));
        assert_eq!(change.reason, Reason::of("CANCELLED_BY_CUSTOMER"));
        assert_eq!(change.trade, is_given_back.then(|| Trade::GivenBack(sale())));
    }
    // Nothing is known of what an unpaid order would have cost.
    let unknown_sku = OrderCancelled { total: None, lines: Vec::new(), ..cancelled(StatusMessage::Pending) };
    assert_eq!(fact_of(&unknown_sku).change.trade, None);
}

#[test]
fn each_step_of_an_order_moves_it_from_the_one_before() {
    let order_id = || id_of(SECONDS).to_string();
    let steps = [
        fact_of(&OrderCreated { order_id: order_id(), ..Default::default() }),
        fact_of(&OrderConfirmed { order_id: order_id(), ..Default::default() }),
        fact_of(&paid()),
        fact_of(&OrderPreparing { order_id: order_id(), ..Default::default() }),
        fact_of(&OrderShipped { order_id: order_id(), ..Default::default() }),
        fact_of(&OrderDelivered { order_id: order_id(), ..Default::default() }),
    ];
    let mut before = None;
    for fact in steps {
        assert_eq!(fact.change.from, before);
        before = Some(fact.change.to);
    }
    let rejected =
        OrderRejected { order_id: order_id(), status_reason: "OUT_OF_STOCK".to_owned(), ..Default::default() };
    let change = fact_of(&rejected).change;
    assert_eq!((change.from, change.reason), (Some(OrderStatus::Pending), Reason::of("OUT_OF_STOCK")));
    let without_meaning = OrderCompensationFailed { order_id: order_id(), ..Default::default() };
    assert_eq!(fact(&received(&without_meaning, "order")).unwrap(), None);
}

#[test]
fn an_event_that_makes_no_sense_is_malformed() {
    let mut of_two_currencies = paid();
    of_two_currencies.lines[0].line_total.as_mut().unwrap().currency_code = "USD".to_owned();
    let mut without_price = paid();
    without_price.lines[0].line_total = None;
    let mut of_nothing = paid();
    of_nothing.lines[0].quantity = 0;
    let wrong = [
        OrderPaid { order_id: Uuid::from_u128(1).to_string(), ..paid() },
        OrderPaid { order_id: "1".to_owned(), ..paid() },
        OrderPaid { total: None, ..paid() },
        of_two_currencies,
        without_price,
        of_nothing,
    ];
    for message in wrong {
        let decoded = fact(&received(&message, "order"));
        assert!(matches!(decoded, Err(DecodeError::Malformed { .. })), "{message:?}");
    }
    let unclear = fact(&received(&cancelled(StatusMessage::Unspecified), "order"));
    assert!(matches!(unclear, Err(DecodeError::Malformed { .. })));
}
