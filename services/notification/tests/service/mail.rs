//! Mail that leaves the machine: what a mail server does to it.

use openorder_messaging::RoleContext;
use openorder_notification::{DeliverySettings, NotificationSettings, SmtpSettings};
use openorder_proto::{
    event_types,
    notification::v1::{NotificationFailed, NotificationSent, NotificationStatus, ResendNotificationRequest},
};
use openorder_telemetry::testing::recording;
use openorder_testing::{
    World, eventually,
    mail_server::{Answer, MailServer},
};

use crate::{
    sending::{attempts, mailing, quick, start},
    world::{Events, Order, Orders, SOON, about, as_operator, settled, start_with},
};

#[tokio::test]
async fn mail_goes_out_once_and_every_step_is_told() {
    let world = World::new();
    let server = MailServer::start().await;
    let client = start(&world, &server).await;
    let events = Events::open(&world).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
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
    let types = told.each_ref().map(|event| &*event.event_type);
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
    orders.publish(&order, &order.paid()).await;
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
    orders.publish(&order, &order.paid()).await;
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
    orders.publish(&of_bob, &of_bob.paid()).await;
    orders.publish(&of_ada, &of_ada.paid()).await;
    let failed = settled(&client, &of_bob, 1).await.remove(0);
    assert_eq!((failed.status(), failed.attempts), (NotificationStatus::Failed, 1));
    assert_eq!(failed.failure_reason, "RECIPIENT_REFUSED");
    let recorded = attempts(&world, &failed).await;
    assert_eq!((recorded[0].1, recorded[0].2.as_str()), (3, "RECIPIENT_REFUSED"));
    assert!(recorded[0].3.contains("no such user") && !recorded[0].3.contains("secret@"), "{recorded:?}");
    assert_eq!(settled(&client, &of_ada, 1).await[0].status(), NotificationStatus::Sent);
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
    let client = start_with(&world, role, mailing(&world, server.port()));
    world.readiness().wait_ready().await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
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
    let failed = of_order.iter().filter(|span| span.attributes.iter().any(|one| one.key.as_str() == "error.type"));
    assert_eq!(failed.map(|span| span.name.as_ref()).collect::<Vec<_>>(), ["deliver email"], "the first attempt");
    assert!(!format!("{of_order:?}").contains("secret@"), "no address in traces");
    world.close().await;
}

/// The server took the message, and its answer was lost: it counts as an attempt, because the customer may have two
/// copies. Both say that they are one.
#[tokio::test]
async fn a_lost_answer_is_an_attempt_and_the_second_copy_can_be_told() {
    let world = World::new();
    let policy = |_: &str, tries| if tries == 1 { Answer::AcceptAndHangUp } else { Answer::Accept };
    let server = MailServer::start_with(policy).await;
    let client = start(&world, &server).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts), (NotificationStatus::Sent, 2));
    let recorded: Vec<_> =
        attempts(&world, &sent).await.into_iter().map(|(_, outcome, why, _)| (outcome, why)).collect();
    assert_eq!(recorded, [(2, "CONNECTION_LOST".to_owned()), (1, String::new())]);
    let taken = server.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].header("Message-ID"), taken[1].header("Message-ID"));
    world.close().await;
}

/// A server that never answers costs an attempt each time, and no more than the attempts that there are.
#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_bounded_time() {
    let world = World::new();
    let server = MailServer::start_with(|_, _| Answer::Hang).await;
    let impatient = mailing(&world, server.port());
    let impatient = NotificationSettings {
        smtp: SmtpSettings { timeout_ms: 300, ..impatient.smtp },
        // Of one message alone it cannot be said that the server is at fault.
        delivery: DeliverySettings { breaker_failures_max: 10, ..quick() },
        ..impatient
    };
    let client = start_with(&world, world.role("notification"), impatient);
    world.readiness().wait_ready().await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    let failed = settled(&client, &order, 1).await.remove(0);
    assert_eq!((failed.status(), failed.attempts), (NotificationStatus::Failed, 3));
    let reasons: Vec<String> = attempts(&world, &failed).await.into_iter().map(|(_, _, reason, _)| reason).collect();
    assert_eq!(reasons, ["TIMED_OUT"; 3]);
    world.close().await;
}

/// What has waited for too long is no news any more.
#[tokio::test]
async fn an_old_message_is_not_sent() {
    let world = World::new();
    let server = MailServer::stopped(|_, _| Answer::Accept);
    let brief = mailing(&world, server.port());
    let brief = NotificationSettings { delivery: DeliverySettings { expire_after_ms: 1_000, ..quick() }, ..brief };
    let client = start_with(&world, world.role("notification"), brief);
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    eventually("the service to answer", SOON, || async { Some(about(&client, &order).await) }).await;
    orders.publish(&order, &order.paid()).await;
    eventually("the notification", SOON, || async { about(&client, &order).await.pop() }).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    server.resume().await;
    let failed = settled(&client, &order, 1).await.remove(0);
    assert_eq!((failed.status(), failed.failure_reason.as_str()), (NotificationStatus::Failed, "EXPIRED"));
    assert_eq!(server.tries(), 0);
    world.close().await;
}
