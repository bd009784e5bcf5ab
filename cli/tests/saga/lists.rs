//! Lists over many orders of one customer: what is looked at is bounded, whatever the filter.

use openorder_proto::internal::order::v1::StoredOrder;
use openorder_proto::order::v1::{
    GetOrderTimelineRequest, ListOrdersRequest, Order, OrderStatus, PaymentMode, ReservationMode,
};
use prost::Message;
use sqlx::PgPool;

use crate::shop::{MONEY, STOCK, Shop, call};

const CUSTOMER: &str = "many";
const ORDERS: i64 = 100_000;
/// When the first of them was made, in seconds since 1970; one a minute from then on.
const FIRST: i64 = 1_700_000_000;

/// Delivered orders, and a cancelled one every 40,000. Their ids are of their time, as UUID v7 are.
async fn fill(pool: &PgPool) {
    let body = StoredOrder {
        reservation_mode: ReservationMode::Deferred.into(),
        payment_mode: PaymentMode::Automatic.into(),
        currency: "EUR".to_owned(),
        total_minor_units: Some(100),
        ..Default::default()
    };
    sqlx::query(
        "insert into customer_order (order_id, status, version, saga_step, saga_stock, saga_payment, saga_step_time, \
             update_time, customer_id, create_time, body) \
         select (lpad(to_hex(ms), 12, '0') || '7000' || '8000' || lpad(to_hex(n), 12, '0'))::uuid, \
                case when n % 40000 = 7 then 90 else 80 end, 5, 3, 7, 3, at, at, $1, at, $4 \
         from (select n, ($2 + n * 60) * 1000 as ms, to_timestamp($2 + n * 60) as at \
               from generate_series(0, $3 - 1) as n) as made",
    )
    .bind(CUSTOMER)
    .bind(FIRST)
    .bind(ORDERS)
    .bind(body.encode_to_vec())
    .execute(pool)
    .await
    .unwrap();
    sqlx::query("analyze customer_order").execute(pool).await.unwrap();
}

/// Rows of `customer_order` that statements have looked at so far.
async fn looked_at(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select (coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::bigint from pg_stat_user_tables \
         where relname = 'customer_order'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

fn filter(statuses: &[OrderStatus], window: Option<(i64, i64)>) -> ListOrdersRequest {
    let at = |minute: i64| Some(prost_types::Timestamp { seconds: FIRST + minute * 60, nanos: 0 });
    ListOrdersRequest {
        customer_id: CUSTOMER.to_owned(),
        statuses: statuses.iter().map(|status| *status as i32).collect(),
        create_time_from: window.and_then(|(from, _)| at(from)),
        create_time_until: window.and_then(|(_, until)| at(until)),
        page_size: 500,
        ..Default::default()
    }
}

/// All pages, and how many there were.
async fn all(shop: &Shop, mut request: ListOrdersRequest) -> (Vec<Order>, usize) {
    let (mut orders, mut pages) = (Vec::new(), 0);
    loop {
        let page = shop.orders.clone().list_orders(call().request(request.clone())).await.unwrap().into_inner();
        orders.extend(page.orders);
        pages += 1;
        if page.next_page_token.is_empty() {
            return (orders, pages);
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_looks_at_is_bounded_whatever_the_filter() {
    let shop = Shop::open(|settings| settings.order.list_scan_max = 5_000).await;
    let pool = shop.database("order").await;
    fill(&pool).await;
    // The numbers of PostgreSQL's statistics come a moment later.
    let pause = std::time::Duration::from_secs(3);
    tokio::time::sleep(pause).await;
    let before = looked_at(&pool).await;
    // An hour in the midst of 69 days.
    let (found, pages) = all(&shop, filter(&[], Some((50_000, 50_060)))).await;
    assert_eq!((found.len(), pages), (60, 1));
    tokio::time::sleep(pause).await;
    let looked = looked_at(&pool).await - before;
    assert!(looked < 500, "{looked} rows were looked at for 60 orders");

    // Few orders fit: every page ends at its bound, all of them are found, and none twice.
    let (found, pages) = all(&shop, filter(&[OrderStatus::Cancelled], None)).await;
    let times: Vec<i64> = found.iter().map(|order| (order.create_time.unwrap().seconds - FIRST) / 60).collect();
    assert_eq!(times, [80_007, 40_007, 7], "the newest first");
    assert!((20..=22).contains(&pages), "{pages} pages of 5,000 orders each");
    let (found, pages) = all(&shop, filter(&[OrderStatus::Cancelled, OrderStatus::Delivered], Some((10, 1_010)))).await;
    assert_eq!((found.len(), pages), (1_000, 2));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_timeline_is_read_page_by_page_to_its_end() {
    let shop = Shop::open(|_| {}).await;
    let name = shop.customer("long", STOCK, MONEY).await;
    let order_id = shop.order(&name, &name).await;
    shop.until(&order_id, OrderStatus::Preparing).await;
    // An order that was retried by operators many times.
    sqlx::query(
        "insert into event_log (event_id, event_type, topic, aggregate_id, aggregate_version, payload, occurred_at) \
         select gen_random_uuid(), 'order.lifecycle.compensation_retried', topic, aggregate_id, 4 + n, ''::bytea, \
                occurred_at \
         from (select * from event_log where aggregate_id = $1 and aggregate_version = 1) as first, \
              generate_series(1, 4996) as n order by n",
    )
    .bind(&order_id)
    .execute(&shop.database("order").await)
    .await
    .unwrap();
    let mut request = GetOrderTimelineRequest { order_id: order_id.clone(), page_size: 400, ..Default::default() };
    let (mut seen, mut pages) = (std::collections::HashSet::new(), 0);
    let mut last = None;
    loop {
        let answer = shop.orders.clone().get_order_timeline(call().request(request.clone())).await.unwrap();
        let answer = answer.into_inner();
        pages += 1;
        last = answer.events.last().cloned().or(last);
        seen.extend(answer.events.into_iter().map(|event| event.event_id));
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page_token = answer.next_page_token;
    }
    assert_eq!((seen.len(), pages), (5_000, 13));
    assert_eq!(last.unwrap().version, 5_000);
    shop.close().await;
}
