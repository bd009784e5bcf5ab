//! The saga as a pure machine: each signal at each step has a defined answer; random histories end with nothing held.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::VecDeque, time::Duration};

use chrono::{TimeZone, Utc};
use openorder_order::{
    domain::CancellationCause,
    saga::{Effect, Part, Saga, SagaTimeouts, Signal, Step, next},
};
use openorder_types::Timestamp;
use proptest::prelude::*;

const TIMEOUTS: SagaTimeouts =
    SagaTimeouts { step: Duration::from_secs(60), compensation: Duration::from_secs(10), compensation_attempts_max: 5 };

fn at(seconds: i64) -> Timestamp {
    Utc.timestamp_opt(1_800_000_000 + seconds, 0).unwrap()
}

/// Gives the signals one after the other; returns the saga and all effects.
fn given(signals: &[Signal]) -> (Saga, Vec<Effect>) {
    let mut saga = Saga::begin(at(0));
    let mut effects = Vec::new();
    for (second, signal) in signals.iter().enumerate() {
        let (after, more) = next(&saga, signal, &TIMEOUTS, at(i64::try_from(second).unwrap()));
        saga = after;
        effects.extend(more);
    }
    (saga, effects)
}

fn paid() -> Signal {
    Signal::PaymentCompleted { payment_id: "p".to_owned() }
}

fn refused() -> Signal {
    Signal::PaymentFailed { reason: "INSUFFICIENT_BALANCE".to_owned() }
}

fn out_of_stock() -> Signal {
    Signal::StockRejected { reason: "OUT_OF_STOCK".to_owned(), detail: String::new() }
}

fn cancel() -> Signal {
    Signal::CancelRequested { cause: CancellationCause::Customer, detail: "changed my mind".to_owned() }
}

fn cancelled(cause: CancellationCause, reason: &str, detail: &str) -> Effect {
    Effect::Cancel { cause, reason: reason.to_owned(), detail: detail.to_owned() }
}

fn by_customer() -> Effect {
    cancelled(CancellationCause::Customer, "CANCELLED_BY_CUSTOMER", "changed my mind")
}

#[test]
fn stock_then_payment_completes_the_order() {
    let (saga, effects) = given(&[Signal::StockReserved, paid()]);
    assert_eq!(saga.step, Step::Completed);
    assert_eq!(effects, [Effect::Confirm, Effect::MarkPaid { payment_id: "p".to_owned() }, Effect::Prepare]);
    assert_eq!(saga.deadline(&TIMEOUTS), None);
}

#[test]
fn no_stock_rejects_the_order_and_nothing_is_asked_back() {
    let (saga, effects) = given(&[out_of_stock()]);
    assert_eq!(saga.step, Step::Rejected);
    assert_eq!(effects, [Effect::Reject { reason: "OUT_OF_STOCK".to_owned(), detail: String::new() }]);
}

#[test]
fn no_money_gives_the_stock_back_first_and_then_cancels() {
    let (saga, effects) = given(&[Signal::StockReserved, refused()]);
    assert_eq!(saga.step, Step::Compensating);
    assert_eq!(effects, [Effect::Confirm, Effect::RequestRelease { cause: CancellationCause::PaymentFailed }]);
    let (saga, effects) = given(&[Signal::StockReserved, refused(), Signal::StockReleased]);
    assert_eq!(saga.step, Step::Compensated);
    assert_eq!(effects.last(), Some(&cancelled(CancellationCause::PaymentFailed, "INSUFFICIENT_BALANCE", "")));
}

#[test]
fn no_answer_about_the_payment_asks_both_back_and_cancels_once_both_are() {
    let begun = [Signal::StockReserved, Signal::DeadlinePassed];
    let (saga, effects) = given(&begun);
    let cause = CancellationCause::StepTimedOut;
    assert_eq!(effects, [Effect::Confirm, Effect::RequestRefund { cause }, Effect::RequestRelease { cause }]);
    assert_eq!(saga.step, Step::Compensating);
    for answers in [[Signal::StockReleased, Signal::PaymentRefunded], [refused(), Signal::StockReleased]] {
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
    assert_eq!((saga.step, saga.payment), (Step::Compensating, Part::Undoing));
    let (saga, effects) =
        given(&[Signal::StockReserved, cancel(), paid(), Signal::PaymentRefunded, Signal::StockReleased]);
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
    let (saga, effects) = given(&[cancel(), Signal::StockReleased, paid()]);
    assert_eq!((saga.step, saga.payment), (Step::Compensating, Part::Undoing));
    assert!(matches!(effects.last(), Some(Effect::RequestRefund { .. })));
}

#[test]
fn a_compensation_that_is_not_answered_is_asked_for_again_and_then_shown_to_an_operator() {
    let mut signals = vec![Signal::StockReserved, refused()];
    signals.extend((0..=TIMEOUTS.compensation_attempts_max).map(|_| Signal::DeadlinePassed));
    let (saga, effects) = given(&signals);
    let asked = effects.iter().filter(|effect| matches!(effect, Effect::RequestRelease { .. })).count();
    assert_eq!(asked, 1 + TIMEOUTS.compensation_attempts_max as usize);
    assert_eq!(saga.step, Step::CompensationFailed);
    assert_eq!(effects.last(), Some(&Effect::ReportCompensationFailed));
    assert_eq!(saga.deadline(&TIMEOUTS), None);
    // A late answer heals it.
    signals.push(Signal::StockReleased);
    let (saga, effects) = given(&signals);
    assert_eq!(saga.step, Step::Compensated);
    assert!(matches!(effects.last(), Some(Effect::Cancel { .. })));
}

#[test]
fn waiting_for_a_compensation_doubles_each_time() {
    let (saga, _) = given(&[Signal::StockReserved, refused(), Signal::DeadlinePassed, Signal::DeadlinePassed]);
    assert_eq!(saga.deadline(&TIMEOUTS), Some(at(3) + Duration::from_secs(40)));
}

// The participants, as they promise to behave: each request is answered, sooner or later, in some order, perhaps twice.

#[derive(Default)]
struct Inventory {
    decided: Option<bool>,
    released: bool,
}

#[derive(Default)]
struct Payment {
    decided: Option<bool>,
    given_back: bool,
}

struct Participants {
    stock: Inventory,
    payment: Payment,
    has_stock: bool,
    has_money: bool,
}

impl Participants {
    fn reserve(&mut self) -> Vec<Signal> {
        if self.stock.released {
            return vec![];
        }
        self.stock.decided = Some(self.has_stock);
        vec![if self.has_stock { Signal::StockReserved } else { out_of_stock() }]
    }

    fn release(&mut self) -> Vec<Signal> {
        self.stock.released = true;
        vec![Signal::StockReleased]
    }

    fn pay(&mut self) -> Vec<Signal> {
        if self.payment.decided.is_none() {
            self.payment.decided = Some(self.has_money);
            return vec![if self.has_money { paid() } else { refused() }];
        }
        vec![]
    }

    fn refund(&mut self) -> Vec<Signal> {
        match self.payment.decided {
            Some(true) => {
                self.payment.given_back = true;
                vec![Signal::PaymentRefunded]
            }
            Some(false) => vec![refused()],
            None => {
                // Voided: a later payment is never taken.
                self.payment.decided = Some(false);
                vec![Signal::PaymentFailed { reason: "VOIDED".to_owned() }]
            }
        }
    }

    fn holds_stock(&self) -> bool {
        self.stock.decided == Some(true) && !self.stock.released
    }

    fn holds_money(&self) -> bool {
        self.payment.decided == Some(true) && !self.payment.given_back
    }
}

/// What is under way: a request to a participant, or a signal to the saga.
#[derive(Debug, Clone)]
enum Letter {
    Reserve,
    Release,
    Pay,
    Refund,
    Signal(Signal),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever comes late, twice or in another order, with cancellations and deadlines in between: when all is
    /// quiet, the order is final, and a cancelled or rejected one holds neither stock nor money.
    #[test]
    fn when_all_is_quiet_nothing_is_held_that_should_not_be(
        has_stock: bool,
        has_money: bool,
        cancel_after in prop::option::of(0_usize..12),
        choices in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..10), 200),
    ) {
        let mut saga = Saga::begin(at(0));
        let mut world = Participants { stock: Inventory::default(), payment: Payment::default(), has_stock, has_money };
        let mut under_way: VecDeque<Letter> = VecDeque::from([Letter::Reserve]);
        let (mut outcome, mut paid_for): (Option<&str>, bool) = (None, false);
        for (round, (which, luck)) in choices.iter().enumerate() {
            let cancellable = outcome.is_none_or(|outcome| outcome == "completed");
            let letter = if Some(round) == cancel_after && cancellable {
                Letter::Signal(cancel())
            } else if *luck == 0 && saga.deadline(&TIMEOUTS).is_some() && saga.undo_attempts < 3 {
                Letter::Signal(Signal::DeadlinePassed)
            } else if under_way.is_empty() {
                continue;
            } else {
                let index = which.index(under_way.len());
                let letter = under_way[index].clone();
                // One in ten is delivered again later.
                if *luck != 1 {
                    under_way.remove(index);
                }
                letter
            };
            let answers = match letter {
                Letter::Reserve => world.reserve(),
                Letter::Release => world.release(),
                Letter::Pay => world.pay(),
                Letter::Refund => world.refund(),
                Letter::Signal(signal) => {
                    let (after, effects) = next(&saga, &signal, &TIMEOUTS, at(i64::try_from(round).unwrap()));
                    saga = after;
                    for effect in effects {
                        match effect {
                            Effect::Confirm => under_way.push_back(Letter::Pay),
                            Effect::MarkPaid { .. } => { prop_assert!(outcome.is_none()); paid_for = true; }
                            Effect::Prepare => outcome = Some("completed"),
                            Effect::Reject { .. } => { prop_assert!(outcome.is_none()); outcome = Some("rejected"); }
                            Effect::Cancel { .. } => {
                                prop_assert!(outcome.is_none() || outcome == Some("completed"), "cancelled after {outcome:?}");
                                outcome = Some("cancelled");
                            }
                            Effect::RequestRelease { .. } => under_way.push_back(Letter::Release),
                            Effect::RequestRefund { .. } => under_way.push_back(Letter::Refund),
                            Effect::ReportCompensationFailed => prop_assert!(false, "every request is answered here"),
                        }
                    }
                    vec![]
                }
            };
            under_way.extend(answers.into_iter().map(Letter::Signal));
        }
        // Deliver the rest, once each, in order.
        let mut rounds = 0;
        while let Some(letter) = under_way.pop_front() {
            rounds += 1;
            prop_assert!(rounds < 1_000, "it never becomes quiet");
            let answers = match letter {
                Letter::Reserve => world.reserve(),
                Letter::Release => world.release(),
                Letter::Pay => world.pay(),
                Letter::Refund => world.refund(),
                Letter::Signal(signal) => {
                    let (after, effects) = next(&saga, &signal, &TIMEOUTS, at(1_000));
                    saga = after;
                    for effect in effects {
                        match effect {
                            Effect::Confirm => under_way.push_back(Letter::Pay),
                            Effect::MarkPaid { .. } => paid_for = true,
                            Effect::Prepare => outcome = Some("completed"),
                            Effect::Reject { .. } => outcome = Some("rejected"),
                            Effect::Cancel { .. } => outcome = Some("cancelled"),
                            Effect::RequestRelease { .. } => under_way.push_back(Letter::Release),
                            Effect::RequestRefund { .. } => under_way.push_back(Letter::Refund),
                            Effect::ReportCompensationFailed => prop_assert!(false),
                        }
                    }
                    vec![]
                }
            };
            under_way.extend(answers.into_iter().map(Letter::Signal));
        }
        let outcome = outcome.unwrap_or("open");
        prop_assert_ne!(outcome, "open", "{:?}", saga);
        prop_assert!(matches!(saga.step, Step::Completed | Step::Compensated | Step::Rejected), "{:?}", saga);
        if outcome == "completed" {
            prop_assert!(paid_for && world.holds_stock() && world.holds_money());
        } else {
            prop_assert!(!world.holds_stock(), "{} and stock is held: {:?}", outcome, saga);
            prop_assert!(!world.holds_money(), "{} and money is held: {:?}", outcome, saga);
        }
    }
}
