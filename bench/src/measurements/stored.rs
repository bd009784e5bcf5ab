//! What CreateOrder costs when millions of orders are stored already.

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, postgres::PgConnectOptions};

use super::accepting;
use crate::bench::Bench;
use crate::output::say;
use crate::rows::Part;
use crate::system::System;

/// Rows of one statement while the tables are filled.
const FILL_BATCH: i64 = 100_000;

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    if !bench.needs(Part::Stored) {
        return Ok(());
    }
    let program = bench.system.program().to_owned();
    let empty = System::configure(&program, bench.stack, "bench_empty").await?;
    let stored = System::configure(&program, bench.stack, "bench_stored").await?;
    // The databases are made by the program itself.
    stored.start(&[&["all"]], &[]).await?.stop().await?;
    fill(&stored, bench.args.stored_orders).await?;
    for _ in 0..bench.args.rounds() {
        for (name, system) in [("empty.cpu_us", &empty), ("stored.cpu_us", &stored)] {
            let found = accepting::accept(system, bench.args.window()).await?;
            say(format_args!("CreateOrder, {name}: {:.0} µs an order", found.accepted_cost.total()));
            bench.samples.push(name, found.accepted_cost.total());
        }
    }
    bench.notes.insert("9", format!("{} orders stored", bench.args.stored_orders));
    Ok(())
}

/// Orders as the program leaves them when they are completed, with their events and request results.
async fn fill(system: &System, orders: i64) -> anyhow::Result<()> {
    let mut connection = system.database_url("order").parse::<PgConnectOptions>()?.connect().await?;
    connection.execute(HELPERS).await?;
    let past = (chrono::Utc::now() - chrono::Duration::days(10)).timestamp_millis();
    let mut done = 0;
    while done < orders {
        let count = FILL_BATCH.min(orders - done);
        for statement in FILL {
            let values = [("$first", done), ("$count", count), ("$past", past)];
            let fill = |text: String, (name, value): (&str, i64)| text.replace(name, &value.to_string());
            let statement = values.into_iter().fold(statement.to_string(), fill);
            connection.execute(AssertSqlSafe(statement)).await?;
        }
        done += count;
        if done % 500_000 == 0 || done == orders {
            say(format_args!("{done} of {orders} orders stored"));
        }
    }
    connection.execute("update relay_cursor set position = (select coalesce(max(position), 0) from event_log)").await?;
    connection.execute("analyze").await?;
    connection.execute("checkpoint").await?;
    Ok(connection.close().await?)
}

/// UUID version 7 of the nth order of a past that begins at `first_ms`, so that new orders come behind it.
const HELPERS: &str = "\
create or replace function bench_order_id(first_ms bigint, n bigint) returns uuid immutable language sql as $$
    select (substr(t, 1, 8) || '-' || substr(t, 9, 4) || '-7' || substr(h, 1, 3) || '-8' || substr(h, 4, 3) || '-' || substr(h, 7, 12))::uuid
    from (select lpad(to_hex(first_ms + n), 12, '0') as t, md5(n::text) as h) as x
$$;";

const FILL: &[&str] = &[
    "insert into orders (order_id, create_time, reservation_mode, payment_mode, status, saga_step, saga_stock, saga_payment, \
        saga_cause, saga_undo_attempts, saga_releases, saga_refunds, saga_step_time, update_time, version, payment_id, \
        saga_reason, status_reason, status_detail, total_minor, currency, customer_id, customer_email, lines) \
     select bench_order_id($past, n), now(), 2, 1, 20, 5, 2, 2, 0, 0, 0, 0, now(), now(), 4, bench_order_id($past, n)::text, \
        '', '', '', 100, 'EUR', 'stored-' || n % 100000, '', \
        '[{\"sku\":\"STORED-1\",\"display_name\":\"Stored\",\"quantity\":1,\"unit_price_minor\":100,\"line_total_minor\":100,\"currency\":\"EUR\"}]' \
     from generate_series($first + 1, $first + $count) as n",
    "insert into event_log (aggregate_version, occurred_at, event_id, event_type, topic, aggregate_id, payload) \
     select v, now(), gen_random_uuid(), 'order.lifecycle.created', 'order.lifecycle.v1', bench_order_id($past, n)::text, \
        decode(repeat('ab', 180), 'hex') \
     from generate_series($first + 1, $first + $count) as n, generate_series(1, 4) as v",
    "insert into request_result (created_at, request_id, caller, method, fingerprint, reply) \
     select now(), 'stored-' || n, 'anonymous', 'CreateOrder', decode(md5(n::text), 'hex'), decode(repeat('cd', 200), 'hex') \
     from generate_series($first + 1, $first + $count) as n",
];
