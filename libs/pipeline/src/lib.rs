//! `openorder.internal.operations.v1.PipelineService`: what each service tells the operations service of its part of the
//! pipeline, and does for it. The same for all of them: it stands on the service's [`Desk`] alone.
//!
//! - `server.rs`: the calls; `parse.rs`, `present.rs`: from and to the contract.
//!
//! A service mounts it with one line: `let service = openorder_pipeline::Pipeline::new(&backbone).mount(service, &role)`.

mod parse;
mod present;
mod server;

use std::sync::Arc;

use futures::future::BoxFuture;
use openorder_messaging::{Backbone, RoleContext, desk::Desk};
use openorder_proto::internal::operations::v1::pipeline_service_server::PipelineServiceServer;
use openorder_runtime::Readiness;
use openorder_types::Fault;
use tonic::service::Routes;

pub use parse::logged_event;

/// Open sagas by the name of their step.
pub type SagaCounts = Vec<(&'static str, i64)>;
type CountSagas = Arc<dyn Fn() -> BoxFuture<'static, Result<SagaCounts, Fault>> + Send + Sync>;

/// A service's part of the pipeline, as it is told and operated.
#[derive(Clone)]
pub struct Pipeline {
    backbone: Arc<Backbone>,
    desk: Desk,
    count_sagas: Option<CountSagas>,
}

impl Pipeline {
    /// The part of the service that `backbone` belongs to.
    #[must_use]
    pub fn new(backbone: &Arc<Backbone>) -> Self {
        Self { backbone: Arc::clone(backbone), desk: Desk::new(backbone), count_sagas: None }
    }

    /// Tells open sagas too, as `count` finds them.
    #[must_use]
    pub fn with_sagas(
        mut self,
        count: impl Fn() -> BoxFuture<'static, Result<SagaCounts, Fault>> + Send + Sync + 'static,
    ) -> Self {
        self.count_sagas = Some(Arc::new(count));
        self
    }

    /// Adds the service to the routes of its role.
    #[must_use]
    pub fn mount(self, routes: Routes, role: &RoleContext) -> Routes {
        routes.add_service(PipelineServiceServer::new(Server { pipeline: self, readiness: role.readiness.clone() }))
    }
}

struct Server {
    pipeline: Pipeline,
    readiness: Readiness,
}
