//! Text messages and messages to apps: whom they reach, and what their providers do to them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openorder_config::Secret;
use openorder_notification::{DeliverySettings, HttpTransport, NotificationSettings};
use openorder_proto::notification::v1::{
    Notification, NotificationChannel, NotificationKind, NotificationPreferences, NotificationStatus,
    UpdatePreferencesRequest,
};
use openorder_testing::{
    World, eventually,
    mail_server::{Answer, MailServer},
    redis_url,
};
use prost_types::FieldMask;

use crate::{
    http_provider::{HttpProvider, Say},
    sending::{attempts, mailing, once_down, quick},
    world::{Client, Order, Orders, SOON, about, as_customer, settings, settled, start_with},
};

const NUMBER: &str = "+4930901820";
const TOKEN: &str = "ExponentPushToken[0123456789abcdef]";

/// Text messages by this provider; mail and messages to apps stay in the history.
fn texting(world: &World, provider: &HttpProvider) -> NotificationSettings {
    NotificationSettings {
        sms_transport: HttpTransport::Http,
        sms: provider.settings(),
        delivery: quick(),
        redis_url: Secret::new(redis_url()),
        ..settings(world)
    }
}

async fn start(world: &World, settings: NotificationSettings) -> Client {
    let client = start_with(world, world.role("notification"), settings);
    world.readiness().wait_ready().await;
    client
}

/// The user wants text messages and nothing else.
async fn wants_sms(client: &Client, user: &str) {
    let wanted = NotificationPreferences {
        sms_enabled: true,
        phone_number: NUMBER.to_owned(),
        ..NotificationPreferences::default()
    };
    prefer(client, user, wanted, &["email_enabled", "sms_enabled", "phone_number"]).await;
}

async fn prefer(client: &Client, user: &str, preferences: NotificationPreferences, paths: &[&str]) {
    let message = UpdatePreferencesRequest {
        request_id: format!("prefer-{}", paths.join("-")),
        user_id: user.to_owned(),
        preferences: Some(preferences),
        update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
    };
    client.clone().update_preferences(as_customer(user, message)).await.unwrap();
}

/// The text message about the order, once it came to its end.
async fn text(client: &Client, order: &Order) -> Notification {
    let mut all = settled(client, order, 2).await;
    all.retain(|one| one.channel() == NotificationChannel::Sms);
    all.remove(0)
}

#[tokio::test]
async fn each_channel_goes_its_own_way_to_who_wants_it() {
    let world = World::new();
    let mail = MailServer::start().await;
    let (sms, push) =
        (HttpProvider::start(|_, _| Say::Status(202)).await, HttpProvider::start(|_, _| Say::Status(200)).await);
    let all = NotificationSettings {
        sms_transport: HttpTransport::Http,
        push_transport: HttpTransport::Http,
        sms: sms.settings(),
        push: push.settings(),
        ..mailing(&world, mail.port())
    };
    let client = start(&world, all).await;
    let everything = NotificationPreferences {
        sms_enabled: true,
        push_enabled: true,
        phone_number: NUMBER.to_owned(),
        push_token: TOKEN.to_owned(),
        ..NotificationPreferences::default()
    };
    prefer(&client, "ada", everything, &["sms_enabled", "push_enabled", "phone_number", "push_token"]).await;
    let muted = NotificationPreferences {
        muted_kinds: vec![NotificationKind::OrderShipped.into()],
        ..NotificationPreferences::default()
    };
    prefer(&client, "ada", muted, &["muted_kinds"]).await;
    let (orders, [of_ada, of_bob]) = (Orders::new(&world), ["ada", "bob"].map(Order::of));
    orders.publish(&of_ada, &of_ada.paid()).await;
    orders.publish(&of_ada, &of_ada.shipped()).await;
    orders.publish(&of_bob, &of_bob.paid()).await;

    let told = settled(&client, &of_ada, 6).await;
    assert_eq!(told.len(), 6, "three channels, two kinds");
    for one in &told {
        let expected = match one.kind() {
            NotificationKind::OrderShipped => (NotificationStatus::Suppressed, "KIND_MUTED"),
            _ => (NotificationStatus::Sent, ""),
        };
        assert_eq!((one.status(), one.failure_reason.as_str()), expected, "{one:?}");
    }
    let masked: Vec<&str> = told.iter().take(3).map(|one| one.masked_recipient.as_str()).collect();
    assert_eq!(masked, ["a***@example.com", "+49***20", "***def]"]);
    let by_default = settled(&client, &of_bob, 1).await;
    assert_eq!((by_default.len(), by_default[0].channel()), (1, NotificationChannel::Email));

    let [posted] = sms.posted().try_into().unwrap();
    let line = format!("Your order {} is paid. Total: 20.00 EUR.", of_ada.id);
    let text = told.iter().find(|one| one.channel() == NotificationChannel::Sms).unwrap();
    assert_eq!(posted.idempotency_key, format!("{}.1", text.notification_id));
    assert_eq!(posted.authorization, "Bearer a-token");
    let expected = serde_json::json!({
        "notification_id": text.notification_id, "order_id": of_ada.id, "kind": "order_paid", "to": NUMBER, "text": line,
    });
    assert_eq!(posted.message, expected);
    let [posted] = push.posted().try_into().unwrap();
    assert_eq!(
        (posted.message["to"].as_str(), posted.message["title"].as_str()),
        (Some(TOKEN), Some("Your order is paid"))
    );
    assert_eq!(mail.taken().len(), 2);
    world.close().await;
}

#[tokio::test]
async fn what_leaves_no_machine_is_kept_in_the_history() {
    let world = World::new();
    let client = start(&world, settings(&world)).await;
    wants_sms(&client, "ada").await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    let kept = text(&client, &order).await;
    assert_eq!(
        (kept.status(), kept.attempts, kept.masked_recipient.as_str()),
        (NotificationStatus::Sent, 1, "+49***20")
    );
    let mail = &settled(&client, &order, 2).await[0];
    assert_eq!((mail.status(), mail.failure_reason.as_str()), (NotificationStatus::Suppressed, "CHANNEL_DISABLED"));
    world.close().await;
}

/// A second attempt is the same request: the provider that took the first one knows it by its key.
#[tokio::test]
async fn a_provider_that_is_busy_or_silent_is_asked_again_with_the_same_key() {
    let world = World::new();
    let provider = HttpProvider::start(|_, number| match number {
        1 => Say::Status(503),
        2 => Say::Nothing,
        _ => Say::Status(201),
    })
    .await;
    let client = start(&world, texting(&world, &provider)).await;
    wants_sms(&client, "ada").await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    let sent = text(&client, &order).await;
    assert_eq!((sent.status(), sent.attempts), (NotificationStatus::Sent, 3));
    let recorded: Vec<_> =
        attempts(&world, &sent).await.into_iter().map(|(_, outcome, why, _)| (outcome, why)).collect();
    let expected = [(2, "PROVIDER_BUSY"), (2, "TIMED_OUT"), (1, "")].map(|(outcome, why)| (outcome, why.to_owned()));
    assert_eq!(recorded, expected);
    let keys: Vec<String> = provider.posted().into_iter().map(|posted| posted.idempotency_key).collect();
    assert_eq!(keys, vec![format!("{}.1", sent.notification_id); 3]);
    world.close().await;
}

#[tokio::test]
async fn a_provider_gets_the_time_that_it_asks_for() {
    let world = World::new();
    let provider =
        HttpProvider::start(|_, number| if number == 1 { Say::After(429, 1) } else { Say::Status(200) }).await;
    let client = start(&world, texting(&world, &provider)).await;
    wants_sms(&client, "ada").await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    assert_eq!(text(&client, &order).await.status(), NotificationStatus::Sent);
    let posted = provider.posted();
    let waited = posted[1].at - posted[0].at;
    assert!(waited >= Duration::from_millis(990), "{waited:?}, and no more than 100 ms without being asked");
    world.close().await;
}

#[tokio::test]
async fn what_a_provider_refuses_is_refused_for_good_and_its_words_give_nobody_away() {
    let world = World::new();
    let statuses = [(400, "MESSAGE_REFUSED"), (404, "RECIPIENT_REFUSED"), (422, "MESSAGE_REFUSED")];
    let provider = HttpProvider::start(move |_, number| Say::Status(statuses[number - 1].0)).await;
    let client = start(&world, texting(&world, &provider)).await;
    wants_sms(&client, "ada").await;
    let orders = Orders::new(&world);
    for (status, why) in statuses {
        let order = Order::of("ada");
        orders.publish(&order, &order.paid()).await;
        let failed = text(&client, &order).await;
        assert_eq!((failed.status(), failed.attempts), (NotificationStatus::Failed, 1));
        assert_eq!(failed.failure_reason, why);
        let (_, outcome, _, detail) = attempts(&world, &failed).await.remove(0);
        assert_eq!(outcome, 3);
        assert!(detail.starts_with(&format!("HTTP {status} about \"<address>\":")), "{detail}");
        assert!(detail.len() <= 300 && !detail.contains("901820"), "{detail}");
    }
    world.close().await;
}

/// A refused token would fail every message: it is an outage, and no message pays for it.
#[tokio::test]
async fn a_refused_token_fails_no_message() {
    let world = World::new();
    let let_in = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&let_in);
    let provider =
        HttpProvider::start(move |_, _| Say::Status(if seen.load(Ordering::SeqCst) { 200 } else { 401 })).await;
    let client = start(&world, texting(&world, &provider)).await;
    wants_sms(&client, "ada").await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    assert!(once_down(&world, "sms").await.contains("HTTP 401"));
    eventually("more refusals than there are attempts", SOON, || async { (provider.posted().len() > 5).then_some(()) })
        .await;
    let_in.store(true, Ordering::SeqCst);
    let sent = text(&client, &order).await;
    assert_eq!((sent.status(), sent.attempts), (NotificationStatus::Sent, 1));
    eventually("readiness", SOON, || async { world.readiness().is_ready().then_some(()) }).await;
    world.close().await;
}

/// A provider that fails is left alone, and its messages wait; the other channels do not.
#[tokio::test]
async fn a_failing_provider_holds_up_its_own_channel_alone() {
    let world = World::new();
    let healed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&healed);
    let provider =
        HttpProvider::start(move |_, _| Say::Status(if seen.load(Ordering::SeqCst) { 200 } else { 500 })).await;
    let mail = MailServer::start_with(|_, _| Answer::Accept).await;
    let careful = NotificationSettings {
        sms_transport: HttpTransport::Http,
        sms: provider.settings(),
        delivery: DeliverySettings { breaker_failures_max: 2, ..quick() },
        ..mailing(&world, mail.port())
    };
    let client = start(&world, careful).await;
    let wanted = NotificationPreferences {
        sms_enabled: true,
        phone_number: NUMBER.to_owned(),
        ..NotificationPreferences::default()
    };
    prefer(&client, "ada", wanted, &["sms_enabled", "phone_number"]).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    once_down(&world, "sms").await;
    eventually("more probes than there are attempts", SOON, || async { (provider.posted().len() > 8).then_some(()) })
        .await;
    let both = about(&client, &order).await;
    let status = |channel| both.iter().find(|one| one.channel() == channel).unwrap().status();
    assert_eq!(status(NotificationChannel::Email), NotificationStatus::Sent);
    assert_eq!(status(NotificationChannel::Sms), NotificationStatus::Requested);
    assert_eq!(mail.taken().len(), 1);
    healed.store(true, Ordering::SeqCst);
    let sent = text(&client, &order).await;
    assert_eq!(
        (sent.status(), sent.attempts),
        (NotificationStatus::Sent, 3),
        "two that opened the breaker, and this one"
    );
    world.close().await;
}
