//! Services whose messages leave the machine, for tests.

use openorder_config::Secret;
use openorder_notification::{DeliverySettings, EmailTransport, NotificationSettings, SmtpSecurity, SmtpSettings};
use openorder_proto::notification::v1::Notification;
use openorder_runtime::State;
use openorder_testing::{World, eventually, mail_server::MailServer, redis_url};
use sqlx::{Connection, PgConnection, Row};

use crate::world::{Client, Order, SOON, about, settings, start_with};

/// Settings that send mail to this server and are quick about it.
pub(crate) fn mailing(world: &World, port: u16) -> NotificationSettings {
    NotificationSettings {
        email_transport: EmailTransport::Smtp,
        smtp: SmtpSettings {
            port,
            security: SmtpSecurity::None,
            from: "Shop <shop@example.com>".to_owned(),
            timeout_ms: 5_000,
            ..SmtpSettings::default()
        },
        delivery: quick(),
        redis_url: Secret::new(redis_url()),
        ..settings(world)
    }
}

pub(crate) async fn start(world: &World, server: &MailServer) -> Client {
    let client = start_with(world, world.role("notification"), mailing(world, server.port()));
    world.readiness().wait_ready().await;
    client
}

/// (attempt, outcome, reason, detail) of all attempts, in their order.
pub(crate) async fn attempts(world: &World, one: &Notification) -> Vec<(i32, i16, String, String)> {
    let mut connection = PgConnection::connect(world.database_url("notification").expose()).await.unwrap();
    let sql = "select attempt, outcome, reason, detail from delivery_attempt \
               where notification_id = $1::uuid order by attempt";
    let rows = sqlx::query(sql).bind(&one.notification_id).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

pub(crate) async fn once_requested(client: &Client, order: &Order) -> Notification {
    eventually("a requested notification", SOON, || async { about(client, order).await.pop() }).await
}

/// Delivery that is quick about everything.
pub(crate) fn quick() -> DeliverySettings {
    DeliverySettings {
        poll_interval_ms: 20,
        attempts_max: 3,
        retry_delay_base_ms: 50,
        retry_delay_max_ms: 100,
        breaker_open_base_ms: 50,
        breaker_open_max_ms: 200,
        outage_delay_max_ms: 200,
        lease_ms: 60_000,
        sent_memory_ms: 120_000,
        ..DeliverySettings::default()
    }
}

/// Waits until readiness tells that this dependency is away, and returns why.
pub(crate) async fn once_down(world: &World, dependency: &str) -> String {
    eventually("readiness to tell of the outage", SOON, || async {
        let states = world.readiness().snapshot();
        states.into_iter().find(|one| one.name == dependency && one.state == State::Down)
    })
    .await
    .detail
}
