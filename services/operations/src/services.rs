//! The services that are asked, each over its own `PipelineService`.

use std::time::Duration;

use futures::future::join_all;
use openorder_proto::internal::operations::v1::pipeline_service_client::PipelineServiceClient;
use openorder_proto::operations::v1::UnreachableService;
use openorder_rpc::{CallContext, UpstreamChannel, fault_of, passed_on, rejection};
use openorder_service::Host;
use openorder_types::{Fault, Rejection};
use tonic::{Request, Response, Status};

use crate::OperationsSettings;

/// A client of one service.
pub(crate) type Client = PipelineServiceClient<UpstreamChannel>;

/// One service.
#[derive(Clone)]
pub(crate) struct Service {
    /// Its role, which is its consumer group's name too.
    pub(crate) role: &'static str,
    pub(crate) client: Client,
}

/// All services that have a part in the pipeline.
#[derive(Clone)]
pub(crate) struct Services {
    all: Vec<Service>,
    timeout: Duration,
}

/// The answers of several services, and who did not answer.
pub(crate) struct Answers<T> {
    pub(crate) given: Vec<(&'static str, T)>,
    pub(crate) unreachable: Vec<UnreachableService>,
}

impl<T> Answers<T> {
    /// The answers, if none is missing: for acts, which must not leave a service out unseen.
    pub(crate) fn complete(self) -> Result<Vec<(&'static str, T)>, Status> {
        match self.unreachable.is_empty() {
            true => Ok(self.given),
            false => Err(openorder_rpc::Refusal::upstream_unavailable(Duration::from_secs(1))),
        }
    }
}

impl Services {
    pub(crate) fn new(host: &Host<OperationsSettings>, roles: &[&'static str]) -> anyhow::Result<Self> {
        let service = |role: &&'static str| {
            let channel = host.channel(role, &host.settings.client)?;
            Ok(Service { role, client: PipelineServiceClient::new(channel) })
        };
        let all = roles.iter().map(service).collect::<anyhow::Result<_>>()?;
        Ok(Self { all, timeout: Duration::from_millis(host.settings.service_timeout_ms) })
    }

    /// Their roles.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &'static str> {
        self.all.iter().map(|service| service.role)
    }

    /// The service of that role. Reason: GROUP_UNKNOWN (NOT_FOUND).
    pub(crate) fn find(&self, role: &str) -> Result<Service, Status> {
        let found = self.all.iter().find(|service| service.role == role);
        found.cloned().ok_or_else(|| {
            let roles: Vec<_> = self.roles().collect();
            let text = format!("there is no service {role:?}; there are {}", roles.join(", "));
            rejection(Rejection::not_found("GROUP_UNKNOWN", text))
        })
    }

    /// Those of the names; all, where there is none.
    pub(crate) fn chosen(&self, roles: &[String]) -> Result<Vec<Service>, Status> {
        if roles.is_empty() {
            return Ok(self.all.clone());
        }
        let mut chosen: Vec<Service> = roles.iter().map(|role| self.find(role)).collect::<Result<_, _>>()?;
        chosen.sort_by_key(|service| self.all.iter().position(|one| one.role == service.role));
        chosen.dedup_by_key(|service| service.role);
        Ok(chosen)
    }

    /// A request to one service in this call's name, within the bound for one; all of them may be sent twice.
    pub(crate) fn request<T>(&self, call: &CallContext, message: T) -> Request<T> {
        call.clone().within(self.timeout).retry_safe_request(message)
    }
}

/// Asks services at the same time. One that is away is noted; what one refuses is refused.
pub(crate) async fn ask_each<S, T, F>(
    services: Vec<S>,
    role: impl Fn(&S) -> &'static str,
    ask: impl Fn(S) -> F,
) -> Result<Answers<T>, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let asked = services.into_iter().map(|service| {
        let role = role(&service);
        let asked = ask(service);
        async move { (role, asked.await) }
    });
    let mut answers = Answers { given: Vec::new(), unreachable: Vec::new() };
    for (role, answer) in join_all(asked).await {
        match answer {
            Ok(answer) => answers.given.push((role, answer.into_inner())),
            Err(status) if is_away(&status) => answers.unreachable.push(unreachable(role, &status)),
            Err(status) => return Err(passed_on(&status)),
        }
    }
    Ok(answers)
}

/// Whether the service could not answer, as opposed to saying no.
pub(crate) fn is_away(status: &Status) -> bool {
    matches!(fault_of("service", status), Some(Fault::Outage { .. } | Fault::Retryable { .. }))
}

fn unreachable(role: &'static str, status: &Status) -> UnreachableService {
    UnreachableService { role: role.to_owned(), detail: status.message().to_owned() }
}
