//! Given wallets and payments, when a command comes, then its events and the state after it.

use openorder_types::{Currency, Money};
use proptest::prelude::*;

use super::*;
use crate::domain::BALANCE_MINOR_UNITS_MAX;

/// Currencies with no, two and three decimals.
const CURRENCIES: [&str; 3] = ["KRW", "EUR", "KWD"];

fn at(second: i64) -> Timestamp {
    Timestamp::from_timestamp(second, 0).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn order(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn amount(minor_units: i64, currency: &str) -> Amount {
    Amount::parse(Money::new(minor_units, Currency::parse(currency).unwrap())).unwrap()
}

fn charge(name: &str, amount: Amount) -> Command {
    Command::Charge { user_id: user(name), amount }
}

fn pay(number: u128, name: &str, amount: Amount) -> Command {
    Command::Pay { payment_id: order(1_000 + number), order_id: order(number), user_id: user(name), amount }
}

fn process(number: u128, name: &str, amount: Amount) -> Command {
    process_at(number, 2, name, amount)
}

/// At this version of the order.
fn process_at(number: u128, order_version: i64, name: &str, amount: Amount) -> Command {
    let (payment_id, order_id) = (order(3_000 + number), order(number));
    Command::Process { payment_id, order_id, order_version, user_id: user(name), amount }
}

fn hold(number: u128, order_version: i64, name: &str, amount: Amount) -> Command {
    let (payment_id, order_id) = (order(4_000 + number), order(number));
    Command::Hold { payment_id, order_id, order_version, user_id: user(name), amount }
}

fn refund_for(number: u128, reason: RefundReason, answer_again: bool) -> Command {
    let (payment_id, order_id) = (order(2_000 + number), order(number));
    Command::Refund { payment_id, order_id, user_id: user("ada"), amount: None, reason, answer_again }
}

fn refund(number: u128) -> Command {
    refund_for(number, RefundReason::OrderCancelled, false)
}

/// Decides and applies one command at this second; its events, or the reason of its rejection.
fn run(state: &mut State, command: &Command, second: i64) -> Result<Vec<Event>, &'static str> {
    let events = decide(state, command, &Decision { now: at(second) }).map_err(|rejection| rejection.reason)?;
    for event in &events {
        evolve(state, event);
    }
    Ok(events)
}

/// The state after these commands, the first of which is decided in second 1.
fn given(commands: &[Command]) -> State {
    let mut state = State::default();
    for (command, second) in commands.iter().zip(1..) {
        run(&mut state, command, second).unwrap();
    }
    state
}

fn balance(state: &State, name: &str) -> (i64, i64) {
    let wallet = &state.wallets[&user(name)];
    (wallet.balance.minor_units(), wallet.version)
}

fn payment(state: &State, number: u128) -> &Payment {
    &state.payments[&order(number)]
}

#[test]
fn the_first_charge_opens_a_wallet_and_fixes_its_currency() {
    for currency in CURRENCIES {
        let mut state = given(&[charge("ada", amount(500, currency))]);
        let wallet = state.wallets[&user("ada")].clone();
        assert_eq!((wallet.balance, wallet.version, wallet.update_time), (amount(500, currency).money(), 1, at(1)));
        assert_eq!(run(&mut state, &charge("ada", amount(1, "USD")), 2), Err("CURRENCY_MISMATCH"));
        let over = amount(BALANCE_MINOR_UNITS_MAX, currency);
        assert_eq!(run(&mut state, &charge("ada", over), 2), Err("WALLET_LIMIT_EXCEEDED"));
        assert_eq!(state.wallets[&user("ada")], wallet);
    }
}

#[test]
fn a_first_charge_that_is_rejected_opens_no_wallet() {
    let mut state = State::default();
    let over = amount(BALANCE_MINOR_UNITS_MAX + 1, "EUR");
    assert_eq!(run(&mut state, &charge("ada", over), 1), Err("WALLET_LIMIT_EXCEEDED"));
    assert_eq!(state, State::default());
}

#[test]
fn money_that_is_there_is_taken() {
    for currency in CURRENCIES {
        let mut state = given(&[charge("ada", amount(100, currency))]);
        let events = run(&mut state, &pay(1, "ada", amount(60, currency)), 2).unwrap();
        let [Event::PaymentDecided(decided), Event::BalanceChanged { movement, .. }] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!((decided.payment_id, *movement), (order(1_001), Movement::Payment(order(1))));
        let paid = payment(&state, 1);
        assert_eq!(paid.state, PaymentState::Completed { amount: amount(60, currency) });
        assert_eq!((paid.version, paid.create_time, paid.update_time), (1, at(2), at(2)));
        assert_eq!(balance(&state, "ada"), (40, 2));
    }
}

#[test]
fn money_that_is_not_there_fails_the_payment_and_leaves_the_wallet() {
    for currency in CURRENCIES {
        let cases = [
            ("ada", amount(60, currency), FailureReason::InsufficientBalance),
            ("ada", amount(50, "USD"), FailureReason::CurrencyMismatch),
            ("bob", amount(60, currency), FailureReason::WalletNotFound),
        ];
        for (name, amount_to_pay, reason) in cases {
            let mut state = given(&[charge("ada", amount(59, currency))]);
            let events = run(&mut state, &pay(1, name, amount_to_pay), 2).unwrap();
            assert_eq!(events.len(), 1);
            let failed = PaymentState::Failed { amount: Some(amount_to_pay), reason };
            assert_eq!((payment(&state, 1).state, balance(&state, "ada")), (failed, (59, 1)));
        }
    }
}

#[test]
fn a_payment_is_decided_once() {
    let history =
        [charge("ada", amount(100, "EUR")), pay(1, "ada", amount(60, "EUR")), pay(2, "ada", amount(60, "EUR"))];
    let mut state = given(&history);
    let before = state.clone();
    for number in [1, 2] {
        assert_eq!(run(&mut state, &pay(number, "ada", amount(1, "EUR")), 9), Err("PAYMENT_ALREADY_DECIDED"));
    }
    assert_eq!(state, before);
}

#[test]
fn money_is_given_back_once_to_who_paid_and_the_first_reason_stays() {
    for currency in CURRENCIES {
        let mut state = given(&[charge("bob", amount(100, currency)), pay(1, "bob", amount(60, currency))]);
        assert_eq!(run(&mut state, &refund(1), 3).unwrap().len(), 2);
        assert_eq!(balance(&state, "bob"), (100, 3));
        assert_eq!(run(&mut state, &refund(1), 4), Ok(vec![]), "a repeated refund");
        let again = refund_for(1, RefundReason::StepTimedOut, true);
        let answer = Event::PaymentAnsweredAgain { order_id: order(1), time: at(5) };
        assert_eq!(run(&mut state, &again, 5), Ok(vec![answer]));
        let refunded = payment(&state, 1);
        let (reason, given_back) = (RefundReason::OrderCancelled, amount(60, currency));
        assert_eq!(refunded.state, PaymentState::Refunded { amount: given_back, reason });
        assert_eq!((refunded.version, refunded.update_time, balance(&state, "bob")), (3, at(5), (100, 3)));
    }
}

#[test]
fn what_failed_stays_failed_and_is_answered_again_only_on_demand() {
    let mut state = given(&[pay(1, "bob", amount(60, "EUR"))]);
    let failed = payment(&state, 1).clone();
    assert_eq!(run(&mut state, &refund(1), 2), Ok(vec![]));
    assert_eq!(*payment(&state, 1), failed);
    run(&mut state, &refund_for(1, RefundReason::OrderCancelled, true), 3).unwrap();
    assert_eq!(*payment(&state, 1), Payment { version: 2, update_time: at(3), ..failed });
}

#[test]
fn a_refund_that_comes_first_voids_the_payment_for_ever() {
    let mut state = given(&[charge("ada", amount(100, "EUR")), refund(1)]);
    let voided = payment(&state, 1);
    assert_eq!(voided.state, PaymentState::Failed { amount: None, reason: FailureReason::Voided });
    assert_eq!((voided.payment_id, voided.version), (order(2_001), 1));
    assert_eq!(run(&mut state, &pay(1, "ada", amount(60, "EUR")), 3), Err("PAYMENT_ALREADY_DECIDED"));
    assert_eq!(balance(&state, "ada"), (100, 1));
}

#[test]
fn a_refund_that_no_wallet_can_take_is_rejected_and_changes_nothing() {
    let paid = given(&[charge("ada", amount(100, "EUR")), pay(1, "ada", amount(60, "EUR"))]);
    let with_balance = |balance| {
        let mut state = paid.clone();
        state.wallets.get_mut(&user("ada")).unwrap().balance = balance;
        state
    };
    let without = State { wallets: HashMap::new(), ..paid.clone() };
    let cases = [
        (without, "WALLET_NOT_FOUND"),
        (with_balance(amount(1, "KRW").money()), "CURRENCY_MISMATCH"),
        (with_balance(amount(i64::MAX, "EUR").money()), "WALLET_LIMIT_EXCEEDED"),
    ];
    for (mut state, reason) in cases {
        let before = state.clone();
        assert_eq!(run(&mut state, &refund(1), 3), Err(reason));
        assert_eq!(state, before);
    }
}

#[test]
fn what_a_caller_pays_is_taken_as_any_payment_is() {
    for currency in CURRENCIES {
        let history = [charge("ada", amount(100, currency))];
        let (mut by_caller, mut by_saga) = (given(&history), given(&history));
        run(&mut by_caller, &process(1, "ada", amount(60, currency)), 2).unwrap();
        run(&mut by_saga, &pay(1, "ada", amount(60, currency)), 2).unwrap();
        assert_eq!((payment(&by_caller, 1).payment_id, balance(&by_caller, "ada")), (order(3_001), (40, 2)));
        by_saga.payments.get_mut(&order(1)).unwrap().payment_id = order(3_001);
        assert_eq!(by_caller, by_saga);
    }
}

#[test]
fn what_a_caller_cannot_pay_is_answered_and_decides_nothing() {
    for currency in CURRENCIES {
        let mut state = given(&[charge("ada", amount(59, currency))]);
        let before = state.clone();
        let cases = [
            ("ada", amount(60, currency), "INSUFFICIENT_BALANCE"),
            ("ada", amount(50, "USD"), "CURRENCY_MISMATCH"),
            ("bob", amount(60, currency), "WALLET_NOT_FOUND"),
        ];
        for (name, amount_to_pay, reason) in cases {
            assert_eq!(run(&mut state, &process(1, name, amount_to_pay), 2), Err(reason));
        }
        assert_eq!(state, before);
        run(&mut state, &charge("ada", amount(1, currency)), 3).unwrap();
        run(&mut state, &process(1, "ada", amount(60, currency)), 4).unwrap();
        assert_eq!(balance(&state, "ada"), (0, 3));
    }
}

#[test]
fn a_caller_pays_no_order_twice_and_none_that_was_called_off() {
    let eur = |minor_units| amount(minor_units, "EUR");
    let history =
        [charge("ada", eur(100)), process(1, "ada", eur(10)), refund(2), process(3, "ada", eur(10)), refund(3)];
    let mut state = given(&history);
    let before = state.clone();
    assert_eq!(run(&mut state, &process(1, "ada", eur(10)), 9), Err("ORDER_ALREADY_PAID"));
    assert_eq!(run(&mut state, &pay(1, "ada", eur(10)), 9), Err("PAYMENT_ALREADY_DECIDED"));
    for number in [2, 3] {
        assert_eq!(run(&mut state, &process(number, "ada", eur(10)), 9), Err("ORDER_NOT_PAYABLE"));
    }
    assert_eq!((&state, balance(&state, "ada").0), (&before, 90));
}

#[test]
fn what_is_held_back_is_paid_at_a_later_version_of_the_order_and_at_what_it_then_costs() {
    for currency in CURRENCIES {
        let mut state = given(&[charge("ada", amount(100, currency))]);
        let held = run(&mut state, &hold(1, 3, "ada", amount(60, currency)), 2).unwrap();
        assert!(matches!(&held[..], [Event::PaymentDecided(Payment { version: 1, held_order_version: Some(3), .. })]));
        assert_eq!(payment(&state, 1).state, PaymentState::Initiated { amount: amount(60, currency) });
        assert_eq!(run(&mut state, &hold(1, 3, "ada", amount(60, currency)), 3), Ok(vec![]), "repeated");
        assert_eq!(run(&mut state, &hold(1, 2, "ada", amount(60, currency)), 3), Ok(vec![]), "overtaken");
        for version in [2, 3] {
            let answer = run(&mut state, &process_at(1, version, "ada", amount(60, currency)), 4);
            assert_eq!(answer, Err("MODIFICATION_UNDER_WAY"), "{version}");
        }
        let too_much = run(&mut state, &process_at(1, 5, "ada", amount(101, currency)), 5);
        assert_eq!(too_much, Err("INSUFFICIENT_BALANCE"));
        run(&mut state, &hold(1, 5, "ada", amount(70, currency)), 6).unwrap();
        run(&mut state, &process_at(1, 7, "ada", amount(80, currency)), 7).unwrap();
        let paid = payment(&state, 1);
        assert_eq!((paid.payment_id, paid.version, paid.create_time), (order(4_001), 3, at(2)), "one payment an order");
        assert_eq!(paid.state, PaymentState::Completed { amount: amount(80, currency) });
        assert_eq!(balance(&state, "ada"), (20, 2));
        run(&mut state, &refund(1), 8).unwrap();
        assert_eq!((payment(&state, 1).version, balance(&state, "ada")), (4, (100, 3)));
    }
}

#[test]
fn what_is_decided_is_not_held_back_and_what_is_held_back_can_be_voided() {
    let eur = |minor_units| amount(minor_units, "EUR");
    let history = [charge("ada", eur(100)), process(1, "ada", eur(10)), refund(2), pay(3, "bob", eur(10))];
    let mut state = given(&history);
    let before = state.clone();
    for number in [1, 2, 3] {
        assert_eq!(run(&mut state, &hold(number, 9, "ada", eur(10)), 9), Ok(vec![]));
    }
    assert_eq!(state, before);
    run(&mut state, &hold(4, 3, "ada", eur(10)), 10).unwrap();
    assert_eq!(run(&mut state, &pay(4, "ada", eur(10)), 11), Err("PAYMENT_ALREADY_DECIDED"));
    run(&mut state, &refund(4), 12).unwrap();
    let voided = PaymentState::Failed { amount: Some(eur(10)), reason: FailureReason::Voided };
    assert_eq!((payment(&state, 4).state, payment(&state, 4).version), (voided, 2));
    assert_eq!(run(&mut state, &process_at(4, 9, "ada", eur(10)), 13), Err("ORDER_NOT_PAYABLE"));
    assert_eq!(run(&mut state, &hold(4, 9, "ada", eur(10)), 14), Ok(vec![]));
}

fn command() -> impl Strategy<Value = Command> {
    let name = || proptest::sample::select(["ada", "bob"].as_slice());
    let currency = || proptest::sample::select(CURRENCIES.as_slice());
    prop_oneof![
        2 => (name(), 1_i64..300, currency()).prop_map(|(name, minor, currency)| charge(name, amount(minor, currency))),
        4 => (0_u128..8, name(), 1_i64..200, currency())
            .prop_map(|(number, name, minor, currency)| pay(number, name, amount(minor, currency))),
        2 => (0_u128..8, 1_i64..6, name(), 1_i64..200, currency()).prop_map(
            |(number, version, name, minor, currency)| process_at(number, version, name, amount(minor, currency))
        ),
        2 => (0_u128..8, 1_i64..6, name(), 1_i64..200, currency()).prop_map(
            |(number, version, name, minor, currency)| hold(number, version, name, amount(minor, currency))
        ),
        3 => (0_u128..8, any::<bool>())
            .prop_map(|(number, again)| refund_for(number, RefundReason::OrderCancelled, again)),
    ]
}

proptest! {
    /// Whatever the history, in three currencies: no balance is negative, a wallet holds what was charged less what is
    /// paid, what is given back was taken, each event is one version, and a refund is never rejected.
    #[test]
    fn money_is_conserved(history in proptest::collection::vec(command(), 0..60)) {
        let mut state = State::default();
        let mut charged: HashMap<UserId, i64> = HashMap::new();
        for (command, second) in history.iter().zip(1..) {
            let before = state.clone();
            let outcome = run(&mut state, command, second);
            match (command, &outcome) {
                (Command::Charge { user_id, amount }, Ok(_)) => {
                    *charged.entry(user_id.clone()).or_default() += amount.money().minor_units();
                }
                (Command::Refund { .. }, Err(reason)) => return Err(TestCaseError::fail(*reason)),
                (_, Err(_)) => prop_assert_eq!(&state, &before),
                _ => {}
            }
            for (user_id, wallet) in &state.wallets {
                let completed = state.payments.values().filter(|payment| payment.user_id == *user_id);
                let held: i64 = completed.filter_map(taken).sum();
                prop_assert!(!wallet.balance.is_negative());
                prop_assert_eq!(wallet.balance.minor_units(), charged[user_id] - held);
            }
            let versions = |state: &State| -> i64 {
                let wallets = state.wallets.values().map(|wallet| wallet.version);
                wallets.chain(state.payments.values().map(|payment| payment.version)).sum()
            };
            let events = outcome.map_or(0, |events| events.len());
            prop_assert_eq!(versions(&state) - versions(&before), i64::try_from(events).unwrap());
        }
    }
}

/// Minor units that are taken and not given back.
fn taken(payment: &Payment) -> Option<i64> {
    match payment.state {
        PaymentState::Completed { amount } => Some(amount.money().minor_units()),
        PaymentState::Initiated { .. } | PaymentState::Failed { .. } | PaymentState::Refunded { .. } => None,
    }
}
