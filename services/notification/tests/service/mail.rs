//! Mail that leaves the machine: what a mail server does to it, and what workers do to each other.

use std::{collections::BTreeMap, time::Duration};

use openorder_config::Secret;
use openorder_messaging::RoleContext;
use openorder_notification::{DeliverySettings, EmailTransport, NotificationSettings, SmtpSecurity, SmtpSettings};
use openorder_proto::{
    event_types,
    notification::v1::{
        Notification, NotificationFailed, NotificationSent, NotificationStatus, ResendNotificationRequest,
    },
};
use openorder_runtime::State;
use openorder_telemetry::testing::recording;
use openorder_testing::{World, eventually, redis_url};
use redis::AsyncCommands;
use sqlx::{Connection, PgConnection, Row};

use crate::{
    mail_server::{Answer, MailServer},
    world::{Client, Events, Order, Orders, SOON, about, as_operator, reason, settings, settled, start_with},
};

/// Settings that send mail to this server and are quick about it.
fn mailing(world: &World, server: &MailServer) -> NotificationSettings {
    NotificationSettings {
        email_transport: EmailTransport::Smtp,
        smtp: SmtpSettings {
            port: server.port(),
            security: SmtpSecurity::None,
            from: "Shop <shop@example.com>".to_owned(),
            timeout_ms: 5_000,
            ..SmtpSettings::default()
        },
        delivery: DeliverySettings {
            poll_interval_ms: 20,
            attempts_max: 3,
            retry_delay_base_ms: 50,
            retry_delay_max_ms: 100,
            outage_delay_max_ms: 200,
            lease_ms: 60_000,
            sent_memory_ms: 120_000,
            ..DeliverySettings::default()
        },
        redis_url: Secret::new(redis_url()),
        ..settings(world)
    }
}

async fn start(world: &World, server: &MailServer) -> Client {
    let client = start_with(world, world.role("notification"), mailing(world, server));
    world.readiness().wait_ready().await;
    client
}

/// (attempt, outcome, reason, detail) of all attempts, in their order.
async fn attempts(world: &World, one: &Notification) -> Vec<(i32, i16, String, String)> {
    let mut connection = PgConnection::connect(world.database_url("notification").expose()).await.unwrap();
    let sql = "select attempt, outcome, reason, detail from delivery_attempt \
               where notification_id = $1::uuid order by attempt";
    let rows = sqlx::query(sql).bind(&one.notification_id).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

async fn once_requested(client: &Client, order: &Order) -> Notification {
    eventually("a requested notification", SOON, || async { about(client, order).await.pop() }).await
}

#[tokio::test]
async fn mail_goes_out_once_and_every_step_is_told() {
    let world = World::new();
    let server = MailServer::start().await;
    let client = start(&world, &server).await;
    let events = Events::open(&world).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.tell(&order, &order.paid()).await;
    let sent = settled(&client, &order, 1).await.remove(0);

    let mail = server.taken();
    assert_eq!(mail.len(), 1);
    assert_eq!(mail[0].to, "ada.secret@example.com");
    assert_eq!(mail[0].header("Subject"), sent.subject);
    assert_eq!(mail[0].header("Message-ID"), format!("<{}.1@example.com>", sent.notification_id));
    assert!(mail[0].text.contains("2 x Keyboard: 20.00 EUR"), "{}", mail[0].text);

    assert_eq!((sent.status(), sent.attempts, sent.version), (NotificationStatus::Sent, 1, 2));
    assert!(sent.send_time.is_some());
    assert_eq!(attempts(&world, &sent).await, [(1, 1, String::new(), String::new())]);
    let told = [events.next().await, events.next().await];
    let types = told.each_ref().map(|event| event.event_type.as_str());
    assert_eq!(types, [event_types::NOTIFICATION_REQUESTED, event_types::NOTIFICATION_SENT]);
    let event: NotificationSent = told[1].decode().unwrap();
    assert_eq!((event.version, event.attempts), (2, 1));
    assert_eq!(told[1].trace.trace_id(), sent.trace_id, "one trace to the end");
    world.close().await;
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let world = World::new();
    let policy = |_: &str, tries| if tries < 3 { Answer::Message("451 4.3.0 try again") } else { Answer::Accept };
    let server = MailServer::start_with(policy).await;
    let client = start(&world, &server).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.tell(&order, &order.paid()).await;
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts, server.taken().len()), (NotificationStatus::Sent, 3, 1));
    let recorded = attempts(&world, &sent).await;
    let outcomes: Vec<_> =
        recorded.iter().map(|(number, outcome, reason, _)| (*number, *outcome, reason.as_str())).collect();
    assert_eq!(outcomes, [(1, 2, "SERVER_BUSY"), (2, 2, "SERVER_BUSY"), (3, 1, "")]);
    world.close().await;
}

#[tokio::test]
async fn attempts_are_bounded_and_somebody_may_send_again() {
    let world = World::new();
    let policy = |_: &str, tries| if tries <= 3 { Answer::HangUp } else { Answer::Accept };
    let server = MailServer::start_with(policy).await;
    let client = start(&world, &server).await;
    let events = Events::open(&world).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.tell(&order, &order.paid()).await;
    let failed = settled(&client, &order, 1).await.remove(0);
    assert_eq!((failed.status(), failed.attempts), (NotificationStatus::Failed, 3));
    assert_eq!(failed.failure_reason, "ATTEMPTS_EXHAUSTED");
    let reasons: Vec<String> = attempts(&world, &failed).await.into_iter().map(|(_, _, reason, _)| reason).collect();
    assert_eq!(reasons, ["CONNECTION_LOST"; 3]);
    assert_eq!(events.next().await.event_type, event_types::NOTIFICATION_REQUESTED);
    let event: NotificationFailed = events.next().await.decode().unwrap();
    assert_eq!((event.failure_reason.as_str(), event.attempts), ("ATTEMPTS_EXHAUSTED", 3));

    let message =
        ResendNotificationRequest { request_id: "r1".to_owned(), notification_id: failed.notification_id.clone() };
    let again = client.clone().resend_notification(as_operator(message)).await.unwrap().into_inner();
    assert_eq!(again.notification.unwrap().status(), NotificationStatus::Requested);
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts), (NotificationStatus::Sent, 4));
    let message_id = format!("<{}.2@example.com>", sent.notification_id);
    assert_eq!(server.taken()[0].header("Message-ID"), message_id, "another message than the first round's");
    world.close().await;
}

#[tokio::test]
async fn a_refused_recipient_is_not_tried_again_and_disturbs_nobody() {
    let world = World::new();
    let policy = |to: &str, _| match to.starts_with("bob") {
        true => Answer::Recipient("550 5.1.1 <bob.secret@example.com>: no such user"),
        false => Answer::Accept,
    };
    let server = MailServer::start_with(policy).await;
    let client = start(&world, &server).await;
    let (orders, [of_ada, of_bob]) = (Orders::new(&world), ["ada", "bob"].map(Order::of));
    orders.tell(&of_bob, &of_bob.paid()).await;
    orders.tell(&of_ada, &of_ada.paid()).await;
    let failed = settled(&client, &of_bob, 1).await.remove(0);
    assert_eq!((failed.status(), failed.attempts), (NotificationStatus::Failed, 1));
    assert_eq!(failed.failure_reason, "RECIPIENT_REFUSED");
    let recorded = attempts(&world, &failed).await;
    assert_eq!((recorded[0].1, recorded[0].2.as_str()), (3, "RECIPIENT_REFUSED"));
    assert!(recorded[0].3.contains("no such user") && !recorded[0].3.contains("secret@"), "{recorded:?}");
    assert_eq!(settled(&client, &of_ada, 1).await[0].status(), NotificationStatus::Sent);
    world.close().await;
}

/// A server that is away is nobody's failed attempt; the mail waits and goes out when it is back.
#[tokio::test]
async fn mail_waits_for_a_server_that_is_away() {
    let world = World::new();
    let server = MailServer::start().await;
    let client = start(&world, &server).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    server.stop();
    orders.tell(&order, &order.paid()).await;
    eventually("readiness to tell of the outage", SOON, || async {
        let states = world.readiness().snapshot();
        states.into_iter().find(|one| one.name == "smtp" && one.state == State::Down)
    })
    .await;
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
    orders.tell(&order, &order.paid()).await;
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts, server.tries()), (NotificationStatus::Sent, 1, 5));
    world.close().await;
}

/// Redis is needed for nothing but claims: without it mail waits, and everything else goes on.
#[tokio::test]
async fn mail_waits_for_redis() {
    let world = World::new();
    let server = MailServer::start().await;
    let nowhere = NotificationSettings { redis_url: Secret::new("redis://127.0.0.1:9"), ..mailing(&world, &server) };
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
    orders.tell(&order, &order.paid()).await;
    let waiting = once_requested(&client, &order).await;
    assert_eq!((waiting.status(), server.tries()), (NotificationStatus::Requested, 0));
    shutdown.trigger();
    let client = start_with(&world, world.role("notification"), mailing(&world, &server));
    assert_eq!(settled(&client, &order, 1).await[0].status(), NotificationStatus::Sent);
    assert_eq!(server.taken().len(), 1);
    world.close().await;
}

/// Two instances, many orders: each mail once, and of one order in its order, whatever the server refuses at first.
#[tokio::test]
async fn two_workers_send_each_mail_once_and_an_orders_mails_in_order() {
    const ORDERS: usize = 40;
    let world = World::new();
    let policy = |_: &str, tries: usize| match tries % 7 {
        3 => Answer::Message("451 4.3.0 try again"),
        _ => Answer::Accept,
    };
    let server = MailServer::start_with(policy).await;
    let few = |settings: NotificationSettings| {
        let delivery = DeliverySettings { batch_max: 5, attempts_max: 100, ..settings.delivery.clone() };
        NotificationSettings { delivery, ..settings }
    };
    let client = start_with(&world, world.role("notification"), few(mailing(&world, &server)));
    start_with(&world, world.separate_role("notification"), few(mailing(&world, &server)));
    world.readiness().wait_ready().await;
    let teller = Orders::new(&world);
    let orders: Vec<Order> = (0..ORDERS).map(|number| Order::of(&format!("user-{number}"))).collect();
    for order in &orders {
        teller.tell(order, &order.paid()).await;
        teller.tell(order, &order.shipped()).await;
    }
    for order in &orders {
        for one in settled(&client, order, 2).await {
            assert_eq!(one.status(), NotificationStatus::Sent);
        }
    }
    let mut subjects: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mail in server.taken() {
        let last_words = mail.header("Subject").rsplit(' ').take(1).collect();
        subjects.entry(mail.to).or_default().push(last_words);
    }
    assert_eq!(subjects.len(), ORDERS);
    for (to, subjects) in subjects {
        assert_eq!(subjects, ["paid", "way"], "{to}");
    }
    world.close().await;
}

/// A worker died after the server took the message and before it was recorded: Redis remembers.
#[tokio::test]
async fn a_message_that_redis_knows_as_sent_is_recorded_and_not_sent_again() {
    let world = World::new();
    let server = MailServer::stopped(|_, _| Answer::Accept);
    let client = start_with(&world, world.role("notification"), mailing(&world, &server));
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    eventually("the service to answer", SOON, || async { Some(about(&client, &order).await) }).await;
    orders.tell(&order, &order.paid()).await;
    let requested = once_requested(&client, &order).await;
    let mut redis = redis::Client::open(redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let key = format!("openorder:notification:delivery:{}:1", requested.notification_id);
    let _: () = redis.set_ex(&key, "sent", 60).await.unwrap();
    server.resume().await;
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts, server.tries()), (NotificationStatus::Sent, 1, 0));
    let _: () = redis.del(&key).await.unwrap();
    world.close().await;
}

/// Somebody else holds the claim: hands off, until it ends.
#[tokio::test]
async fn a_claimed_message_is_left_to_its_owner() {
    let world = World::new();
    let server = MailServer::stopped(|_, _| Answer::Accept);
    let quick = mailing(&world, &server);
    let quick = NotificationSettings { delivery: DeliverySettings { lease_ms: 1_000, ..quick.delivery }, ..quick };
    let client = start_with(&world, world.role("notification"), quick);
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    eventually("the service to answer", SOON, || async { Some(about(&client, &order).await) }).await;
    orders.tell(&order, &order.paid()).await;
    let requested = once_requested(&client, &order).await;
    let mut redis = redis::Client::open(redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let key = format!("openorder:notification:delivery:{}:1", requested.notification_id);
    let _: () = redis.set_ex(&key, "the token of another worker", 3).await.unwrap();
    server.resume().await;
    world.readiness().wait_ready().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let held: Option<String> = redis.get(&key).await.unwrap();
    assert_eq!((held.as_deref(), server.tries()), (Some("the token of another worker"), 0));
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), server.taken().len()), (NotificationStatus::Sent, 1));
    world.close().await;
}

#[tokio::test]
async fn a_delivery_joins_the_trace_of_its_order_and_names_no_address() {
    let world = World::new();
    let policy = |_: &str, tries| {
        if tries == 1 { Answer::Message("451 busy for <ada.secret@example.com>") } else { Answer::Accept }
    };
    let server = MailServer::start_with(policy).await;
    let (telemetry, spans) = recording("notification", 1.0);
    let role = RoleContext { telemetry, ..world.role("notification") };
    let client = start_with(&world, role, mailing(&world, &server));
    world.readiness().wait_ready().await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.tell(&order, &order.paid()).await;
    let sent = settled(&client, &order, 1).await.remove(0);
    let of_order = eventually("both deliveries to be traced", SOON, || async {
        let mut ended = spans.all();
        ended.retain(|span| span.span_context.trace_id().to_string() == sent.trace_id);
        (ended.iter().filter(|span| span.name == "deliver email").count() == 2).then_some(ended)
    })
    .await;
    let process = of_order.iter().find(|span| span.name == "process order.lifecycle.v1").unwrap();
    for deliver in of_order.iter().filter(|span| span.name == "deliver email") {
        assert_eq!(deliver.parent_span_id, process.span_context.span_id());
    }
    assert!(!format!("{of_order:?}").contains("secret@"), "no address in traces");
    world.close().await;
}
