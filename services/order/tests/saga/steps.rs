//! Each signal at each step has a defined answer.

use std::time::Duration;

use openorder_order::{
    domain::CancellationCause,
    saga::{Effect, OpenSince, Participant, Saga, SagaSettings, Signal, Step, next},
};

use crate::{SETTINGS, at, out_of_stock, paid, refused};

/// Gives the signals one after the other; returns the saga and all effects.
fn given(signals: &[Signal]) -> (Saga, Vec<Effect>) {
    let mut saga = Saga::begin(at(0));
    let mut effects = Vec::new();
    for (second, signal) in signals.iter().enumerate() {
        let (after, more) = next(&saga, signal, &SETTINGS, at(i64::try_from(second).unwrap()));
        saga = after;
        effects.extend(more);
    }
    (saga, effects)
}

fn released() -> Signal {
    Signal::StockReleased { expired: false }
}

fn expired() -> Signal {
    Signal::StockReleased { expired: true }
}

fn cancel() -> Signal {
    Signal::CancelRequested { cause: CancellationCause::Customer, detail: "changed my mind".to_owned() }
}

fn cancelled(cause: CancellationCause, reason: &str, detail: &str) -> Effect {
    Effect::Cancel { cause, reason: reason.to_owned(), detail: detail.to_owned() }
}

fn confirmed() -> Effect {
    Effect::Confirm { line_discounts: Vec::new() }
}

fn by_customer() -> Effect {
    cancelled(CancellationCause::Customer, "CANCELLED_BY_CUSTOMER", "changed my mind")
}

#[test]
fn stock_then_payment_completes_the_order() {
    let (saga, effects) = given(&[Signal::StockReserved, paid()]);
    assert_eq!(saga.step, Step::Completed);
    assert_eq!(effects, [confirmed(), Effect::MarkPaid { payment_id: "p".to_owned() }, Effect::Prepare]);
    assert_eq!(saga.deadline(&SETTINGS), None);
}

#[test]
fn no_stock_rejects_the_order_and_nothing_is_asked_back() {
    let (saga, effects) = given(&[out_of_stock()]);
    assert_eq!(saga.step, Step::Rejected);
    assert_eq!(effects, [Effect::Reject { reason: "OUT_OF_STOCK".to_owned(), detail: String::new() }]);
}

#[test]
fn an_order_of_an_unknown_product_is_rejected_before_the_stock_answers_and_what_is_held_after_all_is_asked_back() {
    let unknown = || Signal::ProductsUnknown { detail: "unknown: TEA".to_owned() };
    let (saga, effects) = given(&[unknown()]);
    assert_eq!((saga.step, saga.stock, saga.payment), (Step::Rejected, Participant::Asked, Participant::Idle));
    assert_eq!(effects, [Effect::Reject { reason: "UNKNOWN_SKU".to_owned(), detail: "unknown: TEA".to_owned() }]);
    assert_eq!(saga.deadline(&SETTINGS), None);
    for (answer, stock) in [(out_of_stock(), Participant::Refused), (released(), Participant::Undone)] {
        let (saga, effects) = given(&[unknown(), answer]);
        assert_eq!((saga.step, saga.stock, effects.len()), (Step::Rejected, stock, 1));
    }
    let (saga, effects) = given(&[unknown(), Signal::StockReserved]);
    assert_eq!((saga.step, saga.stock, saga.releases), (Step::Compensating, Participant::Undoing, 1));
    assert_eq!(effects[1..], [Effect::RequestRelease { cause: CancellationCause::StepTimedOut }]);
    let (saga, effects) = given(&[unknown(), Signal::StockReserved, released()]);
    assert_eq!((saga.step, effects.len()), (Step::Compensated, 2), "the order is rejected, and not cancelled too");
    // Once the stock has answered the product is known.
    for signals in [vec![Signal::StockReserved], vec![Signal::StockReserved, paid()], vec![out_of_stock()]] {
        let (saga, _) = given(&signals);
        assert_eq!(next(&saga, &unknown(), &SETTINGS, at(9)), (saga.clone(), Vec::new()), "{signals:?}");
    }
}

#[test]
fn no_money_gives_the_stock_back_first_and_then_cancels() {
    let (saga, effects) = given(&[Signal::StockReserved, refused()]);
    assert_eq!(saga.step, Step::Compensating);
    assert_eq!(effects, [confirmed(), Effect::RequestRelease { cause: CancellationCause::PaymentFailed }]);
    let (saga, effects) = given(&[Signal::StockReserved, refused(), released()]);
    assert_eq!(saga.step, Step::Compensated);
    assert_eq!(effects.last(), Some(&cancelled(CancellationCause::PaymentFailed, "INSUFFICIENT_BALANCE", "")));
}

#[test]
fn no_answer_about_the_payment_asks_both_back_and_cancels_once_both_are() {
    let begun = [Signal::StockReserved, Signal::DeadlinePassed];
    let (saga, effects) = given(&begun);
    let cause = CancellationCause::StepTimedOut;
    assert_eq!(effects, [confirmed(), Effect::RequestRefund { cause }, Effect::RequestRelease { cause }]);
    assert_eq!(saga.step, Step::Compensating);
    for answers in [[released(), Signal::PaymentRefunded], [refused(), released()]] {
        let (saga, effects) = given(&[&begun[..], &answers[..]].concat());
        assert_eq!(saga.step, Step::Compensated);
        assert_eq!(effects.last(), Some(&cancelled(cause, "PAYMENT_TIMED_OUT", "")));
    }
}

#[test]
fn a_cancellation_is_decided_at_once_and_asks_back_what_may_be_held() {
    let cause = CancellationCause::Customer;
    let (_, effects) = given(&[cancel()]);
    assert_eq!(effects, [by_customer(), Effect::RequestRelease { cause }]);
    let (_, effects) = given(&[Signal::StockReserved, cancel()]);
    assert_eq!(effects[1..], [by_customer(), Effect::RequestRefund { cause }, Effect::RequestRelease { cause }]);
    let (_, effects) = given(&[Signal::StockReserved, paid(), cancel()]);
    assert_eq!(effects[3..], [by_customer(), Effect::RequestRefund { cause }, Effect::RequestRelease { cause }]);
}

#[test]
fn a_payment_that_completes_after_the_cancellation_changes_nothing_and_its_refund_ends_it() {
    let (saga, effects) = given(&[Signal::StockReserved, cancel(), paid()]);
    assert_eq!(effects.len(), 4, "{effects:?}");
    assert_eq!((saga.step, saga.payment), (Step::Compensating, Participant::Undoing));
    let (saga, effects) = given(&[Signal::StockReserved, cancel(), paid(), Signal::PaymentRefunded, released()]);
    assert_eq!(saga.step, Step::Compensated);
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Cancel { .. })).count(), 1);
}

#[test]
fn doubled_signals_have_no_effect() {
    let once = [Signal::StockReserved, paid()];
    let twice = [Signal::StockReserved, Signal::StockReserved, paid(), paid(), Signal::StockReserved];
    assert_eq!(given(&once).1, given(&twice).1);
}

#[test]
fn a_payment_that_comes_after_all_was_given_back_is_asked_back_too() {
    // Cancelled while the stock was asked for: nobody had asked for the payment.
    let (saga, effects) = given(&[cancel(), released(), paid()]);
    assert_eq!((saga.step, saga.payment), (Step::Compensating, Participant::Undoing));
    assert!(matches!(effects.last(), Some(Effect::RequestRefund { .. })));
}

/// Paid for by nobody, the stock asked back as often as may be, and never answered.
fn failed() -> Vec<Signal> {
    let mut signals = vec![Signal::StockReserved, refused()];
    signals.extend((0..=SETTINGS.compensation_attempts_max).map(|_| Signal::DeadlinePassed));
    signals
}

fn by_operator(settle: bool) -> Signal {
    let (operator, reason) = ("olga".to_owned(), "counted by hand".to_owned());
    if settle { Signal::SettleRequested { operator, reason } } else { Signal::RetryRequested { operator, reason } }
}

#[test]
fn a_compensation_that_is_not_answered_is_asked_for_again_and_then_shown_to_an_operator() {
    let (saga, effects) = given(&failed());
    let asked = effects.iter().filter(|effect| matches!(effect, Effect::RequestRelease { .. })).count();
    assert_eq!(asked, 1 + SETTINGS.compensation_attempts_max as usize);
    assert_eq!((saga.step, saga.releases), (Step::CompensationFailed, i64::try_from(asked).unwrap()));
    let undo_attempts = SETTINGS.compensation_attempts_max;
    let reported =
        Effect::FailCompensation { stock_open: true, payment_open: false, coupon_open: false, undo_attempts };
    assert_eq!(effects.last(), Some(&reported));
    assert_eq!(saga.deadline(&SETTINGS), None);
    // It stays so, whatever else comes.
    for signal in [Signal::DeadlinePassed, Signal::StockReserved, refused(), out_of_stock(), Signal::Shipped] {
        assert_eq!(next(&saga, &signal, &SETTINGS, at(99)), (saga.clone(), Vec::new()), "{signal:?}");
    }
}

#[test]
fn a_late_answer_ends_a_failed_compensation() {
    let (saga, effects) = given(&[failed(), vec![released()]].concat());
    assert_eq!((saga.step, saga.stock), (Step::Compensated, Participant::Undone));
    assert_eq!(effects.last(), Some(&cancelled(CancellationCause::PaymentFailed, "INSUFFICIENT_BALANCE", "")));
}

#[test]
fn an_operator_has_a_failed_compensation_tried_again_with_all_its_attempts() {
    let (saga, effects) = given(&[failed(), vec![by_operator(false)]].concat());
    assert_eq!((saga.step, saga.undo_attempts), (Step::Compensating, 0));
    let note = Effect::NoteRetry { operator: "olga".to_owned(), reason: "counted by hand".to_owned() };
    let release = Effect::RequestRelease { cause: CancellationCause::PaymentFailed };
    assert_eq!(effects[effects.len() - 2..], [note, release]);
    assert!(saga.deadline(&SETTINGS).is_some(), "the wait is bounded again");
    let again = vec![Signal::DeadlinePassed; 1 + SETTINGS.compensation_attempts_max as usize];
    let (saga, _) = given(&[failed(), vec![by_operator(false)], again].concat());
    assert_eq!(saga.step, Step::CompensationFailed, "and fails again when nothing has changed");
}

#[test]
fn an_operator_who_settles_it_cancels_the_order_with_these_words_and_what_comes_later_changes_nothing() {
    let settled = [failed(), vec![by_operator(true)]].concat();
    let (saga, effects) = given(&settled);
    assert_eq!((saga.step, saga.stock, saga.payment), (Step::Compensated, Participant::Settled, Participant::Refused));
    let (operator, reason) = ("olga".to_owned(), "counted by hand".to_owned());
    let note = Effect::NoteSettlement { operator, reason, stock: true, payment: false, coupon: false };
    let ended = cancelled(CancellationCause::PaymentFailed, "INSUFFICIENT_BALANCE", "counted by hand");
    assert_eq!(effects[effects.len() - 2..], [note, ended]);
    let late = [released(), Signal::StockReserved, refused(), paid(), Signal::PaymentRefunded, Signal::DeadlinePassed];
    assert_eq!(given(&[settled.clone(), late.to_vec()].concat()).1.len(), effects.len());
    // An order that was cancelled before is not cancelled again, but its history says who settled it.
    let mut signals = vec![Signal::StockReserved, paid(), cancel()];
    signals.extend((0..=SETTINGS.compensation_attempts_max).map(|_| Signal::DeadlinePassed));
    signals.push(by_operator(true));
    let (_, effects) = given(&signals);
    assert!(matches!(effects.last(), Some(Effect::NoteSettlement { stock: true, payment: true, .. })), "{effects:?}");
}

#[test]
fn operators_decide_on_failed_compensations_alone() {
    let reserving = vec![];
    let paying = vec![Signal::StockReserved];
    let completed = vec![Signal::StockReserved, paid()];
    let compensating = vec![Signal::StockReserved, refused()];
    let compensated = vec![Signal::StockReserved, refused(), released()];
    for signals in [reserving, paying, completed, compensating, compensated, vec![out_of_stock()]] {
        let (saga, _) = given(&signals);
        for settle in [false, true] {
            assert_eq!(next(&saga, &by_operator(settle), &SETTINGS, at(99)), (saga.clone(), Vec::new()), "{signals:?}");
        }
    }
}

#[test]
fn stock_that_is_released_unasked_cancels_the_order_at_every_step_before_it_is_shipped() {
    let cause = CancellationCause::ReservationExpired;
    let gone = |reason| cancelled(cause, reason, "");
    let (saga, effects) = given(&[expired()]);
    assert_eq!((saga.step, &effects[..]), (Step::Compensated, &[gone("RESERVATION_EXPIRED")][..]));
    assert_eq!(given(&[released()]).1, [gone("RESERVATION_RELEASED")], "by an operator, for example");
    // Nobody knows yet whether it was paid: the money is asked back first.
    let (saga, effects) = given(&[Signal::StockReserved, expired()]);
    assert_eq!((saga.step, &effects[1..]), (Step::Compensating, &[Effect::RequestRefund { cause }][..]));
    let answers = [paid(), Signal::PaymentRefunded];
    let (saga, effects) = given(&[vec![Signal::StockReserved, expired()], answers.to_vec()].concat());
    assert_eq!((saga.step, effects.last()), (Step::Compensated, Some(&gone("RESERVATION_EXPIRED"))));
    // Paid, and nothing to send: cancelled at once.
    let (saga, effects) = given(&[Signal::StockReserved, paid(), expired(), expired()]);
    assert_eq!((saga.step, saga.stock), (Step::Compensating, Participant::Undone));
    assert_eq!(effects[3..], [gone("RESERVATION_EXPIRED"), Effect::RequestRefund { cause }]);
}

#[test]
fn a_shipped_order_is_past_all_that_and_the_loss_of_its_stock_is_reported() {
    let shipped = [Signal::StockReserved, paid(), Signal::Shipped];
    let (saga, _) = given(&shipped);
    assert_eq!((saga.step, saga.stock), (Step::Completed, Participant::Used));
    assert_eq!(next(&saga, &expired(), &SETTINGS, at(9)), (saga.clone(), vec![Effect::ReportStockLost]));
    for signal in [cancel(), Signal::PaymentRefunded, Signal::Shipped] {
        assert_eq!(next(&saga, &signal, &SETTINGS, at(9)), (saga.clone(), Vec::new()), "{signal:?}");
    }
}

#[test]
fn money_that_is_refunded_unasked_cancels_the_order_and_gives_the_stock_back() {
    let cause = CancellationCause::Operator;
    let (saga, effects) = given(&[Signal::StockReserved, paid(), Signal::PaymentRefunded]);
    assert_eq!((saga.step, saga.payment), (Step::Compensating, Participant::Undone));
    assert_eq!(effects[3..], [cancelled(cause, "PAYMENT_REFUNDED", ""), Effect::RequestRelease { cause }]);
    let (_, effects) = given(&[Signal::StockReserved, Signal::PaymentRefunded, released()]);
    assert_eq!(effects.last(), Some(&cancelled(CancellationCause::PaymentFailed, "PAYMENT_REFUNDED", "")));
}

#[test]
fn waiting_for_a_compensation_doubles_each_time_up_to_a_bound() {
    let waits = |times: usize| {
        let (saga, _) = given(&[vec![Signal::StockReserved, refused()], vec![Signal::DeadlinePassed; times]].concat());
        (saga.deadline(&SETTINGS).unwrap() - saga.step_time).num_seconds()
    };
    assert_eq!([0, 1, 2, 3, 4].map(waits), [10, 20, 40, 60, 60]);
    let (saga, _) = given(&[]);
    assert_eq!(saga.deadline(&SETTINGS), Some(at(0) + Duration::from_secs(60)));
}

#[test]
fn a_step_has_all_of_its_time_again_once_its_way_is_open() {
    let saga = Saga::begin(at(0));
    let open =
        |own, stock, payment| OpenSince { own: at(own), stock: at(stock), payment: at(payment), coupon: at(own) };
    let deadline = |saga: &Saga, open| (saga.deadline_on_open_way(&SETTINGS, &open).unwrap() - at(0)).num_seconds();
    assert_eq!(deadline(&saga, open(-9, -9, -9)), 60, "open all the time");
    assert_eq!(deadline(&saga, open(-9, 45, 99)), 105, "stock was away; payment is not waited for");
    let paying = next(&saga, &Signal::StockReserved, &SETTINGS, at(10)).0;
    assert_eq!(deadline(&paying, open(0, 45, 5)), 70, "stock is not waited for any more");
    assert_eq!(deadline(&paying, open(0, 45, 100)), 160);
    // Giving back: an operator hears of a service that is away, but not before the request could leave.
    let compensating = next(&paying, &Signal::DeadlinePassed, &SETTINGS, at(70)).0;
    assert_eq!(deadline(&compensating, open(0, 200, 200)), 80);
    assert_eq!(deadline(&compensating, open(100, 200, 200)), 110);
}

#[test]
fn an_order_that_is_not_paid_has_a_limit_of_its_own_if_it_is_given_one() {
    let limited = SagaSettings { completion: Some(Duration::from_secs(300)), ..SETTINGS };
    let saga = Saga::begin(at(5));
    assert_eq!(saga.completion_deadline(&SETTINGS, at(5)), None);
    assert_eq!(saga.completion_deadline(&limited, at(5)), Some(at(305)));
    let paying = next(&saga, &Signal::StockReserved, &limited, at(10)).0;
    assert_eq!(paying.completion_deadline(&limited, at(5)), Some(at(305)));
    let completed = next(&paying, &paid(), &limited, at(11)).0;
    assert_eq!(completed.completion_deadline(&limited, at(5)), None);
}
