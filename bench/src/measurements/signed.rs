//! What protection costs: orders are accepted as in row 1, in the clear from callers who say nothing of themselves, and over
//! TLS from those who come with a token.

use std::time::Duration;

use anyhow::ensure;
use openorder_rpc::Upstream;

use super::accepting::{CALLERS, FRONT, PATIENT};
use crate::bench::Bench;
use crate::calls::{Calls, upstream};
use crate::orders::{Form, make_products};
use crate::output::say;
use crate::processes::{MICROS, Meter};
use crate::sign_in::SignIn;
use crate::system::{Running, System};

/// In a process of its own, so that its CPU is told apart.
const USERS: &[&str] = &["user"];
const WARM_UP: Duration = Duration::from_secs(2);

/// What is measured in every round, and what it stands on.
pub(crate) struct Signed {
    system: System,
    sign_in: SignIn,
    rounds: usize,
}

/// Calls a second, and the CPU microseconds of OpenOrder that one takes.
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) cpu_us: f64,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let mut signed = match bench.side.signed.take() {
        Some(signed) => signed,
        None => prepare(bench).await?,
    };
    // The other one begins in every second round.
    let clear_first = signed.rounds.is_multiple_of(2);
    if clear_first {
        in_the_clear(bench, &signed).await?;
    }
    over_tls(bench, &mut signed).await?;
    if !clear_first {
        in_the_clear(bench, &signed).await?;
    }
    signed.rounds += 1;
    bench.side.signed = Some(signed);
    Ok(())
}

async fn prepare(bench: &Bench<'_>) -> anyhow::Result<Signed> {
    let system = bench.configure("signed").await?;
    let running = start(&system, &[]).await?;
    make_products(&upstream(&system.gateway())?, None).await?;
    running.stop().await?;
    let sign_in = SignIn::prepare(&system).await?;
    Ok(Signed { system, sign_in, rounds: 0 })
}

/// The roles of row 1 in one process, and who knows users in another.
async fn start(system: &System, settings: &[String]) -> anyhow::Result<Running> {
    let settings: Vec<String> = settings.iter().cloned().chain([PATIENT.to_owned()]).collect();
    system.start_core_as(&[FRONT, USERS], &settings).await
}

async fn in_the_clear(bench: &mut Bench<'_>, signed: &Signed) -> anyhow::Result<()> {
    let running = start(&signed.system, &[]).await?;
    let found =
        rate(|| upstream(&signed.system.gateway()), None, &running.meter_of_first(), bench.args.window()).await?;
    keep(bench, "plain", "in the clear", &found);
    running.stop().await
}

async fn over_tls(bench: &mut Bench<'_>, signed: &mut Signed) -> anyhow::Result<()> {
    let Signed { system, sign_in, .. } = signed;
    let running = start(system, &sign_in.settings()).await?;
    let tokens = sign_in.tokens(system).await?;
    let (meter, window) = (running.meter_of_first(), bench.args.window());
    for (name, what, token) in
        [("token", "over TLS, an access token", &tokens.access), ("key", "over TLS, an API key", &tokens.api_key)]
    {
        let found = rate(|| sign_in.upstream(system), Some(token), &meter, window).await?;
        keep(bench, name, what, &found);
    }
    running.stop().await
}

async fn rate(
    gateway: impl Fn() -> anyhow::Result<Upstream>,
    token: Option<&str>,
    meter: &Meter,
    window: Duration,
) -> anyhow::Result<Rate> {
    orders(|| Calls::orders(gateway()?, Form::Grpc, token), CALLERS as usize, meter, WARM_UP, window).await
}

/// Orders by so many callers, after a warm-up.
pub(crate) async fn orders(
    calls: impl Fn() -> anyhow::Result<Calls>,
    callers: usize,
    meter: &Meter,
    warm_up: Duration,
    window: Duration,
) -> anyhow::Result<Rate> {
    calls()?.run(callers, warm_up).await?;
    let before = meter.read();
    let (per_second, answered) = calls()?.run(callers, window).await?;
    ensure!(answered > 0, "no order was accepted within {window:?}");
    let used = (meter.read() - before).openorder;
    Ok(Rate { per_second, cpu_us: used * MICROS / answered.max(1) as f64 })
}

fn keep(bench: &mut Bench<'_>, name: &str, what: &str, found: &Rate) {
    let Rate { per_second, cpu_us } = found;
    say(format_args!("accepting {what}: {per_second:.0} orders/s, {cpu_us:.0} µs of OpenOrder's CPU an order"));
    bench.side.samples.push(format!("signed.{name}_per_second"), *per_second);
    bench.side.samples.push(format!("signed.{name}_cpu_us"), *cpu_us);
}
