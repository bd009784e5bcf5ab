//! What JSON costs: the same orders through a gateway of its own process, said in gRPC, by REST and by Connect. All three over
//! HTTP/2 and over the same connections, so that nothing but the message differs.

use std::time::Duration;

use super::accepting::PATIENT;
use super::signed::{Rate, orders};
use crate::bench::{Bench, CALLERS};
use crate::calls::{Calls, upstream};
use crate::orders::{Form, make_products};
use crate::output::say;
use crate::system::System;

const GATEWAY: &[&str] = &["gateway"];
const BEHIND: &[&str] = &["product", "order"];
const WARM_UP: Duration = Duration::from_secs(1);
const DURATION_MAX: Duration = Duration::from_secs(6);

/// What is measured in every round, and what it stands on.
pub(crate) struct Protocols {
    system: System,
    rounds: usize,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let is_first = bench.side.protocols.is_none();
    let mut protocols = match bench.side.protocols.take() {
        Some(protocols) => protocols,
        None => Protocols { system: bench.configure("protocols").await?, rounds: 0 },
    };
    let system = &protocols.system;
    let running = system.start_core_as(&[GATEWAY, BEHIND], &[PATIENT.to_owned()]).await?;
    if is_first {
        make_products(&upstream(&system.gateway())?, None).await?;
    }
    let (meter, window) = (running.meter_of_first(), bench.args.window().min(DURATION_MAX));
    let mut forms = [("grpc", Form::Grpc), ("rest", Form::Rest), ("connect", Form::Connect)];
    // Each begins in its turn.
    forms.rotate_left(protocols.rounds % 3);
    let mut found = Vec::new();
    for (name, form) in forms {
        let calls = || Calls::orders(upstream(&system.gateway())?, form, None);
        let Rate { per_second, cpu_us } = orders(calls, CALLERS as usize, &meter, WARM_UP, window).await?;
        say(format_args!("CreateOrder, {name}: {per_second:.0}/s, {cpu_us:.1} µs of the gateway's CPU a call"));
        bench.side.samples.push(format!("protocols.{name}_per_second"), per_second);
        bench.side.samples.push(format!("protocols.{name}_cpu_us"), cpu_us);
        found.push((name, cpu_us));
    }
    running.stop().await?;
    let of = |name: &str| found.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, cpu_us)| *cpu_us);
    for name in ["rest", "connect"] {
        bench.side.samples.push(format!("protocols.{name}_more_us"), of(name) - of("grpc"));
    }
    for row in ["21b", "21d"] {
        bench.side.notes.insert(row, format!("gRPC: {:.1} µs of the gateway's CPU a call", of("grpc")));
    }
    protocols.rounds += 1;
    bench.side.protocols = Some(protocols);
    Ok(())
}
