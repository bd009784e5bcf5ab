//! An order whose lines are changed, while its stock is not decided yet or while it waits for its customer to pay it.

use openorder_order::{
    domain::{CancellationCause, ModificationState, OrderStatus},
    saga::{Awaited, Effect, OpenSince, Participant, Saga, SagaSettings, Signal, Step, next},
};

use crate::{
    SETTINGS, at,
    case::{Case, Coupon, Payer},
    clean_slate::{UNDO, give_back},
    out_of_stock, paid,
    participants::{MONEY, PIECES, PRICE, STOCK},
    world::{Letter, World},
};

/// What one piece costs.
const EACH: i64 = PRICE / PIECES;

/// An order that waits for its customer to pay it.
fn waiting(case: Case) -> World {
    let mut world = World::of(Case { payer: Payer::Nobody, ..case });
    world.deliver(|_| false);
    assert_eq!(world.order.status, OrderStatus::Confirmed);
    world
}

fn modification(world: &World) -> (ModificationState, &str) {
    let modification = world.order.modification.as_ref().unwrap();
    (modification.state, modification.reason.as_str())
}

fn awaited(world: &World) -> Option<Awaited> {
    world.saga.modifying.map(|modifying| modifying.awaited)
}

#[test]
fn an_order_that_waits_to_be_paid_gets_the_lines_that_there_is_stock_for_and_costs_what_they_cost() {
    for pieces in [1, 2, 5] {
        let mut world = waiting(Case::GOOD);
        assert_eq!(world.modify(pieces), Ok(()));
        assert_eq!((world.saga.step, awaited(&world)), (Step::Modifying, Some(Awaited::Payment)));
        assert_eq!(
            (world.order.lines[0].quantity.get(), modification(&world).0),
            (PIECES, ModificationState::Requested)
        );
        world.deliver(|_| false);
        assert_eq!((world.saga.step, modification(&world)), (Step::Paying, (ModificationState::Accepted, "")));
        assert_eq!((world.order.status, world.inventory.reserved), (OrderStatus::Confirmed, pieces));
        world.ask_to_pay();
        world.settle_down();
        world.check();
        assert_eq!((world.order.status, world.payment.balance), (OrderStatus::Preparing, MONEY - EACH * pieces));
    }
}

#[test]
fn without_stock_for_them_the_order_keeps_its_lines_says_why_and_can_be_paid_and_changed_again() {
    let mut world = waiting(Case::GOOD);
    world.modify(STOCK + 1).unwrap();
    world.deliver(|_| false);
    assert_eq!((world.saga.step, modification(&world)), (Step::Paying, (ModificationState::Rejected, "OUT_OF_STOCK")));
    assert_eq!((world.order.status_reason.as_str(), world.inventory.reserved), ("", PIECES));
    world.modify(4).unwrap();
    world.deliver(|_| false);
    assert_eq!(modification(&world), (ModificationState::Accepted, ""));
    world.ask_to_pay();
    world.settle_down();
    world.check();
    assert_eq!(world.payment.balance, MONEY - 4 * EACH);
}

#[test]
fn an_order_that_is_not_decided_yet_has_its_first_lines_held_and_then_the_others() {
    for payer in [Payer::Saga, Payer::Customer] {
        for (pieces, expected) in [(1, 1), (5, 5), (STOCK + 1, PIECES)] {
            let mut world = World::of(Case { payer, ..Case::GOOD });
            world.modify(pieces).unwrap();
            assert_eq!((world.order.status, awaited(&world)), (OrderStatus::Pending, Some(Awaited::Reservation)));
            world.deliver(|_| false);
            world.check();
            assert_eq!((world.order.status, world.inventory.reserved), (OrderStatus::Preparing, expected));
            assert_eq!(world.payment.balance, MONEY - EACH * expected, "it pays what it has");
        }
        let mut world = World::of(Case { payer, has_stock: false, ..Case::GOOD });
        world.modify(1).unwrap();
        world.deliver(|_| false);
        world.check();
        assert_eq!((world.order.status, modification(&world).1), (OrderStatus::Rejected, "OUT_OF_STOCK"));
    }
}

#[test]
fn where_an_order_stands_says_whether_it_can_be_changed_and_one_change_is_under_way_at_a_time() {
    let mut world = World::of(Case { payer: Payer::Nobody, ..Case::GOOD });
    for _ in 0..2 {
        world.modify(2).unwrap();
        assert_eq!(world.modify(1), Err("MODIFICATION_UNDER_WAY"));
        world.deliver(|_| false);
    }
    world.ask_to_pay();
    world.deliver(|_| false);
    assert_eq!(world.modify(1), Err("ORDER_NOT_MODIFIABLE"), "it is paid");
    // By itself an order is paid at once.
    let mut world = World::of(Case::GOOD);
    world.deliver(|letter| *letter == Letter::Pay);
    assert_eq!((world.order.status, world.modify(1)), (OrderStatus::Confirmed, Err("ORDER_NOT_MODIFIABLE")));
    let mut world = World::of(Case { coupon: Coupon::Part, payer: Payer::Nobody, ..Case::GOOD });
    assert_eq!(world.modify(1), Err("ORDER_HAS_COUPON"));
    world.deliver(|_| false);
    assert_eq!(world.modify(1), Err("ORDER_HAS_COUPON"));
    world.cancel();
    assert_eq!(world.modify(1), Err("ORDER_NOT_MODIFIABLE"));
}

#[test]
fn a_payment_that_meets_a_change_is_for_the_lines_that_the_order_keeps_or_is_not_taken() {
    // It is first: the order is paid with its lines.
    let mut world = waiting(Case::GOOD);
    world.ask_to_pay();
    world.modify(5).unwrap();
    world.deliver(|_| false);
    world.check();
    assert_eq!((world.order.status, modification(&world).1), (OrderStatus::Preparing, "ORDER_ALREADY_PAID"));
    assert_eq!((world.payment.balance, world.inventory.reserved), (MONEY - PRICE, PIECES));
    // The change is first: who has seen the former price pays nothing, before and after it is decided.
    for pieces in [5, STOCK + 1] {
        for is_late in [false, true] {
            let mut world = waiting(Case::GOOD);
            world.ask_to_pay();
            let stale = world.under_way.pop().unwrap();
            world.modify(pieces).unwrap();
            if is_late {
                world.deliver(|_| false);
            } else {
                world.deliver(|letter| matches!(letter, Letter::ModifyStock { .. }));
            }
            world.handle(stale);
            world.deliver(|_| false);
            assert_eq!((world.order.status, world.payment.debits), (OrderStatus::Confirmed, 0));
            world.ask_to_pay();
            world.settle_down();
            world.check();
            assert_eq!(world.order.status, OrderStatus::Preparing);
        }
    }
}

#[test]
fn the_time_to_pay_goes_on_while_an_order_is_changed() {
    let mut world = waiting(Case::GOOD);
    let since = world.saga.step_time;
    world.pass_time(100);
    world.modify(2).unwrap();
    assert_eq!(world.saga.modifying.unwrap().since, since);
    world.deliver(|_| false);
    assert_eq!((world.saga.step, world.saga.step_time), (Step::Paying, since));
    world.pass_deadline();
    world.deliver(|_| false);
    world.check();
    assert_eq!(world.order.status_reason, "PAYMENT_DEADLINE_EXCEEDED");
}

#[test]
fn a_payment_service_that_does_not_answer_leaves_the_order_as_it_was_and_its_late_answer_changes_nothing() {
    let mut world = waiting(Case::GOOD);
    world.modify(5).unwrap();
    let late = std::mem::take(&mut world.under_way);
    world.pass_deadline();
    assert_eq!((world.saga.step, modification(&world).1), (Step::Paying, "MODIFICATION_TIMED_OUT"));
    world.under_way.extend(late);
    world.deliver(|_| false);
    assert_eq!((world.saga.step, world.inventory.reserved), (Step::Paying, PIECES));
    world.ask_to_pay();
    world.settle_down();
    world.check();
    assert_eq!(world.order.status, OrderStatus::Preparing, "it can be paid all the same");
}

/// What goes wrong while an order is changed.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Cancelled,
    StockExpired,
    DeadlinePassed,
    /// What was asked for last is lost, and so is its answer; then the time is up.
    Lost,
}

/// The order is changed up to where it waits for this.
fn until(case: Case, wanted: Awaited) -> World {
    let mut world = World::of(case);
    if wanted != Awaited::Reservation {
        world.deliver(|_| false);
    }
    world.modify(5).unwrap();
    world.deliver(|letter| match wanted {
        Awaited::Reservation => matches!(letter, Letter::Signal(Signal::StockReserved)),
        Awaited::Payment => matches!(letter, Letter::Signal(Signal::PaymentHeldBack { .. })),
        Awaited::Change => matches!(letter, Letter::Signal(Signal::StockModified { .. })),
    });
    assert_eq!(awaited(&world), Some(wanted));
    world
}

#[test]
fn whatever_fails_while_an_order_is_changed_and_however_it_is_undone_stock_and_money_are_as_before() {
    for wanted in [Awaited::Reservation, Awaited::Payment, Awaited::Change] {
        for fault in [Fault::Cancelled, Fault::StockExpired, Fault::DeadlinePassed, Fault::Lost] {
            for undo in UNDO {
                let case = format!("{wanted:?}, {fault:?}, {undo:?}");
                let mut world = until(Case { payer: Payer::Nobody, ..Case::GOOD }, wanted);
                if matches!(fault, Fault::Lost) {
                    world.under_way.clear();
                }
                match fault {
                    Fault::Cancelled => world.cancel(),
                    Fault::StockExpired => {
                        let answers = world.inventory.release(true);
                        world.under_way.splice(0..0, answers.into_iter().map(Letter::Signal));
                    }
                    Fault::DeadlinePassed | Fault::Lost => world.pass_deadline(),
                }
                // Nothing was changed while the payment was waited for: the order goes on, and is called off later.
                let goes_on = wanted == Awaited::Payment && matches!(fault, Fault::DeadlinePassed | Fault::Lost);
                if goes_on {
                    assert_eq!(world.saga.step, Step::Paying, "{case}");
                    world.pass_deadline();
                }
                give_back(&mut world, undo);
                world.check();
                assert_eq!(world.order.status, OrderStatus::Cancelled, "{case}");
                assert_eq!(modification(&world).0, ModificationState::Rejected, "{case}");
            }
        }
    }
}

#[test]
fn each_signal_that_is_not_waited_for_means_nothing() {
    let modified = |order_version| Signal::StockModified { order_version };
    let refused = |order_version| Signal::StockModificationRejected {
        order_version,
        reason: "OUT_OF_STOCK".to_owned(),
        detail: String::new(),
    };
    let held = |order_version| Signal::PaymentHeldBack { order_version };
    let asked = || Signal::ModificationRequested { order_version: 3 };
    let given = |signals: &[Signal]| {
        let mut saga = Saga::begin(at(0));
        for signal in signals {
            saga = next(&saga, signal, &SETTINGS, at(1)).0;
        }
        saga
    };
    let reserving = given(&[asked()]);
    let paying = given(&[Signal::StockReserved, asked()]);
    let changing = given(&[Signal::StockReserved, asked(), held(3)]);
    let nothing = [
        (&reserving, vec![asked(), held(3), modified(3), refused(3), paid(), Signal::PaymentDeadlinePassed]),
        (&paying, vec![asked(), held(2), held(4), modified(3), refused(3), Signal::StockReserved, out_of_stock()]),
        (&changing, vec![asked(), held(3), modified(2), modified(4), refused(2), paid(), Signal::Shipped]),
    ];
    for (saga, signals) in nothing {
        for signal in signals {
            assert_eq!(next(saga, &signal, &SETTINGS, at(9)), (saga.clone(), Vec::new()), "{signal:?}");
        }
    }
    // Not at any other step.
    for saga in [given(&[]), given(&[Signal::StockReserved]), given(&[Signal::StockReserved, paid()])] {
        for signal in [held(3), modified(3), refused(3)] {
            assert_eq!(next(&saga, &signal, &SETTINGS, at(9)), (saga.clone(), Vec::new()), "{signal:?}");
        }
    }
    let (after, effects) = next(&changing, &modified(3), &SETTINGS, at(9));
    assert_eq!((after.step, after.modifying, effects), (Step::Paying, None, vec![Effect::ApplyModification]));
    assert_eq!((changing.releases, changing.refunds, changing.payment), (1, 1, Participant::Asked));
}

#[test]
fn a_change_has_the_time_of_a_step_on_the_way_that_it_waits_on() {
    let saga = next(&Saga::begin(at(0)), &Signal::StockReserved, &SETTINGS, at(10)).0;
    let asked = Signal::ModificationRequested { order_version: 3 };
    let saga = next(&saga, &asked, &SETTINGS, at(20)).0;
    let open = |stock, payment| OpenSince { own: at(0), stock: at(stock), payment: at(payment), coupon: at(0) };
    let deadline = |saga: &Saga, open| saga.deadline_on_open_way(&SETTINGS, &open);
    assert_eq!((deadline(&saga, open(500, 0)), deadline(&saga, open(0, 500))), (Some(at(80)), Some(at(560))));
    let saga = next(&saga, &Signal::PaymentHeldBack { order_version: 3 }, &SETTINGS, at(30)).0;
    assert_eq!((deadline(&saga, open(500, 0)), deadline(&saga, open(0, 500))), (Some(at(560)), Some(at(90))));
    // What an order may take in all is for orders that nobody has to pay by hand.
    let limited = SagaSettings { completion: Some(std::time::Duration::from_secs(5)), ..SETTINGS };
    assert_eq!(saga.completion_deadline(&limited, at(0)), None);
    let reserving = next(&Saga::begin(at(0)), &asked, &SETTINGS, at(1)).0;
    assert_eq!(reserving.completion_deadline(&limited, at(0)), Some(at(5)));
    let (after, effects) = next(&saga, &Signal::DeadlinePassed, &SETTINGS, at(90));
    let cause = CancellationCause::StepTimedOut;
    assert_eq!(after.pending, Some((cause, "MODIFICATION_TIMED_OUT".to_owned())), "what is held is not known");
    assert_eq!(effects, [Effect::RequestRefund { cause }, Effect::RequestRelease { cause }]);
}
