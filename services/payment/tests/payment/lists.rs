//! Lists over many payments: each filter is answered by an index.

use std::time::Duration;

use openorder_proto::payment::v1::ListPaymentsRequest;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{Bench, as_operator};

const PAYMENTS: i64 = 100_000;
/// One in so many is the rare user's; the first ones that were made.
const OF_RARE: i64 = 20;
/// Calls of a kind: more than PostgreSQL makes plans of their own for.
const CALLS: i64 = 12;

/// Payments whose ids are in the order of their making, as UUID v7 are, from the number 1 on.
async fn fill(pool: &PgPool) {
    sqlx::query(
        "insert into payment (order_id, payment_id, user_id, currency, amount_minor_units, state, failure_reason, \
             refund_reason, version, create_time, update_time) \
         select ('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, \
                ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, \
                case when n <= $2 then 'rare' else 'often' end, 'EUR', 100, 2, 0, 0, 1, now(), now() \
         from generate_series(1, $1) as n",
    )
    .bind(PAYMENTS)
    .bind(OF_RARE)
    .execute(pool)
    .await
    .unwrap();
    sqlx::query("analyze payment").execute(pool).await.unwrap();
}

/// Rows of the table that statements have looked at so far, as PostgreSQL counts them a moment later.
async fn looked_at(pool: &PgPool) -> i64 {
    tokio::time::sleep(Duration::from_secs(3)).await;
    sqlx::query_scalar(
        "select (coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::bigint from pg_stat_user_tables \
         where relname = 'payment'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_page_looks_at_what_it_shows_whatever_the_filter() {
    let bench = Bench::start().await;
    let pool = PgPool::connect(bench.world.database_url("payment").expose()).await.unwrap();
    fill(&pool).await;
    let order_id = Uuid::from_u128(0x0000_0000_0000_7000_9000_0000_0000_0007).to_string();
    let kinds = [
        (ListPaymentsRequest { user_id: "rare".to_owned(), ..Default::default() }, OF_RARE),
        (ListPaymentsRequest { order_id, ..Default::default() }, 1),
        (ListPaymentsRequest::default(), 50),
    ];
    for (request, shown) in kinds {
        let before = looked_at(&pool).await;
        for _ in 0..CALLS {
            let message = ListPaymentsRequest { page_size: 50, ..request.clone() };
            let page = bench.client().list_payments(as_operator().request(message)).await.unwrap().into_inner();
            assert_eq!(i64::try_from(page.payments.len()).unwrap(), shown, "{request:?}");
        }
        let looked = looked_at(&pool).await - before;
        // One more says whether another page follows; an index may look at the one behind it.
        assert!(looked <= CALLS * (shown + 2), "{looked} rows were looked at: {request:?}");
    }
    pool.close().await;
    bench.close().await;
}
