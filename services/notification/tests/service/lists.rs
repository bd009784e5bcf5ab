//! Lists over many notifications: each filter is answered by an index.

use std::time::Duration;

use openorder_proto::notification::v1::ListNotificationsRequest;
use openorder_testing::World;
use sqlx::PgPool;

use crate::world::{as_operator, start};

const NOTIFICATIONS: i64 = 100_000;
/// One in so many is the rare user's; the first ones that were made.
const OF_RARE: i64 = 20;
/// Calls of a kind: more than PostgreSQL makes plans of their own for.
const CALLS: i64 = 12;

/// Notifications whose ids are in the order of their making, as UUID v7 are, from the number 1 on; one an order.
async fn fill(pool: &PgPool) {
    sqlx::query(
        "insert into notification (notification_id, order_id, user_id, kind, channel, status, recipient, subject, body, \
             round, attempts, round_attempts, failure_reason, traceparent, version, event_version, create_time, \
             request_time) \
         select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, \
                ('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, \
                case when n <= $2 then 'rare' else 'often' end, 1, 1, 2, 'a@example.com', '', '', 1, 1, 1, '', '', 2, 2, \
                now(), now() \
         from generate_series(1, $1) as n",
    )
    .bind(NOTIFICATIONS)
    .bind(OF_RARE)
    .execute(pool)
    .await
    .unwrap();
    sqlx::query("analyze notification").execute(pool).await.unwrap();
}

/// Rows of the table that statements have looked at so far, as PostgreSQL counts them a moment later.
async fn looked_at(pool: &PgPool) -> i64 {
    tokio::time::sleep(Duration::from_secs(3)).await;
    sqlx::query_scalar(
        "select (coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::bigint from pg_stat_user_tables \
         where relname = 'notification'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_page_looks_at_what_it_shows_whatever_the_filter() {
    let world = World::new();
    let client = start(&world).await;
    let pool = PgPool::connect(world.database_url("notification").expose()).await.unwrap();
    fill(&pool).await;
    let order_id = "00000000-0000-7000-9000-000000000007".to_owned();
    let kinds = [
        (ListNotificationsRequest { user_id: "rare".to_owned(), ..Default::default() }, OF_RARE),
        (ListNotificationsRequest { order_id, ..Default::default() }, 1),
        (ListNotificationsRequest::default(), 50),
    ];
    for (request, shown) in kinds {
        let before = looked_at(&pool).await;
        for _ in 0..CALLS {
            let message = ListNotificationsRequest { page_size: 50, ..request.clone() };
            let page = client.clone().list_notifications(as_operator(message)).await.unwrap().into_inner();
            assert_eq!(i64::try_from(page.notifications.len()).unwrap(), shown, "{request:?}");
        }
        let looked = looked_at(&pool).await - before;
        // One more says whether another page follows; an index may look at the one behind it.
        assert!(looked <= CALLS * (shown + 2), "{looked} rows were looked at: {request:?}");
    }
    pool.close().await;
    world.close().await;
}
