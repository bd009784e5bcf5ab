//! Workers that die, and workers that meet: who sends, and how often.

use std::{collections::BTreeMap, time::Duration};

use openorder_config::Secret;
use openorder_notification::{DeliverySettings, NotificationSettings, SmtpSettings};
use openorder_proto::notification::v1::{Notification, NotificationStatus};
use openorder_testing::{
    Cut, World, eventually,
    mail_server::{Answer, MailServer},
    postgres_url, redis_url,
};
use redis::AsyncCommands;
use sqlx::{Connection, PgConnection};

use crate::{
    sending::{mailing, once_requested, quick},
    world::{Order, Orders, SOON, about, settled, start_with},
};

/// Settings by which a dead worker's messages are soon another's: a lease of a second.
fn short_lived(world: &World, server: &MailServer) -> NotificationSettings {
    let settings = mailing(world, server.port());
    NotificationSettings {
        smtp: SmtpSettings { timeout_ms: 450, ..settings.smtp },
        delivery: DeliverySettings { lease_ms: 1_000, ..quick() },
        ..settings
    }
}

async fn redis() -> redis::aio::MultiplexedConnection {
    redis::Client::open(redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

fn claim_of(one: &Notification) -> String {
    format!("openorder:notification:delivery:{}:1", one.notification_id)
}

async fn once_taken(server: &MailServer, count: usize) {
    eventually("the server to take it", SOON, || async { (server.taken().len() >= count).then_some(()) }).await;
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
    let client = start_with(&world, world.role("notification"), few(mailing(&world, server.port())));
    start_with(&world, world.separate_role("notification"), few(mailing(&world, server.port())));
    world.readiness().wait_ready().await;
    let teller = Orders::new(&world);
    let orders: Vec<Order> = (0..ORDERS).map(|number| Order::of(&format!("user-{number}"))).collect();
    for order in &orders {
        teller.publish(order, &order.paid()).await;
        teller.publish(order, &order.shipped()).await;
    }
    for order in &orders {
        for one in settled(&client, order, 2).await {
            assert_eq!(one.status(), NotificationStatus::Sent);
        }
    }
    let mut subjects: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mail in server.taken() {
        let subject = mail.header("Subject");
        let what = subject.split(" (").next().unwrap_or_default();
        let last_words = what.rsplit(' ').take(1).collect();
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
    let client = start_with(&world, world.role("notification"), mailing(&world, server.port()));
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    eventually("the service to answer", SOON, || async { Some(about(&client, &order).await) }).await;
    orders.publish(&order, &order.paid()).await;
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
    let client = start_with(&world, world.role("notification"), short_lived(&world, &server));
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    eventually("the service to answer", SOON, || async { Some(about(&client, &order).await) }).await;
    orders.publish(&order, &order.paid()).await;
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

/// The process dies between the server's taking the message and any note of it. Nobody can know that it was taken:
/// it is sent once more, and not more often, and both copies say that they are one.
#[tokio::test]
async fn a_crash_before_any_note_sends_at_most_once_more() {
    let world = World::new();
    let policy = |_: &str, tries| if tries == 1 { Answer::AcceptLater } else { Answer::Accept };
    let server = MailServer::start_with(policy).await;
    let first = world.separate_role("notification");
    let tasks = first.tasks.clone();
    // Time enough that it does not give up by itself.
    let patient = mailing(&world, server.port());
    let patient = NotificationSettings { delivery: DeliverySettings { lease_ms: 11_000, ..quick() }, ..patient };
    let client = start_with(&world, first, patient);
    world.readiness().wait_ready().await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    once_taken(&server, 1).await;
    let unrecorded = about(&client, &order).await.remove(0);
    assert_eq!((unrecorded.status(), unrecorded.attempts), (NotificationStatus::Requested, 0));
    tasks.drain(Duration::ZERO).await;

    let client = start_with(&world, world.role("notification"), short_lived(&world, &server));
    // The dead worker's claim ends by itself; until then nobody else sends.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.taken().len(), 1);
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts), (NotificationStatus::Sent, 1));
    let taken = server.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].header("Message-ID"), taken[1].header("Message-ID"));
    world.close().await;
}

/// The database is gone when the message was sent, and the process dies: Redis remembers, and nothing is sent again.
#[tokio::test]
async fn a_crash_after_the_note_in_redis_sends_nothing_again() {
    let world = World::new();
    let server = MailServer::start_with(|_, _| Answer::AcceptLater).await;
    let postgres = postgres_url();
    let server_of_postgres = postgres.rsplit('@').next().unwrap().split('/').next().unwrap();
    let cable = Cut::to(server_of_postgres).await;
    let first = world.separate_role("notification");
    let tasks = first.tasks.clone();
    let direct = world.database_url("notification");
    let through = direct.expose().replace(server_of_postgres, &cable.address());
    let settings = short_lived(&world, &server);
    let patient = SmtpSettings { timeout_ms: 5_000, ..settings.smtp.clone() };
    let cabled = NotificationSettings {
        database_url: Secret::new(through),
        smtp: patient,
        delivery: DeliverySettings { lease_ms: 11_000, ..quick() },
        ..settings.clone()
    };
    let client = start_with(&world, first, cabled);
    world.readiness().wait_ready().await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    once_taken(&server, 1).await;
    let key = claim_of(&about(&client, &order).await[0]);
    cable.cut();
    server.answer();
    let mut redis = redis().await;
    eventually("the note in Redis", SOON, || async {
        let held: Option<String> = redis.clone().get(&key).await.unwrap();
        (held.as_deref() == Some("sent")).then_some(())
    })
    .await;
    tasks.drain(Duration::ZERO).await;

    let client = start_with(&world, world.role("notification"), settings);
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts), (NotificationStatus::Sent, 1));
    assert_eq!((server.taken().len(), server.tries()), (1, 1));
    let _: () = redis.del(&key).await.unwrap();
    world.close().await;
}

/// Redis comes back empty while a message is being sent, with a second worker at hand: the lease in the database
/// keeps the message its worker's.
#[tokio::test]
async fn an_emptied_redis_alone_doubles_nothing() {
    let world = World::new();
    let server = MailServer::start_with(|_, _| Answer::AcceptLater).await;
    let client = start_with(&world, world.role("notification"), mailing(&world, server.port()));
    start_with(&world, world.separate_role("notification"), mailing(&world, server.port()));
    world.readiness().wait_ready().await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    once_taken(&server, 1).await;
    let key = claim_of(&about(&client, &order).await[0]);
    let forgotten: i64 = redis().await.del(&key).await.unwrap();
    assert_eq!(forgotten, 1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.answer();
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts, server.tries()), (NotificationStatus::Sent, 1, 1));
    world.close().await;
}

/// The lease is lost while a message is being sent, with a second worker at hand: the claim in Redis keeps the message
/// its worker's, and only who holds it gives it back.
#[tokio::test]
async fn a_lost_lease_alone_doubles_nothing() {
    let world = World::new();
    let server = MailServer::start_with(|_, _| Answer::AcceptLater).await;
    let client = start_with(&world, world.role("notification"), mailing(&world, server.port()));
    start_with(&world, world.separate_role("notification"), mailing(&world, server.port()));
    world.readiness().wait_ready().await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    once_taken(&server, 1).await;
    let mut database = PgConnection::connect(world.database_url("notification").expose()).await.unwrap();
    let lost = "update notification set next_attempt_at = now() where status = 1";
    assert_eq!(sqlx::query(lost).execute(&mut database).await.unwrap().rows_affected(), 1);
    eventually("another worker to take it", SOON, || async {
        let mut database = PgConnection::connect(world.database_url("notification").expose()).await.unwrap();
        let leased = "select count(*) from notification where status = 1 and next_attempt_at > now()";
        let leased: i64 = sqlx::query_scalar(leased).fetch_one(&mut database).await.unwrap();
        (leased == 1).then_some(())
    })
    .await;
    server.answer();
    let sent = settled(&client, &order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts, server.tries()), (NotificationStatus::Sent, 1, 1));
    world.close().await;
}
