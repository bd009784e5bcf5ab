//! A service as a process runs it, in a world.

use std::future::Future;
use std::time::Duration;

use openorder_config::settings::{Leaf, Visitor};
use openorder_config::value::Raw;
use openorder_rpc::{PageTokens, RpcClientSettings, UpstreamChannel};
use openorder_service::{Host, HostSettings, ServiceSpec};
use openorder_telemetry::RoleTelemetry;

use crate::{World, eventually, free_address};

/// How long a service may take to start on a busy machine.
const START_BOUND: Duration = Duration::from_secs(60);

/// Starts a service with its default settings, its own database and port, and waits until it is ready; a channel to it.
pub async fn start_service<S, F>(
    world: &World,
    spec: &'static ServiceSpec,
    serve: impl FnOnce(Host<S>) -> F,
) -> UpstreamChannel
where
    S: HostSettings + Default,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let address = free_address().to_string();
    let database = world.database();
    let mut settings = S::default();
    settings.visit(
        "",
        &mut Given(vec![
            ("listen_address", address.clone()),
            ("database_url", world.database_url(spec.role).expose().to_owned()),
            ("database.connections_max", database.connections_max.to_string()),
            ("database.probe_interval_ms", database.probe_interval_ms.to_string()),
        ]),
    );
    let host = Host::new(world.role(spec.role), settings, world.kafka(), PageTokens::new(b"test"));
    tokio::spawn(serve(host));
    // By its port: a call in memory would spare what callers see.
    let client = RpcClientSettings { in_memory: false, ..RpcClientSettings::default() };
    let url = format!("http://{address}");
    let channel = openorder_rpc::channel(&RoleTelemetry::disabled("test"), &url, &client).expect("a URL");
    eventually("the service is ready", START_BOUND, || async { world.readiness().is_ready().then_some(()) }).await;
    channel
}

/// Settings by key.
struct Given(Vec<(&'static str, String)>);

impl Visitor for Given {
    fn setting(&mut self, key: &str, _: &[&'static str], value: &mut dyn Leaf) {
        if let Some((_, text)) = self.0.iter().find(|(given, _)| *given == key) {
            value.set(&Raw::Text(text.clone())).expect("a value within its bounds");
        }
    }
}
