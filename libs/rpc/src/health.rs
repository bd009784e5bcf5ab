//! `grpc.health.v1.Health` of a service: whether its dependencies are there.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use openorder_runtime::{Condition, Readiness};
use openorder_types::Rejection;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::status::rejection;

/// How often a watcher's status is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Adds the health service to a role's routes. It knows the services of the given names and the empty one, and they
/// serve while all is there that the role needs to answer calls.
pub fn with_health(
    routes: Routes,
    role: &'static str,
    services: &'static [&'static str],
    readiness: &Readiness,
) -> Routes {
    routes.add_service(HealthServer::new(RoleHealth { role, services, readiness: readiness.clone() }))
}

#[derive(Clone)]
struct RoleHealth {
    role: &'static str,
    services: &'static [&'static str],
    readiness: Readiness,
}

impl RoleHealth {
    fn status(&self, service: &str) -> ServingStatus {
        if !service.is_empty() && !self.services.contains(&service) {
            return ServingStatus::ServiceUnknown;
        }
        match self.readiness.condition_of(self.role) {
            Condition::Ready | Condition::Degraded => ServingStatus::Serving,
            Condition::Waiting => ServingStatus::NotServing,
        }
    }
}

#[tonic::async_trait]
impl Health for RoleHealth {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match self.status(&request.get_ref().service) {
            ServingStatus::ServiceUnknown => {
                Err(rejection(Rejection::not_found("SERVICE_UNKNOWN", "there is no such service here")))
            }
            status => Ok(Response::new(HealthCheckResponse { status: status.into() })),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (health, service) = (self.clone(), request.into_inner().service);
        let changes = futures::stream::unfold(None, move |last| {
            let (health, service) = (health.clone(), service.clone());
            async move {
                loop {
                    let status = health.status(&service);
                    if last != Some(status) {
                        return Some((Ok(HealthCheckResponse { status: status.into() }), Some(status)));
                    }
                    tokio::time::sleep(WATCH_INTERVAL).await;
                }
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
