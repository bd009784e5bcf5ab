//! GetOrder through the gateway, and PostgreSQL alone reading the same rows: distinct orders, so that none is asked for by
//! two at a time.

use std::time::Duration;

use openorder_proto::order::v1::GetOrderRequest;

use super::stored;
use crate::bench::{Bench, CALLERS};
use crate::calls::Calls;
use crate::output::say;

/// Orders that are asked for.
const ORDERS: i64 = 100_000;
const DURATION_MAX: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(1);
const GET_ORDER: &str = "/openorder.order.v1.OrderService/GetOrder";

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    if bench.side.reads.is_none() {
        bench.side.reads = Some(stored::system(bench, "reads", ORDERS).await?);
    }
    let Some((system, ids)) = &bench.side.reads else { return Ok(()) };
    let running = system.start_core(&[]).await?;
    let duration = bench.args.window().min(DURATION_MAX);
    let script = format!(
        "\\set n random(1, {ORDERS})\nselect * from customer_order where order_id = {};\n",
        ids.sql(":n::bigint")
    );
    let selects = bench.pgbench.reads(&system.database_name("order"), &script, duration).await?;
    let requests: Vec<_> = (1..=ORDERS).map(|n| GetOrderRequest { order_id: ids.id(n).to_string() }).collect();
    let calls = || Calls::new(&system.gateway(), GET_ORDER, &requests, "0");
    // Connections and prepared statements.
    calls()?.run(CALLERS as usize, WARM_UP).await?;
    let (per_second, _) = calls()?.run(CALLERS as usize, duration).await?;
    running.stop().await?;
    say(format_args!("GetOrder: {per_second:.0}/s, pgbench's select: {:.0}/s", selects.per_second));
    bench.side.samples.push("selects.per_second", selects.per_second);
    bench.side.samples.push("reads.per_second", per_second);
    bench.side.notes.insert("8", format!("{ORDERS} distinct orders"));
    Ok(())
}
