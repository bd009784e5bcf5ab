//! Given a notification and preferences, when a command comes, then the notification after its events.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use openorder_types::EmailAddress;

use crate::domain::{ChannelIds, Handover, Kind, PhoneNumber, PreferencesChange, PushToken, Recipient};

const ATTEMPTS_MAX: i32 = 3;

fn at(second: i64) -> Timestamp {
    Timestamp::from_timestamp(second, 0).unwrap()
}

fn notice(recipient: Option<&str>) -> Notice {
    Notice {
        notification_ids: ChannelIds { email: id(1), sms: id(2), push: id(3) },
        order_id: Uuid::from_u128(7),
        user_id: UserId::parse("ada").unwrap(),
        recipient: recipient.map(|address| EmailAddress::parse(address).unwrap()),
        kind: Kind::OrderPaid,
        total: None,
        lines: Vec::new(),
        reason: String::new(),
        detail: String::new(),
    }
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn context(handover: Handover, now: Timestamp) -> Decision<'static> {
    let handovers = Handovers { email: handover, sms: handover, push: handover };
    Decision { now, handovers, attempts_max: ATTEMPTS_MAX, traceparent: "00-1-2-01" }
}

/// Decides and applies one command; its events.
fn run(state: &mut State, command: &Command, context: &Decision<'_>) -> Result<Vec<Event>, Rejection> {
    let events = decide(state, command, context)?;
    events.iter().for_each(|event| evolve(state, event.clone()));
    Ok(events)
}

/// Runs a command on one notification alone.
fn run_on(one: &mut Notification, command: &Command, context: &Decision<'_>) -> Result<(), Rejection> {
    let mut state = State { notifications: HashMap::from([(one.notification_id, one.clone())]), ..State::default() };
    let outcome = run(&mut state, command, context);
    *one = state.notifications.remove(&one.notification_id).unwrap();
    outcome.map(|events| assert_eq!(events.len(), 1))
}

fn resend(one: &mut Notification, handover: Handover, now: Timestamp) -> Result<(), Rejection> {
    run_on(one, &Command::Resend { notification_id: one.notification_id }, &context(handover, now))
}

fn delivered(one: &mut Notification, delivery: &Delivery) -> Result<(), Rejection> {
    run_on(one, &Command::Delivered(Box::new(delivery.clone())), &context(Handover::ByWorker, at(0)))
}

fn notify(recipient: Option<&str>, preferences: &Preferences, handover: Handover) -> Notification {
    notify_over(Channel::Email, recipient, preferences, handover).unwrap()
}

/// What a notice becomes over one channel, if anything is decided about that.
fn notify_over(
    channel: Channel,
    recipient: Option<&str>,
    preferences: &Preferences,
    handover: Handover,
) -> Option<Notification> {
    let preferences = HashMap::from([(preferences.user_id.clone(), preferences.clone())]);
    let mut state = State { preferences, ..State::default() };
    run(&mut state, &Command::Notify(Box::new(notice(recipient))), &context(handover, at(10))).unwrap();
    state.notifications.into_values().find(|one| one.channel == channel)
}

fn anything() -> Preferences {
    Preferences::default_of(UserId::parse("ada").unwrap())
}

fn requested() -> Notification {
    notify(Some("ada@example.com"), &anything(), Handover::ByWorker)
}

fn attempt(round: i32, second: i64, outcome: DeliveryOutcome) -> Delivery {
    Delivery {
        notification_id: Uuid::from_u128(1),
        round,
        started_at: at(second - 1),
        ended_at: at(second),
        outcome,
        retry_at: at(second) + TimeDelta::seconds(30),
    }
}

fn later() -> DeliveryOutcome {
    DeliveryOutcome::TryLater { reason: "SERVER_BUSY", detail: "451".to_owned() }
}

fn refused() -> DeliveryOutcome {
    DeliveryOutcome::Refused { reason: "RECIPIENT_REFUSED", detail: "550".to_owned() }
}

#[test]
fn the_history_takes_a_message_at_once() {
    let sent = notify(Some("ada@example.com"), &anything(), Handover::AtOnce);
    assert_eq!((sent.status, sent.attempts, sent.send_time), (Status::Sent, 1, Some(at(10))));
    assert_eq!((sent.version, sent.event_version, sent.next_attempt_at), (1, 1, None));
}

#[test]
fn a_message_for_the_worker_is_due_at_once() {
    let waiting = requested();
    assert_eq!((waiting.status, waiting.attempts, waiting.send_time), (Status::Requested, 0, None));
    assert_eq!((waiting.version, waiting.event_version, waiting.next_attempt_at), (1, 1, Some(at(10))));
}

#[test]
fn what_is_not_wanted_is_not_sent_and_not_published() {
    let no_mail = PreferencesChange { email_enabled: Some(false), ..PreferencesChange::default() };
    let muted = Some(BTreeSet::from([Kind::OrderPaid]));
    let muted = PreferencesChange { muted_kinds: muted, ..PreferencesChange::default() };
    for (recipient, preferences, reason) in [
        (None, anything(), "RECIPIENT_MISSING"),
        (Some("ada@example.com"), anything().changed(&no_mail, at(0)), "CHANNEL_DISABLED"),
        (Some("ada@example.com"), anything().changed(&muted, at(0)), "KIND_MUTED"),
        (None, anything().changed(&muted, at(0)), "KIND_MUTED"),
    ] {
        for handover in [Handover::AtOnce, Handover::ByWorker] {
            let suppressed = notify(recipient, &preferences, handover);
            assert_eq!((suppressed.status, suppressed.failure_reason.as_str()), (Status::Suppressed, reason));
            assert_eq!((suppressed.attempts, suppressed.event_version), (0, 0));
            assert_eq!((suppressed.send_time, suppressed.next_attempt_at), (None, None));
        }
    }
}

#[test]
fn each_channel_has_its_own_address_and_is_wanted_by_itself() {
    let (number, token) = (PhoneNumber::parse("+4930901820").unwrap(), PushToken::parse("token").unwrap());
    let change = PreferencesChange {
        email_enabled: Some(false),
        sms_enabled: Some(true),
        push_enabled: Some(true),
        phone_number: Some(Some(number.clone())),
        ..PreferencesChange::default()
    };
    let preferences = anything().changed(&change, at(0));
    let over = |channel, preferences: &Preferences| {
        let one = notify_over(channel, Some("ada@example.com"), preferences, Handover::ByWorker).unwrap();
        (one.status, one.recipient, one.failure_reason)
    };
    let (status, _, reason) = over(Channel::Email, &preferences);
    assert_eq!((status, reason.as_str()), (Status::Suppressed, "CHANNEL_DISABLED"));
    assert_eq!(over(Channel::Sms, &preferences), (Status::Requested, Some(Recipient::Sms(number)), String::new()));
    let (status, recipient, reason) = over(Channel::Push, &preferences);
    assert_eq!((status, recipient, reason.as_str()), (Status::Suppressed, None, "RECIPIENT_MISSING"));
    let change = PreferencesChange { push_token: Some(Some(token.clone())), ..PreferencesChange::default() };
    let preferences = preferences.changed(&change, at(0));
    assert_eq!(over(Channel::Push, &preferences), (Status::Requested, Some(Recipient::Push(token)), String::new()));
}

#[test]
fn an_accepted_message_is_sent() {
    let mut one = requested();
    delivered(&mut one, &attempt(1, 20, DeliveryOutcome::Accepted)).unwrap();
    assert_eq!((one.status, one.attempts, one.send_time), (Status::Sent, 1, Some(at(20))));
    assert_eq!((one.version, one.event_version, one.next_attempt_at), (2, 2, None));
}

#[test]
fn attempts_are_bounded() {
    let mut one = requested();
    for second in [20, 30] {
        delivered(&mut one, &attempt(1, second, later())).unwrap();
        assert_eq!((one.status, one.next_attempt_at), (Status::Requested, Some(at(second + 30))));
        assert_eq!(one.event_version, 1, "nothing is published before the end");
    }
    delivered(&mut one, &attempt(1, 40, later())).unwrap();
    assert_eq!((one.status, one.failure_reason.as_str()), (Status::Failed, "ATTEMPTS_EXHAUSTED"));
    assert_eq!((one.attempts, one.version, one.event_version, one.next_attempt_at), (3, 4, 2, None));
}

#[test]
fn a_refusal_is_the_end() {
    let mut one = requested();
    delivered(&mut one, &attempt(1, 20, refused())).unwrap();
    assert_eq!((one.status, one.failure_reason.as_str()), (Status::Failed, "RECIPIENT_REFUSED"));
}

#[test]
fn a_late_result_changes_nothing() {
    let mut one = requested();
    delivered(&mut one, &attempt(1, 20, refused())).unwrap();
    let before = one.clone();
    let late = delivered(&mut one, &attempt(1, 30, DeliveryOutcome::Accepted)).unwrap_err();
    assert_eq!((late.reason, &one), ("DELIVERY_OUTDATED", &before));

    resend(&mut one, Handover::ByWorker, at(40)).unwrap();
    let before = one.clone();
    let late = delivered(&mut one, &attempt(1, 50, DeliveryOutcome::Accepted)).unwrap_err();
    assert_eq!((late.reason, &one), ("DELIVERY_OUTDATED", &before), "a result of the round before");
}

#[test]
fn sending_again_starts_a_round_of_its_own() {
    let mut one = requested();
    delivered(&mut one, &attempt(1, 20, refused())).unwrap();
    resend(&mut one, Handover::ByWorker, at(30)).unwrap();
    assert_eq!((one.status, one.round, one.failure_reason.as_str()), (Status::Requested, 2, ""));
    assert_eq!((one.version, one.event_version, one.next_attempt_at), (3, 3, Some(at(30))));
    assert_eq!((one.create_time, one.request_time), (at(10), at(30)), "its time to be sent begins anew");
    delivered(&mut one, &attempt(2, 40, later())).unwrap();
    assert_eq!((one.status, one.attempts, one.round_attempts), (Status::Requested, 2, 1));
}

#[test]
fn a_sent_and_a_suppressed_one_may_be_sent_again() {
    let no_mail = PreferencesChange { email_enabled: Some(false), ..PreferencesChange::default() };
    let mut suppressed = notify(Some("ada@example.com"), &anything().changed(&no_mail, at(0)), Handover::AtOnce);
    resend(&mut suppressed, Handover::AtOnce, at(30)).unwrap();
    assert_eq!((suppressed.status, suppressed.event_version), (Status::Sent, 1));

    let mut sent = notify(Some("ada@example.com"), &anything(), Handover::AtOnce);
    resend(&mut sent, Handover::AtOnce, at(30)).unwrap();
    assert_eq!((sent.status, sent.attempts, sent.send_time), (Status::Sent, 2, Some(at(30))));
}

#[test]
fn what_cannot_be_sent_again_says_why() {
    let mut waiting = requested();
    assert_eq!(resend(&mut waiting, Handover::ByWorker, at(30)).unwrap_err().reason, "NOTIFICATION_IN_PROGRESS");
    let mut nowhere = notify(None, &anything(), Handover::ByWorker);
    assert_eq!(resend(&mut nowhere, Handover::ByWorker, at(30)).unwrap_err().reason, "RECIPIENT_MISSING");
}

#[test]
fn a_notice_is_decided_for_each_channel_with_the_ids_that_it_brings() {
    let change =
        PreferencesChange { sms_enabled: Some(true), push_enabled: Some(true), ..PreferencesChange::default() };
    let mut state = State::default();
    let update = Command::UpdatePreferences { user_id: UserId::parse("ada").unwrap(), change };
    run(&mut state, &update, &context(Handover::AtOnce, at(1))).unwrap();
    let notify = Command::Notify(Box::new(notice(Some("ada@example.com"))));
    run(&mut state, &notify, &context(Handover::AtOnce, at(2))).unwrap();
    for (number, channel) in (1..).zip(Channel::ALL) {
        let one = &state.notifications[&id(number)];
        assert_eq!((one.channel, one.traceparent.as_str(), one.create_time), (*channel, "00-1-2-01", at(2)));
    }
}

#[test]
fn who_has_no_preferences_gets_mail() {
    let mut state = State::default();
    let notify = Command::Notify(Box::new(notice(Some("ada@example.com"))));
    run(&mut state, &notify, &context(Handover::AtOnce, at(2))).unwrap();
    assert_eq!(state.notifications.keys().collect::<Vec<_>>(), [&id(1)]);
}

#[test]
fn repeated_preferences_change_nothing() {
    let change = PreferencesChange { email_enabled: Some(false), ..PreferencesChange::default() };
    let update = Command::UpdatePreferences { user_id: UserId::parse("ada").unwrap(), change };
    let mut state = State::default();
    let changed = run(&mut state, &update, &context(Handover::AtOnce, at(1))).unwrap();
    assert!(matches!(&changed[..], [Event::PreferencesChanged(preferences)] if preferences.version == 1));
    assert_eq!(run(&mut state, &update, &context(Handover::AtOnce, at(2))).unwrap(), []);
}

#[test]
fn where_an_erased_user_was_reached_is_forgotten_and_what_it_did_not_want_stays() {
    let user_id = UserId::parse("ada").unwrap();
    let change = PreferencesChange {
        sms_enabled: Some(true),
        phone_number: Some(PhoneNumber::parse("+4930901820").ok()),
        push_token: Some(PushToken::parse("token").ok()),
        muted_kinds: Some([Kind::OrderShipped].into()),
        ..PreferencesChange::default()
    };
    let (mut state, context) = (State::default(), context(Handover::AtOnce, at(1)));
    let forget = Command::Forget { user_id: user_id.clone() };
    assert_eq!(run(&mut state, &forget, &context).unwrap(), [], "nothing was kept");
    run(&mut state, &Command::UpdatePreferences { user_id: user_id.clone(), change }, &context).unwrap();
    run(&mut state, &forget, &context).unwrap();
    let Preferences { sms_enabled, phone_number, push_token, muted_kinds, version, .. } = &state.preferences[&user_id];
    assert_eq!((*sms_enabled, phone_number, push_token, *version), (false, &None, &None, 2));
    assert!(muted_kinds.contains(&Kind::OrderShipped));
    assert_eq!(run(&mut state, &forget, &context).unwrap(), [], "once is enough");
}

#[test]
fn a_notification_that_does_not_exist_is_not_found() {
    let context = context(Handover::AtOnce, at(1));
    let delivery = Command::Delivered(Box::new(attempt(1, 2, later())));
    for command in [Command::Resend { notification_id: id(1) }, delivery] {
        assert_eq!(decide(&State::default(), &command, &context).unwrap_err().reason, "NOTIFICATION_NOT_FOUND");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Resend(Handover),
    Attempt(i32, DeliveryOutcome),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let handover = prop_oneof![Just(Handover::AtOnce), Just(Handover::ByWorker)];
    let outcome = prop_oneof![Just(DeliveryOutcome::Accepted), Just(later()), Just(refused())];
    let step = prop_oneof![
        handover.prop_map(Step::Resend),
        (1..4_i32, outcome).prop_map(|(round, outcome)| Step::Attempt(round, outcome)),
    ];
    proptest::collection::vec(step, 0..30)
}

proptest! {
    /// Whatever comes in whatever order: a rejected step leaves nothing behind, a version is never skipped, every
    /// status change but a new round's start is published, and a round's attempts stay within their bound.
    #[test]
    fn no_sequence_breaks_the_rules(steps in steps()) {
        let mut one = requested();
        for step in steps {
            let before = one.clone();
            let result = match &step {
                Step::Resend(handover) => resend(&mut one, *handover, at(30)),
                Step::Attempt(round, outcome) => delivered(&mut one, &attempt(*round, 20, outcome.clone())),
            };
            if result.is_err() {
                prop_assert_eq!(&one, &before);
                continue;
            }
            prop_assert_eq!(one.version, before.version + 1);
            let published = one.event_version - before.event_version;
            let news = one.status != before.status || matches!(step, Step::Resend(_));
            prop_assert_eq!(published, i64::from(news));
            prop_assert!(one.round_attempts <= ATTEMPTS_MAX);
            prop_assert_eq!(one.status == Status::Requested, one.next_attempt_at.is_some());
            prop_assert_eq!(one.status == Status::Sent, one.send_time.is_some());
            prop_assert_eq!(one.status == Status::Failed, !one.failure_reason.is_empty());
        }
    }
}
