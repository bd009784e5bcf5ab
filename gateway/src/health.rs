//! The health of the services behind the gateway, polled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openorder_rpc::status::is_unimplemented;
use openorder_rpc::{Upstream, UpstreamChannel};
use openorder_runtime::{Dependency, Readiness};
use openorder_telemetry::RoleTelemetry;
use tonic::Request;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus as ReportedStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;

use crate::routes::Backend;

/// Polls the health of every service, and reports that of each of them and of the gateway: it serves while any of them does,
/// because its callers can still use that one.
pub(crate) struct HealthPoll {
    reporter: HealthReporter,
    watched: Vec<Watched>,
    /// Waiting until any service served. Later the gateway is of use even while all are away: its refusals
    /// carry a time to retry.
    begun: Dependency,
    interval: Duration,
    timeout: Duration,
}

struct Watched {
    service: &'static str,
    client: HealthClient<UpstreamChannel>,
    /// Whether it serves. Without it the gateway serves the others.
    state: Dependency,
    served: bool,
}

/// The shortest pause after a service did not serve.
const SOON: Duration = Duration::from_millis(10);

impl HealthPoll {
    pub(crate) fn new(
        reporter: HealthReporter,
        services: &[(Backend, Arc<Upstream>)],
        readiness: &Readiness,
        interval: Duration,
        timeout: Duration,
    ) -> Self {
        // A poll is no part of any caller's trace.
        let silent = RoleTelemetry::disabled("gateway");
        let watched = services
            .iter()
            .map(|(backend, upstream)| Watched {
                service: backend.service,
                client: HealthClient::new(UpstreamChannel::new(silent.clone(), Arc::clone(upstream))),
                state: readiness.background("gateway", backend.role),
                served: false,
            })
            .collect();
        let begun = readiness.dependency("gateway", "services");
        begun.waiting("no service answered yet");
        Self { reporter, watched, begun, interval, timeout }
    }

    /// Before the first answer nothing serves.
    pub(crate) async fn begin(&self) {
        for watched in &self.watched {
            self.reporter.set_service_status(watched.service, ServingStatus::NotServing).await;
        }
        self.reporter.set_service_status("", ServingStatus::NotServing).await;
    }

    /// Polls until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut all_served = Instant::now();
        loop {
            let timeout = self.timeout;
            let checks = self.watched.iter_mut().map(|watched| watched.check(timeout));
            let serving = futures::future::join_all(checks).await;
            for (watched, serving) in self.watched.iter().zip(&serving) {
                self.reporter.set_service_status(watched.service, status(*serving)).await;
            }
            let any = serving.iter().any(|serving| *serving);
            if any {
                self.begun.ready();
            }
            self.reporter.set_service_status("", status(any)).await;
            let all = serving.iter().all(|serving| *serving);
            if all {
                all_served = Instant::now();
            }
            // A service that is about to start is polled soon, and found within a quarter of the time that it took; one that
            // stays away is polled once an interval.
            let pause = if all { self.interval } else { (all_served.elapsed() / 4).max(SOON).min(self.interval) };
            tokio::time::sleep(pause).await;
        }
    }
}

fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

impl Watched {
    async fn check(&mut self, timeout: Duration) -> bool {
        let mut request = Request::new(HealthCheckRequest { service: String::new() });
        request.set_timeout(timeout);
        let refusal = match tokio::time::timeout(timeout, self.client.check(request)).await {
            Ok(Ok(answer)) if answer.get_ref().status() == ReportedStatus::Serving => None,
            Ok(Ok(_)) => Some("it waits for something itself".to_owned()),
            // It answers, and has no health service.
            Ok(Err(error)) if is_unimplemented(&error) => None,
            Ok(Err(error)) => Some(error.message().to_owned()),
            Err(_) => Some("it does not answer in time".to_owned()),
        };
        match &refusal {
            None => {
                self.served = true;
                self.state.ready();
            }
            Some(reason) if !self.served => self.state.waiting(reason),
            Some(reason) => self.state.down(reason),
        }
        refusal.is_none()
    }
}
