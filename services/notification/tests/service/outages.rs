//! Outages: a mail server, a Redis or a database that is away costs no attempt, and nothing is sent twice for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openorder_config::Secret;
use openorder_notification::{DeliverySettings, NotificationSettings};
use openorder_proto::notification::v1::{NotificationStatus, ResendNotificationRequest};
use openorder_testing::{
    Cut, World, eventually,
    mail_server::{Answer, MailServer},
    redis_url,
};

use crate::{
    sending::{attempts, mailing, once_down, once_requested, quick, start},
    world::{Order, Orders, SOON, about, as_operator, reason, settled, start_with},
};

/// A server that is away is nobody's failed attempt; the mail waits and goes out when it is back.
#[tokio::test]
async fn mail_waits_for_a_server_that_is_away() {
    let world = World::new();
    let server = MailServer::start().await;
    let client = start(&world, &server).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    server.stop();
    orders.publish(&order, &order.paid()).await;
    once_down(&world, "smtp").await;
    // Longer than all attempts would take.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waiting = once_requested(&client, &order).await;
    assert_eq!((waiting.status(), waiting.attempts), (NotificationStatus::Requested, 0));
    let message =
        ResendNotificationRequest { request_id: "r1".to_owned(), notification_id: waiting.notification_id.clone() };
    let refused = client.clone().resend_notification(as_operator(message)).await.unwrap_err();
    assert_eq!(reason(&refused), "NOTIFICATION_IN_PROGRESS");

    server.resume().await;
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts, server.taken().len()), (NotificationStatus::Sent, 1, 1));
    eventually("readiness", SOON, || async { world.readiness().is_ready().then_some(()) }).await;
    world.close().await;
}

/// A server without SMTPUTF8 never takes mail to such an address: that is this message's end, and nobody else's.
#[tokio::test]
async fn an_address_that_the_server_cannot_write_fails_alone() {
    let world = World::new();
    let server = MailServer::start().await;
    let client = start(&world, &server).await;
    let orders = Orders::new(&world);
    let unusual: Vec<Order> = (0..5)
        .map(|number| Order { email: "jörg@example.com".to_owned(), ..Order::of(&format!("j{number}")) })
        .collect();
    for order in &unusual {
        orders.publish(order, &order.paid()).await;
    }
    for order in &unusual {
        let failed = settled(&client, order, 1).await.remove(0);
        assert_eq!(
            (failed.status(), failed.failure_reason.as_str()),
            (NotificationStatus::Failed, "ADDRESS_NOT_SUPPORTED")
        );
    }
    // The breaker is closed: mail to others goes out, also to a domain that only its ASCII form names.
    assert!(world.readiness().is_ready(), "{:?}", world.readiness().snapshot());
    let order = Order { email: "ada@bücher.example".to_owned(), ..Order::of("ada") };
    orders.publish(&order, &order.paid()).await;
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts), (NotificationStatus::Sent, 1));
    assert_eq!(server.taken()[0].to, "ada@xn--bcher-kva.example");
    world.close().await;
}

/// A refused login would fail every message: it is an outage too.
#[tokio::test]
async fn a_refused_login_fails_no_mail() {
    let world = World::new();
    let server = MailServer::start_with(|_, tries| match tries {
        1..=4 => Answer::Message("530 5.7.0 authentication required"),
        _ => Answer::Accept,
    })
    .await;
    let client = start(&world, &server).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts, server.tries()), (NotificationStatus::Sent, 1, 5));
    world.close().await;
}

/// Redis is needed for nothing but claims: without it mail waits, and everything else goes on.
#[tokio::test]
async fn mail_waits_for_redis() {
    let world = World::new();
    let server = MailServer::start().await;
    let nowhere =
        NotificationSettings { redis_url: Secret::new("redis://127.0.0.1:9"), ..mailing(&world, server.port()) };
    let cut_off = world.separate_role("notification");
    let shutdown = cut_off.shutdown.clone();
    let client = start_with(&world, cut_off, nowhere);
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    eventually("the consumer's topic", SOON, || async {
        let states = world.readiness().snapshot();
        states.iter().find(|one| one.name == "redis" && !one.detail.is_empty())?;
        states.iter().find(|one| one.name == "kafka-consumer" || one.name == "consumer")?;
        Some(())
    })
    .await;
    orders.publish(&order, &order.paid()).await;
    let waiting = once_requested(&client, &order).await;
    assert_eq!((waiting.status(), server.tries()), (NotificationStatus::Requested, 0));
    shutdown.trigger();
    let client = start_with(&world, world.role("notification"), mailing(&world, server.port()));
    assert_eq!(settled(&client, &order, 1).await[0].status(), NotificationStatus::Sent);
    assert_eq!(server.taken().len(), 1);
    world.close().await;
}

/// Redis goes while messages are on their way, and comes back: each is sent once.
#[tokio::test]
async fn a_cut_to_redis_holds_mail_up_and_doubles_none() {
    const ORDERS: usize = 12;
    let world = World::new();
    let server = MailServer::start().await;
    let url = redis_url();
    let redis = url.strip_prefix("redis://").unwrap().trim_end_matches('/');
    let cable = Cut::to(redis).await;
    let through = Secret::new(format!("redis://{}", cable.address()));
    let cabled = NotificationSettings { redis_url: through, ..mailing(&world, server.port()) };
    let client = start_with(&world, world.role("notification"), cabled);
    world.readiness().wait_ready().await;
    let teller = Orders::new(&world);
    let orders: Vec<Order> = (0..ORDERS).map(|number| Order::of(&format!("user-{number}"))).collect();
    for (number, order) in orders.iter().enumerate() {
        teller.publish(order, &order.paid()).await;
        if number == ORDERS / 2 {
            cable.cut();
        }
    }
    once_down(&world, "redis").await;
    let waiting = once_requested(&client, &orders[ORDERS - 1]).await;
    assert_eq!((waiting.status(), waiting.attempts), (NotificationStatus::Requested, 0));
    let before = server.tries();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.tries(), before, "nothing is sent without a claim");
    cable.mend();
    for order in &orders {
        let sent = settled(&client, order, 1).await.remove(0);
        assert_eq!((sent.status(), sent.attempts), (NotificationStatus::Sent, 1));
    }
    assert_eq!(server.taken().len(), ORDERS);
    world.close().await;
}

/// A server that refuses whatever it is offered is an outage, found by its breaker: the messages wait, and their
/// attempts are not used up however long it takes.
#[tokio::test]
async fn a_failing_server_opens_its_breaker_and_messages_wait_uncounted() {
    const ORDERS: usize = 6;
    let world = World::new();
    let healed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&healed);
    let policy = move |_: &str, _| match seen.load(Ordering::SeqCst) {
        true => Answer::Accept,
        false => Answer::Message("451 4.3.0 no disk"),
    };
    let server = MailServer::start_with(policy).await;
    let careful = NotificationSettings {
        delivery: DeliverySettings { concurrency: 1, breaker_failures_max: 2, attempts_max: 3, ..quick() },
        ..mailing(&world, server.port())
    };
    let client = start_with(&world, world.role("notification"), careful);
    world.readiness().wait_ready().await;
    let teller = Orders::new(&world);
    let orders: Vec<Order> = (0..ORDERS).map(|number| Order::of(&format!("user-{number}"))).collect();
    for order in &orders {
        teller.publish(order, &order.paid()).await;
    }
    once_down(&world, "smtp").await;
    // More than all attempts of all of them would be.
    eventually("probes by single messages", SOON, || async { (server.tries() > 3 * ORDERS).then_some(()) }).await;
    let mut counted = 0;
    for order in &orders {
        let waiting = once_requested(&client, order).await;
        assert_eq!(waiting.status(), NotificationStatus::Requested);
        counted += attempts(&world, &waiting).await.len();
    }
    assert_eq!(counted, 2, "those that opened the breaker, and no other");
    healed.store(true, Ordering::SeqCst);
    for order in &orders {
        assert_eq!(settled(&client, order, 1).await[0].status(), NotificationStatus::Sent);
    }
    assert_eq!(server.taken().len(), ORDERS);
    eventually("readiness", SOON, || async { world.readiness().is_ready().then_some(()) }).await;
    world.close().await;
}

/// An open breaker leaves the server alone.
#[tokio::test]
async fn an_open_breaker_asks_nobody() {
    let world = World::new();
    let server = MailServer::start_with(|_, _| Answer::Message("451 4.3.0 no disk")).await;
    let slow = NotificationSettings {
        delivery: DeliverySettings {
            breaker_failures_max: 1,
            breaker_open_base_ms: 60_000,
            breaker_open_max_ms: 60_000,
            ..quick()
        },
        ..mailing(&world, server.port())
    };
    let client = start_with(&world, world.role("notification"), slow);
    world.readiness().wait_ready().await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    assert!(once_down(&world, "smtp").await.contains("circuit breaker"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((server.tries(), about(&client, &order).await[0].attempts), (1, 1));
    world.close().await;
}
