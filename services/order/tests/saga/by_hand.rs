//! What an order does that waits for its customer to pay it.

use std::time::Duration;

use openorder_order::{
    domain::{CancellationCause, OrderStatus, State},
    saga::{Effect, OpenSince, Participant, Saga, SagaSettings, Signal, Step, next},
};

use crate::{
    SETTINGS, at,
    case::{Case, Coupon, Payer},
    paid,
    participants::{MONEY, PRICE},
    world::{Letter, World},
};

/// An order that waits for its customer to pay it.
fn waiting(case: Case) -> World {
    let mut world = World::of(Case { payer: Payer::Nobody, ..case });
    world.deliver(|_| false);
    assert_eq!((world.order.status, world.saga.step), (OrderStatus::Confirmed, Step::Paying));
    world
}

fn state(world: &World) -> State<'_> {
    State { order: &world.order, saga: &world.saga }
}

#[test]
fn it_waits_as_confirmed_until_it_is_paid_and_then_goes_its_way() {
    let mut world = waiting(Case::GOOD);
    assert_eq!(world.payment.taken, None, "nobody has asked for the payment");
    world.ask_to_pay();
    world.deliver(|_| false);
    world.check();
    assert_eq!((world.order.status, world.payment.balance), (OrderStatus::Preparing, MONEY - PRICE));
    assert_eq!(state(&world).payment_deadline(None), None, "it waits for nothing any more");
    world.ask_to_pay();
    world.deliver(|_| false);
    assert_eq!(world.payment.debits, 1, "and is paid once");
}

#[test]
fn too_little_money_decides_nothing_and_the_order_can_be_paid_until_its_time_is_over() {
    let mut world = waiting(Case { has_money: false, ..Case::GOOD });
    for _ in 0..3 {
        world.ask_to_pay();
        world.deliver(|_| false);
        assert_eq!((world.order.status, world.payment.taken), (OrderStatus::Confirmed, None));
    }
    world.top_up(PRICE);
    world.ask_to_pay();
    world.settle_down();
    world.check();
    assert_eq!(world.order.status, OrderStatus::Preparing);
}

#[test]
fn an_order_that_is_not_paid_in_time_is_called_off_with_a_reason_of_its_own_and_gives_all_back() {
    for coupon in [Coupon::None, Coupon::Part] {
        let mut world = waiting(Case { coupon, ..Case::GOOD });
        world.pass_deadline();
        assert_eq!((world.saga.step, world.order.status), (Step::Compensating, OrderStatus::Confirmed));
        assert_eq!((world.saga.stock, world.saga.payment), (Participant::Undoing, Participant::Undoing));
        world.deliver(|_| false);
        world.check();
        assert_eq!(world.order.status_reason, "PAYMENT_DEADLINE_EXCEEDED");
        // Whoever comes now pays nothing.
        world.under_way.push(Letter::Process { order_version: 2, price: PRICE });
        world.deliver(|_| false);
        world.check();
        assert_eq!(world.payment.debits, 0);
    }
}

#[test]
fn a_payment_that_meets_the_end_of_its_time_or_a_cancellation_is_kept_with_the_order_or_given_back() {
    let ends: [fn(&mut World); 2] = [World::pass_deadline, World::cancel];
    for end in ends {
        for is_first in [true, false] {
            let mut world = waiting(Case::GOOD);
            world.ask_to_pay();
            let payment = world.under_way.pop().unwrap();
            end(&mut world);
            if is_first {
                world.handle(payment);
                world.deliver(|_| false);
            } else {
                world.deliver(|_| false);
                world.handle(payment);
                world.deliver(|_| false);
            }
            world.check();
            assert_eq!(world.order.status, OrderStatus::Cancelled);
            let debits = u32::from(is_first);
            assert_eq!((world.payment.debits, world.payment.credits), (debits, debits), "first: {is_first}");
        }
        // The order has heard of the payment first: its time is not looked at any more.
        let mut world = waiting(Case::GOOD);
        world.ask_to_pay();
        world.deliver(|_| false);
        world.pass_deadline();
        assert_eq!(world.order.status, OrderStatus::Preparing);
    }
}

#[test]
fn its_time_is_its_own_and_stands_still_while_the_way_is_blocked() {
    let world = waiting(Case::GOOD);
    let began = world.saga.step_time;
    let window = Duration::from_secs(900);
    let limited = SagaSettings { completion: Some(Duration::from_secs(1)), ..SETTINGS };
    for settings in [SETTINGS, limited] {
        assert_eq!(state(&world).deadline(&settings, None), Some(began + window), "whatever limits other orders");
        let open = |payment| OpenSince { own: began, stock: at(9_999), payment: at(payment), coupon: at(9_999) };
        assert_eq!(state(&world).deadline(&settings, Some(&open(0))), Some(began + window));
        assert_eq!(state(&world).deadline(&settings, Some(&open(500))), Some(at(500) + window), "away until then");
    }
}

#[test]
fn a_whole_discount_leaves_nothing_to_wait_for() {
    let mut world = World::of(Case { coupon: Coupon::Whole, payer: Payer::Nobody, ..Case::GOOD });
    world.deliver(|_| false);
    world.check();
    assert_eq!((world.order.status, world.payment.taken), (OrderStatus::Preparing, None));
}

#[test]
fn the_end_of_its_time_means_nothing_at_any_other_step() {
    let signals = [
        vec![],
        vec![Signal::StockReserved, paid()],
        vec![Signal::CancelRequested { cause: CancellationCause::Customer, detail: String::new() }],
        vec![Signal::StockRejected { reason: "OUT_OF_STOCK".to_owned(), detail: String::new() }],
    ];
    for signals in signals {
        let mut saga = Saga::begin(at(0));
        for signal in &signals {
            saga = next(&saga, signal, &SETTINGS, at(1)).0;
        }
        let after = next(&saga, &Signal::PaymentDeadlinePassed, &SETTINGS, at(2));
        assert_eq!(after, (saga.clone(), Vec::new()), "{signals:?}");
    }
    let saga = next(&Saga::begin(at(0)), &Signal::StockReserved, &SETTINGS, at(1)).0;
    let (saga, effects) = next(&saga, &Signal::PaymentDeadlinePassed, &SETTINGS, at(2));
    let cause = CancellationCause::PaymentFailed;
    assert_eq!(effects, [Effect::RequestRefund { cause }, Effect::RequestRelease { cause }]);
    assert_eq!(saga.pending, Some((cause, "PAYMENT_DEADLINE_EXCEEDED".to_owned())));
}
