//! What CreateOrder costs when millions of orders are stored already.

use openorder_proto::internal::order::v1::{StoredLine, StoredOrder};
use openorder_proto::order::v1::{PaymentMode, ReservationMode};
use prost::Message;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, postgres::PgConnectOptions};
use uuid::Uuid;

use super::accepting;
use crate::bench::Bench;
use crate::output::say;
use crate::system::System;

/// Rows of one statement while the tables are filled.
const FILL_BATCH: i64 = 100_000;

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let empty = bench.configure("empty").await?;
    let (stored, _) = system(bench, "stored", bench.args.stored_orders()).await?;
    for _ in 0..bench.args.rounds() {
        for (name, system) in [("empty.cpu_us", &empty), ("stored.cpu_us", &stored)] {
            let found = accepting::accept(system, bench.args.window()).await?;
            say(format_args!("CreateOrder, {name}: {:.0} µs an order", found.accepted_cost.total()));
            bench.side.samples.push(name, found.accepted_cost.total());
        }
    }
    bench.side.notes.insert("9", format!("{} orders stored", bench.args.stored_orders()));
    Ok(())
}

/// A system of its own with so many orders stored, and their ids.
pub(crate) async fn system(bench: &Bench<'_>, name: &str, orders: i64) -> anyhow::Result<(System, Ids)> {
    let system = bench.configure(name).await?;
    // The databases are made by the program itself.
    system.start_core(&[]).await?.stop().await?;
    let ids = fill(&system, orders).await?;
    Ok((system, ids))
}

/// UUID version 7 of the nth order of a past that begins at `first_ms`, so that new orders come behind it. It is made of
/// the number alone, so that it costs next to nothing to make one in a query that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    first_ms: i64,
}

impl Ids {
    pub(crate) fn id(self, number: i64) -> Uuid {
        let time = u128::from((self.first_ms + number).unsigned_abs()) << 80;
        Uuid::from_u128(time | 0x7000_8000_0000_0000_0000)
    }

    /// The same in SQL.
    pub(crate) fn sql(self, number: &str) -> String {
        format!("(lpad(to_hex({}::bigint + {number}), 12, '0') || '70008000000000000000')::uuid", self.first_ms)
    }
}

/// Orders as the program leaves them when they are completed, with their events and request results.
async fn fill(system: &System, orders: i64) -> anyhow::Result<Ids> {
    let mut connection = system.database_url("order").parse::<PgConnectOptions>()?.connect().await?;
    let ids = Ids { first_ms: (chrono::Utc::now() - chrono::Duration::days(10)).timestamp_millis() };
    let (id, body) = (ids.sql("n"), body());
    let mut done = 0;
    while done < orders {
        let count = FILL_BATCH.min(orders - done);
        for statement in FILL {
            let numbers = [("$first", done.to_string()), ("$count", count.to_string()), ("$body", body.clone())];
            let fill = |text: String, (name, value): (&str, String)| text.replace(name, &value);
            let statement = numbers.into_iter().fold(statement.replace("$id", &id), fill);
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
    connection.close().await?;
    Ok(ids)
}

/// What each of the orders carries, as the order service stores it, in hexadecimal digits.
fn body() -> String {
    let line = |sku: &str| StoredLine {
        sku: sku.to_owned(),
        display_name: "Stored".to_owned(),
        quantity: 1,
        unit_price_minor_units: Some(100),
        line_total_minor_units: Some(100),
        product_number: 1,
    };
    let body = StoredOrder {
        reservation_mode: ReservationMode::Deferred.into(),
        payment_mode: PaymentMode::Automatic.into(),
        currency: "EUR".to_owned(),
        total_minor_units: Some(200),
        lines: vec![line("STORED-1"), line("STORED-2")],
        ..Default::default()
    };
    body.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect()
}

const FILL: &[&str] = &[
    "insert into customer_order (order_id, create_time, status, saga_step, saga_stock, saga_payment, saga_step_time, \
        update_time, version, payment_id, customer_id, body) \
     select $id, now(), 20, 3, 3, 3, now(), now(), 4, $id::text, 'stored-' || n % 100000, decode('$body', 'hex') \
     from generate_series($first + 1, $first + $count) as n",
    "insert into event_log (aggregate_version, occurred_at, event_id, event_type, topic, aggregate_id, payload) \
     select v, now(), gen_random_uuid(), 'order.lifecycle.created', 'order.lifecycle.v1', $id::text, \
        decode(repeat('ab', 180), 'hex') \
     from generate_series($first + 1, $first + $count) as n, generate_series(1, 4) as v",
    "insert into command_result (created_at, command_key, fingerprint, reply) \
     select now(), gen_random_uuid(), gen_random_uuid(), decode(repeat('cd', 17), 'hex') \
     from generate_series($first + 1, $first + $count) as n",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_stored_order_is_a_version_7_uuid_and_sql_makes_it_of_the_same_parts() {
        let ids = Ids { first_ms: 0x0190_0000_0000 };
        assert_eq!(ids.id(0x1234).to_string(), "01900000-1234-7000-8000-000000000000");
        assert_eq!(ids.id(1).get_version_num(), 7);
        assert!(ids.id(1) < ids.id(2));
        let sql = "(lpad(to_hex(1717986918400::bigint + n), 12, '0') || '70008000000000000000')::uuid";
        assert_eq!(ids.sql("n"), sql);
    }
}
